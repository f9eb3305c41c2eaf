"""How tests read a notebook: its cells by kind and tag, what they print, where they link."""

import re
from urllib.parse import unquote

import nbformat


def number_of(path):
    return path.stem.split("_")[0]


def read(path):
    return nbformat.read(path, as_version=4)


def tags(cell):
    return cell.metadata.get("tags", [])


def of_kind(notebook, kind):
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def tagged(notebook, tag):
    return [i for i, cell in enumerate(notebook.cells) if tag in tags(cell)]


def texts(cell):
    """Everything a cell's outputs say in words."""
    for output in cell.get("outputs", []):
        yield from (output.get("text", ""), output.get("evalue", ""), *output.get("traceback", []))
        yield from (v for k, v in output.get("data", {}).items() if k.startswith("text/"))


def relative_links(text):
    """Where links and pictures lead, in Markdown and in HTML; none to an address or in the page."""
    targets = re.findall(r"\]\(<?([^)>\s]+)>?[^)]*\)", text)
    targets += re.findall(r"(?:href|src)=[\"']([^\"']+)", text)
    return [x for x in targets if not re.match(r"[a-z]+:|//|#", x)]


def resolves(link, source):
    """A file that exists; after `.ipynb#` a cell id (also `cell-id=...`), a tag or a heading."""
    path, _, anchor = unquote(link).partition("#")
    target = source.parent / path
    if target.suffix != ".ipynb" or not anchor or not target.exists():
        return target.exists()
    notebook = read(target)
    found = {name for cell in notebook.cells for name in (cell.get("id"), *tags(cell))}
    for cell in of_kind(notebook, "markdown"):
        found.update(h.replace(" ", "-") for h in re.findall(r"(?m)^#+ +(.*?)\s*$", cell.source))
    return anchor.removeprefix("cell-id=") in found
