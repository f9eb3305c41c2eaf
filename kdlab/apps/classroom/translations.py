"""Two editions of a chapter from one execution: English, and Chinese in `notebooks/zh`.

Code, cell ids and results are the same. Where an output depends on the language, its cell runs
once more, in Chinese, right after its English run (`kdlab.apps.classroom.second`).
"""

import copy
import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping

from nbclient import NotebookClient
from nbclient.util import ensure_async
from nbformat import NotebookNode

from kdlab.apps.i18n import LANGUAGES
from kdlab.files import EMBEDDED

SEALS = EMBEDDED / "interview" / "translations.json"  # by tests/seal_translations.py
MOST_SECONDS = 20  # of a second run; a cell that trains shows its words in another cell
SECOND = "__import__('kdlab.apps.classroom.second', fromlist=['desk']).{}()"


class TwoEditions(NotebookClient):
    """Runs a notebook; `chinese[id]` has the outputs of the cells that speak, in Chinese."""

    def __init__(self, notebook: NotebookNode, **options: object) -> None:
        super().__init__(notebook, **options)
        self.chinese: dict[str, list[NotebookNode]] = {}

    async def async_execute_cell(
        self, cell: NotebookNode, cell_index: int, **options: object
    ) -> NotebookNode:
        if not self.code_cells_executed:
            await self._second("watch")
        done = await super().async_execute_cell(cell, cell_index, **options)
        if cell.cell_type == "code" and await self._second("wanted") == "True":
            again, clock = copy.deepcopy(done), time.perf_counter()
            await self._second("enter")
            await super().async_execute_cell(again, cell_index, **options, store_history=False)
            await self._second("leave")
            self.nb.cells[cell_index] = done
            self.code_cells_executed -= 1
            self.chinese[cell.id] = again.outputs
            if (seconds := time.perf_counter() - clock) > MOST_SECONDS:
                raise RuntimeError(f"cell {cell.id} took {seconds:.0f} s once more for its words")
        return done

    async def _second(self, name: str) -> str:
        asked = {"it": SECOND.format(name)}
        sent = await ensure_async(self.kc.execute("", silent=True, user_expressions=asked))
        answer = (await self.async_wait_for_reply(sent))["content"]["user_expressions"]["it"]
        if answer["status"] != "ok":
            raise RuntimeError(f"second run: {answer['ename']}: {answer['evalue']}")
        return answer["data"]["text/plain"]


def chinese_edition(english: NotebookNode, chinese: NotebookNode, shown: dict) -> NotebookNode:
    """The Chinese edition: the English one, with the Markdown that `chinese` has for its cells.

    `shown` are outputs by cell id that stand in place of the English ones.
    """
    made, written = copy.deepcopy(english), {cell.id: cell.source for cell in chinese.cells}
    for cell in made.cells:
        if cell.cell_type == "markdown":
            cell.source = written.get(cell.id, cell.source)
        elif cell.id in shown:
            cell.outputs = shown[cell.id]
    return made


def seal(text: Mapping[str, str]) -> str:
    """A short hash of each language of a text; where its lines are broken does not matter."""
    bare = ("".join(text[code].split()) for code in LANGUAGES)
    return " ".join(hashlib.sha256(words.encode()).hexdigest()[:8] for words in bare)


def sealed() -> dict[str, str]:
    """The seal of each bilingual text when both languages were last read side by side, by name:
    "dark-knowledge/short" of the bank, "01_principle#title" of a chapter's cell."""
    return json.loads(SEALS.read_text("utf-8")) if SEALS.exists() else {}


def changed_alone(before: str, now: str) -> str | None:
    """The one language that has changed between two seals of a text; None for none or both."""
    sides = zip(LANGUAGES, before.split(), now.split(), strict=True)
    changed = [code for code, old, new in sides if old != new]
    return changed[0] if len(changed) == 1 else None


def unlike(english: NotebookNode, chinese: NotebookNode, chapter: str = "") -> Iterator[str]:
    """A sentence for each cell of the Chinese edition that is missing, English, other code or, by
    the seals of this chapter, of an English text that has changed since."""
    there, seals = {cell.id: cell for cell in chinese.cells}, sealed()
    for cell in english.cells:
        other = there.pop(cell.id, None)
        if other is None:
            yield f"{cell.id}: missing"
        elif cell.cell_type == "code":
            if cell.source != other.source:
                yield f"{cell.id}: its code is not that of the English edition"
        elif not re.search("[\u4e00-\u9fff]", other.source):
            yield f"{cell.id}: still English"
        elif before := seals.get(f"{chapter}#{cell.id}"):
            if changed_alone(before, seal({"en": cell.source, "zh": other.source})) == "en":
                yield f"{cell.id}: its English has changed since"
    yield from (f"{name}: not in the English edition" for name in there)
