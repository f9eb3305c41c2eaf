"""What was measured: the records in data/results, read, paired over seeds, compared, summed up.

A record is what `python -m kdlab run NAME` wrote: how it was made (`stamp`), the settings of each
arm, and its runs, a dict for each arm and seed.
"""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from statistics import fmean

import pandas as pd

from kdlab.files import ROOT, digest, results_dir, write_json
from kdlab.lab.hardware import describe
from kdlab.lab.stats import (
    Comparison,
    Paired,
    by_seed,
    corrected,
    difference,
    family_of,
    summarise,
    values,
)

VIEWS_BY_SEED = "2026-11-25"  # a record of a day before has the same random views in every run
Records = Callable[[str], dict]  # where a function finds a record by its name: `read`, or another
LINES = {  # what a line says; an application may put another language in its place
    "seeds": "{n} seeds",
    "same views": " (the same random views in each)",
    "commit": "commit {commit}",
    "earlier": "; seeds {which}: ",
    "run": "{arm}, seed {seed}: {outcome}, {seconds:.0f} s",
    "errors": "{errors} errors ({accuracy:.2f}%)",
    "missing": "no record {name!r}: make it with `{command}`",
}


def names() -> list[str]:
    """Every record there is."""
    return sorted(path.stem for path in results_dir().glob("*.json"))


def command(name: str) -> str:
    """What makes a record."""
    own = {"bench": "bench --record", "deploy": "deploy --record", "own-model": "own-model"}
    arguments = own.get(name, f"run {name}")
    return f"python -m kdlab {arguments}"


def read(name: str) -> dict:
    """A record. FileNotFoundError or, for a damaged one, ValueError says how to make it."""
    path = results_dir() / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(LINES["missing"].format(name=name, command=command(name)))
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"the record {path.name} is damaged: restore it with `git checkout data/results`, or "
            f"delete it and run `{command(name)}`"
        ) from error


def write(record: dict) -> None:
    """Keep a record under its name, whole or not at all."""
    write_json(results_dir() / f"{record['name']}.json", record)


def stamp(made_by: str, device: str = "cpu") -> dict:
    """How a record was made: the command, the commit of the code, the day and the machine."""
    return {
        "command": f"python -m kdlab {made_by}",
        "commit": commit(),
        "date": date.today().isoformat(),
        "machine": describe(device),
    }


def commit() -> str:
    """The commit of the code that runs ($KDLAB_COMMIT where there is no .git). Where it has been
    edited, "-dirty" and a digest of the edits follow: other edits are other code.

    Only edits of kdlab and of the teachers count: a record changes data/results by being written.
    """
    places = ("kdlab", "data/teachers")

    def git(*words: str) -> bytes:
        return subprocess.run(("git", *words), cwd=ROOT, capture_output=True).stdout

    try:
        here = git("rev-parse", "--short=12", "HEAD").decode().strip()
        if git("status", "--porcelain", "--", *places):
            new = git("ls-files", "--others", "--exclude-standard", "-z", "--", *places).decode()
            files = [(ROOT / name).read_bytes() for name in new.split("\0") if name]
            here += f"-dirty-{digest(b''.join([git('diff', 'HEAD', '--', *places), *files]))[:8]}"
        return os.environ.get("KDLAB_COMMIT") or here or "unknown"
    except OSError:
        return "unknown"


def provenance(name: str, lines: Mapping[str, str] = LINES) -> str:
    """One line under a recorded table: command, machine, seeds, date, commit."""
    r = read(name)
    seeds = lines["seeds"].format(n=len({run["seed"] for run in r["runs"]}))
    seeds += lines["same views"] * same_views(r)
    end = f"{r['date']} · {lines['commit'].format(**r)}"
    line = f"`{r['command']}` · {chip(r)} · {seeds} · {end}"
    for part in r.get("earlier", ()):
        line += lines["earlier"].format(which=", ".join(map(str, part["seeds"])))
        line += f"{chip(part)} · {part['date']} · {lines['commit'].format(**part)}"
    return line


def same_views(record: Mapping) -> bool:
    """Whether the seeds, or the earlier ones, all had one set of random views: then no interval has
    what views would vary."""
    recipes = [s for s in record.get("settings", {}).values() if isinstance(s, dict)]
    random = any(any(s.get("views", [])[:2]) for s in recipes)
    dates = [part["date"] for part in (record, *record.get("earlier", ()))]
    return min(dates) < VIEWS_BY_SEED and random


def chip(record: Mapping) -> str:
    """What a record was computed on: the accelerator or, where there was none, the processor."""
    gpu, processor = (record["machine"][part] for part in ("accelerator", "processor"))
    return processor if gpu == "none" else gpu


def judged_on(record: Mapping) -> set[str]:
    """{"test"}, {"validation"}, or nothing where no recipe says."""
    settings = record.get("settings", {}).values()
    return {s["judge"] for s in settings if isinstance(s, dict) and "judge" in s}


def metric_of(record: Mapping) -> str:
    """What a record is about: the rarest of its known metrics."""
    known = ("unseen errors shifted", "robust", "tar", "accuracy", "seconds")
    measured = [metric for metric in known if metric in record["runs"][0]]
    return "seconds" if record["name"] == "bench" else measured[0]


def runs_of(record: Mapping) -> list[dict]:
    """A record's runs; of chapter 04's deployment, a "run" for each file that was shipped."""
    if not any("float32" in run for run in record["runs"]):
        return record["runs"]
    return [
        {
            "arm": run["arm"] + suffix,
            "seed": run["seed"],
            "accuracy": run["accuracy" + suffix],
            "kB": run[form]["bytes"] / 1e3,
            "ms": run[form]["latency"]["batch 1, 1 thread"]["p50"],
        }
        for run in record["runs"]
        for form, suffix in (("float32", ""), ("int8", " int8"))
    ]


def table(name: str, metric: str = "accuracy", control: str | None = None) -> pd.DataFrame:
    """The recorded experiment, summed up; its families of comparisons are those it declares."""
    record = read(name)
    return summarise(record["runs"], metric, control, record)


def compare(
    name: str,
    arm: str,
    over: str,
    metric: str = "accuracy",
    *,
    of: str = "",
    needed: str = "",
    records: Records = read,
) -> Comparison:
    """Two arms of a record, as `difference` has them. The p value is corrected (Holm) over the
    family of the pair, whichever of both is called control (see `family_of`)."""
    comparison = Comparison(name, arm, over, metric, None, needed)
    try:
        record = records(name)
    except FileNotFoundError:
        return comparison
    runs = runs_of(record)
    if name == "deploy":  # a file was weighed and timed once: no seeds, no interval
        ours, theirs = by_seed(runs, arm, metric), by_seed(runs, over, of or metric)
        once = ours[0] - theirs[0] if ours and theirs else None
        return (
            comparison if once is None else replace(comparison, gap=Paired(once, once, once, 1, 1))
        )
    if not (gap := difference(runs, arm, over, metric, of)):
        return comparison
    known = corrected(runs, family_of(record | {"runs": runs}, arm, over), metric, of)
    return replace(comparison, gap=gap, corrected=known[frozenset((arm, over))])


def best_setting(name: str, arms: str = "", records: Records = read) -> tuple[str, str, int] | None:
    """(record, its best arm by mean accuracy on validation, of how many), or None; `arms` is how
    the arms that count begin. A numbered trial is told by the settings that were open.

    ValueError for a record that was judged on test images: nothing is chosen there.
    """
    try:
        record = records(name)
    except FileNotFoundError:
        return None
    among = [a for a in record["settings"] if not arms or f"{a} ".startswith(f"{arms} ")]
    if {record["settings"][a]["judge"] for a in among} - {"validation"}:
        raise ValueError(f"{name} was judged on test images: no setting is chosen there")
    accuracies = {a: v for a in among if (v := values(record["runs"], a))}
    seeds = max(
        map(len, accuracies.values()), default=0
    )  # finalists have more than the other trials
    mean = {a: fmean(v) for a, v in accuracies.items() if len(v) == seeds}
    if not mean:
        return None
    best, tried = max(mean, key=mean.get), [record["settings"][a] for a in among]
    if "#" in best:
        of = record["settings"][best]
        best = ", ".join(f"{k} {v}" for k, v in of.items() if any(t[k] != v for t in tried))
    return name, best, len(accuracies)
