"""For whoever doubts that the package is fast: a plain loop and `fit`, side by side."""
