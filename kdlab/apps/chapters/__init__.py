"""For the reader of a chapter: figures, panels with sliders, exercises, decision guide, sheet."""
