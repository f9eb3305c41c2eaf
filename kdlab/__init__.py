"""Knowledge distillation, taught by running it. README.md has the map of this package."""

__version__ = "0.1.0"
