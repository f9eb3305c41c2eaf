"""The grammar of a chapter, read off the committed JSON; nothing is run but the hidden solutions.

For authors (a tag is an entry of `cell.metadata.tags`; chapter 00 needs the rows marked *, an
appendix also those marked +):

*  title         first cell: `# 01 · Words`, then one line `> promise`
*  objectives    `## Objectives`: 3-5 lines `- Verb ...`
*  times         there, too, as `course.minutes` counts them and with at most 60 to read:
                 `**Time:** read 50 min · exercises 20 min · cards 40 min · run 60 s`
*  optional      cells tagged `optional` begin with the words `**Optional, 9 min`; the line above
                 then says `read 50 min · optional 9 min · ...`
*  set-up        code cells tagged `setup`: imports, seeds, the data that exercises need
+  claims        at least 3 paragraphs `**Claim 1.** ...`, each followed by a cell with an `assert`;
                 one cell prints `Headline: ...` (at most 90 characters)
   panel         a cell tagged `panel`; after it one tagged `static-twin`, which draws a figure
   mistake       `## A classic mistake ...`: a cell tagged `classic-mistake`, then `put-right`
   exercises     `## Exercises`, three times `### Exercise 1 · ...`: a stub cell tagged `exercise`,
                 a call of `check_...(...)`, and <details><summary>Solution</summary> with one
                 ```python block, which needs no cell but the set-up and must pass the check
   seed          `## The seed's question ...`: Question Answer Analysis, "imprecise"
                 (chapters 01 to 08: the seed has eight questions)
   interview     `## Interview corner`: at least 6 cards, each answer in <details>;
                 that the bank's anchors resolve is the business of tests/test_interview.py
*  summary       `## Summary`: at most 7 lines
+  references    `## References`: at least 2 lines `- ...`
*  everywhere    run 1..n in order; errors only under the tag `raises-exception`; cells of at most
                 25 lines and 79 columns (in a chapter a median of 3-8); the markdown after a figure
                 has a line `**What to notice** ...` (`course --write` makes it the alt text); PNG
                 only; no widget state, stderr, machine path or address; at most 600 KB; links
                 resolve

`python -m kdlab course 01 --write` runs a chapter and writes it in this form.
"""

import json
import re
import statistics
from itertools import groupby
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest

from kdlab.desk import course
from kdlab.files import EMBEDDED, NOTEBOOKS, ROOT
from kdlab.publish import handouts

CHAPTERS = sorted(NOTEBOOKS.glob("*.ipynb"))
SECTIONS = (
    "## Objectives",
    "## A classic mistake",
    "## Exercises",
    "## The seed's question",
    "## Interview corner",
    "## Summary",
    "## References",
)
LONGEST = 60  # minutes of a first reading
LAST_OF_SEED = "08"  # the seed has eight questions
MACHINE = re.compile(
    r"(?<![\w:/.])/(?:home|root|Users|work|tmp|opt|usr|mnt|var|private)/\w"
    r"|\b[A-Z]:\\\w|\b0x[0-9a-fA-F]{6,}"
)


# ---------------------------------------------------------------- reading


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def of_kind(notebook, kind: str) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def tagged(notebook, tag: str) -> list[int]:
    return [i for i, cell in enumerate(notebook.cells) if tag in tags(cell)]


def texts(cell) -> list[str]:
    """Everything a cell's outputs say in words."""
    said = []
    for output in cell.get("outputs", []):
        said += [output.get("text", ""), output.get("evalue", ""), *output.get("traceback", [])]
        said += [v for k, v in output.get("data", {}).items() if k.startswith("text/")]
    return said


def section(notebook, heading: str) -> list:
    """The cells from a `## heading` to the next; the first may stand anywhere in its cell."""
    inside, cells = False, []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^##? .*$", cell.source, flags=re.MULTILINE)
            if headings:
                inside = any(line.startswith(heading) for line in headings)
        if inside:
            cells.append(cell)
    return cells


def words(cells: list) -> str:
    """Markdown and outputs of some cells, as one text."""
    parts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    return "\n".join(parts + [text for cell in cells for text in texts(cell)])


def has_assert(cell) -> bool:
    return cell.cell_type == "code" and course._asserts(cell) > 0


# ---------------------------------------------------------------- rules: notebook -> complaints


def title(notebook, number: str) -> list[str]:
    lines = [line for line in notebook.cells[0].source.splitlines() if line.strip()]
    good = re.match(rf"# {number} · \S", lines[0]) and sum(x.startswith("> ") for x in lines) == 1
    return [] if good else [f"the first cell is not `# {number} · Words` with one `> promise`"]


def objectives(notebook, number: str) -> list[str]:
    text = words(section(notebook, "## Objectives")[:1])
    verbs = re.findall(r"^- \S.*$", text, flags=re.MULTILINE)
    return [] if 3 <= len(verbs) <= 5 else [f"{len(verbs)} objectives (`- Verb ...`), not 3 to 5"]


def times(notebook, number: str) -> list[str]:
    spent = course.minutes(notebook)
    text = words(section(notebook, "## Objectives")[:1])
    line = re.search(r"\*\*Time:\*\* (.*) · run \d+ (?:s|min)$", text, flags=re.MULTILINE)
    if not line or not near(re.findall(r"(\w+) (\d+) min", line[1]), spent):
        line = " · ".join(f"{part} {n} min" for part, n in spent.items())
        return [f"under Objectives stands no `**Time:** {line} · run N s`"]
    long = spent["read"] > LONGEST
    return [f"{spent['read']} min to read: make a part optional or an appendix"] * long


def optional(notebook, number: str) -> list[str]:
    wrong = []
    for is_optional, group in groupby(notebook.cells, lambda cell: "optional" in tags(cell)):
        first, *rest = group
        spent = sum(map(course.reading_seconds, [first, *rest])) / 60
        said = re.findall(r"\*\*(Optional), (\d+) min", first.source)
        if is_optional and not near(said, {"Optional": spent}):
            wrong.append(f"cell {first.id} does not begin with `**Optional, {spent:.0f} min`")
    return wrong


def near(told: list[tuple[str, str]], spent: dict[str, float]) -> bool:
    """The same parts, each told to the minute."""
    found = dict(told)
    return found.keys() == spent.keys() and all(abs(int(found[k]) - spent[k]) <= 1 for k in spent)


def setup(notebook, number: str) -> list[str]:
    return [] if tagged(notebook, "setup") else ["no code cell tagged `setup`"]


def order(notebook, number: str) -> list[str]:
    text = "\n".join(cell.source for cell in of_kind(notebook, "markdown"))
    wanted = [h for h in SECTIONS if number <= LAST_OF_SEED or h != "## The seed's question"]
    places = [re.search(rf"^{heading}", text, flags=re.MULTILINE) for heading in wanted]
    wrong = [f"no `{h}`" for h, place in zip(wanted, places, strict=True) if place is None]
    starts = [place.start() for place in places if place]
    return wrong + ([] if starts == sorted(starts) else [f"sections are not in the order {wanted}"])


def claims(notebook, number: str) -> list[str]:
    wrong, numbers, pending = [], [], None
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            found = re.findall(r"^\*\*Claim (\d+)\.\*\*", cell.source, flags=re.MULTILINE)
            ends = found or re.search(r"^## ", cell.source, flags=re.MULTILINE)
            if pending and ends:
                wrong.append(f"claim {pending} has no cell with an assert")
            pending = found[-1] if found else (None if ends else pending)
            wrong += [f"claim {n} shares its cell with another" for n in found[:-1]]
            numbers += map(int, found)
        elif pending and has_assert(cell):
            pending = None
    if numbers != list(range(1, len(numbers) + 1)) or len(numbers) < 3:
        wrong.append(f"claims are numbered {numbers}, not 1, 2, 3 ...")
    headline = re.findall(r"^Headline: .*$", words(of_kind(notebook, "code")), flags=re.MULTILINE)
    if not headline or len(headline[-1]) > 100:
        wrong.append("no cell prints `Headline: ...` of at most 90 characters")
    return wrong


def panel(notebook, number: str) -> list[str]:
    panels, twins = tagged(notebook, "panel"), tagged(notebook, "static-twin")
    if not panels or not twins or max(twins) < min(panels):
        return ["no cell tagged `panel` with one tagged `static-twin` after it"]
    shown = [i for i in twins if drawn(notebook.cells[i])]
    return [] if shown else ["the static twin draws no figure"]


def mistake(notebook, number: str) -> list[str]:
    cells = section(notebook, "## A classic mistake")
    found = [tag for cell in cells for tag in tags(cell) if tag in ("classic-mistake", "put-right")]
    good = "classic-mistake" in found and found[-1] == "put-right"
    return [] if good else ["no cell tagged `classic-mistake` with one tagged `put-right` after it"]


def exercises(notebook, number: str) -> list[str]:
    text = words(section(notebook, "## Exercises"))
    headings = re.findall(r"^### Exercise \d · ", text, flags=re.MULTILINE)
    try:
        found = solved(notebook)
    except ValueError as error:
        return [str(error)]
    good = len(headings) == len(found) == 3
    return [] if good else [f"{len(headings)} exercises (`### Exercise n · ...`), not 3"]


def solved(notebook) -> list[str]:
    """The exercise cells, each with its hidden solution. ValueError says what is missing."""
    for i in tagged(notebook, "exercise"):
        handouts.check_of(notebook.cells[i].source)
    made = handouts.handout(notebook, solved=True)
    return [made.cells[i].source for i in tagged(made, "exercise")]


def seed(notebook, number: str) -> list[str]:
    text = words(section(notebook, "## The seed's question"))
    needed = ("Question", "Answer", "Analysis", "imprecise")
    return [f"the seed's question lacks {word}" for word in needed if word not in text]


def interview(notebook, number: str) -> list[str]:
    hidden = words(section(notebook, "## Interview corner")).count("<details")
    return [] if hidden >= 6 else [f"{hidden} hidden answers, fewer than 6"]


def summary(notebook, number: str) -> list[str]:
    cells = section(notebook, "## Summary")
    lines = [x for x in words(cells[:1]).split("## Summary", 1)[-1].splitlines() if x.strip()]
    return [] if 1 <= len(lines) <= 7 else [f"the summary has {len(lines)} lines, not 1 to 7"]


def references(notebook, number: str) -> list[str]:
    lines = re.findall(r"^- \S", words(section(notebook, "## References")), flags=re.MULTILINE)
    return [] if len(lines) >= 2 else ["fewer than 2 references (`- ...`)"]


def cells(notebook, number: str) -> list[str]:
    wrong, sizes = [], []
    for cell in of_kind(notebook, "code"):
        lines = cell.source.splitlines()
        sizes.append(sum(bool(line.strip()) for line in lines))
        if not sizes[-1] or len(lines) > 25:
            wrong.append(f"cell {cell.id} has {len(lines)} lines, not 1 to 25")
        if any(len(line) > 79 for line in lines):
            wrong.append(f"cell {cell.id} has a line of more than 79 columns")
    if number.isdigit() and not 3 <= statistics.median(sizes or [0]) <= 8:
        wrong.append(f"the median cell has {statistics.median(sizes or [0])} lines, not 3 to 8")
    return wrong


def executed(notebook, number: str) -> list[str]:
    counts = [cell.execution_count for cell in of_kind(notebook, "code")]
    in_order = list(range(1, len(counts) + 1))
    return [] if counts == in_order else [f"not run once, in order: {counts}"]


def errors(notebook, number: str) -> list[str]:
    wrong = []
    for cell in of_kind(notebook, "code"):
        raised = any(output.output_type == "error" for output in cell.outputs)
        if raised != ("raises-exception" in tags(cell)):
            told = "raises" if raised else "is tagged to raise, but does not"
            wrong.append(f"cell {cell.id} {told}")
    return wrong


def drawn(cell) -> list:
    """The outputs that are a figure."""
    return [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


def figures(notebook, number: str) -> list[str]:
    wrong = []
    for i, cell in enumerate(notebook.cells):
        if not drawn(cell):
            continue
        below = next((c.source for c in notebook.cells[i + 1 :] if c.cell_type == "markdown"), "")
        if not re.search(r"^\*\*What to notice\*\*", below, flags=re.MULTILINE):
            wrong.append(f"no `**What to notice**` after the figure of cell {cell.id}")
        elif not all(output.metadata.get("image/png", {}).get("alt") for output in drawn(cell)):
            wrong.append(f"the figure of cell {cell.id} has no alt text: run `course --write`")
    for cell in of_kind(notebook, "markdown"):
        bare = re.findall(r"!\[\s*\]\(|<img(?![^>]*\balt=[\"'][^\"'])[^>]*>", cell.source)
        wrong += [f"an image without alt text in cell {cell.id}"] * bool(bare)
    return wrong


def portable(notebook, number: str) -> list[str]:
    wrong = ["widget state in the metadata"] if "widgets" in notebook.metadata else []
    for cell in of_kind(notebook, "code"):
        for output in cell.outputs:
            kinds = set(output.get("data", {}))
            if course.WIDGET in kinds:
                wrong.append(f"cell {cell.id} holds a widget view: run `course --write`")
            if {k for k in kinds if k.startswith("image/")} - {"image/png"}:
                wrong.append(f"cell {cell.id} holds a picture that is not PNG")
            if output.get("name") == "stderr":
                wrong.append(f"cell {cell.id} holds stderr output")
        hits = filter(None, map(MACHINE.search, texts(cell)))
        wrong += [f"cell {cell.id} shows {hit.group()!r}" for hit in hits]
    return wrong


def links(notebook, number: str) -> list[str]:
    parts = [cell.source for cell in of_kind(notebook, "markdown")]
    for cell in of_kind(notebook, "code"):
        shown = [output.get("data", {}) for output in cell.outputs]
        parts += [d[kind] for d in shown for kind in ("text/html", "text/markdown") if kind in d]
    here = NOTEBOOKS / "here.ipynb"
    found = (link for text in parts for link in relative_links(text))
    return [f"dead link {link}" for link in found if not resolves(link, here)]


def relative_links(text: str) -> list[str]:
    """Where links and pictures lead, in Markdown and in HTML; none to an address or in the page."""
    targets = re.findall(r"\]\(<?([^)>\s]+)>?[^)]*\)", text)
    targets += re.findall(r"(?:href|src)=[\"']([^\"']+)", text)
    return [x for x in targets if not re.match(r"[a-z]+:|//|#", x)]


def resolves(link: str, source: Path) -> bool:
    """A file that exists; after `.ipynb#` a cell id (also `cell-id=...`), a tag or a heading."""
    path, _, anchor = unquote(link).partition("#")
    target = source.parent / path
    if not target.exists():
        return False
    if target.suffix != ".ipynb" or not anchor:
        return True
    return anchor.removeprefix("cell-id=") in anchors(target)


def anchors(path: Path) -> set[str]:
    notebook = nbformat.read(path, as_version=4)
    found = {cell.get("id") for cell in notebook.cells}
    found.update(tag for cell in notebook.cells for tag in tags(cell))
    for cell in of_kind(notebook, "markdown"):
        for heading in re.findall(r"^#+ +(.*?)\s*$", cell.source, flags=re.MULTILINE):
            found.add(heading.replace(" ", "-"))
    return found


START = (title, objectives, times, optional, setup, summary)
EVERYWHERE = (cells, executed, errors, figures, portable, links)
APPENDIX = (claims, references)
CHAPTER = (order, panel, mistake, exercises, seed, interview, *APPENDIX)


def rules(path: Path) -> tuple:
    number = number_of(path)
    more = () if number == "00" else CHAPTER if number.isdigit() else APPENDIX
    more = tuple(rule for rule in more if rule is not seed or number <= LAST_OF_SEED)
    return START + EVERYWHERE + more


def number_of(path: Path) -> str:
    return path.stem.split("_")[0]


def read(path: Path):
    return nbformat.read(path, as_version=4)


# ---------------------------------------------------------------- tests


def test_chapters_are_numbered_from_zero_and_appendices_from_one():
    numbers = [number_of(path) for path in CHAPTERS]
    assert numbers == [*(f"{n:02}" for n in range(10)), "A1"]


@pytest.mark.parametrize(
    ("path", "rule"),
    [pytest.param(p, rule, id=f"{p.stem}-{rule.__name__}") for p in CHAPTERS for rule in rules(p)],
)
def test_grammar(path, rule):
    wrong = rule(read(path), number_of(path))
    assert not wrong, f"{path.name}: " + "; ".join(wrong)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_file_is_valid_and_small(path):
    nbformat.validate(json.loads(path.read_text("utf-8")))
    assert path.stat().st_size <= course.MAX_BYTES
    assert len(set(cell.id for cell in read(path).cells)) == len(read(path).cells)


@pytest.mark.parametrize(
    "path", [p for p in CHAPTERS if exercises in rules(p)], ids=lambda path: path.stem
)
def test_hidden_solutions_pass_their_checks(path, tmp_path):
    notebook = read(path)
    code = [notebook.cells[i].source for i in tagged(notebook, "setup")] + solved(notebook)
    cells = list(map(nbformat.v4.new_code_cell, code))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / path.name)
    ran, chapter = course.run_notebook(tmp_path / path.name)
    assert chapter.error is None, chapter.error
    for cell in ran.cells[-3:]:
        assert "passed" in words([cell]), cell.source


PAGES = [*ROOT.glob("*.md"), *NOTEBOOKS.glob("*.md"), EMBEDDED / "README.md"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_links_of_a_page_lead_somewhere(path):
    assert [x for x in relative_links(path.read_text("utf-8")) if not resolves(x, path)] == []


# ---------------------------------------------------------------- the rules notice their faults


def specimen():
    """The smallest chapter that keeps every rule."""
    png = nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo="})
    png.metadata = nbformat.from_dict({"image/png": {"alt": "A line that rises."}})
    said = nbformat.v4.new_output("stream", name="stdout", text="Headline: it works\n")
    fell = nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
    found: list = []

    def text(source):
        found.append(nbformat.v4.new_markdown_cell(source))

    def code(*names, source="a = 1\nb = 2\nassert a < b", output=None):
        cell = nbformat.v4.new_code_cell(source, metadata={"tags": list(names)} if names else {})
        cell.execution_count = 1 + sum(c.cell_type == "code" for c in found)
        cell.outputs = [output] if output else []
        found.append(cell)

    text("# 01 · Words\n\n> A promise.")
    time = "**Time:** read 3 min · optional 1 min · exercises 6 min · cards 1 min · run 60 s"
    text(f"## Objectives\n- Do\n- See\n- Say\n\n{time}")
    code("setup")
    for n in (1, 2, 3):
        text(f"**Claim {n}.** So it is.")
        code(output=said)
    text("**Optional, 1 min.** A panel.")
    found[-1].metadata["tags"] = ["optional"]
    code("panel", "optional")
    code("static-twin", output=png)
    text("**What to notice** It rises.")
    text("## A classic mistake: none")
    code("classic-mistake", "raises-exception", output=fell)
    code("put-right")
    text("## Exercises")
    for n in (1, 2, 3):
        text(f"### Exercise {n} · do it\n\nDifficulty ●○○ · 2 minutes. Do it.")
        code("exercise", source="def f():\n    raise NotImplementedError\n\n\nchecks.check_f(f)")
        text("<details><summary>Solution</summary>\n\n```python\nx = 1\n```\n\n</details>")
    text("## The seed's question\nQuestion Answer Analysis imprecise")
    text("## Interview corner\n" + "<details></details>" * 12)
    code(output=nbformat.v4.new_output("display_data", {"text/html": "<em>level 1, 1 min</em>"}))
    text("## Summary\n- It works.")
    text("## References\n- One\n- Two")
    return nbformat.v4.new_notebook(cells=found)


def drop(tag: str):
    def change(notebook):
        for cell in notebook.cells:
            cell.metadata["tags"] = [t for t in tags(cell) if t != tag]

    return change


def replace(old: str, new: str):
    def change(notebook):
        assert any(old in cell.source for cell in notebook.cells)
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)

    return change


def say(text: str, name: str = "stdout"):
    def change(notebook):
        output = nbformat.v4.new_output("stream", name=name, text=text)
        of_kind(notebook, "code")[0].outputs = [output]

    return change


def run_again(notebook):
    of_kind(notebook, "code")[2].execution_count = 40


def forget_alt(notebook):
    notebook.cells[tagged(notebook, "static-twin")[0]].outputs[0].metadata = {}


FAULTS = [
    (title, replace("# 01", "# 02")),
    (title, replace("> A promise.", "A promise.")),
    (objectives, replace("- Do\n", "")),
    (times, replace("**Time:**", "Time")),
    (times, replace("read 3 min", "read 9 min")),
    (times, replace("· cards 1 min", "")),
    (optional, replace("**Optional, 1 min", "**Optional, 7 min")),
    (times, replace("**Claim 2.**", "**Claim 2.** " + "Word " * 9000)),
    (setup, drop("setup")),
    (order, replace("## Summary", "## Conclusion")),
    (order, replace("## Exercises", "## References")),
    (claims, replace("**Claim 2.**", "**Claim 4.**")),
    (claims, replace("assert a < b", "print(a < b)")),
    (panel, drop("static-twin")),
    (mistake, drop("put-right")),
    (exercises, replace("### Exercise 3", "### Task 3")),
    (exercises, replace("checks.check_f(f)", "f")),
    (exercises, replace("<details><summary>Solution</summary>", "")),
    (seed, replace("Analysis", "")),
    (interview, replace("<details></details>" * 12, "<details></details>" * 5)),
    (summary, replace("- It works.", "- It works.\n" * 8)),
    (references, replace("- Two", "")),
    (cells, replace("a = 1", "a = 1" + " " * 80 + "# long")),
    (cells, replace("a = 1", "a = 1\n" * 24)),
    (executed, run_again),
    (errors, drop("raises-exception")),
    (figures, replace("**What to notice**", "Notice")),
    (figures, forget_alt),
    (figures, replace("So it is.", "![](https://example.org/a.png)")),
    (portable, say("in /home/someone/kdlab")),
    (portable, say("<object 0x7f00aa00bb00>")),
    (portable, say("hm", name="stderr")),
    (links, replace("- One", "- [One](nowhere.ipynb)")),
]


def test_the_specimen_keeps_every_rule():
    for rule in START + EVERYWHERE + CHAPTER:
        assert rule(specimen(), "01") == [], rule.__name__


@pytest.mark.parametrize(("rule", "spoil"), FAULTS, ids=[rule.__name__ for rule, _ in FAULTS])
def test_a_rule_notices_its_fault(rule, spoil):
    notebook = specimen()
    spoil(notebook)
    assert rule(notebook, "01") != []
