"""The look of every figure, as a chapter's cells use it."""

from kdlab.apps.style import COLOURS, apply, figure

__all__ = ["COLOURS", "apply", "figure"]
