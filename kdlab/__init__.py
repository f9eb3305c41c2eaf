"""Knowledge distillation, taught by running it. One module, one job: see design in README.md."""

__version__ = "0.1.0"
