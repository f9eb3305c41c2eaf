"""For the reader of a chapter: figures, panels with sliders, exercises, decision guide, sheet."""

from .edition import speak

speak()
