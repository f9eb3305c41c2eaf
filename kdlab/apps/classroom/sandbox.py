"""For `grading`: run a task in a fork with limits, where it may not act; only data comes back.

Walls against accidents and mischief, not against an attack: the fork has the rights of its user.
Linux and macOS (which does not limit memory); Windows has no fork. Python's own ways to write are
refused, and no file can grow. Where Linux has Landlock, C code cannot open, make or delete a file
either. Elsewhere remains: C code (`torch.save` to a path, say) may empty or delete a file.
"""

import contextlib
import ctypes
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

MOST = 1_000_000  # bytes of what may come back
CLOCK = 10  # seconds by the clock for each of processor time: a machine may be busy
# events of Python's audit, but for the harmless ones
ACTS = ("os.", "shutil.", "subprocess.", "socket.", "pty.", "ctypes.", "sqlite3.")
HARMLESS = {"os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.putenv", "os.unsetenv"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def limited(task: Callable[[], dict], seconds: int, memory: int) -> dict:
    """What `task` gives back in a fork with limits, as JSON; {"error": ...} where nothing came.

    `seconds` of processor time, `memory` in MB beyond what this process has taken.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=_confined, args=(task, sender, seconds, memory))
    child.start()
    sender.close()
    late = threading.Event()

    def end() -> None:  # also of a read that waits for the rest of what was begun
        late.set()
        child.kill()

    clock = threading.Timer(CLOCK * seconds, end)
    clock.start()
    try:
        return json.loads(receiver.recv_bytes(MOST))
    except (EOFError, OSError, ValueError, RecursionError):
        child.join(1)
        if late.is_set() or child.exitcode == -signal.SIGXCPU:
            return {"error": f"no answer within {seconds} s"}
        if child.exitcode is None:
            return {"error": f"no answer of at most {MOST} bytes"}
        return {"error": f"no answer before its process ended with code {child.exitcode}"}
    finally:
        clock.cancel()
        child.kill()
        child.join()


def _confined(task: Callable[[], dict], sender: Connection, seconds: int, memory: int) -> None:
    """The fork's side of `limited`: no terminal, limits, and from then on only the task."""
    import resource

    import psutil

    sys.stdout = sys.stderr = quiet = open(os.devnull, "w")
    for standard in range(3):
        os.dup2(quiet.fileno(), standard)
    tempfile.gettempdir()  # found by writing, then known: torch.optim asks for it
    space = psutil.Process().memory_info().vms + memory * 10**6
    limits = {
        resource.RLIMIT_AS: (space, space),
        resource.RLIMIT_CPU: (seconds, seconds + 1),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_FSIZE: (0, 0),
    }
    for kind, limit in limits.items():
        with contextlib.suppress(ValueError, OSError):  # macOS does not limit memory
            resource.setrlimit(kind, limit)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write is an error, not the end
    _close_files()
    sys.addaudithook(_refuse)
    sender.send_bytes(json.dumps(task()).encode())


def _close_files() -> None:
    """Where Linux has Landlock, no file can be opened for writing, made or deleted, by C neither.

    It binds this process and its children for good; elsewhere nothing happens.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform != "linux" or (version := libc.syscall(444, None, 0, 1)) < 1:
        return
    writes = 0b1_1111_1111_0010 | (version > 1) << 13 | (version > 2) << 14  # linux/landlock.h
    rules = libc.syscall(444, ctypes.byref(ctypes.c_uint64(writes)), 8, 0)
    libc.prctl(38, 1, 0, 0, 0)  # no new privileges, without which it is refused
    libc.syscall(446, rules, 0)


def _refuse(event: str, arguments: tuple) -> None:
    writes = event == "open" and arguments[2] & WRITING
    if writes or event.startswith(ACTS) and event not in HARMLESS:
        raise PermissionError(f"an exercise may not write, start or stop anything: {event}")
