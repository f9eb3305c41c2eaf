"""The checks under the exercises: they pass what is right and name the usual mistakes."""

import itertools
import re

import pytest
import torch
import torch.nn.functional as F

from kdlab import metrics
from kdlab.apps.chapters import exercises
from kdlab.apps.i18n import wordbook
from kdlab.files import NOTEBOOKS


def text_kl(p, q, length):
    """Over all V ** length texts, one by one."""
    total, models = 0, (p.log_softmax(1), q.log_softmax(1))
    for text in itertools.product(range(len(p)), repeat=length):
        steps = list(zip((0, *text), text, strict=False))
        of_p, of_q = (sum(model[step] for step in steps) for model in models)
        total = total + of_p.exp() * (of_p - of_q)
    return total


def to_go(s, p):
    return torch.stack([(s - p)[:, t:].sum(1) for t in range(s.shape[1])], 1)


def stub(*case, **options):
    raise NotImplementedError


CHECKS = {name[6:]: check for name, check in vars(exercises).items() if name.startswith("check_")}


def mistakes(name, check):
    """What a check knows: its hints, each with a function that makes the mistake."""

    def remember(*case, **options):
        known.update(check.__wrapped__(*case, **options)[1])
        stub()

    known = {}
    check(remember)
    for hint in known:
        yield name, hint, lambda *case, hint=hint, **more: check.__wrapped__(*case, **more)[1][hint]


MISTAKES = [made for name, check in CHECKS.items() for made in mistakes(name, check)]
FURTHER = [  # what every check says without a mistake of its own
    ("soften", lambda z, t: (z / t).exp() / (z / t).exp().sum(1, keepdim=True), "NaN; the exp of"),
    ("entropy", lambda p: -(p * p.log()).nansum(), r"must have shape \[1\], yours has \[\]"),
    ("entropy", lambda p: -(p * p.log()).sum(1), "0 log 0 must count as 0"),
    ("soft_target_loss", lambda z, v, t: torch.zeros(()), r"expected \d\.\d+, yours gives 0.0"),
    ("attention_map", lambda x: F.normalize(x.square().sum(1), dim=1), "must have shape"),
    ("diagnose", lambda symptoms: "none", "'steady': True.* wants 'reduction', yours says 'none'"),
    ("best_within", lambda nets, limit: 0.5, "wants 'A', yours says tensor"),
    ("honest_gain", lambda g: g.sum(), "expected"),
]


def test_every_check_stands_under_an_exercise():
    """There its hidden solution, written without kdlab, passes it: tests/test_notebooks.py."""
    chapters = "".join(path.read_text("utf-8") for path in NOTEBOOKS.glob("*.ipynb"))
    assert {*re.findall(r"check_(\w+)\(", chapters)} == set(CHECKS)
    assert len(MISTAKES) == 133


@pytest.mark.parametrize(("name", "slow"), [("sequence_kl", text_kl), ("reward_to_go", to_go)])
def test_what_the_hidden_solution_computes_in_the_same_way_is_also_summed_term_by_term(
    name, slow, capsys
):
    CHECKS[name](slow)
    assert capsys.readouterr().out == f"All checks of {name} passed.\n"


@pytest.mark.parametrize(("name", "hint", "wrong"), MISTAKES)
def test_each_mistake_gets_its_own_hint(name, hint, wrong, capsys):
    """It differs from the right answer, and from every mistake that is tried before it."""
    with pytest.raises(AssertionError, match=f"^{re.escape(f'{name}: {hint}')}$"):
        CHECKS[name](wrong)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("name", "hint", "wrong"), MISTAKES)
def test_each_hint_has_its_chinese(name, hint, wrong, monkeypatch):
    monkeypatch.setenv("KDLAB_LANGUAGE", "zh")
    with pytest.raises(AssertionError, match=f"^{name}：.*{re.escape(wordbook()['hint'][hint])}$"):
        CHECKS[name](wrong)


@pytest.mark.parametrize(("name", "wrong", "told"), FURTHER)
def test_any_other_answer_is_told_what_was_expected(name, wrong, told):
    with pytest.raises(AssertionError, match=told):
        CHECKS[name](wrong)


@pytest.mark.parametrize("name", CHECKS)
def test_a_stub_is_not_done_yet(name, capsys):
    CHECKS[name](stub)
    assert capsys.readouterr().out == f"{name}: not done yet.\n"


def test_a_function_that_changes_its_input_spoils_nothing(capsys):
    def careless(genuine, impostor, far):
        found = metrics.tar_at_far(genuine, impostor, far)
        genuine.zero_()
        return found

    for _ in range(2):
        exercises.check_tar_at_far(careless)
        assert "passed" in capsys.readouterr().out
