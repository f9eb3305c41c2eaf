"""What is asked next, choices, mock interviews, plans, and both front ends that show them."""

import itertools
import re
import signal
import sys
import time
from datetime import timedelta

import pytest
from helpers import DAY, NOON
from typer.testing import CliRunner

from kdlab.__main__ import app
from kdlab.apps import style
from kdlab.apps.i18n import LANGUAGES
from kdlab.apps.interview import bank, figures, panels, progress, quiz, scheduling, sessions
from kdlab.files import ROOT, environment

HAN = re.compile("[\u4e00-\u9fff]")
ITEMS = bank.items()
pytestmark = pytest.mark.usefixtures("file")


def test_words_find_items_in_both_languages():
    found = bank.find_items(words="温度")
    assert len(found) > 10 and all("温度" in str(item) for item in found)
    asked = ["温度" in item["question"]["zh"] for item in found]
    assert asked == sorted(asked, reverse=True) and any(asked)  # those that ask for it come first
    rest = [bool(bank.entries(item, "温度")) for item in found[sum(asked) :]]
    assert rest == sorted(rest, reverse=True) and any(rest)  # then those that ask in another way
    both = bank.find_items(words="Temperature 温度", levels=[1])
    assert {item["id"] for item in both} <= {item["id"] for item in found}
    assert all(item["level"] == 1 for item in both)
    assert all(item in found for item in scheduling.mock(10, found))


def test_find_shows_questions_with_their_short_answers():
    shown = typed(arguments=["find", "暗知识", "--language", "zh"])
    assert "dark-knowledge" in shown and "1 ." not in shown
    assert ITEMS["dark-knowledge"]["short"]["zh"].strip()[:8] in shown
    assert all(item["id"] in shown for item in bank.find_items(words="暗知识")[:3])
    item = next(item for item in bank.find_items(words="softmax") if bank.entries(item, "softmax"))
    page = bank.laid_out("search", [item], "softmax", "en")
    asked = bank.entries(item, "softmax")[0]
    assert " ".join((asked.get("question") or asked)["en"].split()) in page
    assert bank.entries(item, "") == []


def test_the_cards_panel_asks_only_what_has_the_words():
    panel, first = panels.flash_cards(), bank.find_items(words="onnx")[0]
    panel.words.value = "ONNX"
    assert "ONNX" in str(first)
    assert panel.screen.page("en") == bank.laid_out("question", first, "en")


def test_the_queue_has_what_is_due_what_is_new_and_what_is_nearly_due(at):
    pool = bank.find_items(chapters=[1])
    a, b, c = (item["id"] for item in pool[:3])
    cards = {name: progress.reschedule(None, grade, NOON) for name, grade in ((a, 3), (b, 1))}
    at(NOON)  # they come back in 10 minutes and in 1
    queue = [[item["id"] for item in part] for part in scheduling.queue(pool, cards)]
    assert queue == [[], [c, *(item["id"] for item in pool[3:])], [b, a]]
    assert scheduling.queue(pool, {}) == ([], pool, [])
    assert scheduling.queue(pool[:1], {a: progress.reschedule(None, 4, NOON)}) == ([], [], [])
    at(NOON + timedelta(minutes=2))
    assert scheduling.queue(pool[:3], cards) == ([pool[1]], [pool[2]], [pool[0]])


def test_no_card_comes_twice_in_a_row_while_there_is_another(at):
    at(NOON)
    for pool, asked in ((bank.find_items()[:2], [0, 1, 0]), (bank.find_items()[:1], [0, 0, 0])):
        sitting, shown = sessions.card_sitting(pool), []
        screen = next(sitting)
        for _ in asked:
            shown.append(screen.page("en"))
            sitting.send("")
            screen = sitting.send("1")  # again: it comes back in a minute
        assert shown == [bank.laid_out("question", pool[n], "en") for n in asked]


def test_the_log_is_read_once_for_each_card(monkeypatch):
    reads, read = [], progress.answer_log
    monkeypatch.setattr(progress, "answer_log", lambda: reads.append(1) or read())
    for sitting, keys in (
        (sessions.card_sitting(bank.find_items()), ["", "3"] * 5),
        (sessions.choice_sitting(bank.find_items()), ["a", ""] * 5),
        (sessions.mock_sitting(scheduling.mock(30)), ["", *["", "3"] * 5]),
    ):
        reads.clear()
        next(sitting)
        for key in keys:
            sitting.send(key)
        assert len(reads) <= 6  # five cards were answered, the sixth is shown


def test_the_bank_is_read_once():
    assert bank.items() is bank.items()


@pytest.mark.parametrize("name", ITEMS)
def test_one_option_is_right_and_the_rest_are_the_items_own_wrong_answers_with_reasons(name):
    found, wrong = scheduling.options(ITEMS[name]), ITEMS[name]["wrong_answers"][:2]
    (right,) = [option for option in found if option["right"]]
    for code, text in right["answer"].items():  # whole sentences from its beginning
        short = " ".join(ITEMS[name]["short"][code].split())
        assert short.startswith(text) and text[-1] in ".!?。！？)）`$"
        assert short in " ".join(right["why"][code].split())
    rest = [(o["answer"], o["why"]) for o in found if not o["right"]]
    assert sorted(map(str, rest)) == sorted(str((w["answer"], w["why"])) for w in wrong)
    assert len(found) == len({option["answer"]["en"] for option in found}) == 3


def test_length_does_not_give_the_right_choice_away():
    found = [scheduling.options(item) for item in ITEMS.values()]
    for code in LANGUAGES:
        longest = [max(options, key=lambda o: len(o["answer"][code]))["right"] for options in found]
        assert sum(longest) < 0.7 * len(found), code


@pytest.mark.parametrize(
    ("text", "language"),
    [  # the opening, then the rest
        ("No. It is small because we chose it so, nothing else.| More.", "en"),
        ("Take $a. B$ of the one and the other thing here.| Then rest.", "en"),
        ("Short answer without an end|", "en"),
        ("一点都不压缩。学生模型小，是因为我们一开始就选了小结构；蒸不蒸馏都一样。|", "zh"),
    ],
)
def test_the_opening_of_an_answer_is_whole_sentences(text, language):
    opening, _, rest = text.partition("|")
    assert scheduling.opening_of(opening + rest, language) == opening


def test_the_order_is_seeded_and_spread():
    item = ITEMS["dark-knowledge"]
    orders = [scheduling.options(item, seed) for seed in range(40)]
    assert scheduling.options(item, 7) == orders[7]
    places = [[o["right"] for o in order].index(True) for order in orders]
    assert set(places) == {0, 1, 2} and max(map(places.count, range(3))) < 24


@pytest.mark.parametrize("minutes", [3, 15, 30, 45, 90])
def test_a_mock_interview_keeps_its_time_and_its_mix(minutes):
    asked = scheduling.mock(minutes, seed=1)
    spent, levels = sum(item["minutes"] for item in asked), [item["level"] for item in asked]
    assert spent <= minutes and levels == sorted(levels)
    assert len({item["id"] for item in asked}) == len(asked)
    if minutes >= 30:
        assert spent >= minutes - 3 and set(levels) == {1, 2, 3}
        assert all(len({item[field] for item in asked}) >= 3 for field in ("chapter", "kind"))


def test_the_mix_follows_the_weights_and_the_filters():
    asked = scheduling.mock(30, levels={1: 0, 2: 1, 3: 3})
    spent = {n: sum(i["minutes"] for i in asked if i["level"] == n) for n in (1, 2, 3)}
    assert spent[1] == 0 and spent[3] > 1.5 * spent[2] > 0
    assert {i["chapter"] for i in scheduling.mock(20, bank.find_items([1, 2]))} == {1, 2}
    warm = bank.find_items(topics=["temperature"])
    assert all("temperature" in item["tags"] for item in scheduling.mock(20, warm))


def test_a_mock_interview_is_seeded():
    first, again, *others = (scheduling.mock(30, seed=seed) for seed in (3, 3, *range(4, 9)))
    assert first == again and sum(other != first for other in others) >= 4


@pytest.mark.parametrize("language", ["both", "en", "zh"])
def test_the_paper_interview_hides_its_answers_and_ends_with_the_rubric(language):
    names = "does-kd-shrink", "soft-gradient", "how-many-seeds"  # answers without a table
    page = scheduling.mock_page([ITEMS[name] for name in names], language)
    found = page._repr_html_()
    assert found.count("<details>") == len(names) * (2 if language == "both" else 1)
    assert found.count("<table>") == 1 and found.count("<tr>") == 6
    assert [len(entry["marks"]) for entry in scheduling.rubric()] == [4] * 5
    assert all(bank.laid_out("question", ITEMS[n], language) in page.markdown for n in names)


def test_the_score_weighs_by_level_and_names_what_was_missed():
    names = {n: next(i["id"] for i in ITEMS.values() if i["level"] == n) for n in (1, 2, 3)}
    found = scheduling.interview_score({names[1]: 4, names[2]: 1, names[3]: 4})
    assert found["score"] == pytest.approx(4 / 6) and found["missed"] == [ITEMS[names[2]]]
    assert found["level"] == {1: 1.0, 2: 0.0, 3: 1.0}
    found, marks = scheduling.interview_score({names[2]: 1}), {"clear": 1, "correct": 4}
    page = bank.laid_out("report", found, marks, scheduling.rubric(), "en")
    anchor = ITEMS[names[2]]["shown_in"][0]["anchor"]
    assert "0%" in page and "Weakest: Clear" in page and anchor in page and "Not yet" in page


def answer_some(at):
    """Three items on two days; the clock stands at the second."""
    for day, grades in enumerate(((3, 1, 4), (3, 1))):
        at(NOON + day * DAY)
        names = ("dark-knowledge", "why-t-squared", "write-the-loss")
        for name, grade in zip(names, grades, strict=False):
            progress.record_answer(name, grade)


def test_statistics_count_what_was_answered(at):
    answer_some(at)
    table = progress.readiness_table("chapter")
    assert table["items"].sum() == len(ITEMS) and table["seen"].sum() == 3
    assert list(table.loc[2, ["seen", "answers"]]) == [2, 3]
    assert table.loc[2, "right"] == pytest.approx(1 / 3) and table.loc[1, "right"] == 1
    assert 0.9 < table.loc[1, "ready"] * table.loc[1, "items"] <= 1  # one item, nearly certain
    tagged = sum("temperature" in item["tags"] for item in ITEMS.values())
    assert progress.readiness_table("topic").loc["temperature", "items"] == tagged
    with pytest.raises(ValueError, match="not by 'colour'"):
        progress.readiness_table("colour")
    at(NOON + 200 * DAY)
    assert progress.readiness_table("chapter").loc[1, "ready"] < table.loc[1, "ready"]


@pytest.mark.parametrize("by", progress.GROUPINGS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_statistics_as_a_page_and_a_plot(by, language, at):
    for answered in (False, True):
        if answered:
            answer_some(at)
        table = progress.readiness_table(by)
        lines = next(sessions.readiness_sitting(by)).page(language).splitlines()
        rows = [line for line in lines if line.startswith("|")]
        assert len(rows) == len(table) + 3 and f"| {len(ITEMS)} |" in rows[-1]
        names = [bank.group_name(by, group, language) for group in table.index]
        made = figures.progress_bars(table, names, language)
        assert len(made.axes[0].patches) == 2 * len(table)
        title = f"{(table['ready'] * table['items']).sum() / table['items'].sum():.0%}"
        assert title in made.get_suptitle()


def test_without_a_chinese_font_a_plot_speaks_english(monkeypatch):
    monkeypatch.setattr(style, "chinese_font", lambda: None)
    table = progress.readiness_table("kind")
    with pytest.warns(UserWarning, match="中文字体"):
        made = figures.progress_bars(table, ["概念"] * len(table), "zh")
    words = [text.get_text() for text in made.axes[0].get_yticklabels()]
    assert words == list(table.index) and not HAN.search(made.get_suptitle())


@pytest.mark.parametrize("hours", [0.5, 0.7, *range(1, 13), 1.5, 1.6, 2.5, 4.1])
@pytest.mark.parametrize("answered", [False, True])
def test_an_evening_adds_up_to_its_hours(hours, answered, at):
    if answered:
        answer_some(at)
    at(NOON + 2 * DAY)
    steps, total = scheduling.evening(hours), round(60 * hours)
    ends = list(itertools.accumulate(step.minutes for step in steps))
    assert [step.start for step in steps] == [0, *ends[:-1]] and ends[-1] == total
    assert all(step.minutes > 0 for step in steps)
    asked = [item["id"] for step in steps for item in step.items]
    assert len(asked) == len(set(asked)) > 0
    kinds = [step.kind for step in steps]
    assert kinds[-1] in ("again", "stop") and ("interview" in kinds) == (hours >= 2)
    assert (kinds[0] == "weak") == answered
    assert "break" not in (kinds[0], kinds[-1]) and ("break" in kinds) == (hours > 1.6)
    since = 0
    for step in steps:
        since = 0 if step.kind in ("break", "stop") else since + step.minutes
        assert since <= 130
    drills = [(s.chapter, i["level"]) for s in steps if s.kind == "drill" for i in s.items]
    assert drills == sorted(drills)  # chapter by chapter, basic before senior
    overviews = [step.chapter for step in steps if step.kind == "overview"]
    assert overviews == (sorted({chapter for chapter, _ in drills}) if hours >= 1.5 else [])
    assert [s.minutes >= total // 10 for s in steps if s.kind == "again"] == [True]
    if hours == 3 and not answered:
        assert {chapter for chapter, _ in drills} == set(bank.chapter_titles())


def test_an_evening_begins_with_the_weak_and_leaves_out_the_known(at):
    answer_some(at)
    at(NOON + 2 * DAY)
    steps = scheduling.evening(3)
    assert [item["id"] for item in steps[0].items][0] == "why-t-squared"
    asked = [item["id"] for step in steps for item in step.items]
    assert "dark-knowledge" not in asked and "write-the-loss" not in asked
    weak = progress.weak_topics()
    assert set(weak) <= set(ITEMS["why-t-squared"]["tags"]) and "t-squared" in weak
    page = scheduling.evening_page(3, "en")
    assert "Weak points first (" in page.markdown and "19:00" in page.markdown
    assert page._repr_html_().count("<tr>") == len(steps) + 1


def typed(*lines: str, arguments=()):
    done = CliRunner().invoke(app, ["quiz", *arguments], input="\n".join(lines) + "\n")
    assert done.exit_code == 0, done.output
    return done.output


def test_cards_in_the_terminal(file):
    said = typed("", "3", "l", "", "7", "1", "q")
    assert "What is knowledge distillation" in said and "Say" not in said
    assert "请输入其中之一" in said and "本次答了 2 题" in said
    assert [(a.grade, a.mode) for a in progress.answer_log()] == [(3, "card"), (1, "card")]
    assert str(file) in said.replace("\n", "")


def test_the_end_of_the_input_stops_and_keeps():
    assert "1 answered now" in typed("", "4") and len(progress.answer_log()) == 1


def right_letter(name: str, seed: str) -> str:
    return "abc"[[option["right"] for option in scheduling.options(ITEMS[name], seed)].index(True)]


def test_multiple_choice_in_the_terminal(file):
    letter = right_letter("kd-in-a-minute", "5-0")
    assert "Right." in typed(letter, "", "q", arguments=["choice", "--seed", "5"])
    assert progress.answer_log()[0][2:] == (scheduling.RECOGNISED, "choice")
    file.unlink()
    other = "ab"[letter == "a"]
    said = typed(other, "", "q", arguments=["choice", "--seed", "5"])
    assert f"Not {other}. Right is {letter}." in said
    assert progress.answer_log()[0].grade == progress.AGAIN


def test_a_mock_interview_in_the_terminal():
    asked = scheduling.mock(10, seed=4)
    keys = ["", *(x for _ in asked for x in ("", "3")), "l", "1", "2", "3", "4", "4"]
    said = typed(*keys, arguments=["mock", "--minutes", "10", "--seed", "4"])
    assert f"Question {len(asked)} of {len(asked)}" in said and "评分表：14/20" in said
    (past,) = progress.interviews()
    assert past.score == pytest.approx(2 / 3) and list(past.rubric.values()) == [1, 2, 3, 4, 4]
    assert [a.item for a in progress.answer_log()] == [item["id"] for item in asked]
    assert "67%" in typed(arguments=["stats"])


def test_a_mock_interview_broken_off_keeps_its_answers():
    said = typed("", "", "1", "q", arguments=["mock", "--minutes", "10", "--seed", "4"])
    assert "Stopped early" in said and "0%" in said
    assert len(progress.answer_log()) == 1 and progress.interviews() == []
    assert "Stopped early" in typed("q", arguments=["mock"])


def test_plan_and_statistics_in_the_terminal():
    assert "明天面试：2 小时" in typed(arguments=["tomorrow", "--hours", "2", "-l", "zh"])
    assert "合计" in typed(arguments=["stats", "-l", "zh", "--by", "kind"])


def interruptible():
    """In the child: Ctrl-C works though the tests may ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminal on Windows")
def test_the_quiz_in_a_real_terminal(request):
    """Through a pty: prompts come, Chinese is not garbled, Ctrl-C loses nothing."""
    import pexpect  # comes with IPython

    options = {"env": environment(TERM="xterm"), "encoding": "utf-8", "dimensions": (24, 100)}
    command = [sys.executable, ["-m", "kdlab", "quiz", "--chapter", "1"]]
    child = pexpect.spawn(*command, timeout=60, preexec_fn=interruptible, **options)
    request.addfinalizer(child.close)
    for shown, key in (("Show the answer", "l"), ("看答案", ""), ("不会", "3")):
        child.expect_exact(shown)
        child.sendline(key)
    child.expect(r"(?s)看答案.*结束\]")  # all of the prompt
    # a Ctrl-C between Python's prompt and its read is seen at the next key only: press it again;
    # the terminal of some sandboxes sends no signal for the key
    for press in [child.sendintr] * 5 + [lambda: child.kill(signal.SIGINT)] * 15:
        press()
        if child.expect_exact(["本次答了 1 题", pexpect.TIMEOUT], timeout=3) == 0:
            break
    child.expect(pexpect.EOF)
    assert child.wait() == 0 and len(progress.answer_log()) == 1


@pytest.mark.parametrize(
    ("latex", "shown"),
    [
        (r"$\mathrm{KL}(p\,\|\,q)$", "`KL(p ‖ q)`"),
        (r"$e^{\Delta/T}$", "`e^{Δ/T}`"),
        (r"$\log\frac{q(y)}{p(y)}$", "`log(q(y)/p(y))`"),  # not (log q(y))/p(y)
        (r"$\tfrac{1}{2K}\sum_i (z_i - v_i)^2$", "`(1/(2K)) ∑_i (z_i - v_i)^2`"),
        (r"$\frac{a - b}c \ge 0$", "`((a - b)/c) ≥ 0`"),
        (r"$p^{(T)}_{b,k} \approx 64\,000$", "`p^{(T)}_{b,k} ≈ 64 000`"),
        (r"$f''(x)$", "`f''(x)`"),
        ("$$\nT\\log q\n$$", "\n\n`T log q`\n\n"),
        ("`$HOME` and $T$", "`$HOME` and `T`"),
        ("```\ncost = '$5'\n```", "```\ncost = '$5'\n```"),
    ],
)
def test_formulas_in_a_terminal(latex, shown):
    assert quiz.readable(latex) == shown


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_formula_of_the_bank_is_left_in_latex(code):
    for item in ITEMS.values():
        shown = quiz.readable(bank.laid_out("card", item, code))
        text = re.sub(r"(?s)```.*?```", "", shown)
        assert "$" not in re.sub("`[^`]*`", "", text), item["id"]
        assert not re.search(r"\\(frac|mathrm|sum|log|big|[,;|])", text), item["id"]


def buttons(panel) -> list[str]:
    return [b.description for b in panel.buttons if b.layout.display != "none"]


def test_cards_on_a_panel():
    panel = panels.flash_cards()
    assert buttons(panel) == ["Show the answer"] and "answer" not in panel.body.value
    panel.buttons[0].click()
    assert len(buttons(panel)) == 4 and buttons(panel)[2] == "Good (10 min)"
    assert "Wrong answers that interviewers hear" in panel.body.value
    assert r"\(" in panel.body.value  # formulas, for MathJax
    panel.language.value = "zh"
    assert buttons(panel)[2] == "会 (10 分钟)" and "常见的错误回答" in panel.body.value
    panel.buttons[2].click()
    assert [a.grade for a in progress.answer_log()] == [3] and buttons(panel) == ["看答案"]
    panel.chapter.value = 1
    assert panel.screen.page("en").startswith("**") and panel.chapter.label.startswith("01 ")
    panel.language.value = "en"
    assert panel.chapter.value == 1 and panel.message.value == ""
    panel.stop.click()
    assert buttons(panel) == [] and "0 answered now" in panel.body.value
    panel.restart.click()
    assert buttons(panel) == ["Show the answer"]


def test_nothing_is_written_before_a_button_is_pressed(file):
    box = panels.trainer_tabs()
    box.language.value = "zh"
    box.tabs.selected_index = 3
    scheduling.evening_page(2)
    assert not file.parent.exists()
    assert box.tabs.titles == ("卡片", "选择题", "模拟面试", "统计", "明天面试")


def test_two_panels_see_each_others_answers():
    one, two = panels.flash_cards(), panels.flash_cards()
    for panel in (one, two):
        panel.answer("")
        panel.answer("4")
    first, second = progress.answer_log()
    assert first.item == second.item  # both had shown it already
    one.answer("")
    one.answer("4")
    two.start()
    assert f"{len(ITEMS) - 2} new" in two.status.value  # the third answer, given elsewhere


def test_multiple_choice_on_a_panel():
    panel = panels.multiple_choice()
    assert buttons(panel) == list("abc")
    panel.answer(right_letter(bank.find_items()[0]["id"], "0-0"))
    assert "Right." in panel.body.value and progress.answer_log()[0].mode == "choice"
    panel.language.value = "zh"
    assert "答对了" in panel.body.value
    panel.answer("")
    assert len(buttons(panel)) >= 3


def test_a_mock_interview_on_a_panel():
    panel = panels.mock_interview(minutes=15, seed=8)
    asked = scheduling.mock(15, seed=8)
    panel.answer("")
    assert panel.minutes.disabled and panel.chapters.disabled
    for n, item in enumerate(asked, 1):
        assert f"Question {n} of {len(asked)}" in panel.status.value
        assert bank.laid_out("question", item, "en") == panel.screen.page("en")
        panel.answer("")
        panel.answer("2")
    for mark in "12344":
        panel.answer(mark)
    assert "14 of 20" in panel.body.value and not panel.minutes.disabled
    assert progress.interviews()[0].score == pytest.approx(1 / 3)
    panel.minutes.value = 10
    assert "10 minutes" in panel.body.value or "9 minutes" in panel.body.value


def test_statistics_and_plan_on_panels(at):
    panel = panels.statistics_panel()
    before = panel.picture.value
    assert before[:4] == b"\x89PNG" and "<table>" in panel.body.value
    answer_some(at)
    panel.restart.click()
    assert panel.picture.value != before
    panel.by.value = "kind"
    panel.language.value = "zh"
    assert "推导" in panel.body.value
    plan = panels.tomorrow(hours=1)
    short = plan.body.value
    plan.hours.value = 4
    assert plan.body.value != short and "Mock interview" in plan.body.value


def test_an_error_is_shown_and_raised(monkeypatch):
    panel = panels.mock_interview()
    with pytest.raises(ValueError, match="no option 'x' here"):
        panel.answer("x")
    panel.basic.value = panel.working.value = 0
    with pytest.raises(ValueError, match="at least one level"):
        panel.senior.value = 0
    assert "at least one level" in panel.message.value
    panel.senior.value = 1
    assert panel.message.value == ""
    cards = panels.flash_cards()
    cards.answer("")
    monkeypatch.setenv("KDLAB_PROGRESS", str(ROOT / "README.md"))
    cards.buttons[0].click()  # outside a kernel ipywidgets logs what a button raises
    assert "ProgressError" in cards.message.value and "README.md" in cards.message.value


def test_a_screen_is_there_at_once_with_a_thousand_answers_behind_it(monkeypatch):
    names, panel = list(ITEMS)[:150], panels.flash_cards()
    given = [progress.Answer(names[n % 150], NOON + n * DAY / 50, 3, "card") for n in range(1000)]
    monkeypatch.setattr(progress, "answer_log", lambda: given)
    clock = time.process_time()
    panel.restart.click()
    panel.answer("")
    assert time.process_time() - clock < 1 and len(progress.cards()) == 150
