"""For whoever makes the course faster: where its seconds go, a cell at a time.

Core seconds are those of the kernel and of all processes that it starts: what a busy machine
changes least. Wall seconds are what the learner waits.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import psutil
from nbclient import NotebookClient

from kdlab import files

START = "start of the kernel"


def core_seconds(pid: int) -> float:
    """Seconds of processor that a process, those it started, and those that ended have used."""
    try:
        first = psutil.Process(pid)
        times = [process.cpu_times() for process in (first, *first.children(recursive=True))]
    except psutil.NoSuchProcess:  # one ended in between: it counts with its parent next time
        return core_seconds(pid) if psutil.pid_exists(pid) else 0.0
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def watch(client: NotebookClient) -> list[dict]:
    """Have a client note what each cell costs; the list is filled while the notebook runs."""
    rows, began = [], {"wall": time.perf_counter(), "cores": 0.0}

    def note(cell: str) -> None:
        now = {
            "wall": time.perf_counter(),
            "cores": core_seconds(client.km.provisioner.process.pid),
        }
        rows.append({"cell": cell, **{kind: now[kind] - began[kind] for kind in now}})
        began.update(now)

    def before(cell: dict, cell_index: int) -> None:
        if not rows:
            note(START)

    def after(cell: dict, cell_index: int, execute_reply: dict) -> None:
        if cell["cell_type"] == "code":
            note(cell["id"])

    client.on_cell_execute, client.on_cell_executed = before, after
    return rows


def table(rows: Sequence[dict]) -> pd.DataFrame:
    """Chapters by wall and core seconds, the share of this machine's cores that they used, and
    the cell that costs most."""
    cells = pd.DataFrame(rows)
    found = cells.groupby("chapter", sort=False)[["wall", "cores"]].sum()
    found["cores used"] = found["cores"] / found["wall"]
    dearest = cells.loc[cells.groupby("chapter", sort=False)["cores"].idxmax()]
    found["dearest cell"] = dearest.set_index("chapter")["cell"]
    found["its cores"] = dearest.set_index("chapter")["cores"]
    return found.round(1)


def keep(rows: Sequence[dict], path: Path) -> None:
    """Write the ledger, a row a cell."""
    files.write_csv(path, [row | {k: round(row[k], 2) for k in ("wall", "cores")} for row in rows])
