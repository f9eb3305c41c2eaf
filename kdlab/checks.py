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


def check_teacher_passes(passes: Callable[[int, int, int, int, bool], int]) -> None:
    """`passes(images, epochs, students, period, cached) -> int`: forward passes of the teacher.

    `period`: after how many epochs the views repeat, 0 if they never do (as `Views.period`).
    """

    def right(images: int, epochs: int, students: int, period: int, cached: bool) -> int:
        if cached:
            return images * min(epochs, period or epochs)
        return images * epochs * students

    cases = [(100, 15, 4, period, cached) for period in (1, 2, 0) for cached in (True, False)]
    _compare("teacher_passes", passes, right, [*cases, (50, 1, 3, 2, True)], [
        ("with a cache the number of students does not count: the answers serve them all",
         lambda n, e, s, p, c: right(n, e, s, p, c) * (s if c else 1)),
        ("without a cache every student asks anew", lambda n, e, s, p, c:
         right(n, e, 1, p, c)),
        ("period 0 means that the views never repeat: every epoch has its own",
         lambda n, e, s, p, c: n * min(e, p) if c else n * e * s),
        ("a cache of random views needs as many answers as there are different views",
         lambda n, e, s, p, c: n if c else n * e * s),
        ("no more epochs of answers than epochs of training",
         lambda n, e, s, p, c: n * (p or e) if c else n * e * s),
    ])  # fmt: skip


def check_cka(cka: Callable[[Tensor, Tensor], float]) -> None:
    """`cka(first [N, D1], second [N, D2]) -> float`: linear CKA of features of the same images."""
    draw = torch.Generator().manual_seed(0)
    x, y = (torch.randn(20, d, generator=draw) + 1 for d in (6, 9))
    mixed = y + (x @ torch.randn(6, 9, generator=draw)) / 2

    def plain(x: Tensor, y: Tensor) -> Tensor:
        x, y = x @ x.T, y @ y.T
        return (x * y).sum() / (x.norm() * y.norm())

    def centred(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x - x.mean(dim=0), y - y.mean(dim=0)

    _compare("cka", cka, metrics.cka, [(x, x), (x, y), (x, mixed), (5 * x, mixed)], [
        ("the features are not centred: take off each column's mean over the images", plain),
        ("not normalised: a net with twice the scale must be just as similar",
         lambda x, y: (lambda x, y: (x.T @ y).square().sum())(*centred(x, y))),
        ("the square is missing: the Gram matrices are compared, not the features",
         lambda x, y: plain(*centred(x, y)).sqrt()),
    ])  # fmt: skip


def check_diagnose(diagnose: Callable[[dict], str]) -> None:
    """`diagnose(symptoms) -> str`: which fault a set-up has, told from four measurements.

    `symptoms`: "accuracy" of the teacher here and on its "card", both in %; "renamed", its accuracy
    when each class it names is taken for the one it mostly means; "steady", whether it answers an
    image alike in other company; "scale", soft term / what it should be. The faults are "train
    mode", "normalisation", "class order", "reduction" and, where all is well, "none".
    """
    names = ("accuracy", "card", "renamed", "steady", "scale")
    cases = {
        (91.5, 92.0, 91.5, True, 1.0): "none",
        (84.0, 84.4, 84.1, True, 1.0): "none",
        (92.3, 92.0, 92.3, True, 0.1): "reduction",
        (75.0, 75.6, 75.0, True, 0.01): "reduction",
        (9.0, 92.0, 91.8, True, 1.0): "class order",
        (31.0, 84.4, 84.0, True, 1.0): "class order",
        (55.0, 92.0, 57.0, True, 1.0): "normalisation",
        (10.0, 84.4, 14.0, True, 1.0): "normalisation",
        (88.0, 92.0, 88.0, False, 1.0): "train mode",
        (91.9, 92.0, 91.9, False, 1.0): "train mode",
        (60.0, 84.4, 61.0, False, 1.0): "train mode",
    }
    for numbers, fault in cases.items():
        symptoms = dict(zip(names, numbers, strict=True))
        try:
            said = diagnose(symptoms)
        except NotImplementedError:
            print("diagnose: not done yet.")
            return
        assert said == fault, f"diagnose: {symptoms} comes from {fault!r}, yours says {said!r}" + (
            ": a teacher that contradicts itself is told by `steady`, whatever its accuracy"
            if fault == "train mode" else ""
        )  # fmt: skip
    print("All checks of diagnose passed.")


def check_attention_map(attention: Callable[[Tensor], Tensor]) -> None:
    """`attention_map(feature [B, C, H, W]) -> [B, H * W]`, each row of length 1."""
    draw = torch.Generator().manual_seed(0)
    cases = [(torch.randn(2, 5, 3, 4, generator=draw),), (torch.rand(3, 1, 2, 2, generator=draw),)]

    def rows(x: Tensor, power: int = 2) -> Tensor:
        return x.abs().pow(power).sum(dim=1).flatten(1)

    _compare("attention_map", attention, losses.attention_map, cases, [
        ("not normalised: divide each row by its length", rows),
        ("absolute values: it is the sum of squares", lambda x: F.normalize(rows(x, 1), dim=1)),
        ("signs cancel: square before you sum", lambda x: F.normalize(x.sum(1).flatten(1), dim=1)),
        ("rows that sum to one: divide by the length (L2), not by the sum",
         lambda x: F.normalize(rows(x), p=1, dim=1)),
        ("normalised over the batch: each image on its own, dim=1",
         lambda x: F.normalize(rows(x), dim=0)),
    ])  # fmt: skip


def check_fgsm(fgsm: Callable[..., Tensor]) -> None:
    """`fgsm(net, pixels [B, C, H, W] in 0..1, labels [B], epsilon) -> pixels`: one signed step."""
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(3 * 4 * 4, 5, generator=draw)
    pixels, labels = torch.rand(4, 3, 4, 4, generator=draw), torch.tensor([0, 4, 2, 1])
    pixels[0, 0], pixels[1, 0] = 0.0, 1.0

    def net(x: Tensor) -> Tensor:
        return x.flatten(1) @ weights

    def slope(x: Tensor, y: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(net(x), y), x)[0]

    def right(net: Callable, x: Tensor, y: Tensor, e: float) -> Tensor:
        return (x + e * slope(x, y).sign()).clamp(0, 1)

    def yours(net: Callable, x: Tensor, y: Tensor, e: float) -> Tensor:
        return fgsm(net, x.clone(), y, e).detach()

    _compare("fgsm", yours, right, [(net, pixels, labels, e) for e in (8 / 255, 0.3)], [
        ("some pixels left 0..1: clamp them", lambda f, x, y, e: x + e * slope(x, y).sign()),
        ("the gradient itself: take its sign", lambda f, x, y, e:
         (x + e * slope(x, y)).clamp(0, 1)),
        ("downhill: an attack raises the loss, so add", lambda f, x, y, e:
         (x - e * slope(x, y).sign()).clamp(0, 1)),
        ("epsilon is on the 0..1 scale already: don't divide by 255", lambda f, x, y, e:
         right(f, x, y, e / 255)),
    ])  # fmt: skip


def check_decoupled_loss(loss: Callable[..., Tensor]) -> None:
    """`loss(student_logits, teacher_logits, labels, *, temperature, target_weight,
    non_target_weight) -> scalar`: DKD with T², mean over the images."""
    right = losses.decoupled_loss
    cases = [(z, v, torch.arange(len(z)) % z.shape[1]) for z, v, _ in _cases(1.0)[1:]]
    settings = {"temperature": 4.0, "target_weight": 0.5, "non_target_weight": 6.0}

    def coupled(z: Tensor, v: Tensor, y: Tensor, *, temperature: float, target_weight: float,
                non_target_weight: float) -> Tensor:  # fmt: skip
        given = z, v, y, temperature
        rest = 1 - losses.soften(v, temperature).gather(1, y[:, None])[:, 0]
        other = non_target_weight * rest * losses.non_target_loss(*given)
        return temperature**2 * (target_weight * losses.target_loss(*given) + other).mean()

    _compare("decoupled_loss", loss, right, cases, [
        ("the factor T² is missing", lambda *c, temperature, **w:
         right(*c, temperature=temperature, **w) / temperature**2),
        ("the second part still carries 1 - p_y: that is what DKD drops", coupled),
        ("the two weights are swapped", lambda *c, temperature, target_weight, non_target_weight:
         right(*c, temperature=temperature, target_weight=non_target_weight,
               non_target_weight=target_weight)),
        ("student and teacher are swapped", lambda z, v, y, **w: right(v, z, y, **w)),
        ("the sum over the batch: take the mean", lambda z, v, y, **w:
         len(z) * right(z, v, y, **w)),
    ], **settings)  # fmt: skip


def check_gap_closed(gap_closed: Callable[[float, float, float], float]) -> None:
    """`gap_closed(teacher, labels_only, distilled) -> float`: which share of the distance from the
    labels-only student to the teacher distillation has closed; accuracies in %."""

    def right(teacher: float, alone: float, taught: float) -> float:
        return (taught - alone) / (teacher - alone)

    cases = [(90.0, 70.0, 75.0), (82.5, 57.0, 57.0), (89.0, 60.0, 55.0), (88.0, 60.0, 91.0)]
    _compare("gap_closed", gap_closed, right, cases, [
        ("the share of the teacher's accuracy that is kept counts what the labels taught, too",
         lambda t, a, d: d / t),
        ("relative to the student without a teacher: divide by the gap", lambda t, a, d:
         (d - a) / a),
        ("this is the share that is left open", lambda t, a, d: (t - d) / (t - a)),
        ("points, not a share: divide by the gap", lambda t, a, d: d - a),
        ("a student that got worse has a negative share: it is to be seen", lambda t, a, d:
         max(0.0, (d - a) / (t - a))),
        ("a student may pass its teacher: don't cut at 1", lambda t, a, d:
         min(1.0, (d - a) / (t - a))),
    ])  # fmt: skip


def check_latency_summary(summary: Callable[[Sequence[float], int], Sequence[float]]) -> None:
    """`latency_summary(times, warm_up) -> (p50, p95)`: of the times after the first `warm_up`.

    Between two times the percentile is interpolated, as `torch.quantile` and NumPy do.
    """
    draw = torch.Generator().manual_seed(0)
    usual = (1 + torch.rand(45, generator=draw)).tolist()
    cases = [([50.0, 20.0, 9.0, *usual, 8.0, 12.0], 3), ([2.0, 1.0, 4.0, 3.0], 0), ([9.0, 1.0], 1)]

    def right(times: Sequence[float], warm_up: int) -> Tensor:
        counted = torch.tensor(times[warm_up:])
        return torch.quantile(counted, torch.tensor([0.5, 0.95]))

    def yours(times: Sequence[float], warm_up: int) -> Tensor:
        return torch.as_tensor(summary(list(times), warm_up), dtype=torch.float32)

    _compare("latency_summary", yours, right, cases, [
        ("the warm-up counts, too: leave out the first passes", lambda t, w: right(t, 0)),
        ("the first number is the mean: a tail pulls it up, take the median", lambda t, w:
         torch.stack([torch.tensor(t[w:]).mean(), right(t, w)[1]])),
        ("the second number is the slowest pass: one accident decides, take the 95th percentile",
         lambda t, w: torch.stack([right(t, w)[0], torch.tensor(t[w:]).max()])),
        ("the times are not in order: sort them first", lambda t, w: torch.stack([
            torch.tensor(t[w:])[int(q * (len(t) - w - 1))] for q in (0.5, 0.95)])),
    ])  # fmt: skip


def check_best_within(best_within: Callable[[list[dict], float], str | None]) -> None:
    """`best_within(nets, limit) -> name`: the most accurate net whose p95 is at most `limit` ms.

    Each net is a dictionary with "name", "parameters", "p95" and "accuracy"; None if none fits.
    """
    nets = [
        {"name": name, "parameters": size, "p95": p95, "accuracy": accuracy}
        for name, size, p95, accuracy in [
            ("A", 2_000_000, 30.0, 93.0), ("B", 78_000, 6.0, 74.0), ("C", 78_000, 1.5, 72.0),
            ("D", 400_000, 0.4, 47.0), ("E", 60_000, 4.0, 58.0), ("F", 24_000, 1.0, 70.0),
        ]
    ]  # fmt: skip
    hints = {
        "F": "the smallest is not the best: take the most accurate of those that fit",
        "D": "the fastest is not the best: take the most accurate of those that fit",
        "A": "it does not keep the limit",
    }
    for limit, wanted in (
        (100.0, "A"),
        (30.0, "A"),
        (10.0, "B"),
        (4.0, "C"),
        (0.5, "D"),
        (0.1, None),
    ):
        try:
            given = best_within([dict(net) for net in nets], limit)
        except NotImplementedError:
            print("best_within: not done yet.")
            return
        hint = hints.get(given, "mind the limit, and what is left when nothing fits")
        assert given == wanted, (
            f"best_within: at most {limit:g} ms wants {wanted!r}, yours gives {given!r}: {hint}"
        )
    print("All checks of best_within passed.")


def check_tar_at_far(tar_at_far: Callable[[Tensor, Tensor, float], float]) -> None:
    """`tar_at_far(genuine, impostor, far) -> percent`: accepted is what lies above a threshold that
    lets through at most the share `far` of the impostors."""
    draw, right = torch.Generator().manual_seed(0), metrics.tar_at_far
    genuine, impostor = torch.randn(300, generator=draw) + 1, torch.randn(500, generator=draw)
    cases = [(genuine, impostor, far) for far in (0.01, 0.1)]
    cases += [(torch.tensor([0.1, 0.4, 0.6, 0.9]), torch.arange(10) / 10, 0.3)]
    _compare("tar_at_far", tar_at_far, right, cases, [
        ("a share: give percent", lambda g, i, far: right(g, i, far) / 100),
        ("genuine and impostor are swapped", lambda g, i, far: right(i, g, far)),
        ("lets through all impostors but the share FAR: their largest scores set the threshold",
         lambda g, i, far: 100 * (g > i.sort().values[int(far * len(i))]).float().mean()),
        ("FAR is a share of the impostor pairs: the threshold comes from their scores",
         lambda g, i, far: right(g, g, far)),
        ("this is the share of genuine pairs that are refused: TAR counts the accepted",
         lambda g, i, far: 100 - right(g, i, far)),
    ])  # fmt: skip


def check_jensen_shannon(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """`loss(student_logits, teacher_logits) -> scalar`: Jensen-Shannon divergence at T = 1."""
    cases = [(z, v) for z, v, _ in _cases(1.0)]
    right = losses.jensen_shannon_loss

    def kl(p: Tensor, q: Tensor) -> Tensor:  # of probabilities, [B]
        return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(dim=1)

    def of_logits(z: Tensor, v: Tensor) -> Tensor:
        middle = ((z + v) / 2).softmax(1)
        return (kl(v.softmax(1), middle) + kl(z.softmax(1), middle)).mean() / 2

    _compare("jensen_shannon", loss, right, cases, [
        ("twice too large: it is the mean of two KLs", lambda z, v: 2 * right(z, v)),
        ("this is KL(teacher || student): both are compared with their mean",
         lambda z, v: losses.soft_target_loss(z, v, 1.0)),
        ("the mean of the logits: average the probabilities", of_logits),
        ("the sum over the batch: divide by the number of images",
         lambda z, v: len(z) * right(z, v)),
        ("the mean over the classes: sum over them", lambda z, v: right(z, v) / z.shape[1]),
        ("the other way round: KL(teacher || middle), not KL(middle || teacher)", lambda z, v:
         sum(kl((z.softmax(1) + v.softmax(1)) / 2, x.softmax(1)).mean() for x in (z, v)) / 2),
    ])  # fmt: skip


def check_sequence_kl(sequence_kl: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """`sequence_kl(teacher, student, length) -> scalar`: KL(teacher || student) of whole texts.

    Both are bigram models, logits [V, V] of the next token (columns) after each token (rows); a
    text starts after token 0. Compared with the sum over all V ** length texts.
    """

    def texts(model: Tensor, length: int) -> Tensor:  # log-probability of every text
        steps, words = model.log_softmax(1), torch.arange(len(model))
        every = torch.cartesian_prod(*[words] * length).view(-1, length)
        before = torch.cat([torch.zeros(len(every), 1, dtype=torch.long), every[:, :-1]], dim=1)
        return steps[before, every].sum(dim=1)

    def right(teacher: Tensor, student: Tensor, length: int) -> Tensor:
        p, q = texts(teacher, length), texts(student, length)
        return (p.exp() * (p - q)).sum()

    def steps(teacher: Tensor, student: Tensor, length: int, who: int) -> Tensor:
        p, q = teacher.log_softmax(1), student.log_softmax(1)
        each = (p.exp() * (p - q)).sum(dim=1)
        now, total = torch.eye(len(p))[0], 0.0
        for _ in range(length):
            total = total + (now * each).sum()
            now = now @ (p, q)[who].exp()
        return total

    draw = torch.Generator().manual_seed(0)
    cases = [tuple(2 * torch.randn(v, v, generator=draw) for _ in "pq") + (n,)
             for v, n in ((2, 1), (3, 4), (4, 3))]  # fmt: skip
    _compare("sequence_kl", sequence_kl, right, cases, [
        ("the divergence of one step: sum over all positions of the text",
         lambda p, q, n: right(p, q, 1)),
        ("the student's prefixes: the texts are the teacher's", lambda p, q, n: steps(p, q, n, 1)),
        ("student and teacher are swapped", lambda p, q, n: right(q, p, n)),
        ("the mean over positions: the divergence of a text is their sum",
         lambda p, q, n: right(p, q, n) / n),
    ])  # fmt: skip


def check_download_seconds(seconds: Callable[[int, float], float]) -> None:
    """`download_seconds(size, bandwidth) -> float`: bytes, and Mbit/s (a million bits each)."""
    cases = [(8_000_000, 1.0), (98_000, 0.25), (1, 1000.0)]
    _compare("download_seconds", seconds, lambda b, m: 8 * b / (1e6 * m), cases, [
        ("a byte has eight bits", lambda b, m: b / (1e6 * m)),
        ("a megabit is a million bits, not 2**20", lambda b, m: 8 * b / (2**20 * m)),
        ("divide by the bandwidth", lambda b, m: 8 * b * m / 1e6),
    ])  # fmt: skip


def check_waits(waits: Callable[[Sequence[float], Sequence[float]], Sequence[float]]) -> None:
    """`waits(due, service) -> latencies`: one server, first come, first served.

    `due`: when each request comes, ascending; `service`: how long each takes. Its latency counts
    from when it came to when it is answered.
    """

    def right(due: Sequence[float], service: Sequence[float]) -> list[float]:
        free, found = 0.0, []
        for at, takes in zip(due, service, strict=True):
            free = max(free, at) + takes
            found.append(free - at)
        return found

    cases = [([0.0, 1.0, 2.0], [0.5, 0.5, 0.5]), ([0.0, 0.1, 0.2, 5.0], [1.0, 1.0, 2.0, 1.0])]
    _compare("waits", waits, right, cases, [
        ("a request waits for those before it: keep when the server is free",
         lambda due, service: service),
        ("count from when a request came, not from the start",
         lambda due, service: [a + w for a, w in zip(due, right(due, service), strict=True)]),
        ("count to the answer, not only the waiting", lambda due, service:
         [w - s for w, s in zip(right(due, service), service, strict=True)]),
        ("a server that has nothing to do cannot work ahead: start at max(free, due)",
         lambda due, service: [sum(service[: n + 1]) - a for n, a in enumerate(due)]),
    ])  # fmt: skip


def check_threshold(threshold: Callable[[float, int, int, float], float]) -> None:
    """`threshold(share, images, window, sigmas) -> float`: below which agreement is an alarm.

    `share` of `images` agreed on clean data; the window's share is a sample, too.
    """

    def right(share: float, images: int, window: int, sigmas: float) -> float:
        return share - sigmas * (share * (1 - share) * (1 / window + 1 / images)) ** 0.5

    cases = [(0.9, 1000, 200, 4.0), (0.75, 300, 50, 3.0)]
    _compare("threshold", threshold, right, cases, [
        ("the reference is a sample, too: 1 / window + 1 / images",
         lambda p, n, w, k: p - k * (p * (1 - p) / w) ** 0.5),
        ("the variance of a share is p (1 - p) / n: take the root",
         lambda p, n, w, k: p - k * p * (1 - p) * (1 / w + 1 / n)),
        ("an alarm rings *below* the reference", lambda p, n, w, k: 2 * p - right(p, n, w, k)),
    ])  # fmt: skip


def check_chance_of_luck(chance: Callable[[int], float]) -> None:
    """`chance_of_luck(n) -> float`: that at least one of n independent 95% intervals leaves out
    zero, though nothing differs."""
    _compare("chance_of_luck", chance, lambda n: 1 - 0.95**n, [(1,), (2,), (20,), (200,)], [
        ("that is how many to expect, and it passes 1: ask for at least one", lambda n: 0.05 * n),
        ("that is the chance of none", lambda n: 0.95**n),
        ("the chance that all of them do", lambda n: 0.05**n),
    ])  # fmt: skip


def check_verdict(verdict: Callable[[float, float, bool], str]) -> None:
    """`verdict(low, high, more_is_better) -> str` for a paired interval: "better", "worse" or
    "noise"."""
    cases = {
        (0.4, 1.2, True): "better",
        (-1.2, -0.4, True): "worse",
        (-0.1, 1.2, True): "noise",
        (-9.0, 0.1, True): "noise",
        (-30.0, -12.0, False): "better",
        (12.0, 30.0, False): "worse",
        (-12.0, 30.0, False): "noise",
    }
    for (low, high, more), want in cases.items():
        try:
            said = verdict(low, high, more)
        except NotImplementedError:
            print("verdict: not done yet.")
            return
        hint = ": fewer errors are better" if not more and want != "noise" else ""
        assert said == want, f"verdict: {low} to {high} is {want!r}, yours says {said!r}{hint}"
    print("All checks of verdict passed.")


def check_honest_gain(gain: Callable[[Tensor], float]) -> None:
    """`honest_gain(gains [M, S]) -> float`: the mean gain of a method that is chosen without the
    seed on which it is measured, over all S seeds.

    `gains`: each of M methods' difference to the control, seed by seed.
    """
    draw = torch.Generator().manual_seed(0)
    cases = [(torch.randn(m, s, generator=draw),) for m, s in ((5, 3), (20, 5), (3, 2))]

    def right(gains: Tensor) -> Tensor:
        others = (gains.sum(dim=1, keepdim=True) - gains) / (gains.shape[1] - 1)
        return gains.gather(0, others.argmax(dim=0, keepdim=True)).mean()

    _compare("honest_gain", gain, right, cases, [
        ("chosen and measured on the same seeds: leave the measured seed out of the choice",
         lambda g: g.mean(dim=1).max()),
        ("the best of each seed: that seed did the choosing", lambda g: g.max(dim=0).values.mean()),
        ("the average method: choose one first", lambda g: g.mean()),
    ])  # fmt: skip
