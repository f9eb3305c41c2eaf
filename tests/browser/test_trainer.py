"""The trainer in JupyterLab, driven by a browser as a person would; pictures in build/browser."""

import sqlite3

from kdlab.apps.interview import bank, scheduling

CELL = "from kdlab.apps.interview import panels\npanels.trainer_tabs()"
MISSING = """() => {  // characters that are drawn as an empty box: as wide as one surely missing
    const text = document.querySelector('.jp-OutputArea').innerText;
    const draw = document.createElement('canvas').getContext('2d');
    const style = getComputedStyle(document.querySelector('.jp-RenderedHTMLCommon p'));
    const canvas = draw.canvas; canvas.width = canvas.height = 40;
    const picture = c => { draw.clearRect(0, 0, 40, 40); draw.font = '24px ' + style.fontFamily;
        draw.fillText(c, 4, 30); return canvas.toDataURL(); };
    const box = picture('\\u{10FFFE}');
    return [...new Set(text)].filter(c => /\\p{Script=Han}/u.test(c) && picture(c) === box);
}"""


def grades(lab) -> list[tuple]:
    with sqlite3.connect(lab.progress) as db:
        return db.execute("SELECT item, grade, mode FROM answers ORDER BY id").fetchall()


def button(page, words: str):
    return page.locator(".jp-OutputArea button:visible").filter(has_text=words).first


def test_an_evening_with_the_trainer(run, shot, lab):
    """Cards, choice, mock interview with its rubric, statistics, the plan; both languages."""
    page = run("evening", CELL)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    first = bank.find_items()[0]

    def says(words: str) -> None:
        page.locator(".jp-OutputArea").get_by_text(words).filter(visible=True).first.wait_for()

    says(first["question"]["en"].strip())
    shot(page, "cards-1-question")
    button(page, "Show the answer").click()
    says("Wrong answers that interviewers hear")
    page.wait_for_selector(".jp-OutputArea mjx-container")  # formulas are typeset ...
    page.wait_for_timeout(1000)
    body = page.locator(".jp-RenderedHTMLCommon:visible").first.inner_text()
    assert "\\(" not in body and "\\mathrm" not in body  # ... every one
    shot(page, "cards-2-answer")
    button(page, "中文").click()
    says("常见的错误回答")
    page.wait_for_timeout(1000)
    shot(page, "cards-3-chinese")
    assert page.evaluate(MISSING) == []
    button(page, "会 (10 分钟)").click()
    says("本次已答 1")
    assert grades(lab) == [(first["id"], 3, "card")]

    page.locator(".lm-TabBar-tab", has_text="选择题").click()
    # the tab was made before the card was answered: it still shows the first item
    says("c ")
    shot(page, "choice-1")
    right = [option["right"] for option in scheduling.options(first, "0-0")].index(True)
    button(page, "abc"[right]).click()
    says("答对了")
    page.wait_for_timeout(500)
    shot(page, "choice-2")
    assert grades(lab)[-1] == (first["id"], scheduling.RECOGNISED, "choice")

    page.locator(".lm-TabBar-tab", has_text="模拟面试").click()
    shot(page, "mock-1")
    button(page, "开始").click()
    says("第 1/")
    button(page, "English").click()
    says("Question 1 of")
    count = int(page.get_by_text("Question 1 of").inner_text().split(" of ")[1].split()[0])
    for n in range(1, count + 1):
        says(f"Question {n} of {count}")
        button(page, "Show the answer").click()
        says("Sources")
        shot(page, "mock-2-answer")
        button(page, "Hard" if n % 2 else "Good").click()
    for entry in scheduling.rubric():
        says(entry["asks"]["en"])
        shot(page, "mock-3-rubric")
        button(page, "3").click()
    says("Rubric: 15 of 20")
    page.wait_for_timeout(500)
    shot(page, "mock-4-report")
    assert sum(mode == "mock" for _, _, mode in grades(lab)) == count

    for language, tab, word, name in (
        ("English", "Statistics", "Mock interviews so far", "statistics-en"),
        ("中文", "统计", "以往模拟面试得分", "statistics-zh"),
        ("中文", "明天面试", "3 小时复习计划", "tomorrow-zh"),
    ):
        button(page, language).click()
        page.locator(".lm-TabBar-tab", has_text=tab).click()
        says(word)
        page.wait_for_timeout(1500)
        shot(page, name)
    button(page, "English").click()
    says("a plan for 3 h")
    shot(page, "tomorrow-en")
    assert errors == []
