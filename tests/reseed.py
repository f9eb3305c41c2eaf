"""Whether the chapters' claims travel: run them with other seeds, with and without bfloat16.

python tests/reseed.py [01 07 ...] [--changed] [--shifts 10 20 ...] [--workers 2] [--record]

In each run SEED and SEEDS of a chapter are moved together; every second shift runs in float32
(KDLAB_BFLOAT16=off). A claim that does not hold is noted and the chapter goes on. The table has,
for each `assert`, how often it held, the mean of what was compared, and its margin: the mean
distance from the bound in standard deviations over the runs. What no seed and no arithmetic moves
(a formula, a record) has no margin: it is "fixed". With --record the tables are kept as
data/results/reseeding.csv and .md: the rows of these chapters replace their old ones, all others
stay. --changed takes the chapters whose code is not that of the record. Runs of the same code are
kept in build/reseeding.
"""

import argparse
import ast
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import claims
import nbformat
import pandas as pd
from nbclient import NotebookClient

from kdlab import files
from kdlab.apps.classroom import runner
from kdlab.lab import results

RUNS = files.BUILD / "reseeding"
SHIFTS = range(10, 101, 10)
LEAST = 2  # standard deviations between a claim and its bound
KEYS = ["chapter", "cell", "number", "part"]


def code_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The code cells of a chapter."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def version_of(code: Sequence[nbformat.NotebookNode]) -> str:
    """Twelve letters of the program of a chapter's cells; comments and layout don't count."""
    return files.digest("\n".join(program(cell.source) for cell in code).encode())[:12]


def program(source: str) -> str:
    """A cell without its comments; as it stands where it isn't Python alone (%magic)."""
    try:
        return ast.unparse(ast.parse(source))
    except SyntaxError:
        return source


def run(path: Path, shift: int, bfloat16: bool) -> Path:
    """One chapter with moved seeds; the file of what its claims were. A cell that fails in another
    way than by an assert is a claim that does not hold, too."""
    notebook = nbformat.read(path, as_version=4)
    code = code_of(notebook)
    version = version_of(code)
    for cell in code:
        cell.source = claims.measured(cell.source, cell.id, shift)
    kind = "bfloat16" if bfloat16 else "float32"
    done = RUNS / f"{path.stem} {shift} {kind} {version}.jsonl"
    if done.exists():
        return done
    RUNS.mkdir(parents=True, exist_ok=True)
    begun = done.with_suffix(f".{os.getpid()}.part")
    begun.write_text("")
    variables = {
        "KDLAB_CLAIMS": str(begun),
        "KDLAB_BFLOAT16": "" if bfloat16 else "off",
        "KDLAB_CACHE": str(files.BUILD / "reseeding-cache" / kind),
        "KDLAB_PROGRESS": str(RUNS / "no-answers-yet.sqlite3"),
        "MPLBACKEND": runner.INLINE,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(files.ROOT), str(files.ROOT / "tests")]),
    }
    client = NotebookClient(
        notebook,
        timeout=3600,
        allow_errors=True,
        kernel_manager_class=runner._ThisInterpreter,
        extra_arguments=["--IPKernelApp.log_level=40"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute(env={**os.environ, **variables})
    with begun.open("a", encoding="utf-8") as out:
        for cell in code:
            wanted = "raises-exception" in cell.metadata.get("tags", ())
            for error in [] if wanted else [o for o in cell.outputs if o.output_type == "error"]:
                text = f"runs without {error.ename}: {error.evalue}".split("\n")[0][:200]
                row = {"cell": cell.id, "number": 0, "part": 0, "text": text, "holds": False}
                out.write(json.dumps(row) + "\n")
    return begun.rename(done)


def read(done: Path) -> pd.DataFrame:
    """What one run found: a row a claim; a claim inside a loop at its nearest."""
    rows = pd.DataFrame([json.loads(line) for line in done.read_text("utf-8").splitlines()])
    chapter, shift, kind, _ = done.stem.split(" ")
    rows = rows.reindex(columns=[*KEYS[1:], "text", "holds", "value", "bound", "slack"])
    rows.insert(0, "chapter", chapter)
    rows = rows.sort_values(["holds", "slack"]).drop_duplicates(KEYS)
    return rows.assign(shift=int(shift), arithmetic=kind)


def table(found: pd.DataFrame) -> pd.DataFrame:
    """A row a claim: how often it held, what was compared, its margin in standard deviations."""
    groups = found.groupby(KEYS, sort=False)
    rows = groups.agg(
        claim=("text", "first"),
        held=("holds", "sum"),
        runs=("holds", "size"),
        value=("value", "mean"),
        bound=("bound", "mean"),
        slack=("slack", "mean"),
        std=("slack", "std"),
    )
    moves = rows["std"] > 1e-12 * rows["slack"].abs().clip(lower=1)
    rows["margin"] = (rows["slack"] / rows["std"]).where(moves)
    return rows.reset_index()


def weak(rows: pd.DataFrame) -> pd.DataFrame:
    """The claims that failed in a run, or lie nearer to their bound than `LEAST`."""
    return rows[(rows["held"] < rows["runs"]) | (rows["margin"] < LEAST)]


def page(rows: pd.DataFrame) -> str:
    """The record as a person reads it."""
    chapters = rows.groupby("chapter").agg(
        runs=("runs", "max"),
        claims=("claim", "size"),
        moved=("margin", "count"),
        failures=("held", lambda held: int((rows.loc[held.index, "runs"] - held).sum())),
        smallest=("margin", "min"),
        commit=("commit", "first"),
        date=("date", "first"),
        processor=("processor", "first"),
    )
    nearest = rows.sort_values("margin").dropna(subset=["margin"]).head(30)
    lines = [
        "# Claims under other seeds and another arithmetic",
        "",
        "`python tests/reseed.py --record`. In each run SEED and SEEDS are moved together; every "
        "second run is in float32. `moved` counts the comparisons of numbers that seed or "
        "arithmetic moves, `smallest` is the smallest margin among them: the mean distance from "
        "the bound in standard deviations over the runs. All claims stand in `reseeding.csv`.",
        "",
        markdown(chapters.reset_index()),
        "",
        "## The thirty smallest margins",
        "",
    ]
    columns = ["chapter", "cell", "claim", "held", "runs", "value", "bound", "margin"]
    return "\n".join([*lines, markdown(nearest[columns])]) + "\n"


def markdown(rows: pd.DataFrame) -> str:
    """A table in Markdown; numbers in four digits."""
    cells = [
        [f"{x:.4g}" if isinstance(x, float) else str(x)[:90] for x in row] for row in rows.values
    ]
    lines = [list(rows.columns), ["---"] * len(rows.columns), *cells]
    return "\n".join(f"| {' | '.join(c.replace('|', '/') for c in line)} |" for line in lines)


def recorded() -> pd.DataFrame:
    """The rows of the record; none where there is no record yet."""
    path = files.results_dir() / "reseeding.csv"
    columns = {"chapter": str, "code": str}
    return pd.read_csv(path, dtype=columns) if path.exists() else pd.DataFrame({"chapter": []})


def keep(rows: pd.DataFrame) -> None:
    """Put the rows of a chapter in the place of its old ones in the record."""
    stamp = results.stamp("")
    about = {"commit": stamp["commit"], "date": stamp["date"]}
    rows = rows.round(6).assign(**about, processor=stamp["machine"]["processor"])
    old = recorded()
    old = old[~old["chapter"].isin(rows["chapter"])]
    rows = pd.concat([old, rows] if len(old) else [rows]).sort_values("chapter", kind="stable")
    rows = rows.reset_index(drop=True)
    files.write_csv(files.results_dir() / "reseeding.csv", rows.to_dict("records"))
    files.write_text(files.results_dir() / "reseeding.md", page(rows))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("chapters", nargs="*")
    parser.add_argument("--changed", action="store_true")
    parser.add_argument("--shifts", type=int, nargs="+", default=list(SHIFTS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args(arguments)
    codes = {
        path: version_of(code_of(nbformat.read(path, as_version=4)))
        for path in runner.find(options.chapters)
    }
    if options.changed:
        known = dict(recorded().reindex(columns=["chapter", "code"]).to_numpy())
        codes = {path: code for path, code in codes.items() if known.get(path.stem) != code}
    failures, shifts = 0, list(enumerate(options.shifts))
    with ProcessPoolExecutor(options.workers) as pool:
        for path, code in codes.items():
            futures = [pool.submit(run, path, shift, number % 2 == 0) for number, shift in shifts]
            for future in as_completed(futures):
                done = future.result()
                failed = read(done).query("not holds")
                print(f"{done.stem:<48} {len(failed)} failed", *failed["cell"], flush=True)
            rows = table(pd.concat(read(future.result()) for future in futures))
            if len(nearest := weak(rows)):
                print(nearest.drop(columns=["slack", "std"]).round(3).to_string(index=False))
            if options.record:
                keep(rows.assign(code=code))
            failures += int((rows["runs"] - rows["held"]).sum())
    print(f"{len(codes)} chapters, {failures} failures")
    return int(bool(failures))


if __name__ == "__main__":
    raise SystemExit(main())
