"""`python -m kdlab`: see `kdlab.cli`."""

from kdlab.cli import app

app(prog_name="python -m kdlab")
