"""What is checked under an exercise: the right answer, cases to try it on, and usual mistakes."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import wraps

import torch
from torch import Tensor

from kdlab.apps.i18n import text, translate, wordbook

Solved = tuple[object, dict[str, object]]  # a case's right answer; what mistakes say, by their hint


def exercise(cases: Sequence[tuple], **options) -> Callable:
    """Make `check_NAME(yours)` of a function that solves a case, with these options in each.

    The mistakes are tried in their order.
    """

    def check_of(solve: Callable[..., Solved]) -> Callable[[Callable], None]:
        name = solve.__name__.removeprefix("check_")

        @wraps(solve)
        def check(yours: Callable) -> None:
            try:
                answers = [plain(yours(*map(deepcopy, case), **options)) for case in cases]
            except NotImplementedError:
                print(translate("exercise.not done", name=name))
                return
            if hint := complaint(cases, answers, [solve(*case, **options) for case in cases]):
                raise AssertionError(translate("exercise.hint", name=name, hint=hint))
            print(translate("exercise.passed", name=name))

        return check

    return check_of


def complaint(cases: Sequence[tuple], answers: list, solved: Sequence[Solved]) -> str:
    """A hint where all cases agree with a known mistake, else the first difference; "" if none."""
    wanted = [plain(right) for right, _ in solved]
    for got, want in zip(answers, wanted, strict=True):
        if not isinstance(got, Tensor) or not isinstance(want, Tensor):
            continue
        if got.shape != want.shape:
            return translate("exercise.shape", want=list(want.shape), got=list(got.shape))
        if got.isnan().any():
            return translate("exercise.nan")
    wrong = [n for n, got in enumerate(answers) if not alike(got, wanted[n])]
    if not wrong:
        return ""
    for hint in solved[0][1]:
        if all(alike(got, plain(by[hint])) for got, (_, by) in zip(answers, solved, strict=True)):
            return text({"en": hint, "zh": wordbook()["hint"].get(hint, hint)})
    case, got, want = (values[wrong[0]] for values in (cases, answers, wanted))
    if isinstance(want, Tensor):
        return translate("exercise.expected", want=want, got=got)
    return translate("exercise.said", case=", ".join(map(str, case)), want=want, got=got)


def plain(answer: object) -> Tensor | str | None:
    """Numbers as tensors, words as they are."""
    return answer if answer is None or isinstance(answer, str) else torch.as_tensor(answer)


def alike(got: Tensor | str | None, want: Tensor | str | None) -> bool:
    """Whether two answers are the same but for rounding."""
    if isinstance(got, Tensor) and isinstance(want, Tensor):
        return torch.allclose(got.float(), want.float(), rtol=1e-3, atol=1e-5)
    return not isinstance(got, Tensor) and got == want


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers, the same each time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def logit_cases(*temperatures: float) -> list[tuple[Tensor, Tensor, float]]:
    """Random (student_logits, teacher_logits, T) of several shapes."""
    pairs = [[4 * noise(*shape, seed=n) for n in (0, 1)] for shape in ((1, 2), (3, 10), (8, 5))]
    return [(z, v, t) for z, v in pairs for t in temperatures]


def labelled_cases() -> list[tuple[Tensor, Tensor, Tensor]]:
    """Random (student_logits, teacher_logits, labels)."""
    return [(z, v, torch.arange(len(z)) % z.shape[1]) for z, v, _ in logit_cases(1.0)]
