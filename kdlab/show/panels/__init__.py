"""Panels with sliders, one a file: its numbers (a pure function), its picture, its controls.

A panel joins them: one PNG is replaced at each change (about 25 ms on one core). What it says
stands in `data/words.yaml`. Nothing swallows an exception; a slider clamps what lies outside its
range.
"""

from kdlab.show.panels.advice import advice_panel, evidence_rows
from kdlab.show.panels.downloads import download_figure, download_panel, download_state
from kdlab.show.panels.labels import label_curves_figure, label_panel, label_state
from kdlab.show.panels.objective import (
    objective_state,
    temperature_lambda_grid,
    temperature_lambda_panel,
)
from kdlab.show.panels.robustness import (
    robustness_figure,
    robustness_panel,
    robustness_state,
    under_attack,
)
from kdlab.show.panels.temperature import (
    ladder_panel,
    temperature_panel,
    temperature_small_multiples,
    temperature_state,
)
from kdlab.show.panels.verification import (
    verification_figure,
    verification_panel,
    verification_state,
)
