"""For the engineer: what a comparison has shown: its table, its gaps, its verdict."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from kdlab.apps.distil.arms import TEACHER, pairs
from kdlab.apps.distil.photos import Photos
from kdlab.apps.distil.verdict import Gap, Verdict, gap_of, judge
from kdlab.apps.distil.words import arm_name, interval, pair_name, verdict_sentence, words
from kdlab.apps.i18n import languages

METRICS = ("accuracy", "balanced", "ece", "seconds")


@dataclass(frozen=True, eq=False)
class Result:
    """A comparison that has been carried out. As text it is the table and the verdict."""

    record: dict  # as in runs.json
    photos: Photos
    folder: Path
    language: str | None = None

    @property
    def student(self) -> Path:
        return self.folder / "student.onnx"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def arms(self) -> list[str]:
        return list(self.record["about"]["plan"]["arms"])

    @property
    def seeds(self) -> int:
        return len({run["seed"] for run in self.record["runs"]})

    @cached_property
    def gaps(self) -> dict[tuple[str, str], Gap]:
        """(arm, control) -> its gap; the intervals of all hold together in 95%."""
        labels, runs = self.photos.test.labels.tolist(), self.record["runs"]
        family = pairs(self.arms)
        return {pair: gap_of(runs, *pair, labels, comparisons=len(family)) for pair in family}

    @cached_property
    def verdict(self) -> Verdict:
        """About the teacher's answers, asked once, against each control."""
        gaps = {over: gap for (arm, over), gap in self.gaps.items() if arm == TEACHER}
        return judge(gaps, self.seeds, len(self.photos.test.labels))

    @cached_property
    def table(self) -> pd.DataFrame:
        """Mean and std over the seeds of what is measured of each arm."""
        runs = pd.DataFrame(self.record["runs"])[["arm", *METRICS]]
        return runs.groupby("arm")[list(METRICS)].agg(["mean", "std"]).loc[self.arms]

    def text(self, language: str | None = None) -> str:
        """The table and the verdict."""
        said = []
        for code in languages(language):
            rows = []
            for arm in self.arms:
                mean, std = self.table.loc[arm, "accuracy"]
                spread = f" ± {std:.1f}" if self.seeds > 1 else ""
                rows.append(f"{mean:5.1f}{spread}  {arm_name(arm)(code)}")
            rows += [
                words("line", code, pair=pair_name(*pair), interval=interval(gap))
                for pair, gap in self.gaps.items()
            ]
            rows.append(words("together", code, n=len(self.gaps)))
            rows.append(words("verdict", code, sentence=verdict_sentence(self.verdict)))
            said.append("\n".join(rows))
        return "\n\n".join(said)

    def __str__(self) -> str:
        return self.text(self.language)
