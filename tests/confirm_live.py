"""Whether the live student shows in fewer steps what its sketch showed in 1,000, on fresh seeds.

python tests/confirm_live.py 600 --seeds 100 139

600 steps were chosen on the seeds 1 to 20 and tried on 100 to 139; 700 steps, the fewest hundreds
with which the one effect that failed holds there, were tried on 140 to 179. Declared before they
ran: an effect holds where its sign is the sketch's, its paired 95% interval leaves out zero, and
the interval of its change from 1,000 steps to 600, paired by seed, lies within `margin`. How many
threes a student recognises is of 100, accuracy in %. The rows are added to
data/results/live-student.csv, whose tables are live-student.md. Five minutes of one core.
"""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from kdlab import files
from kdlab.apps.chapters.panels import live_student
from kdlab.lab import results, stats

SKETCHED = 1000
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


def learnt(steps: int, seeds: Sequence[int]) -> list[dict]:
    """A row for each student that the effects name, each seed, before and after the shift."""
    live_student.STEPS, live_student.LOOKS = steps, (steps,)
    names = {(e.digit, e.labels, name) for e in EFFECTS for name in (e.treated, e.control)}
    names = sorted({(d, n if name == "labels" else 0, name) for d, n, name in names})
    rows = []
    for digit, labels, targets in names:
        for seed in seeds:
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


def verdict(rows: pd.DataFrame, chosen: int, effect: Effect) -> dict:
    """An effect with either number of steps, and whether it holds."""
    ends = {
        steps: [scores(rows, steps, effect, name) for name in (effect.treated, effect.control)]
        for steps in (SKETCHED, chosen)
    }
    gaps = {steps: np.subtract(*both) for steps, both in ends.items()}
    found = {steps: stats.paired(*both) for steps, both in ends.items()}
    change = stats.paired(gaps[chosen], gaps[SKETCHED])
    right = found[chosen].excludes_zero() and found[chosen].mean * effect.sketch > 0
    within = -effect.margin <= change.low and change.high <= effect.margin
    treated, control = (each.mean() for each in ends[chosen])
    return {
        "left out": "none" if effect.digit < 0 else effect.digit,
        "labels a digit": effect.labels,
        "shift": effect.when,
        "effect": f"{effect.treated} {treated:.1f} − {effect.control} {control:.1f}",
        "sketch": f"{effect.sketch:+.1f}",
        f"{SKETCHED} steps": told(found[SKETCHED]),
        f"{chosen} steps": told(found[chosen]),
        "pairs": f"{int((gaps[chosen] * np.sign(effect.sketch) > 0).sum())} of {len(gaps[chosen])}",
        "change": told(change),
        "margin": effect.margin,
        "holds": "yes" if right and within else "no",
    }


def told(gap: stats.Paired) -> str:
    return f"{gap.mean:+.1f} ({gap.low:+.1f} to {gap.high:+.1f})".replace("-", "−")


def page(rows: pd.DataFrame) -> str:
    """The record as a person reads it."""
    parts = [
        "# The live student's steps, on fresh seeds",
        "`python tests/confirm_live.py`, T = 4. An effect is `treated` minus `control`: of 100 "
        "test images of the digit left out, or points of accuracy. Its mean has its paired 95% "
        f"interval. *Change* is from {SKETCHED:,} steps; it must lie within ± *margin*, and the "
        "effect have the sketch's sign and leave out zero. The sketch had other seeds. Scores of "
        "each student stand in `live-student.csv`.",
    ]
    for chosen, part in rows.groupby("chosen"):
        seeds = f"{part['seed'].min()} to {part['seed'].max()}"
        parts += [f"## {chosen} steps, seeds {seeds}"]
        parts += [table([verdict(part, chosen, effect) for effect in EFFECTS])]
    return "\n\n".join(parts) + "\n"


def table(rows: Sequence[dict]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([str(v) for v in r.values()] for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("steps", type=int)
    parser.add_argument("--seeds", type=int, nargs=2, required=True, metavar=("FIRST", "LAST"))
    options = parser.parse_args()
    seeds, stamp = range(options.seeds[0], options.seeds[1] + 1), results.stamp("")
    found = [row for steps in (SKETCHED, options.steps) for row in learnt(steps, seeds)]
    rows = pd.DataFrame([{"chosen": options.steps, **row, **origin(stamp)} for row in found])
    path = files.results_dir() / f"{NAME}.csv"
    if path.exists():
        old = pd.read_csv(path)
        rows = pd.concat([old[old["chosen"] != options.steps], rows])
    files.write_csv(path, rows.to_dict("records"))
    text = page(rows)
    files.write_text(path.with_suffix(".md"), text)
    print(text)


def origin(stamp: dict) -> dict:
    return {
        "commit": stamp["commit"], "date": stamp["date"],
        "processor": stamp["machine"]["processor"],
    }  # fmt: skip


if __name__ == "__main__":
    main()
