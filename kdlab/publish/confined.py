"""Run a task in a fork with limits of time and memory, where it may not act: only data comes back.

Walls against accidents and mischief, not against an attack: the fork has the rights of its user.
Linux and macOS (which does not limit memory); Windows has no fork.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

MOST = 1_000_000  # bytes of what may come back
CLOCK = 10  # seconds by the clock for each of processor time: a machine may be busy
ACTS = ("os.", "shutil.", "subprocess.", "socket.", "pty.")  # events of Python's audit, but for
HARMLESS = {"os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.putenv", "os.unsetenv"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def limited(task: Callable[[], dict], seconds: int, memory: int) -> dict:
    """What `task` gives back in a fork with limits, as JSON; {"error": ...} where nothing came.

    `seconds` of processor time, `memory` in MB beyond what this process has taken.
    """
    here, there = multiprocessing.Pipe(duplex=False)
    limits = {"target": _confined, "args": (task, there, seconds, memory)}
    child = multiprocessing.get_context("fork").Process(**limits)
    child.start()
    there.close()
    late = not here.poll(CLOCK * seconds)
    try:
        return json.loads("" if late else here.recv_bytes(MOST))
    except (EOFError, OSError, ValueError, RecursionError):
        child.join(0 if late else 1)
        how = f"before its process ended with code {child.exitcode}"
        if late or child.exitcode == -signal.SIGXCPU:
            how = f"within {seconds} s"
        elif child.exitcode is None:
            how = f"of at most {MOST} bytes"
        return {"error": f"no answer {how}"}
    finally:
        child.kill()
        child.join()


def _confined(task: Callable[[], dict], there: Connection, seconds: int, memory: int) -> None:
    """The fork's side of `limited`: no terminal, limits, and from then on only the task."""
    import resource

    import psutil

    sys.stdout = sys.stderr = quiet = open(os.devnull, "w")
    for standard in range(3):
        os.dup2(quiet.fileno(), standard)
    space = psutil.Process().memory_info().vms + memory * 10**6
    for name, most in {"AS": space, "CPU": seconds, "CORE": 0}.items():
        with contextlib.suppress(ValueError, OSError):  # macOS does not limit memory
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most + 1))
    sys.addaudithook(_refuse)
    there.send_bytes(json.dumps(task()).encode())


def _refuse(event: str, given: tuple) -> None:
    writes = event == "open" and given[2] & WRITING
    if writes or event.startswith(ACTS) and event not in HARMLESS:
        raise PermissionError(f"an exercise may not write, start or stop anything: {event}")
