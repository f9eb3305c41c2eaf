"""For the engineer: chapter 04's measurements in one command, `python -m kdlab deploy --record`.

Every deployed model in float32 and int8: bytes, accuracy on the whole test set, latency, memory in
a fresh process, and the highest rate that the service keeps; then a minute of load at 80% of it.
"""

from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import psutil
import torch

from kdlab.apps.serving import export, load_test, runtime
from kdlab.data import Images
from kdlab.lab import results
from kdlab.metrics import accuracy, predict
from kdlab.teachers import load_teacher

P99_LIMIT = 50.0  # ms
COLUMNS = {  # of a record's run -> of the table
    "float32.bytes": "kB",
    "int8.bytes": "kB int8",
    "accuracy": "accuracy",
    "accuracy int8": "int8",
    "float32.latency.batch 1, 1 thread.p50": "p50 ms",
    "float32.latency.batch 1, 1 thread.p95": "p95 ms",
    "int8.latency.batch 1, 1 thread.p50": "p50 int8",
    "int8.latency.batch 1, 1 thread.p95": "p95 int8",
    "float32.alone.peak MB": "peak MB",
    "highest rate": "requests/s",
}


def measure_accuracy(name: str, test: Images, paths: Mapping[str, Path]) -> dict[str, float]:
    """Accuracy (%) of torch, of "float32" and of "int8", and how far float32 is from torch."""
    logits = {"torch": predict(load_teacher(name), test)}
    for form, path in paths.items():
        session = runtime.open_model(path, threads=2, exact=True)
        logits[form] = torch.from_numpy(runtime.infer(session, test.images.numpy()))
    right = {form: round(accuracy(z, test.labels), 2) for form, z in logits.items()}
    return {
        "accuracy": right["float32"],
        "accuracy int8": right["int8"],
        "accuracy torch": right["torch"],
        "largest difference to torch": float((logits["float32"] - logits["torch"]).abs().max()),
    }


def measure_file(path: Path, seconds: float) -> dict:
    """Bytes; ms of a call at batch 1 and 64, with one thread and two; memory in a fresh process."""
    latency = {}
    for batch, threads in product((1, 64), (1, 2)):
        call = f"batch {batch}, {threads} thread{'s' if threads > 1 else ''}"
        latency[call] = runtime.time_calls(runtime.open_model(path, threads), batch, seconds)
    alone = runtime.measure_fresh(path, seconds)
    return {"bytes": path.stat().st_size, "latency": latency, "alone": alone}


def measure_service(rows: list[dict], seconds: float, soak: float) -> tuple[dict, dict]:
    """Put into each row the "highest rate" that the service keeps with its model. The loads that
    found it, by model; and what became of `soak` seconds of load on the last model."""
    files, loads = export.exported_models(int8=False), {}
    with load_test.serving(models=[files[row["arm"]] for row in rows]) as (url, process):
        for row in rows:
            name, images = row["arm"], export.image_set(row["data"], "test").images[:64]
            print(f"load on {name}", flush=True)
            address, bodies = f"{url}/predict?model={name}", list(map(load_test.encode_png, images))
            load_test.generate(address, bodies, 50, 0.5)  # warm-up
            highest, outcomes = load_test.highest_rate(address, bodies, P99_LIMIT, seconds)
            row["highest rate"], loads[name] = highest, [as_record(outcome) for outcome in outcomes]
        rate = round(0.8 * highest)
        if not rate:
            return loads, {}
        parts, megabytes = [], []
        for seed in range(max(1, round(soak / 10))):
            parts.append(load_test.generate(address, bodies, rate, min(soak, 10), seed))
            megabytes.append(round(psutil.Process(process.pid).memory_info().rss / 1e6))
    return loads, {
        "model": name,
        "rate": rate,
        "seconds": soak,
        "sent": sum(part.sent for part in parts),
        "answered": sum(len(part.milliseconds) for part in parts),
        "p99": round(max(part.percentile(99) for part in parts), 2),
        "resident MB": megabytes,
    }


def as_record(outcome: load_test.Outcome) -> dict:
    """What a record keeps of a load; infinite percentiles (ms) as None."""
    p = {f"p{share}": round(outcome.percentile(share), 2) for share in (50, 95, 99)}
    p = {name: value if np.isfinite(value) else None for name, value in p.items()}
    answered, failures = len(outcome.milliseconds), {"failures": outcome.failures}
    return {"rate": outcome.rate, "sent": outcome.sent, "answered": answered} | p | failures


def measure_deployment(*, record: bool = False, seconds: float = 2.0, soak: float = 60.0) -> dict:
    """Measure, print the table, and with `record` keep it as data/results/deploy.json."""
    print("exporting what is missing", flush=True)
    files, rows = export.exported_models(), []
    for name, data, role in export.DEPLOYED:
        print(f"measuring {name}", flush=True)
        row = {"arm": name, "seed": 0, "data": data, "role": role}
        paths = {"float32": files[name], "int8": files[f"{name}-int8"]}
        row |= measure_accuracy(name, export.image_set(data, "test"), paths)
        row |= {form: measure_file(path, 0.25 * seconds) for form, path in paths.items()}
        rows.append(row)
    loads, steady = measure_service(rows, seconds, soak)
    result = {
        "name": "deploy",
        "title": "What was deployed in chapter 04: size, accuracy, latency, memory, load",
        **results.stamp(f"deploy --seconds {seconds:g} --soak {soak:g}"),
        "runtime": onnxruntime.__version__,
        "runs": rows,
        "loads": loads,
        "steady": steady,
    }
    print(f"\n{deployment_table(result).to_string()}\n\nsteady load: {steady}")
    if record:
        results.write(result)
    return result


def deployment_table(record: Mapping) -> pd.DataFrame:
    """The deployed models of a record, one a row; milliseconds are at batch 1 on one thread."""
    rows = pd.json_normalize(record["runs"]).set_index("arm").rename_axis(None)
    rows = rows[list(COLUMNS)].rename(columns=COLUMNS)
    rows[["kB", "kB int8"]] /= 1e3
    return rows.round(3).round({"kB": 0, "kB int8": 0, "peak MB": 0, "requests/s": 0})
