"""The course's diagrams: SVG files in `data/diagrams`, one a language.

`python tests/draw_diagrams.py` draws them from `data/diagrams.yaml`.
"""

import base64
from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from kdlab.apps.i18n import languages
from kdlab.files import EMBEDDED

FOLDER = EMBEDDED / "diagrams"


@dataclass(frozen=True)
class Diagram:
    """A diagram, which Jupyter shows as an image with its alt text: bare SVG stays hidden in a
    notebook that has not been run yet (JupyterLab trusts none)."""

    title: str
    alt: str
    svg: str = field(repr=False)

    def _repr_html_(self) -> str:
        alt = escape(self.alt, {'"': "&quot;"})
        source = f"data:image/svg+xml;base64,{base64.b64encode(self.svg.encode()).decode()}"
        return f'<img alt="{alt}" src="{source}" style="width:960px;max-width:100%">'


def draw(name: str, language: str | None = None) -> Diagram:
    """The diagram of this name, in one language: of "both", the first."""
    path = FOLDER / f"{name}.{languages(language)[0]}.svg"
    if not path.is_file():
        names = sorted({path.name.split(".")[0] for path in FOLDER.glob("*.svg")})
        raise ValueError(f"no diagram is named {name!r}; there are: {', '.join(names)}")
    svg = path.read_text(encoding="utf-8")
    root = ElementTree.fromstring(svg)
    return Diagram(title=root.findtext("{*}title"), alt=root.findtext("{*}desc"), svg=svg)
