"""The measurements of chapter 04 in one command: `python -m kdlab deploy --record`.

Every deployed model in float32 and int8: bytes, accuracy on the whole test set, latency, memory in
a fresh process, and the highest rate that the service keeps; then a minute of load at 80% of it.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import torch

from kdlab.data import load as load_images
from kdlab.experiments import load_result, results_dir, stamp
from kdlab.metrics import accuracy, predict
from kdlab.serving import deploy, load, runtime
from kdlab.teachers import load_teacher, write_json

LIMIT = 50.0  # ms, what p99 has to stay below
CEILINGS = (2, 4, 8, 16, 32, 64, 128)  # MB beyond the bare runtime


@cache
def test_images(data: str):
    """The whole test set of "mnist" or "cifar10"."""
    return load_images("mnist" if data == "mnist" else "cifar10-10k", "test")


def quality(name: str, data: str, path: Path, int8: Path) -> dict:
    """Accuracy of both forms on the whole test set, and how far ONNX is from torch."""
    test = test_images(data)
    said = {"torch": predict(load_teacher(name), test)}
    for form, file in (("float32", path), ("int8", int8)):
        session = runtime.open_model(file, threads=2)
        said[form] = torch.from_numpy(runtime.ask(session, test.images.numpy()))
    right = {form: round(accuracy(z, test.labels), 2) for form, z in said.items()}
    return {
        "accuracy": right["float32"],
        "accuracy int8": right["int8"],
        "accuracy torch": right["torch"],
        "largest difference to torch": float((said["float32"] - said["torch"]).abs().max()),
    }


def speed(path: Path, seconds: float) -> dict:
    """p50 and p95 in ms at batch 1 and 64, with one thread and two."""
    return {
        f"batch {batch}, {threads} thread{'s' * (threads > 1)}": runtime.latency(
            runtime.open_model(path, threads), batch, seconds
        )
        for batch in (1, 64)
        for threads in (1, 2)
    }


def least_ceiling(path: Path) -> float | None:
    """The lowest of `CEILINGS` under which a model runs in a fresh process; None under none."""
    for ceiling in CEILINGS:
        try:
            runtime.measure_fresh(path, ceiling, seconds=0)
        except MemoryError:
            continue
        return ceiling
    return None


def some_requests(data: str, count: int = 64) -> list[bytes]:
    """The first test images as PNG bodies."""
    return [load.png(image) for image in test_images(data).images[:count].numpy()]


def summary(outcome: load.Outcome) -> dict:
    """What a record keeps of a load; infinite percentiles as None."""
    p = {f"p{share}": outcome.percentile(share) for share in (50, 95, 99)}
    p = {name: round(value, 2) if np.isfinite(value) else None for name, value in p.items()}
    kept = {"rate": outcome.rate, "sent": outcome.sent, "answered": len(outcome.milliseconds)}
    return kept | p | {"failures": outcome.failures, "client lag p99": round(outcome.lag, 2)}


def under_load(url: str, rate: float, seconds: float, data: str, name: str) -> dict:
    """A long load in parts: what failed, and the service's resident MB after each part."""
    bodies, address = some_requests(data), f"{url}/predict?model={name}"
    parts, megabytes = [], []
    for seed in range(max(1, round(seconds / 10))):
        parts.append(load.load(address, bodies, rate, min(seconds, 10), seed=seed))
        megabytes.append(round(memory_of(url)))
    kept = {"model": name, "rate": rate, "seconds": seconds, "sent": sum(p.sent for p in parts)}
    kept["answered"] = sum(len(p.milliseconds) for p in parts)
    return kept | {"p99": round(max(p.percentile(99) for p in parts), 2), "resident MB": megabytes}


def memory_of(url: str) -> float:
    """The service's resident memory in MB, as /metrics tells it."""
    lines = load.get(f"{url}/metrics").splitlines()
    return float(next(x.split()[1] for x in lines if x.startswith("kdlab_resident_megabytes ")))


def main(*, record: bool = False, seconds: float = 2.0, soak: float = 60.0) -> dict:
    """Measure, print the table, and with `record` keep it as data/results/deploy.json."""
    files = deploy.files(say=print)
    rows = []
    for name, data, role in deploy.DEPLOYED:
        pair = files[name], files[f"{name}-int8"]
        print(f"measuring {name}", flush=True)
        row = {"arm": name, "seed": 0, "data": data, "role": role} | quality(name, data, *pair)
        for form, path in zip(("float32", "int8"), pair, strict=True):
            row[form] = {
                "bytes": path.stat().st_size,
                "latency": speed(path, 0.25 * seconds),
                "alone": runtime.measure_fresh(path, seconds=0.25 * seconds),
                "least ceiling, MB": least_ceiling(path),
            }
        rows.append(row)
    loads, steady = online(rows, files, seconds, soak)
    found = {
        "name": "deploy",
        "title": "What was deployed in chapter 04: size, accuracy, latency, memory, load",
        **stamp(f"deploy --seconds {seconds:g} --soak {soak:g}"),
        "runtime": onnxruntime.__version__,
        "runs": rows,
        "loads": loads,
        "steady": steady,
    }
    print("\n" + table(found).to_string())
    print(f"\nsteady load: {steady}")
    if record:
        write_json(results_dir() / "deploy.json", found)
    return found


def online(rows: list[dict], files: Mapping[str, Path], seconds: float, soak: float) -> tuple:
    """Put each row's highest rate into it; the loads that found it; and the steady load."""
    loads = {}
    with load.serving(models=[files[row["arm"]] for row in rows]) as (url, _):
        for row in rows:
            print(f"load on {row['arm']}", flush=True)
            address = f"{url}/predict?model={row['arm']}"
            bodies = some_requests(row["data"])
            load.load(address, bodies, 50, 0.5)  # warm-up
            row["highest rate"], offered = load.highest_rate(
                address, bodies, limit=LIMIT, seconds=seconds
            )
            loads[row["arm"]] = [summary(outcome) for outcome in offered]
        last = rows[-1]
        rate = round(0.8 * last["highest rate"])
        steady = under_load(url, rate, soak, last["data"], last["arm"]) if rate else {}
    return loads, steady


def table(found: Mapping) -> pd.DataFrame:
    """The deployed models, one a row, from a record."""
    first = "batch 1, 1 thread"
    lines = {}
    for row in found["runs"]:
        lines[row["arm"]] = {
            "kB": row["float32"]["bytes"] / 1e3,
            "kB int8": row["int8"]["bytes"] / 1e3,
            "accuracy": row["accuracy"],
            "int8": row["accuracy int8"],
            "p50 ms": row["float32"]["latency"][first]["p50"],
            "p95 ms": row["float32"]["latency"][first]["p95"],
            "p50 int8": row["int8"]["latency"][first]["p50"],
            "p95 int8": row["int8"]["latency"][first]["p95"],
            "peak MB": row["float32"]["alone"]["peak MB"],
            "requests/s": row["highest rate"],
        }
    digits = {"kB": 0, "kB int8": 0, "peak MB": 0, "requests/s": 0}
    return pd.DataFrame(lines).T.round(3).round(digits)


def recorded() -> dict:
    """The record; FileNotFoundError says how to make it."""
    try:
        return load_result("deploy")
    except FileNotFoundError:
        hint = "no record of the deployment: make it with `python -m kdlab deploy --record`"
        raise FileNotFoundError(hint) from None


def provenance() -> str:
    """One line under the recorded table: command, machine, date, commit."""
    r = recorded()
    where = f"{r['machine']['processor']}, {r['machine']['cores']} cores"
    return f"`{r['command']}` · {where} · {r['date']} · commit {r['commit']}"
