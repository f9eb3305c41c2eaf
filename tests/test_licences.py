"""Licences: the top file names what has terms of its own, and what holds for its pictures."""

import re

import pytest

from kdlab.apps.classroom import decks
from kdlab.apps.classroom.book import build
from kdlab.apps.classroom.runner import find
from kdlab.files import ROOT, digest

VENDOR = ROOT / "kdlab/apps/classroom/vendor"
OWN = {  # what lies beside the vendored files
    "kdlab/apps/classroom/vendor": {"README.md"},
    "kdlab/apps/serving/web": {
        "README.md",
        *"docs.html docs.js index.html page.css page.js".split(),
    }
    | {"samples.png"},  # CIFAR-10: its README says so
    "tests/browser/vendor": {"README.md"},
}
ROW = re.compile(r"\| `([^`]+)` \| (\S+ [\d.]+) \| (\S+) \| \[(\S+)\]\(\4\) \| `([0-9a-f]{64})` \|")
SAYS = {  # by these words a text is known
    "MIT": "Permission is hereby granted, free of charge, to any person obtaining a copy of this",
    "ISC": "ISC License",
    "OFL-1.1": "SIL OPEN FONT LICENSE Version 1.1",
    "MPL-2.0": "Mozilla Public License, version 2.0",
}
LICENSE = " ".join((ROOT / "LICENSE").read_text("utf-8").split())


def test_the_licence_names_every_vendored_package_and_the_images():
    for name in ("ONNX Runtime Web", "reveal.js", "KaTeX", "SIL Open Font License 1.1"):
        assert name in LICENSE
    for name in ("axe-core", "MPL-2.0", "github.com/dequelabs/axe-core", "CC BY-SA 3.0"):
        assert name in LICENSE
    assert "CIFAR-10 pictures have no stated licence" in LICENSE


def test_the_licence_names_folders_that_exist():
    folders = re.findall(r"(?:kdlab|tests)/[\w/]+", LICENSE)
    assert len(folders) >= 3 and all((ROOT / folder).is_dir() for folder in folders), folders


def test_the_data_readme_names_pictures_and_scripts_that_exist():
    text = (ROOT / "data/README.md").read_text("utf-8")
    names = re.findall(r"`(results/[\w.-]+\.png)`", text)
    assert names and all((ROOT / "data" / name).exists() for name in names)


def test_the_fonts_come_with_their_whole_licence():
    folder = VENDOR / "fonts"
    text = (folder / "OFL.txt").read_text("utf-8")
    assert "Design Science, Inc." in text and "Khan Academy" in text
    for told in ("SIL OPEN FONT LICENSE Version 1.1", "5) The Font Software", "DISCLAIMER"):
        assert told in text
    names = " ".join(text.partition("\n\n")[0].split()).partition("Reserved Font Name ")[2]
    fonts = {path.name.split("-")[0] for path in folder.glob("*.woff2")}
    assert {*names.rstrip(".").split(", ")} == fonts


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("README.md", ("CC BY-SA 3.0", "CIFAR-10 pictures have no stated licence")),
        ("README.zh.md", ("CC BY-SA 3.0", "CIFAR-10 图片没有声明许可证")),
    ],
)
def test_both_front_pages_say_what_holds_for_the_images(page, told):
    (line,) = (row for row in (ROOT / page).read_text("utf-8").splitlines() if "CC BY 4.0" in row)
    assert all(words in line for words in told) and "(LICENSE)" in line


def test_a_deck_carries_the_licences_of_all_that_it_carries():
    head = decks.make_deck(find(["01"])[0], "en").partition("<style>")[0]
    (comment,) = re.findall("<!--(.*?)-->", head, re.DOTALL)
    texts = [path.read_text("utf-8").strip() for path in VENDOR.glob("LICENSE.*.txt")]
    texts.append((VENDOR / "fonts/OFL.txt").read_text("utf-8").strip())
    assert len(texts) == 4 and all(text in comment for text in texts)
    assert head.endswith("</title>\n") and not re.search("--!?>", decks.notices())


def test_a_book_carries_the_licences_of_katex_and_its_fonts(tmp_path):
    build.copy_katex(tmp_path)
    for name in ("LICENSE.katex.txt", "fonts/OFL.txt"):
        assert (tmp_path / name).read_bytes() == (VENDOR / name).read_bytes()


@pytest.mark.parametrize("name", OWN)
def test_each_vendored_file_has_its_row_its_digest_and_its_licence(name):
    folder = ROOT / name
    _, _, table = (folder / "README.md").read_text("utf-8").partition("|---|---|---|---|---|\n")
    lines = table.partition("\n\n")[0].splitlines()
    rows = [ROW.fullmatch(line).groups() for line in lines]
    assert len({*rows}) == len(rows) > 0
    for file, _, licence, text, sha in rows:
        assert digest((folder / file).read_bytes()) == sha, file
        assert SAYS[licence] in " ".join((folder / text).read_text("utf-8").split()), file
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    listed = {row[0] for row in rows} | {row[3] for row in rows}
    assert listed | OWN[name] == there - {".DS_Store"} and not listed & OWN[name]
