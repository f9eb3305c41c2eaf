"""`python -m kdlab`: see `kdlab.desk.cli`."""

from kdlab.desk.cli import app

app(prog_name="python -m kdlab")
