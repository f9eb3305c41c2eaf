"""The Chinese edition: cell by cell the English one's program, with words of its own."""

import json
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from kdlab.apps.classroom import runner, translations
from kdlab.apps.i18n import LANGUAGES, display_name, translate, wordbook
from kdlab.files import NOTEBOOKS
from kdlab.lab import results

HAN = translations.HAN
CHINESE = sorted((NOTEBOOKS / "zh").glob("*.ipynb"))
each_chapter = pytest.mark.parametrize("path", CHINESE, ids=lambda path: path.stem)
BLOCK = re.compile("```.*?```", re.DOTALL)
EXACT = re.compile(r"\$\$?[^$]+\$\$?|`[^`]+`|arXiv:[\d.]+\d|\d+[.,]\d+%?|\d+%")


def editions_of(path):
    return [nbformat.read(place, 4) for place in (NOTEBOOKS / path.name, path)]


def pairs(path):
    """The Markdown cells of both editions side by side."""
    english, chinese = ({c.id: c for c in made.cells} for made in editions_of(path))
    shared = [name for name in english if name in chinese]
    return [(english[n], chinese[n]) for n in shared if english[n].cell_type == "markdown"]


def exact(text):
    """Formulas without their words, code, and numbers that are written in digits."""
    text = re.sub(r"\\text\{[^}]*\}", r"\\text{}", text)
    return set(BLOCK.findall(text)) | set(EXACT.findall(BLOCK.sub("", text)))


@each_chapter
def test_every_cell_has_its_chinese(path):
    assert list(translations.unlike(*editions_of(path), path.stem)) == []


@each_chapter
def test_formulas_code_and_numbers_are_those_of_the_english_text(path):
    for english, chinese in pairs(path):
        one, other = (exact(cell.source) for cell in (english, chinese))
        only = one - other, other - one  # a name that the Chinese outputs say in Chinese is in code
        alike = len(only[0]) == len(only[1]) and all(map(translations.HAN.search, only[1]))
        alike = alike and all(span.startswith("`") for span in only[0])
        assert alike, f"{english.id}: only English {only[0]}, only Chinese {only[1]}"


@each_chapter
def test_the_minutes_are_those_of_the_english_edition(path):
    told = []
    for cells, word in zip(zip(*pairs(path), strict=True), ("Time:", "用时："), strict=True):
        lines = re.findall(rf"\*\*{word}.*", "\n".join(cell.source for cell in cells))
        told.append([re.findall(r"\d+", line) for line in lines])
    assert told[0] == told[1] != []


@each_chapter
def test_links_lead_where_the_english_ones_lead(path):
    headings = [line for _, c in pairs(path) for line in re.findall("(?m)^#+ (.+)$", c.source)]
    anchors = {"#" + heading.replace(" ", "-") for heading in headings}
    for english, chinese in pairs(path):
        one, other = (re.findall(r"\]\(([^)\s]+)\)", c.source) for c in (english, chinese))
        here, there = ([link for link in links if link[0] == "#"] for links in (one, other))
        assert len(here) == len(there) and set(there) <= anchors, english.id
        here, there = ({link for link in links if link[0] != "#"} for links in (one, other))
        plain = [{re.sub(r"^((\.\./)+|zh/)", "", link) for link in some} for some in (here, there)]
        assert plain[0] == plain[1], english.id
        for link in (link for link in there if "://" not in link):
            assert (path.parent / link.split("#")[0]).exists(), f"{english.id}: {link}"


@each_chapter
def test_punctuation_is_full_width_beside_chinese(path):
    for _, cell in pairs(path):
        prose = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$|\]\([^)]*\)", "", cell.source, flags=re.DOTALL)
        assert not re.search(r"[\u4e00-\u9fff][,;:?!](?!\w)", prose), cell.id


PROGRAM = """import random
# draw twice
draws = [random.random() for _ in range(2)]
names = {"labels": draws[0], "soft": draws[1]}
print(f"of {len(names)} arms the best is {max(names)}", "T²")
"""
SAME = {
    "comments": PROGRAM.replace("draw twice", "抽两次"),
    "words": PROGRAM.replace("labels", "标签"),
    "turned": PROGRAM.replace(
        "of {len(names)} arms the best is {max(names)}", "{max(names)} 最好，共 {len(names)} 组"
    ),
}
SAME["a full-width mark"] = SAME["turned"].replace("T²", "（T²）")
OTHER = {
    "an argument": PROGRAM.replace("range(2)", "range(3)"),
    "a name": PROGRAM.replace("max(names)", "min(names)"),
    "an English string": PROGRAM.replace('"soft"', '"hard"'),
    "a value less": PROGRAM.replace("of {len(names)} arms", "各组"),
    "a line more": PROGRAM + "draws.sort()\n",
    "no program": "%timeit pass",
}


@pytest.mark.parametrize("name", SAME)
def test_comments_and_chinese_strings_may_differ(name):
    assert SAME[name] != PROGRAM and translations.same_program(PROGRAM, SAME[name])


@pytest.mark.parametrize("name", OTHER)
def test_nothing_else_may_differ(name):
    assert not translations.same_program(PROGRAM, OTHER[name])


def test_sync_brings_code_over_and_keeps_the_chinese():
    def edition(code, text="Read.", **more):
        cells = [new_markdown_cell(text, id="text"), new_code_cell(code, id="code")]
        return new_notebook(cells=cells + [new_markdown_cell(m, id=n) for n, m in more.items()])

    before, chinese = (
        edition(PROGRAM),
        edition(SAME["words"].replace("draw twice", "抽两次"), "读。"),
    )
    changed = PROGRAM.replace("range(2)", "range(3)") + "# sort them\ndraws.sort()\n"
    result, left = translations.synchronised(
        edition(changed, "Read on.", new="New."), chinese, before
    )
    code = result.cells[1].source
    assert "# 抽两次" in code and '"标签"' in code and "range(3)" in code and "draws.sort()" in code
    assert translations.same_program(changed, code)
    assert [cell.source for cell in result.cells[::2]] == ["读。", "New."]
    assert left == [
        "text: its English has changed",
        "code: # sort them",
        "code: new code",
        "new: new text",
    ]
    again, _ = translations.synchronised(before, chinese, before)
    assert again == chinese


def one_cell(source):
    return new_notebook(cells=[new_code_cell(source, id="code")])


@pytest.mark.parametrize("chinese", [
    SAME["words"].replace("range(2)", "range(5)"),  # the English was changed and committed since
    PROGRAM.replace("# draw twice", "# 抽两次\n# 固定种子"),  # a comment more
])  # fmt: skip
def test_sync_loses_no_word_that_it_can_not_place(chinese):
    english = one_cell(PROGRAM)
    result, left = translations.synchronised(english, one_cell(chinese), english)
    assert result.cells[0].source == chinese
    assert left == ["code: its code is not the English one's; change it by hand"]


def test_a_cell_keeps_its_own_words_where_another_says_it_otherwise():
    source, words = "print('gap')", ("差距", "间隔")
    english = new_notebook(cells=[new_code_cell(source, id=name) for name in "ab"])
    cells = [new_code_cell(f"print('{word}')", id=i) for i, word in zip("ab", words, strict=True)]
    result, left = translations.synchronised(english, new_notebook(cells=cells), english)
    assert [cell.source for cell in result.cells] == [cell.source for cell in cells] and left == []


def test_sync_drops_no_chinese_cell():
    chinese = new_notebook(cells=[new_markdown_cell("完。", id="gone")])
    with pytest.raises(ValueError, match="the English one has not: gone; delete them"):
        translations.synchronised(new_notebook(), chinese, new_notebook())


def test_the_language_is_that_of_the_folder(tmp_path):
    cell = new_code_cell(
        "from kdlab.apps.i18n import translate\nprint(translate('verdict.better'))"
    )
    folders = tmp_path / "notebooks", tmp_path / "notebooks" / "zh"
    for folder in folders:
        folder.mkdir()
        nbformat.write(new_notebook(cells=[cell]), folder / "01_two.ipynb")
    runs = [runner.run_notebook(folder / "01_two.ipynb") for folder in folders]
    printed = [notebook.cells[0].outputs[0].text.strip() for notebook, _ in runs]
    assert printed == [translate("verdict.better", code) for code in LANGUAGES]
    assert [chapter.name for _, chapter in runs] == ["01_two", "zh/01_two"]


NUMBER = re.compile(r"\d+(?:\.\d+)?(?![\d.]*\s*(?:s|ms|µs|seconds|秒|毫秒)\b)")  # of no time


def printed_numbers(cell):
    """The numbers of a cell's printed lines, as runs end in any order, and those of its tables,
    each once: a wide one repeats its rows' names."""
    lines = "\n".join(output.get("text", "") for output in cell.outputs)
    tables = "\n".join(o.get("data", {}).get("text/plain", "") for o in cell.outputs)
    return sorted(NUMBER.findall(lines)), set(NUMBER.findall(tables))


@each_chapter
def test_the_numbers_are_those_of_the_english_edition(path):
    """Same seeds on the same machine: only a cell tagged `timed` may print other numbers."""
    english, chinese = (
        {c.id: c for c in e.cells if c.cell_type == "code"} for e in editions_of(path)
    )
    for name, cell in english.items():
        if "timed" not in cell.metadata.get("tags", ()):
            assert printed_numbers(cell) == printed_numbers(chinese[name]), name


SPEAKING = {"00", "05", "06", "08", "A1"}  # chapters that have reached 95%
IDENTIFIER = re.compile(
    r"`[^`]*`|\S*[\d_/\[\](){}=][^\s\u3000-\uffef]*"
)  # also numbers, lists, paths


@pytest.mark.parametrize("path", [p for p in CHINESE if p.stem[:2] in SPEAKING])
def test_printed_lines_are_chinese(path):
    """Of those that say something: a line of identifiers and numbers alone does not."""
    cells = [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    texts = "\n".join(o.get("text", "") for c in cells for o in c.outputs).splitlines()
    said = [t for t in texts if re.search(r"[^\W\d_]{2}", IDENTIFIER.sub("", t)) or HAN.search(t)]
    english = [text for text in said if not HAN.search(text)]
    assert len(english) <= 0.05 * len(said), english


@each_chapter
def test_figures_speak_chinese(path):
    if path.stem[:2] in SPEAKING | {"03", "04"}:
        english, chinese = ({p for c in e.cells for p in pictures(c)} for e in editions_of(path))
        assert not english & chinese


def pictures(cell):
    """The figures among a cell's outputs."""
    return [
        o.data["image/png"] for o in cell.get("outputs", ()) if "image/png" in o.get("data", {})
    ]


def test_every_name_line_hint_and_title_has_its_chinese():
    book = wordbook()
    assert set(book["line"]) == set(results.LINES)
    assert set(book["title"]) >= set(results.names())
    names = [name for name in results.names() if not name.endswith("tuning")]
    arms = {run["arm"] for name in names for run in results.read(name)["runs"]}
    plain = re.compile(r"[A-Z]\w*|T=\d+ a=[\d.]+|cifar10\S+|mnist\S+|kdlab|\+ Jensen-Shannon")
    left = [arm for arm in arms if display_name(arm, "zh") == arm and not plain.fullmatch(arm)]
    assert left == []


@pytest.mark.parametrize(("name", "chinese"), [
    ("labels, 20 epochs", "只用标签，20 轮"),
    ("CNN: teacher of 1000 labels", "CNN：教师模型学过 1000 个标签"),
    ("leaderboard (− soft targets)", "leaderboard (− 软目标)"),
    ("cifar10-cnn7-16", "cifar10-cnn7-16"),
])  # fmt: skip
def test_a_name_is_shown_in_the_language_of_the_edition(name, chinese):
    assert display_name(name, "zh") == chinese and display_name(name, "en") == name


def test_tables_of_a_chinese_kernel_have_chinese_heads(tmp_path):
    table = "import pandas as pd\nfrom kdlab.apps.chapters import figures\n"
    table += "t = pd.DataFrame({'mean': [1.5]}, index=pd.Index(['labels'], name='arm'))\nt"
    folder = tmp_path / "notebooks" / "zh"
    folder.mkdir(parents=True)
    nbformat.write(one_cell(table + "\nassert list(t) == ['mean']\nt"), folder / "01_two.ipynb")
    notebook, chapter = runner.run_notebook(folder / "01_two.ipynb")
    assert chapter.error is None
    shown = notebook.cells[0].outputs[0].data
    for word in ("均值", "只用标签", "实验组"):
        assert word in shown["text/html"]
    assert "labels" in shown["text/plain"]


def test_an_english_text_that_changed_alone_makes_its_chinese_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(translations, "SEALS", tmp_path / "seals.json")
    before = {"01_two#end": translations.seal({"en": "Done.", "zh": "完。"})}
    translations.SEALS.write_text(json.dumps(before))

    def told(english, chinese):
        both = [new_notebook(cells=[new_markdown_cell(x, id="end")]) for x in (english, chinese)]
        return list(translations.unlike(*both, "01_two"))

    assert told("Not done.", "完。") == ["end: its English has changed since"]
    assert told("Do\nne.", "完。") == told("Done.", "完了。") == told("Not done.", "没完。") == []
