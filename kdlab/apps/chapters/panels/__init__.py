"""Panels with sliders, one a file: its numbers (a pure function), its data and its static twin.

A script of the same name draws it; `base` has what all share, `data/words.yaml` their words.
"""

from kdlab.apps.chapters.panels.acceptance import (
    acceptance_figure,
    acceptance_panel,
    acceptance_state,
)
from kdlab.apps.chapters.panels.advice import advice_panel, advice_state, evidence_rows
from kdlab.apps.chapters.panels.base import MIME, Panel, standalone
from kdlab.apps.chapters.panels.downloads import download_figure, download_panel, download_state
from kdlab.apps.chapters.panels.few_labels import (
    few_labels_figure,
    few_labels_panel,
    few_labels_state,
)
from kdlab.apps.chapters.panels.objective import objective_figure, objective_panel, objective_state
from kdlab.apps.chapters.panels.robustness import (
    robustness_figure,
    robustness_panel,
    robustness_state,
    under_attack,
)
from kdlab.apps.chapters.panels.temperature import (
    ladder_panel,
    temperature_figure,
    temperature_panel,
    temperature_state,
)
from kdlab.apps.chapters.panels.verification import (
    verification_figure,
    verification_panel,
    verification_state,
)
