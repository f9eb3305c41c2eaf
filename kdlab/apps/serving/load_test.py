"""For whoever measures the service: an open-loop load, which sends each request when it is due.

A closed loop (the next request after the last answer) never shows a queue. Latency counts from the
moment a request was *due*. Only this machine is loaded, nobody else's.
"""

import asyncio
import io
import ipaddress
import json
import math
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image

from kdlab.files import environment

TIMEOUT = 10  # seconds


class Outcome(NamedTuple):
    """What became of the requests of one load."""

    rate: float  # asked for, requests a second
    sent: int
    milliseconds: list[float]  # of each answer with status 200, from when it was due
    failures: dict[str, int]  # status or kind of error -> how many
    when: list[tuple[float, bool]]  # (due, answered), in seconds from the start

    def percentile(self, share: float) -> float:
        """Latency in ms that this share (%) of *all* requests kept; infinite where too few did."""
        rank = min(int(share / 100 * self.sent), self.sent - 1)
        return sorted(self.milliseconds)[rank] if 0 <= rank < len(self.milliseconds) else math.inf


def encode_png(pixels: np.ndarray) -> bytes:
    """uint8 [C, H, W] as a PNG."""
    out = io.BytesIO()
    Image.fromarray(np.asarray(pixels).transpose(1, 2, 0).squeeze()).save(out, "png")
    return out.getvalue()


def encode_request(url: str, body: bytes) -> bytes:
    """A POST of an image for a connection that stays open; ValueError for another machine's."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not (host == "localhost" or ipaddress.ip_address(host).is_loopback):
        raise ValueError(f"load is only for this machine's own addresses, not for {host}")
    head = f"POST {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    head += f"Content-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def offer(url: str, bodies: list[bytes], rate: float, seconds: float, seed: int) -> Outcome:
    """Send `bodies` in turn at random moments, `rate` a second on average (a Poisson process)."""
    address, requests = urlsplit(url), [encode_request(url, body) for body in bodies]
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds * 1.2) + 20)
    due = [moment for moment in gaps.cumsum().tolist() if moment < seconds]
    idle, milliseconds, when, failures = [], [], [], Counter()  # idle: open connections

    async def exchange(request: bytes) -> int:
        """The status of the answer."""
        reader, writer = idle.pop() if idle else (None, None)
        if reader is None or reader.at_eof():
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]))
        except BaseException:
            writer.close()
            raise
        idle.append((reader, writer))
        return int(head[9:12])

    async def send(n: int) -> None:
        try:
            status = await asyncio.wait_for(exchange(requests[n % len(requests)]), TIMEOUT)
        except Exception as error:  # whatever goes wrong, this request failed
            status = type(error).__name__
        when.append((due[n], status == 200))
        if status == 200:
            milliseconds.append(1e3 * (time.perf_counter() - start - due[n]))
        else:
            failures[str(status)] += 1

    start, tasks = time.perf_counter(), []
    for n, moment in enumerate(due):
        wait = start + moment - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(send(n)))
    await asyncio.gather(*tasks)
    for _, writer in idle:
        writer.close()
    return Outcome(rate, len(due), milliseconds, dict(failures), sorted(when))


def generate(url: str, bodies: list[bytes], rate: float, seconds: float, seed: int = 0) -> Outcome:
    """`offer` from ordinary code, in a notebook too: it runs in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, offer(url, bodies, rate, seconds, seed)).result()


def highest_rate(
    url: str, bodies: list[bytes], limit: float = 50, seconds: float = 3, top: float = 6400
) -> tuple[float, list[Outcome]]:
    """The highest rate up to `top` at which all is answered and p99 stays below `limit` ms.

    Doubled from 50 a second until it breaks, then halved into three times; and all the loads, by
    rate. A load that breaks is offered once more: one hiccup is not the service's limit.
    """
    loads = []

    def holds(rate: float) -> bool:
        for _ in range(2):
            loads.append(generate(url, bodies, rate, seconds))
            if loads[-1].percentile(99) < limit and not loads[-1].failures:
                return True
        return False

    good, bad = 0.0, min(50.0, top)
    while good < top and holds(bad):
        good, bad = bad, min(2 * bad, top)
    if good < top:
        for _ in range(3):
            middle = round((good + bad) / 2)
            good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good, sorted(loads, key=lambda outcome: outcome.rate)


@contextmanager
def serving(
    *options: str, models: Sequence[Path] = (), port: int = 0
) -> Iterator[tuple[str, subprocess.Popen]]:
    """A service in a process of its own: (its address, the process). It ends with the block."""
    command = [sys.executable, "-m", "kdlab", "serve", f"--port={port}", *options]
    command += [f"--model={path}" for path in models]
    env = environment(OMP_NUM_THREADS="1")
    # its complaints go to a file: a pipe that nobody reads is full one day, and the service stops
    errors = TemporaryFile("w+")
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=errors, text=True)
    with errors, process:
        try:
            line = next((line for line in process.stdout if "http://" in line), "")
            if not line:
                process.wait()
                errors.seek(0)
                raise RuntimeError(f"the service did not start: {errors.read().strip()}")
            yield line.split()[-1], process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()  # nothing, where it has ended


def fetch(url: str, body: bytes | None = None, kind: str = "image/png") -> tuple[int, object]:
    """Status and answer of one request, a POST if there is a body: JSON as objects, else text."""
    try:
        answer = urlopen(Request(url, body, {"Content-Type": kind}), timeout=TIMEOUT)
    except HTTPError as error:  # an answer, too
        answer = error
    with answer:
        text = answer.read().decode()
        return answer.status, json.loads(text) if "json" in answer.headers["content-type"] else text
