"""What is checked under an exercise: the right answer, cases to try it on, and usual mistakes."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import NamedTuple

import torch
from torch import Tensor

Mistake = tuple[str, Callable]  # a hint, and the function that it describes


class Exercise(NamedTuple):
    """An exercise: its reference, the cases, the mistakes in the order in which they are tried."""

    right: Callable
    cases: Sequence[tuple]
    mistakes: Sequence[Mistake]
    options: dict


EXERCISES: dict[str, Exercise] = {}


def exercise(name: str, cases: Sequence[tuple], mistakes: Sequence[Mistake], **options) -> Callable:
    """Make the check of an exercise from the function below it, which is the right answer."""

    def check_of(right: Callable) -> Callable[[Callable], None]:
        EXERCISES[name] = known = Exercise(right, cases, mistakes, options)

        @wraps(right)
        def check(yours: Callable) -> None:
            try:
                given = answers(yours, known)
            except NotImplementedError:
                print(f"{name}: not done yet.")
                return
            if told := complaint(given, known):
                raise AssertionError(f"{name}: {told}")
            print(f"All checks of {name} passed.")

        return check

    return check_of


def answers(function: Callable, known: Exercise) -> list[Tensor | str | None]:
    """What a function says in each case: numbers as tensors, words as they are."""
    found = [function(*copies(case), **known.options) for case in known.cases]
    return [x if x is None or isinstance(x, str) else torch.as_tensor(x) for x in found]


def copies(case: tuple) -> list:
    """The arguments of a case, so that a function that changes one changes nothing else."""
    kinds = {Tensor: Tensor.clone, list: list, dict: dict}
    return [kinds.get(type(x), lambda x: x)(x) for x in case]


def complaint(given: list, known: Exercise) -> str:
    """A hint where all cases agree with a known mistake, else the first difference; "" if none."""
    wanted = answers(known.right, known)
    for got, want in zip(given, wanted, strict=True):
        if not isinstance(got, Tensor) or not isinstance(want, Tensor):
            continue
        if got.shape != want.shape:
            return f"the result must have shape {list(want.shape)}, yours has {list(got.shape)}"
        if torch.isnan(got).any():
            return (
                "NaN; the exp of a large logit overflows (softmax does not), and 0 log 0 must "
                "count as 0 (torch.xlogy)"
            )
    if alike(given, wanted):
        return ""
    for hint, mistake in known.mistakes:
        if alike(given, answers(mistake, known)):
            return hint
    case, got, want = next(
        (case, got, want)
        for case, got, want in zip(known.cases, given, wanted, strict=True)
        if not alike([got], [want])
    )
    if isinstance(want, Tensor):
        return f"expected {want}, yours gives {got}"
    return f"{', '.join(map(str, case))} wants {want!r}, yours says {got!r}"


def alike(given: list, wanted: list) -> bool:
    """Whether two lists of answers are the same but for rounding."""
    pairs = list(zip(given, wanted, strict=True))
    if all(isinstance(x, Tensor) for pair in pairs for x in pair):
        near = {"rtol": 1e-3, "atol": 1e-5}
        return all(torch.allclose(got.float(), want.float(), **near) for got, want in pairs)
    return all(not isinstance(got, Tensor) and got == want for got, want in pairs)


def logit_cases(*temperatures: float, seed: int = 0) -> list[tuple[Tensor, Tensor, float]]:
    """Random (student_logits, teacher_logits, T) of several shapes."""
    draw = torch.Generator().manual_seed(seed)
    shapes = [(1, 2), (3, 10), (8, 5)]
    pairs = [[4 * torch.randn(*shape, generator=draw) for _ in "zv"] for shape in shapes]
    return [(z, v, t) for z, v in pairs for t in temperatures]


def labelled_cases() -> list[tuple[Tensor, Tensor, Tensor]]:
    """Random (student_logits, teacher_logits, labels)."""
    return [(z, v, torch.arange(len(z)) % z.shape[1]) for z, v, _ in logit_cases(1.0)]
