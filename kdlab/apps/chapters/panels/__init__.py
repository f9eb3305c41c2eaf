"""Panels with sliders, one a file: its numbers (a pure function), its data and its static twin.

A script of the same name draws it; `base` has what all share, `data/words.yaml` their words.
"""

from .acceptance import acceptance_figure, acceptance_panel, acceptance_state
from .advice import advice_panel, advice_state, evidence_rows
from .base import MIME, Panel, standalone
from .downloads import download_figure, download_panel, download_state
from .few_labels import few_labels_figure, few_labels_panel, few_labels_state
from .live_student import live_student_figure, live_student_panel, live_student_state
from .objective import objective_figure, objective_panel, objective_state
from .robustness import robustness_figure, robustness_panel, robustness_state, under_attack
from .temperature import ladder_panel, temperature_figure, temperature_panel, temperature_state
from .verification import verification_figure, verification_panel, verification_state
