"""Whether the live student's 600 steps show what its sketch showed with 1,000, on seeds kept back.

python tests/confirm_live.py

The number of steps was chosen on the seeds 1 to 20; these are 100 to 139. Declared before they ran:
an effect holds where its sign is the sketch's, its paired 95% interval leaves out zero, and the
interval of its change from 1,000 steps to 600, paired by seed, lies within `margin`. How many
threes a student recognises is of 100, accuracy in %. The rows are kept as
data/results/live-student.csv and .md. Five minutes of one core.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from kdlab import files
from kdlab.apps.chapters.panels import live_student
from kdlab.lab import results, stats

SEEDS = range(100, 140)
SKETCHED, CHOSEN = 1000, live_student.STEPS
NAME = "live-student"


class Effect(NamedTuple):
    """`treated` minus `control`, what students get right at the end; what the sketch had."""

    digit: int  # left out; -1: none
    labels: int  # a digit
    when: str  # before or after the shift
    treated: str
    control: str
    sketch: float
    margin: float


EFFECTS = (
    Effect(3, 200, "after", "soft", "labels", 54.2, 5.0),
    Effect(3, 200, "after", "soft", "shuffled", 29.4, 5.0),
    Effect(3, 200, "after", "shuffled", "labels", 24.7, 5.0),
    Effect(3, 200, "after", "soft", "first", 57.0, 5.0),
    Effect(3, 200, "before", "soft", "shuffled", 11.8, 5.0),
    Effect(-1, 5, "after", "soft", "labels", 26.1, 1.0),
    Effect(-1, 5, "after", "first", "labels", 24.4, 1.0),
    Effect(-1, 200, "after", "soft", "labels", 1.4, 0.5),
)


def learnt(steps: int) -> list[dict]:
    """A row for each student that the effects name, each seed, before and after the shift."""
    live_student.STEPS, live_student.LOOKS = steps, (steps,)
    names = {(e.digit, e.labels, name) for e in EFFECTS for name in (e.treated, e.control)}
    names = sorted({(d, n if name == "labels" else 0, name) for d, n, name in names})
    rows = []
    for digit, labels, targets in names:
        for seed in SEEDS:
            (look,) = live_student.learn(digit, labels, 4.0, targets, seed)
            scores = {when: live_student.score(look, digit, when) for when in ("before", "after")}
            key = {"steps": steps, "digit": digit, "labels": labels, "targets": targets}
            rows.append({**key, "seed": seed, **scores})
    return rows


def scores(rows: pd.DataFrame, steps: int, effect: Effect, targets: str) -> np.ndarray:
    labels = effect.labels if targets == "labels" else 0
    key = {"steps": steps, "digit": effect.digit, "labels": labels, "targets": targets}
    found = rows[(rows[list(key)] == pd.Series(key)).all(axis=1)]
    return found.sort_values("seed")[effect.when].to_numpy()


def verdict(rows: pd.DataFrame, effect: Effect) -> dict:
    """An effect with either number of steps, and whether it holds."""
    ends = {
        steps: [scores(rows, steps, effect, name) for name in (effect.treated, effect.control)]
        for steps in (SKETCHED, CHOSEN)
    }
    gaps = {steps: np.subtract(*both) for steps, both in ends.items()}
    found = {steps: stats.paired(*both) for steps, both in ends.items()}
    change = stats.paired(gaps[CHOSEN], gaps[SKETCHED])
    right = found[CHOSEN].excludes_zero() and found[CHOSEN].mean * effect.sketch > 0
    within = -effect.margin <= change.low and change.high <= effect.margin
    treated, control = (each.mean() for each in ends[CHOSEN])
    return {
        "left out": "none" if effect.digit < 0 else effect.digit,
        "labels a digit": effect.labels,
        "shift": effect.when,
        "effect": f"{effect.treated} {treated:.1f} − {effect.control} {control:.1f}",
        "sketch": f"{effect.sketch:+.1f}",
        f"{SKETCHED} steps": told(found[SKETCHED]),
        f"{CHOSEN} steps": told(found[CHOSEN]),
        "pairs": f"{int((gaps[CHOSEN] * np.sign(effect.sketch) > 0).sum())} of {len(SEEDS)}",
        "change": told(change),
        "margin": effect.margin,
        "holds": "yes" if right and within else "no",
    }


def told(gap: stats.Paired) -> str:
    return f"{gap.mean:+.1f} ({gap.low:+.1f} to {gap.high:+.1f})".replace("-", "−")


def page(rows: pd.DataFrame) -> str:
    """The record as a person reads it."""
    return "\n\n".join([
        "# The live student's steps, on seeds kept back",
        f"`python tests/confirm_live.py`, seeds {SEEDS[0]} to {SEEDS[-1]}, T = 4. An effect is "
        "`treated` minus `control`: of 100 test images of the digit left out, or points of "
        "accuracy. Its mean has its paired 95% interval. *Change* is from "
        f"{SKETCHED:,} steps to {CHOSEN}; it must lie within ± *margin*. The sketch had other "
        "seeds. Scores of each student stand in `live-student.csv`.",
        table([verdict(rows, effect) for effect in EFFECTS]),
    ]) + "\n"  # fmt: skip


def table(rows: Sequence[dict]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([str(v) for v in r.values()] for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    stamp = results.stamp("")
    rows = [row for steps in (SKETCHED, CHOSEN) for row in learnt(steps)]
    files.write_csv(files.results_dir() / f"{NAME}.csv", [{**row, **origin(stamp)} for row in rows])
    text = page(pd.DataFrame(rows))
    files.write_text(files.results_dir() / f"{NAME}.md", text)
    print(text)


def origin(stamp: dict) -> dict:
    return {
        "commit": stamp["commit"], "date": stamp["date"],
        "processor": stamp["machine"]["processor"],
    }  # fmt: skip


if __name__ == "__main__":
    main()
