"""An exported model at run time: open it, ask it, time it, weigh it. ONNX Runtime, no torch.

`python -m kdlab.serving.runtime MODEL.onnx` measures one model in this fresh process and prints
JSON; with `--ceiling MB`, under a hard limit on what it may allocate beyond the bare runtime.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

Session = onnxruntime.InferenceSession


def open_model(path: Path | str, threads: int = 1, arena: bool = True) -> Session:
    """A session that uses so many threads; ValueError says how to replace a file that is damaged.

    Without the `arena` memory is asked for piece by piece: slower, and less of it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = arena
    options.log_severity_level = 4  # a failure is raised, not logged as well
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle means idle
    if not Path(path).is_file():
        raise FileNotFoundError(f"no exported model {path}: `python -m kdlab deploy` makes it")
    try:
        return Session(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a dozen kinds, none of them public
        if "alloc" in str(error).lower():
            raise MemoryError(f"no memory for {Path(path).name}") from None
        told = str(error).splitlines()[0]
        raise ValueError(f"{path} cannot be opened ({told}): delete it; it is made anew") from None


def shape_of(session: Session) -> tuple[int, int, int]:
    """(channels, height, width) of the images that a model takes, as uint8 pixels."""
    return tuple(session.get_inputs()[0].shape[1:])


def about(session: Session) -> dict:
    """What the export wrote into the file: name, model, classes, preprocessing."""
    stored = session.get_modelmeta().custom_metadata_map
    return {key: json.loads(value) for key, value in stored.items()}


def ask(session: Session, pixels: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """Logits, float32 [N, K], for uint8 pixels [N, C, H, W]."""
    parts = range(0, len(pixels), batch_size)
    run = session.run
    return np.concatenate([run(None, {"pixels": pixels[i : i + batch_size]})[0] for i in parts])


def soften(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities at this temperature, along the last axis (in torch: `kdlab.losses.soften`)."""
    if not 0 < temperature < float("inf"):
        raise ValueError(f"the temperature must be positive and finite, got {temperature}")
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    raised = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def random_pixels(session: Session, count: int = 1, seed: int = 0) -> np.ndarray:
    """Noise of the right shape: what an image shows does not change how long it takes."""
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (count, *shape_of(session)), dtype=np.uint8)


def latency(session: Session, batch: int = 1, seconds: float = 1.0, warm_up: int = 10) -> dict:
    """Milliseconds of one call with `batch` images: p50, p95, and the images a second at p50.

    Calls are made one after the other for about so many `seconds`, at least 20 of them, after
    `warm_up` calls that do not count.
    """
    feed, took = {"pixels": random_pixels(session, batch)}, []
    for _ in range(warm_up):
        session.run(None, feed)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(took) < 20:
        start = time.perf_counter()
        session.run(None, feed)
        took.append(1e3 * (time.perf_counter() - start))
    p50, p95 = np.percentile(took, (50, 95))
    return {"p50": float(p50), "p95": float(p95), "images/s": 1e3 * batch / float(p50)}


def memory(kind: str = "VmRSS") -> float:
    """This process's resident memory in MB, now ("VmRSS") or at its peak ("VmHWM")."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().split(f"{kind}:")[1].split()[0]) * 1.024e-3
    import psutil

    return psutil.Process().memory_info().rss / 1e6


def limit_memory(megabytes: float) -> None:
    """From here on the process may allocate only so much more; then allocations fail (Linux)."""
    import resource

    status = Path("/proc/self/status").read_text()
    now = int(status.split("VmData:")[1].split()[0]) * 1024
    ceiling = now + int(megabytes * 1e6)
    resource.setrlimit(resource.RLIMIT_DATA, (ceiling, ceiling))


def measure(path: Path | str, ceiling: float | None = None, seconds: float = 0.5) -> dict:
    """Load a model and answer image by image on one thread, in the process at hand.

    `frames/s`, `runtime MB` (resident before the model was opened), `peak MB`, `load ms`.
    """
    before = memory()
    if ceiling is not None:
        limit_memory(ceiling)
    start = time.perf_counter()
    session = open_model(path, arena=ceiling is None)
    loaded = 1e3 * (time.perf_counter() - start)
    took = latency(session, seconds=seconds)
    found = {"runtime MB": before, "peak MB": memory("VmHWM"), "load ms": loaded}
    return found | {"frames/s": took["images/s"]}


def measure_fresh(path: Path | str, ceiling: float | None = None, seconds: float = 0.5) -> dict:
    """`measure` in a fresh process. MemoryError where the ceiling is too low for the model."""
    command = [sys.executable, "-m", "kdlab.serving.runtime", str(path), f"--seconds={seconds}"]
    command += [] if ceiling is None else [f"--ceiling={ceiling}"]
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    if done.returncode == 0:
        return json.loads(done.stdout)
    if ceiling is not None:  # refused politely, or ended by an allocation that failed
        raise MemoryError(f"{Path(path).name} does not run with {ceiling:g} MB")
    raise ValueError((done.stderr.strip().splitlines() or ["the measuring process failed"])[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description="measure one exported model in this process")
    parser.add_argument("model")
    parser.add_argument("--ceiling", type=float, help="MB that it may allocate")
    parser.add_argument("--seconds", type=float, default=0.5)
    given = parser.parse_args()
    print(json.dumps(measure(given.model, given.ceiling, given.seconds)))


if __name__ == "__main__":
    main()
