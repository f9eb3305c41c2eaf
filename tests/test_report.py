"""The report: one page, both languages, that says what the runs say and needs nothing else."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from kdlab.apps.distil import report
from kdlab.apps.distil.arms import FEATURES, OWN, OWN_NET, STANDARD, TEACHER
from kdlab.apps.distil.result import Result
from kdlab.data import Images

COUNT, CLASSES = 60, ("cats & dogs", "狗", "<b>")
STRONG = {"labels": 0.4, "labels, twice as long": 0.45, "teacher": 0.9}


def comparison(folder, strong=STRONG, seeds=3, classes=CLASSES, edge=()):
    """Runs that are right about these shares of some photos."""
    generator = np.random.default_rng(0)
    labels = torch.arange(COUNT) % len(classes)
    pixels = torch.zeros(COUNT, 3, 8, 8, dtype=torch.uint8)
    index, half = torch.arange(COUNT), (0.5,) * 3
    test = Images(pixels, labels, index, "my photos/test", classes, half, half)
    paths = []
    for k in range(COUNT):
        paths.append(folder / f"{k}.png")
        Image.fromarray(generator.integers(0, 256, (20, 30, 3), np.uint8)).save(paths[-1])
    runs = []
    for seed in range(seeds):
        for arm, share in strong.items():
            hit = generator.random(COUNT) < share
            said = [
                int(k if ok else (k + 1) % len(classes)) for k, ok in zip(labels, hit, strict=True)
            ]
            about = {"accuracy": 100 * hit.mean(), "balanced": 100 * hit.mean(), "ece": 5.0}
            about |= {"seconds": 1.5, "curve": [[5, 30.0], [10, 50.0 + seed]], "said": said}
            runs.append({"arm": arm, "seed": seed, **about})
    settings = {"lr": 0.1, "temperature": 2.0, "weight": 1.0}
    record = {
        "about": {"plan": {"arms": STANDARD, "student": "cnn3-8", "updates": 10, "trials": 2}},
        "runs": runs,
        "trials": [{"arm": arm, "validation": 50.0} for arm in STANDARD for _ in range(2)],
        "chosen": {arm: {**settings, "edge": list(edge)} for arm in STANDARD},
        "teacher": {"name": "mine.py:net", "size": 16, "reading": {}, "accuracy": 95.0}
        | {"balanced": 95.0, "ece": 3.0},
        "cost": {"teacher": {"ms": 8.0, "weights": None}}
        | {"student": {"ms": 0.5, "weights": 1234, "bytes": 9000}},
        "data": "my photos",
        "size": 8,
        "arithmetic": "cpu float32",
        "command": "python -m kdlab distil --data 'my photos'",
        "date": "2026-12-03",
        "commit": "abc",
        "machine": {"processor": "chip"},
    }
    photos = SimpleNamespace(
        labelled=test, train=test, validation=test, test=test, paths=tuple(paths), notes=()
    )
    return Result(record, photos, folder)


def page(result):
    labels = result.photos.test.labels
    return report.render(result, 5.0 * torch.nn.functional.one_hot(labels).float())


def in_language(html, tag):
    """The words of the page in one language, without markup."""
    other = {"en": "zh-CN", "zh-CN": "en"}[tag]
    body = html.split("<body>")[1]
    kept = re.sub(rf'(?s)<span lang="{other}">.*?</span>', "", body)
    return re.sub(r"<[^>]+>", " ", kept)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    result = comparison(tmp_path_factory.mktemp("photos"))
    return result, page(result)


def test_it_needs_nothing_else_and_runs_no_script(shipped):
    html = shipped[1]
    assert "<script" not in html and not re.search(r'(?:src|href)="(?!data:)', html)
    assert not re.search(r"url\((?!data:)", html) and "@import" not in html
    assert len(html) < 600_000


def test_it_says_in_both_languages_what_the_runs_say(shipped):
    result, html = shipped
    for tag in ("en", "zh-CN"):
        words = in_language(html, tag)
        for arm in STANDARD:
            mean, std = result.table.loc[arm, "accuracy"]
            assert f"{mean:.1f}&nbsp;±&nbsp;{std:.1f}" in words
        for gap in result.gaps.values():
            assert f"{gap.mean:+.1f}" in words and f"{gap.low:+.1f}" in words
        assert "1,234" in words and "mine.py:net" in words and "&#39;my photos&#39;" in words
    assert "Ship it" in in_language(html, "en") and "可以上线" in in_language(html, "zh-CN")
    assert "可以上线" not in in_language(html, "en")


def test_names_are_escaped(shipped):
    assert "<b>" not in shipped[1] and "cats &amp; dogs" in shipped[1] and "狗" in shipped[1]


def test_examples_are_of_the_kind_that_they_are_said_to_be(shipped):
    result, html = shipped
    known = result.photos.test.labels.tolist()
    for key, photos in report.examples(result, known):
        assert len(photos) <= report.EXAMPLES
        for photo in photos:
            right = photo["label"] == photo["student"], photo["label"] == photo["labels"]
            assert key == "not learnt" or right == (key == "gained", key == "lost")
    assert html.count("data:image/jpeg;base64,") >= 6


def test_classes_and_confusions_are_those_that_changed_most(shipped):
    result = shipped[0]
    rows = report.changes(result)
    sizes = [abs(after - before) for _, _, before, after, _ in rows]
    assert sizes == sorted(sizes, reverse=True) and sum(row[1] for row in rows) == COUNT
    for _, _, before, after, gap in rows:
        assert gap.mean == pytest.approx(after - before) and gap.comparisons == 3
    first = report.confusions(result)[0]
    assert first[0] != first[1] and first[2] > first[3]  # the teacher's student errs less


@pytest.mark.parametrize(("strong", "seeds", "word"), [
    ({**STRONG, "teacher": 0.2}, 3, "Don&#39;t"),
    ({**STRONG, "teacher": 0.45}, 3, "Undecided"),
    (STRONG, 1, "one seed decides nothing"),
])  # fmt: skip
def test_other_verdicts(tmp_path, strong, seeds, word):
    html = page(comparison(tmp_path, strong, seeds))
    assert word in in_language(html, "en") and "nan" not in in_language(html, "en")


def test_settings_at_the_edge_of_what_was_tried_are_said(tmp_path):
    words = in_language(page(comparison(tmp_path, edge=["temperature"])), "en")
    assert "temperature T is the outermost that was tried" in words


def test_what_was_asked_for_is_in_it(tmp_path):
    strong = {**STRONG, OWN: 0.5, FEATURES: 0.8}
    result = comparison(tmp_path, strong)
    plan = result.record["about"]["plan"]
    plan |= {"arms": list(strong), "method": "hint"}
    plan["stages"] = {"student": ["stage2"], "teacher": ["layer3"]}
    result.record["chosen"] |= {arm: result.record["chosen"][TEACHER] for arm in strong}
    result.record["chosen"][OWN_NET] = result.record["chosen"][TEACHER]
    result.record["trials"] += [{"arm": a, "validation": 1.0} for a in (OWN, FEATURES, OWN_NET)]
    result.record["own teacher"] = {"accuracy": 77.7, "balanced": 77.7, "ece": 1.0}
    words = in_language(page(result), "en")
    assert len(result.gaps) == 4 and "hint: stage2 → layer3" in words and "77.7" in words
    assert "the teacher's answers and features minus the teacher's answers" in words.replace(
        "&#39;", "'"
    )


def test_many_classes_and_a_language_to_begin_with(tmp_path):
    names = tuple(f"class {k}" for k in range(60))
    result = replace(comparison(tmp_path, classes=names), language="zh")
    html = page(result)
    assert '<html lang="zh-CN">' in html and 'id="zh" checked' in html
    assert len(report.changes(result)) == report.SHOWN and "class 19, …" in html


def test_a_reader_switches_the_language_and_nothing_overflows(shipped, browse, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(shipped[1], "utf-8")
    for width in (1280, 390):
        tab = browse(path.as_uri(), width=width)
        english, chinese = tab.get_by_text("Ship it"), tab.get_by_text("可以上线")
        assert english.is_visible() and not chinese.is_visible()
        tab.get_by_text("中文").click()
        assert chinese.is_visible() and not english.is_visible()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.troubles == []
