"""What this machine can do, and how to name it beside a recorded result."""

import contextlib
import math
import os
import platform
from pathlib import Path, PurePosixPath

import psutil
import torch

from kdlab.models import has_fast_bf16


def cores() -> int:
    """Processors that this process may use: of its affinity, what a container's quota leaves."""
    every = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else every
    return max(1, int(min(allowed, quota())))


def quota(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """Processors' worth of time that cgroups (v2 or v1) leave this process; inf without a limit."""
    least = math.inf
    for line in groups.read_text().splitlines() if groups.is_file() else ():
        _, kinds, own = line.split(":", 2)
        if kinds and "cpu" not in kinds.split(","):
            continue
        for group in (PurePosixPath(own), *PurePosixPath(own).parents):  # each limits those below
            folder = root / ("cpu" if kinds else "") / group.relative_to("/")
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if kinds else ("cpu.max",)
            with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                limit = " ".join((folder / name).read_text() for name in names)
                time, period = map(int, limit.split())
                least = min(least, time / period) if time > 0 else least  # v1: -1 is no limit
    return least


def reset_peak_memory(device: str = "cpu") -> None:
    """Let `peak_memory` count from here (on Linux; elsewhere from the start of the process)."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: str = "cpu") -> int:
    """The most memory in MB: of the GPU's tensors, or resident in this process."""
    if torch.device(device).type == "cuda":
        return round(torch.cuda.max_memory_allocated() / 1e6)
    if (status := Path("/proc/self/status")).is_file():
        return round(int(status.read_text().split("VmHWM:")[1].split()[0]) * 1.024e-3)
    info = psutil.Process().memory_info()
    return round(getattr(info, "peak_wset", info.rss) / 1e6)


def processor() -> str:
    """The processor's own name, as far as the operating system tells it."""
    info = Path("/proc/cpuinfo")
    names = info.read_text().split("model name")[1:] if info.is_file() else []
    return names[0].split("\n")[0].strip(" \t:") if names else platform.processor() or "unknown"


def describe(device: str = "cpu") -> dict[str, str | int | bool]:
    """Machine and versions for a record or a bug report; no host or user name."""
    kind = torch.device(device).type
    return {
        "processor": processor(),
        "cores": cores(),
        "accelerator": torch.cuda.get_device_name() if kind == "cuda" else "none",
        "bfloat16": has_fast_bf16(kind),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
