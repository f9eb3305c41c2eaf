"""Load for the service, open loop: requests come when they are due, whether or not it keeps up.

A closed loop (the next request after the last answer) slows down with a slow service and never
shows its queue. Here latency counts from the moment a request was *due*, also if it was sent late.
Only loopback addresses are accepted: this is no tool to load other people's machines.
"""

import asyncio
import io
import ipaddress
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np


class Outcome(NamedTuple):
    """What became of the requests of one load."""

    rate: float  # asked for, requests a second
    sent: int
    milliseconds: list[float]  # of each answer with status 200, from when it was due
    failures: dict[str, int]  # status or kind of error -> how many
    seconds: float  # until the last answer
    lag: float  # ms, the 99th percentile of how late the client itself was
    when: list[tuple[float, bool]]  # (due, answered), in seconds from the start

    def percentile(self, share: float) -> float:
        """Latency in ms that this share of *all* requests kept; infinite where too few did."""
        if self.sent == 0 or len(self.milliseconds) < share / 100 * self.sent:
            return float("inf")
        lost = [float("inf")] * (self.sent - len(self.milliseconds))
        ordered = sorted(self.milliseconds) + lost
        return ordered[min(int(share / 100 * self.sent), self.sent - 1)]


def png(pixels: np.ndarray) -> bytes:
    """uint8 [C, H, W] as a PNG."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.asarray(pixels).transpose(1, 2, 0).squeeze()).save(out, "png")
    return out.getvalue()


def request(url: str, body: bytes = b"", kind: str = "image/png", method: str = "POST") -> bytes:
    """One HTTP/1.1 request on a connection that stays open, ready to be sent. ValueError for an
    address that is not this machine's own."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not (host == "localhost" or ipaddress.ip_address(host).is_loopback):
        raise ValueError(f"load is only for this machine's own addresses, not for {host}")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    head = f"{method} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    length = int(lower.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    return int(head[9:12]), await reader.readexactly(length)


async def offer(
    url: str, bodies: Sequence[bytes], rate: float, seconds: float, *, kind: str = "image/png",
    timeout: float = 10.0, seed: int = 0, keep: Callable[[int, bytes], object] | None = None,
) -> Outcome:  # fmt: skip
    """Send `bodies` in turn at random moments, `rate` a second on average (a Poisson process).

    `keep(n, answer)` is given each answer's body. Connections are reused, and opened as needed.
    """
    parts, made = urlsplit(url), [request(url, body, kind) for body in bodies]
    gaps = np.random.default_rng(seed).exponential(1 / rate, max(1, int(rate * seconds * 1.2) + 20))
    due = gaps.cumsum()
    due = due[due < seconds]
    idle, took, failures, lags, when = [], [], Counter(), [], []
    start = time.perf_counter()

    async def exchange(message: bytes) -> tuple[int, bytes]:
        pair = idle.pop() if idle else None
        if pair is None or pair[0].at_eof():
            pair = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            pair[1].write(message)
            answer = await read_answer(pair[0])
        except BaseException:
            pair[1].close()
            raise
        idle.append(pair)
        return answer

    async def one(n: int) -> None:
        lags.append(time.perf_counter() - start - due[n])
        try:
            status, answer = await asyncio.wait_for(exchange(made[n % len(made)]), timeout)
        except Exception as error:  # whatever goes wrong, this request failed
            failures[type(error).__name__] += 1
            when.append((due[n], False))
            return
        when.append((due[n], status == 200))
        if status == 200:
            took.append(1e3 * (time.perf_counter() - start - due[n]))
            if keep:
                keep(n, answer)
        else:
            failures[str(status)] += 1

    tasks = []
    for n, moment in enumerate(due):
        wait = start + moment - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(n)))
    await asyncio.gather(*tasks)
    for _, writer in idle:
        writer.close()
    lag = 1e3 * float(np.percentile(lags, 99)) if lags else 0.0
    whole = time.perf_counter() - start
    return Outcome(rate, len(due), took, dict(failures), whole, lag, sorted(when))


def load(url: str, bodies: Sequence[bytes], rate: float, seconds: float, **options) -> Outcome:
    """`offer` from ordinary code, in a notebook too: it runs in a thread of its own."""
    found: list = []

    def work() -> None:
        try:
            found.append(asyncio.run(offer(url, bodies, rate, seconds, **options)))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def highest_rate(
    url: str, bodies: Sequence[bytes], *, limit: float = 50.0, seconds: float = 3.0,
    start: float = 50.0, top: float = 6400.0, steps: int = 3,
) -> tuple[float, list[Outcome]]:  # fmt: skip
    """The highest rate up to `top` at which all is answered and p99 stays below `limit` ms.

    Doubled until it breaks, then halved into `steps` times; and all the loads, by rate. A load
    that breaks is offered once more: one hiccup of the machine is not the service's limit.
    """
    loads = []

    def holds(rate: float) -> bool:
        for _ in range(2):
            loads.append(load(url, bodies, rate, seconds))
            if loads[-1].percentile(99) < limit and not loads[-1].failures:
                return True
        return False

    good, bad = 0.0, start
    while good < top and holds(bad := min(bad, top)):
        good, bad = bad, 2 * bad
    for _ in range(steps if good < top else 0):
        middle = round((good + bad) / 2)
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good, sorted(loads, key=lambda outcome: outcome.rate)


@contextmanager
def serving(*options: str, models: Sequence[Path] = (), port: int = 0) -> Iterator[tuple]:
    """A service in a process of its own: (its address, the process). It ends with the block."""
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "kdlab", "serve", f"--port={port}", *options]
    command += [f"--model={path}" for path in models]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        for line in process.stdout:
            if "http://" in line:
                break
        else:
            raise RuntimeError(f"the service did not start: {process.stderr.read().strip()}")
        yield line.split()[-1].rstrip("/"), process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()


def get(url: str) -> dict | str:
    """A GET request's answer: JSON as objects, anything else as text."""
    from urllib.request import urlopen

    with urlopen(url, timeout=10) as answer:
        body = answer.read().decode()
        return json.loads(body) if "json" in answer.headers["content-type"] else body


def post(url: str, body: bytes, kind: str = "image/png") -> tuple[int, dict]:
    """A POST request's status and JSON answer."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(url, body, {"Content-Type": kind}), timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)
