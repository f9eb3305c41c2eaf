"""The command that writes the cheat sheet."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument

from kdlab import files


def sheet(folder: Annotated[Path | None, Argument(help="where to; default: build")] = None) -> None:
    """Write the cheat sheet, a page to be printed in each language."""
    from kdlab.apps.chapters import cheat_sheet

    for path in cheat_sheet.write_sheets(folder or files.BUILD):
        typer.echo(f"The cheat sheet is in {path}: open it in a browser and print it")


COMMANDS = {"learn": [sheet]}
