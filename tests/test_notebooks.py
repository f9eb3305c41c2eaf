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

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kdlab.apps.classroom import handouts, runner
from kdlab.files import EMBEDDED, NOTEBOOKS, ROOT
from notebooks import number_of, of_kind, read, relative_links, resolves, tagged, tags, texts

CHAPTERS = sorted(NOTEBOOKS.glob("*.ipynb"))
SEED = "## The seed's question"
LAST_OF_SEED = "08"  # the seed has eight questions
SECTIONS = ["## Objectives", "## A classic mistake", "## Exercises", SEED]
SECTIONS += ["## Interview corner", "## Summary", "## References"]
LONGEST = 60  # minutes of a first reading
MACHINE = re.compile(
    r"(?<![\w:/.])/(?:home|root|Users|work|tmp|opt|usr|mnt|var|private)/\w"
    r"|\b[A-Z]:\\\w|\b0x[0-9a-fA-F]{6,}"
)


def drawn(cell):
    """The outputs that are a figure."""
    return [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


def section(notebook, heading):
    """The cells from a `## heading` to the next; the first may stand anywhere in its cell."""
    inside, cells = False, []
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (lines := re.findall("(?m)^##? .*$", cell.source)):
            inside = any(line.startswith(heading) for line in lines)
        cells += [cell] * inside
    return cells


def words(cells):
    """Markdown and outputs of some cells, as one text."""
    parts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    return "\n".join(parts + [text for cell in cells for text in texts(cell)])


# ---------------------------------------------------------------- rules: notebook -> complaints


def title(notebook, number):
    first, *others = filter(str.strip, notebook.cells[0].source.splitlines())
    if not re.match(rf"# {number} · \S", first) or sum(x.startswith("> ") for x in others) != 1:
        yield f"the first cell is not `# {number} · Words` with one `> promise`"


def counted(heading, what, pattern, least, most, cells=1):
    """The rule that so many of a pattern stand in the first cells of a section."""

    def rule(notebook, number):
        text = words(section(notebook, heading)[:cells]).split(heading, 1)[-1]
        if not least <= (found := len(re.findall(pattern, text))) <= most:
            yield f"{found} {what}, not {least} to {most}"

    rule.__name__ = heading.removeprefix("## ")
    return rule


objectives = counted("## Objectives", "objectives (`- Verb ...`)", r"(?m)^- \S", 3, 5)
interview = counted("## Interview corner", "hidden answers", "<details", 6, 99, cells=99)
summary = counted("## Summary", "lines of summary", r"(?m)^.*\S", 1, 7)
references = counted("## References", "references (`- ...`)", r"(?m)^- \S", 2, 99, cells=99)


def times(notebook, number):
    spent = runner.minutes(notebook)
    text = words(section(notebook, "## Objectives")[:1])
    line = re.search(r"(?m)\*\*Time:\*\* (.*) · run \d+ (?:s|min)$", text)
    if not line or not near(re.findall(r"(\w+) (\d+) min", line[1]), spent):
        line = " · ".join(f"{part} {n} min" for part, n in spent.items())
        yield f"under Objectives stands no `**Time:** {line} · run N s`"
    if spent["read"] > LONGEST:
        yield f"{spent['read']} min to read: make a part optional or an appendix"


def optional(notebook, number):
    for is_optional, group in groupby(notebook.cells, lambda cell: "optional" in tags(cell)):
        first, *rest = group
        spent = sum(map(runner.reading_seconds, [first, *rest])) / 60
        said = re.findall(r"\*\*(Optional), (\d+) min", first.source)
        if is_optional and not near(said, {"Optional": spent}):
            yield f"cell {first.id} does not begin with `**Optional, {spent:.0f} min`"


def near(told, spent):
    """The same parts, each told to the minute."""
    found = dict(told)
    return found.keys() == spent.keys() and all(abs(int(found[k]) - spent[k]) <= 1 for k in spent)


def setup(notebook, number):
    if not tagged(notebook, "setup"):
        yield "no code cell tagged `setup`"


def order(notebook, number):
    text = "\n".join(cell.source for cell in of_kind(notebook, "markdown"))
    wanted = [heading for heading in SECTIONS if number <= LAST_OF_SEED or heading != SEED]
    places = {heading: re.search(f"(?m)^{heading}", text) for heading in wanted}
    yield from (f"no `{heading}`" for heading, place in places.items() if not place)
    starts = [place.start() for place in places.values() if place]
    if starts != sorted(starts):
        yield f"sections are not in the order {wanted}"


def claims(notebook, number):
    numbers, pending = [], None
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            found = re.findall(r"(?m)^\*\*Claim (\d+)\.\*\*", cell.source)
            ends = found or re.search("(?m)^## ", cell.source)
            if pending and ends:
                yield f"claim {pending} has no cell with an assert"
            pending = found[-1] if found else (None if ends else pending)
            yield from (f"claim {n} shares its cell with another" for n in found[:-1])
            numbers += map(int, found)
        elif pending and runner._asserts(cell):
            pending = None
    if numbers != list(range(1, len(numbers) + 1)) or len(numbers) < 3:
        yield f"claims are numbered {numbers}, not 1, 2, 3 ..."
    headline = re.findall("(?m)^Headline: .*$", words(of_kind(notebook, "code")))
    if not headline or len(headline[-1]) > 100:
        yield "no cell prints `Headline: ...` of at most 90 characters"


def panel(notebook, number):
    panels, twins = tagged(notebook, "panel"), tagged(notebook, "static-twin")
    if not panels or not twins or max(twins) < min(panels):
        yield "no cell tagged `panel` with one tagged `static-twin` after it"
    elif not any(drawn(notebook.cells[i]) for i in twins):
        yield "the static twin draws no figure"


def mistake(notebook, number):
    known = [tag for cell in section(notebook, "## A classic mistake") for tag in tags(cell)]
    found = [tag for tag in known if tag in ("classic-mistake", "put-right")]
    if "classic-mistake" not in found or found[-1] != "put-right":
        yield "no cell tagged `classic-mistake` with one tagged `put-right` after it"


def exercises(notebook, number):
    headings = re.findall(r"(?m)^### Exercise \d · ", words(section(notebook, "## Exercises")))
    try:
        if not len(headings) == len(solved(notebook)) == 3:
            yield f"{len(headings)} exercises (`### Exercise n · ...`), not 3"
    except ValueError as error:
        yield str(error)


def solved(notebook):
    """The exercise cells, each with its hidden solution. ValueError says what is missing."""
    for i in tagged(notebook, "exercise"):
        handouts.check_of(notebook.cells[i].source)
    made = handouts.handout(notebook, solved=True)
    return [made.cells[i].source for i in tagged(made, "exercise")]


def seed(notebook, number):
    text = words(section(notebook, SEED))
    needed = ("Question", "Answer", "Analysis", "imprecise")
    yield from (f"the seed's question lacks {word}" for word in needed if word not in text)


def cells(notebook, number):
    sizes = []
    for cell in of_kind(notebook, "code"):
        lines = cell.source.splitlines()
        sizes.append(sum(bool(line.strip()) for line in lines))
        if not sizes[-1] or len(lines) > 25:
            yield f"cell {cell.id} has {len(lines)} lines, not 1 to 25"
        if any(len(line) > 79 for line in lines):
            yield f"cell {cell.id} has a line of more than 79 columns"
    if number.isdigit() and not 3 <= (median := statistics.median(sizes or [0])) <= 8:
        yield f"the median cell has {median} lines, not 3 to 8"


def executed(notebook, number):
    counts = [cell.execution_count for cell in of_kind(notebook, "code")]
    if counts != list(range(1, len(counts) + 1)):
        yield f"not run once, in order: {counts}"


def errors(notebook, number):
    for cell in of_kind(notebook, "code"):
        raised = any(output.output_type == "error" for output in cell.outputs)
        if raised != ("raises-exception" in tags(cell)):
            yield f"cell {cell.id} {'raises' if raised else 'is tagged to raise, but does not'}"


def figures(notebook, number):
    for i, cell in enumerate(notebook.cells):
        below = next((c.source for c in notebook.cells[i + 1 :] if c.cell_type == "markdown"), "")
        if drawn(cell) and not re.search(r"(?m)^\*\*What to notice\*\*", below):
            yield f"no `**What to notice**` after the figure of cell {cell.id}"
        alts = [output.metadata.get("image/png", {}).get("alt", "") for output in drawn(cell)]
        if not all(len(alt) > 40 for alt in alts):
            yield f"the figure of cell {cell.id} has no alt text: run `course --write`"
        bare = r"!\[\s*\]\(|<img(?![^>]*\balt=[\"'][^\"'])[^>]*>"
        if cell.cell_type == "markdown" and re.search(bare, cell.source):
            yield f"an image without alt text in cell {cell.id}"


def portable(notebook, number):
    if "widgets" in notebook.metadata:
        yield "widget state in the metadata"
    for cell in of_kind(notebook, "code"):
        for output in cell.outputs:
            kinds = set(output.get("data", {}))
            if runner.WIDGET in kinds:
                yield f"cell {cell.id} holds a widget view: run `course --write`"
            if {k for k in kinds if k.startswith("image/")} - {"image/png"}:
                yield f"cell {cell.id} holds a picture that is not PNG"
            if output.get("name") == "stderr":
                yield f"cell {cell.id} holds stderr output"
        hits = filter(None, map(MACHINE.search, texts(cell)))
        yield from (f"cell {cell.id} shows {hit.group()!r}" for hit in hits)


def links(notebook, number):
    parts = [cell.source for cell in of_kind(notebook, "markdown")]
    for cell in of_kind(notebook, "code"):
        shown = [output.get("data", {}) for output in cell.outputs]
        parts += [d[kind] for d in shown for kind in ("text/html", "text/markdown") if kind in d]
    found = (link for text in parts for link in relative_links(text))
    yield from (f"dead link {x}" for x in found if not resolves(x, NOTEBOOKS / "here.ipynb"))


START = (title, objectives, times, optional, setup, summary)
EVERYWHERE = (cells, executed, errors, figures, portable, links)
APPENDIX = (claims, references)
CHAPTER = (order, panel, mistake, exercises, seed, interview, *APPENDIX)


def rules(path):
    number = number_of(path)
    more = () if number == "00" else CHAPTER if number.isdigit() else APPENDIX
    more = tuple(rule for rule in more if rule is not seed or number <= LAST_OF_SEED)
    return START + EVERYWHERE + more


def test_chapters_are_numbered_from_zero_and_appendices_from_one():
    assert list(map(number_of, CHAPTERS)) == [
        *(f"{n:02}" for n in range(11)),
        *("A1", "A2", "A3", "A4"),
    ]


@pytest.mark.parametrize(
    ("path", "rule"),
    [pytest.param(p, rule, id=f"{p.stem}-{rule.__name__}") for p in CHAPTERS for rule in rules(p)],
)
def test_grammar(path, rule):
    assert list(rule(read(path), number_of(path))) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=number_of)
def test_file_is_valid_and_small(path):
    nbformat.validate(json.loads(path.read_text("utf-8")))
    assert path.stat().st_size <= runner.MAX_BYTES
    assert len({cell.id for cell in read(path).cells}) == len(read(path).cells)


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in CHAPTERS if exercises in rules(p)], ids=number_of)
def test_hidden_solutions_pass_their_checks(path, tmp_path):
    notebook = read(path)
    code = [notebook.cells[i].source for i in tagged(notebook, "setup")] + solved(notebook)
    nbformat.write(new_notebook(cells=list(map(new_code_cell, code))), tmp_path / path.name)
    ran, chapter = runner.run_notebook(tmp_path / path.name)
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
    alt = {"image/png": {"alt": "A line that rises, from the left to the right."}}
    png = new_output("display_data", {"image/png": "iVBORw0KGgo="}, metadata=alt)
    said = new_output("stream", text="Headline: it works\n")
    fell = new_output("error", ename="ValueError", evalue="no", traceback=[])
    card = new_output("display_data", {"text/html": "<em>level 1, 1 min</em>"})
    found = []

    def text(source, *tags):
        found.append(new_markdown_cell(source, metadata={"tags": [*tags]}))

    def code(*tags, source="a = 1\nb = 2\nassert a < b", shown=()):
        count = 1 + sum(cell.cell_type == "code" for cell in found)
        more = {"execution_count": count, "outputs": [*shown], "metadata": {"tags": [*tags]}}
        found.append(new_code_cell(source, **more))

    text("# 01 · Words\n\n> A promise.")
    time = "**Time:** read 3 min · optional 1 min · exercises 6 min · cards 1 min · run 60 s"
    text(f"## Objectives\n- Do\n- See\n- Say\n\n{time}")
    code("setup")
    for n in (1, 2, 3):
        text(f"**Claim {n}.** So it is.")
        code(shown=[said])
    text("**Optional, 1 min.** A panel.", "optional")
    code("panel", "optional")
    code("static-twin", shown=[png])
    text("**What to notice** It rises.")
    text("## A classic mistake: none")
    code("classic-mistake", "raises-exception", shown=[fell])
    code("put-right")
    text("## Exercises")
    for n in (1, 2, 3):
        text(f"### Exercise {n} · do it\n\nDifficulty ●○○ · 2 minutes. Do it.")
        code("exercise", source="def f():\n    raise NotImplementedError\n\n\nchecks.check_f(f)")
        text("<details><summary>Solution</summary>\n\n```python\nx = 1\n```\n\n</details>")
    text("## The seed's question\nQuestion Answer Analysis imprecise")
    text("## Interview corner\n" + "<details></details>" * 6)
    code(shown=[card])
    text("## Summary\n- It works.")
    text("## References\n- One\n- Two")
    return new_notebook(cells=found)


FAULTS = {  # a rule -> what, in the specimen's JSON, becomes what
    title: {"# 01": "# 02", "> A promise.": "A promise."},
    objectives: {r"- Do\n": ""},
    times: {
        "**Time:**": "Time", "read 3 min": "read 9 min", "· cards 1 min": "",
        "**Claim 2.**": "**Claim 2.** " + "Word " * 9000,
    },
    optional: {"**Optional, 1 min": "**Optional, 7 min"},
    setup: {'"setup"': '"other"'},
    order: {"## Summary": "## Conclusion", "## Exercises": "## References"},
    claims: {"**Claim 2.**": "**Claim 4.**", "assert a < b": "print(a < b)"},
    panel: {'"static-twin"': '"other"'},
    mistake: {'"put-right"': '"other"'},
    exercises: {
        "### Exercise 3": "### Task 3", "checks.check_f(f)": "f",
        "<details><summary>Solution</summary>": "",
    },
    seed: {"Analysis": ""},
    interview: {"<details></details>" * 6: "<details></details>" * 5},
    summary: {"- It works.": r"- It works.\n" * 8},
    references: {"- Two": ""},
    cells: {"a = 1": "a = 1" + " " * 80 + "# long", "b = 2": r"b = 2\n" * 24},
    executed: {'"execution_count": 3': '"execution_count": 40'},
    errors: {'"raises-exception"': '"other"'},
    figures: {
        "**What to notice**": "Notice", "A line that rises, ": "",
        "So it is.": "![](https://example.org/a.png)",
    },
    portable: {
        "works": "is in /home/someone/kdlab", "it works": "<object 0x7f00aa00bb00>",
        '"name": "stdout"': '"name": "stderr"', '"text/html"': '"image/svg+xml"',
    },
    links: {"- One": "- [One](nowhere.ipynb)"},
}  # fmt: skip


def test_the_specimen_keeps_every_rule():
    for rule in START + EVERYWHERE + CHAPTER:
        assert list(rule(specimen(), "01")) == [], rule.__name__


@pytest.mark.parametrize(
    ("rule", "old"),
    [pytest.param(rule, old, id=rule.__name__) for rule in FAULTS for old in FAULTS[rule]],
)
def test_a_rule_notices_its_fault(rule, old):
    text = json.dumps(specimen(), ensure_ascii=False)
    assert (spoilt := text.replace(old, FAULTS[rule][old])) != text
    assert list(rule(nbformat.from_dict(json.loads(spoilt)), "01")) != []
