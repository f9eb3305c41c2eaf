"""For whoever runs an exported model, without torch: open it, infer, time it, weigh it.

`python -m kdlab.apps.serving.runtime MODEL.onnx [SECONDS [CEILING]]` measures one model in
this fresh process and prints JSON; with a ceiling in MB, under a hard limit on its memory.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession, SessionOptions

from kdlab.files import environment


def open_model(
    path: Path | str, threads: int = 1, arena: bool = True, exact: bool = False
) -> InferenceSession:
    """A session that uses so many threads; ValueError says how to replace a file that is damaged.

    Without the `arena` memory is asked for piece by piece: slower, and less of it. `exact`: sums of
    int8 products never overflow, as they may where a processor has AVX2 and no VNNI; slower.
    """
    options = SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = arena
    options.add_session_config_entry("session.x64quantprecision", str(int(exact)))
    options.log_severity_level = 4  # a failure is raised, not logged as well
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle means idle
    if not Path(path).is_file():
        raise FileNotFoundError(f"no exported model {path}: `python -m kdlab deploy` makes it")
    try:
        return InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a dozen kinds, none of them public
        if "alloc" in str(error).lower():
            raise MemoryError(f"no memory for {Path(path).name}") from None
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path} cannot be opened ({reason}): delete it; it is made anew"
        ) from None


def metadata(session: InferenceSession) -> dict:
    """What the export wrote into the file (name, role, data, classes, accuracy), and the `shape` of
    the images that the model takes, [C, H, W]."""
    stored = session.get_modelmeta().custom_metadata_map
    notes = {key: json.loads(value) for key, value in stored.items()}
    return notes | {"shape": session.get_inputs()[0].shape[1:]}


def infer(session: InferenceSession, pixels: np.ndarray) -> np.ndarray:
    """Logits, float32 [N, K], for uint8 pixels [N, C, H, W]."""
    parts = (pixels[i : i + 500] for i in range(0, len(pixels), 500))
    return np.concatenate([session.run(None, {"pixels": part})[0] for part in parts])


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities at a positive temperature, along the last axis (`kdlab.losses.soften`)."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def time_calls(session: InferenceSession, batch: int = 1, seconds: float = 1.0) -> dict[str, float]:
    """Milliseconds of one call with `batch` images (noise): p50, p95, and the images a second at
    p50. At least 20 calls, one after the other, after ten that do not count."""
    shape = (batch, *session.get_inputs()[0].shape[1:])
    feed = {"pixels": np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)}
    for _ in range(10):
        session.run(None, feed)
    end, times = time.perf_counter() + seconds, []
    while time.perf_counter() < end or len(times) < 20:
        start = time.perf_counter()
        session.run(None, feed)
        times.append(1e3 * (time.perf_counter() - start))
    p50, p95 = np.percentile(times, (50, 95)).tolist()
    return {"p50": p50, "p95": p95, "images/s": 1e3 * batch / p50}


def process_memory(kind: str = "VmRSS") -> float:
    """MB of this process: resident now ("VmRSS") or at its peak ("VmHWM"), or allocated ("VmData").
    Elsewhere than on Linux always what is resident now."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().split(f"{kind}:")[1].split()[0]) * 1.024e-3
    import psutil

    return psutil.Process().memory_info().rss / 1e6


def measure_here(path: Path | str, seconds: float = 0.5, ceiling: float | None = None) -> dict:
    """Load a model and answer image by image, in this process: `frames/s`, `load ms`, `peak MB` and
    `runtime MB` (resident before). Under a `ceiling` (Linux) it may allocate so many MB more."""
    before = process_memory()
    if ceiling is not None:
        import resource

        limit = int(1e6 * (process_memory("VmData") + ceiling))
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    start = time.perf_counter()
    session = open_model(path, arena=ceiling is None)
    loaded = 1e3 * (time.perf_counter() - start)
    frames = time_calls(session, seconds=seconds)["images/s"]
    peak = process_memory("VmHWM")
    return {"runtime MB": before, "peak MB": peak, "load ms": loaded, "frames/s": frames}


def measure_fresh(path: Path | str, seconds: float = 0.5, ceiling: float | None = None) -> dict:
    """`measure_here` in a fresh process. MemoryError where the ceiling is too low for the model."""
    command = [sys.executable, "-m", "kdlab.apps.serving.runtime", str(path), str(seconds)]
    command += [] if ceiling is None else [str(ceiling)]
    env = environment(OMP_NUM_THREADS="1")
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    if done.returncode == 0:
        return json.loads(done.stdout)
    if ceiling is not None:  # refused politely, or ended by an allocation that failed
        raise MemoryError(f"{Path(path).name} does not run with {ceiling:g} MB")
    raise ValueError((done.stderr.strip().splitlines() or ["the measuring process failed"])[-1])


if __name__ == "__main__":
    print(json.dumps(measure_here(sys.argv[1], *map(float, sys.argv[2:]))))
