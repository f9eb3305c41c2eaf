"""One widget for all panels: Python hands the data over once, a script computes and draws.

A panel is a script beside this file, controls, data, and the pure function that says in Python what
the script computes. Its output also carries its data under `MIME`: `standalone` shows it alive
where there is no kernel.
"""

import base64
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anywidget
import numpy as np
import torch.nn.functional as F
import traitlets
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor

from kdlab import losses
from kdlab.apps.i18n import LANGUAGES, display_name, languages, translate, wordbook
from kdlab.apps.markdown import MIME
from kdlab.apps.style import COLOURS, PIXELS, paired_bars, pixels_of, speaks
from kdlab.files import EMBEDDED

HERE = Path(__file__).parent
QUALITIES = (80, 70, 60, 50, 40, 30, 20)  # of a picture that would be too long without loss
LOW, HIGH = 0.25, 50.0  # temperatures within the sliders' reach
IMPORTED = re.compile(r'^import .* from "\./(\w+)\.js";$', re.MULTILINE)
AS_TEXT = re.compile(r'^import (\w+) from "\./(\w+)\.js" with \{ type: "text" \};$', re.MULTILINE)
Control = traitlets.TraitType  # whose metadata say how the script shows it

# ---------------------------------------------------------------- controls


class ClampedFloat(traitlets.CFloat):
    """A number that is clamped to its range and, where `snap` is set, to the slider's steps."""

    def validate(self, panel: "Panel", value: object) -> float:
        number = min(max(float(value), self.min), self.max)
        step = self.metadata["control"]["step"]
        return round(round(number / step) * step, 9) if self.metadata["snap"] else number


def slider(
    value: float, low: float, high: float, step: float, form: str = ".3g", base: int = 0
) -> Control:
    """A number; `base` makes a logarithmic scale, whose `step` counts exponents."""
    control = {"low": low, "high": high, "step": step, "form": form, "base": base}
    trait = ClampedFloat(value, min=low, max=high)
    return trait.tag(snap=False, control={"kind": "slider", **control})


def choice(
    options: Sequence[tuple[object, Mapping[str, str]]], ordered: bool = False, value: object = None
) -> Control:
    """One of some values, each with its words, the first or `value`; a slider where `ordered`."""
    trait = traitlets.Enum([v for v, _ in options], options[0][0] if value is None else value)
    return trait.tag(control={"kind": "choice", "options": options, "ordered": ordered})


def switch(value: bool) -> Control:
    return traitlets.Bool(value).tag(control={"kind": "switch"})


def button(value: int) -> Control:
    """A number that a press makes larger by one."""
    return traitlets.Int(value).tag(control={"kind": "button"})


def temperature_slider(value: float = 4.0) -> Control:
    """0.25 to 50 in steps that meet 0.5, 1, 2, 4 and (nearly) 20."""
    return slider(value, LOW, HIGH, 0.04, base=2)


def image_choice(labels: Tensor, classes: Sequence[str]) -> Control:
    """One of the images, by its number and class."""
    return choice([(n, named(classes[k], f"{n}: ")) for n, k in enumerate(labels.tolist())])


def named(word: str, before: str = "") -> dict[str, str]:
    """A word of the data in each language, as it is where `data/words.yaml` does not have it."""
    own = wordbook()["panel"].get(word, {})
    return {code: before + own.get(code, display_name(word, code)) for code in LANGUAGES}


# ---------------------------------------------------------------- the static twins


def spoken(word: str, panel: str = "") -> str:
    """A word of a panel or of its data as its twin says it, in the reader's language."""
    key = f"{panel}.{word}"
    return named(key if key in wordbook()["panel"] else word)[speaks()]


def probability_axis(axis: Axes) -> None:
    axis.set(xlabel=spoken("probability"), xlim=(0, 1))
    axis.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))


def probability_bars(
    axis: Axes, classes: Sequence[str], state: Mapping, roles: Sequence[str], panel: str = ""
) -> None:
    """What the nets of two roles say of each class: `state` has their probabilities."""
    series = [(state[role], role, spoken(role, panel)) for role in roles]
    paired_bars(axis, [spoken(name) for name in classes], series)
    probability_axis(axis)


def labelled_image(axis: Axes, image: Tensor, label: str, between: str = "") -> None:
    """An image below its label."""
    axis.set_axis_off()
    axis.imshow(pixels_of(image), **PIXELS)
    axis.set_title(f"{spoken('label')}{between}{spoken(label)}", loc="center")


# ---------------------------------------------------------------- the panel


class Panel(anywidget.AnyWidget):
    """A panel: `.state` has its numbers at the positions of its controls.

    Controls are attributes by their names (`panel.temperature = 4`), and `language` is "en" or
    "zh". `name` is that of the script and of the panel's words (`words` has more of them),
    `compute(**positions)` the state, `data` what the script gets. `shared` names a file of data/
    that it gets, too, as `data.shared`: a kernel sends it, the output names it alone.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    _css = HERE / "panel.css"
    bundle = traitlets.Dict().tag(sync=True)
    language = traitlets.Enum(LANGUAGES).tag(sync=True)

    def __init__(
        self,
        name: str,
        compute: Callable[..., dict],
        controls: Mapping[str, Control],
        words: Mapping[str, Mapping[str, str]] | None = None,
        shared: str = "",
        **data: object,
    ) -> None:
        self.controls, self.compute, self.shared = controls, compute, shared
        self.add_traits(**{name: trait.tag(sync=True) for name, trait in controls.items()})
        bundle = {
            "panel": name,
            "data": data,
            "controls": [{"name": n} | trait.metadata["control"] for n, trait in controls.items()],
            "words": words_of(name, words or {}),
            "colours": COLOURS,
        }
        self.alone = bundle | ({"shared": shared} if shared else {})
        if shared:
            bundle = bundle | {"data": data | {"shared": read_shared(shared)}}
        super().__init__(_esm=module(name), bundle=bundle, language=languages()[0])

    @property
    def values(self) -> dict:
        """Where the controls stand."""
        return {name: getattr(self, name) for name in self.controls}

    @property
    def state(self) -> dict:
        return self.compute(**self.values)

    def _repr_mimebundle_(self, **options) -> tuple[dict, dict]:
        shown, metadata = super()._repr_mimebundle_(**options)
        alive = self.alone | {"values": self.values | {"language": self.language}}
        return shown | {MIME: alive, "text/plain": translate("panel.plain", "en")}, metadata


def words_of(panel: str, more: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Language -> key -> words: those of all panels, of this one ("panel.key"), and `more`."""
    words = {key.removeprefix(f"{panel}."): both for key, both in wordbook()["panel"].items()}
    words = {key: both for key, both in (words | more).items() if "." not in key}
    return {code: {key: both[code] for key, both in words.items()} for code in LANGUAGES}


def module(name: str) -> str:
    """A panel's script after those that it imports, as one text: a Blob has no neighbours.

    What it imports as text (`with { type: "text" }`), for a Worker, is a string in it.
    """
    own = script(name)
    files = dict.fromkeys(["numbers", "draw", "base", *IMPORTED.findall(own), name])
    source = "\n".join(map(script, files))
    source = AS_TEXT.sub(lambda m: f"const {m[1]} = {json.dumps(bare(script(m[2])))};", source)
    return bare(source)


def script(name: str) -> str:
    return (HERE / f"{name}.js").read_text(encoding="utf-8")


def bare(source: str) -> str:
    """A script without its imports and exports, but for the default one."""
    return re.sub(r"^import .*\n|^export (?!default)", "", source, flags=re.MULTILINE)


def standalone(bundle: Mapping[str, object], folder: str = "") -> str:
    """A panel alive in a page without a kernel, from its `MIME` data; nothing is requested but what
    it shares with other pages, where that lies in a `folder` as `shared_script`."""
    shared = bundle.get("shared")
    if shared and not folder:
        bundle = bundle | {"data": bundle["data"] | {"shared": read_shared(shared)}}
    data = json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    source = module(bundle["panel"]).replace("</", "<\\/")
    style, host = ((HERE / file).read_text(encoding="utf-8") for file in ("panel.css", "host.js"))
    linked = f'<script src="{folder}/{shared}.js"></script>' if shared and folder else ""
    return (
        f"<div><style>{style}</style><p>{translate('panel.script')}</p>{linked}"
        f'<script type="application/json">{data}</script>'
        f'<script type="text/plain">{source}</script><script>{host}</script></div>'
    )


def read_shared(name: str) -> dict:
    """What panels share as `name`."""
    return json.loads((EMBEDDED / f"{name}.json").read_text("utf-8"))


def shared_script(name: str) -> str:
    """The same as a script: a page from file:// may load this, but no JSON."""
    data = json.dumps(read_shared(name), separators=(",", ":"))
    return f'(globalThis.kdlabShared ??= {{}})["{name}"] = {data};\n'


# ---------------------------------------------------------------- data


def packed(numbers: Tensor | Sequence) -> dict:
    """float32 as the script unpacks it: nothing is rounded, and it is half as long as digits."""
    array = np.asarray(numbers, dtype="<f4")
    return {"shape": array.shape, "float32": base64.b64encode(array.tobytes()).decode()}


def contact_sheet(images: Tensor, most: float = math.inf) -> dict:
    """Images uint8 [N, C, H, W] as tiles of one picture: PNG, or the best WebP of `most` bytes."""
    tiles = [Image.fromarray(pixels_of(x if len(x) == 3 else 255 - x)) for x in images]
    (width, height), columns = tiles[0].size, min(len(tiles), 20)
    sheet = Image.new(tiles[0].mode, (width * columns, height * math.ceil(len(tiles) / columns)))
    for n, tile in enumerate(tiles):
        sheet.paste(tile, (width * (n % columns), height * (n // columns)))
    for kind, quality in (("png", None), *(("webp", quality) for quality in QUALITIES)):
        picture = io.BytesIO()
        sheet.save(picture, kind, optimize=True, quality=quality)
        if picture.tell() <= most:
            break
    source = f"data:image/{kind};base64,{base64.b64encode(picture.getvalue()).decode()}"
    return {"source": source, "size": (height, width), "columns": columns}


def check_lengths(*parts: Sequence) -> None:
    """ValueError unless there are as many of each (images, labels, logits), and at least one."""
    lengths = [len(part) for part in parts]
    if len(set(lengths)) > 1 or not lengths[0]:
        needed = "as many images as labels and logits or scores, and at least one"
        raise ValueError(f"a panel needs {needed}, got {lengths}")


def log_soften(logits: Tensor, temperature: float) -> Tensor:
    """``log softmax(logits / T)`` of one image, [K], in float64 as a browser computes it."""
    losses.log_soften(logits, temperature)  # raises what has to be said
    return (logits.float().double() / temperature).log_softmax(dim=-1)


def kl(log_p: Tensor, log_q: Tensor) -> float:
    """KL(p ‖ q) in nats, both given as logarithms."""
    return F.kl_div(log_q, log_p, reduction="sum", log_target=True).item()
