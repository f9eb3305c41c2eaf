"""One line under an exercise: does my function do what it should?

Each check calls yours on random inputs beside the reference of kdlab. It prints one line when all
is well, or raises an AssertionError with a hint; a stub (NotImplementedError) is "not done yet".
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlab import losses, metrics

Mistake = tuple[str, Callable[..., Tensor]]  # a hint, and the function that it describes


def _compare(
    name: str,
    yours: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    cases: Sequence[tuple],
    mistakes: Sequence[Mistake] = (),
    **options,
) -> None:
    """Compare on each case; where all cases agree with a known mistake, hint at that one."""
    wanted = [torch.as_tensor(reference(*case, **options)) for case in cases]
    try:
        given = [torch.as_tensor(yours(*case, **options)) for case in cases]
    except NotImplementedError:
        print(f"{name}: not done yet.")
        return
    for got, want in zip(given, wanted, strict=True):
        assert got.shape == want.shape, (
            f"{name}: the result must have shape {list(want.shape)}, yours has {list(got.shape)}"
        )
        assert not torch.isnan(got).any(), (
            f"{name}: NaN; the exp of a large logit overflows (softmax does not), and 0 log 0 "
            "must count as 0 (torch.xlogy)"
        )
    if not _alike(given, wanted):
        for hint, mistake in mistakes:
            if _alike(given, [torch.as_tensor(mistake(*case, **options)) for case in cases]):
                raise AssertionError(f"{name}: {hint}")
        got, want = next(p for p in zip(given, wanted, strict=True) if not _near(*p))
        raise AssertionError(f"{name}: expected {want}, yours gives {got}")
    print(f"All checks of {name} passed.")


def _near(got: Tensor, want: Tensor) -> bool:
    return torch.allclose(got.float(), want.float(), rtol=1e-3, atol=1e-5)


def _alike(given: Sequence[Tensor], wanted: Sequence[Tensor]) -> bool:
    return all(_near(got, want) for got, want in zip(given, wanted, strict=True))


def _cases(*temperatures: float, seed: int = 0) -> list[tuple[Tensor, Tensor, float]]:
    """Random (student_logits, teacher_logits, T) of several shapes."""
    draw = torch.Generator().manual_seed(seed)
    shapes = [(1, 2), (3, 10), (8, 5)]
    pairs = [[4 * torch.randn(*shape, generator=draw) for _ in "zv"] for shape in shapes]
    return [(z, v, t) for z, v in pairs for t in temperatures]


def check_soften(soften: Callable[[Tensor, float], Tensor]) -> None:
    """`soften(logits [B, K], temperature) -> probabilities [B, K]`."""
    cases = [(z, t) for z, _, t in _cases(0.5, 1.0, 20.0)]
    _compare("soften", soften, losses.soften, [*cases, (torch.tensor([[1e4, 0.0]]), 2.0)], [
        ("the temperature has no effect: divide the logits by it", lambda z, t: z.softmax(1)),
        ("multiplies by T: divide the logits by T, so that T > 1 flattens",
         lambda z, t: (z * t).softmax(1)),
        ("normalises over the batch: the softmax goes over the classes, dim=1",
         lambda z, t: (z / t).softmax(0)),
        ("returns log-probabilities: use softmax", lambda z, t: (z / t).log_softmax(1)),
    ])  # fmt: skip


def check_entropy(entropy: Callable[[Tensor], Tensor]) -> None:
    """`entropy(probabilities [B, K]) -> [B]` in nats, with 0 log 0 = 0."""
    cases = [(z.softmax(1),) for z, _, _ in _cases(1.0)]
    _compare("entropy", entropy, losses.entropy, [*cases, (torch.eye(3),)], [
        ("in bits: use the natural logarithm", lambda p: losses.entropy(p) / torch.tensor(2).log()),
        ("negative: entropy is minus the sum of p log p", lambda p: -losses.entropy(p)),
    ])  # fmt: skip


def check_soft_target_loss(loss: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """`loss(student_logits, teacher_logits, temperature) -> scalar`: T² KL(teacher || student)."""

    def kl(z: Tensor, v: Tensor, t: float, reduction: str = "batchmean") -> Tensor:
        return F.kl_div((z / t).log_softmax(1), (v / t).softmax(1), reduction=reduction)

    right = losses.soft_target_loss
    _compare("soft_target_loss", loss, right, _cases(1.0, 4.0), [
        ("the factor T² is missing", kl),
        ("multiplies by T: the factor is T²", lambda z, v, t: t * kl(z, v, t)),
        ("reduction='mean' divides by the classes too: use 'batchmean'",
         lambda z, v, t: t**2 * kl(z, v, t, "none").mean()),
        ("the sum over the batch: divide by the number of images",
         lambda z, v, t: t**2 * kl(z, v, t, "sum")),
        ("student and teacher are swapped: it must be KL(teacher || student)",
         lambda z, v, t: right(v, z, t)),
        ("kl_div's first argument must be log-probabilities: use log_softmax", lambda z, v, t:
         t**2 * F.kl_div((z / t).softmax(1), (v / t).softmax(1), reduction="batchmean")),
        ("this is the cross-entropy: subtract the teacher's entropy", lambda z, v, t:
         right(z, v, t) + t**2 * losses.entropy(losses.soften(v, t)).mean()),
    ])  # fmt: skip


def check_distillation_loss(loss: Callable[..., Tensor]) -> None:
    """`loss(student_logits, teacher_logits, labels, *, temperature, soft_weight, hard_weight)`."""
    right, weights = losses.distillation_loss, {"soft_weight": 0.7, "hard_weight": 0.2}
    cases = [(z, v, torch.arange(len(z)) % z.shape[1]) for z, v, _ in _cases(1.0)]

    def hard(z: Tensor, y: Tensor) -> Tensor:
        return weights["hard_weight"] * F.cross_entropy(z, y)

    def soft(z: Tensor, v: Tensor, t: float) -> Tensor:
        return weights["soft_weight"] * losses.soft_target_loss(z, v, t)

    _compare("distillation_loss", loss, right, cases, [
        ("the soft term lacks T²", lambda z, v, y, temperature, **_:
         hard(z, y) + soft(z, v, temperature) / temperature**2),
        ("the hard term must be at T = 1: give cross_entropy the plain logits",
         lambda z, v, y, temperature, **_: hard(z / temperature, y) + soft(z, v, temperature)),
        ("student and teacher are swapped in the soft term", lambda z, v, y, temperature, **_:
         hard(z, y) + soft(v, z, temperature)),
        ("the two weights are swapped", lambda z, v, y, temperature, soft_weight, hard_weight:
         right(z, v, y, temperature=temperature, soft_weight=hard_weight, hard_weight=soft_weight)),
    ], temperature=4.0, **weights)  # fmt: skip


def check_soft_gradient(gradient: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """`gradient(student_logits, teacher_logits, temperature) -> [B, K]`: of each image's KL by z.

    KL(teacher || student) of the softened outputs, without T² and without the batch mean.
    """

    def by_autograd(z: Tensor, v: Tensor, t: float) -> Tensor:
        z = z.clone().requires_grad_()
        return torch.autograd.grad(len(z) * losses.soft_target_loss(z, v, t) / t**2, z)[0]

    _compare("soft_gradient", gradient, by_autograd, _cases(1.0, 4.0), [
        ("the sign is turned: student minus teacher", lambda z, v, t: -by_autograd(z, v, t)),
        ("the chain rule through z / T gives one more factor 1 / T",
         lambda z, v, t: t * by_autograd(z, v, t)),
        ("without the factor T² here", lambda z, v, t: t**2 * by_autograd(z, v, t)),
        ("each image on its own: no division by the batch",
         lambda z, v, t: by_autograd(z, v, t) / len(z)),
    ])  # fmt: skip


def check_mass_matching_shift(shift: Callable[[Tensor, Tensor, Sequence[int]], float]) -> None:
    """`shift(student_logits, teacher_logits, classes) -> float`: what to add to these logits."""
    right = metrics.mass_matching_shift
    cases = [(z, v, [0]) for z, v, _ in _cases(1.0)]
    _compare("mass_matching_shift", shift, right, cases, [
        ("the sign is turned: it is added to the student's logits",
         lambda z, v, c: -right(z, v, c)),
        ("it matches the student to itself: the wanted probability is the teacher's",
         lambda z, v, c: right(z, z, c)),
    ])  # fmt: skip
