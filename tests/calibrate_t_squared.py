"""Whether a class would see T² in the live student: the same student with it and without.

python tests/calibrate_t_squared.py

Loss 0.5 cross-entropy + 0.5 c KL at T = 20, c = T² or 1, on the same labelled images; SGD with
momentum 0.9, batch 32, 600 steps, rate linear to 0. Declared before a run:

- three settings: 200 and 20 labels a digit, none left out; 3 left out with 200, after the shift;
- metric: test accuracy on all digits in points, with T² minus without, paired over seeds 200 to 219;
- at equal rates (all of `RATES`), and with the rate chosen for each of the two on seeds 220 to 224
  by accuracy on the training images: those that are in no batch where there are such (20 labels),
  else (no image is left) on the second half of the test images, and the test is the first half;
- a class sees it where, rates chosen, the mean is 2 points or more, 19 of 20 pairs have its sign
  and the interval with Bonferroni's correction for three settings leaves out 1.
"""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import stdtrit
from torch import Tensor

from kdlab import metrics
from kdlab.apps.chapters.panels import live_student
from kdlab.losses import soft_target_loss

SEEDS, TUNING = range(200, 220), range(220, 225)
RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
TEMPERATURE, STEPS = 20.0, 600
SETTINGS = {"200 labels": (-1, 200), "20 labels": (-1, 20), "3 left out": (3, 200)}


def logits_of(w: list[Tensor], x: Tensor) -> Tensor:
    """Runs side by side: x [R, N, 100] or [N, 100] -> logits [R, N, 10]."""
    return F.relu(x @ w[0] + w[1]) @ w[2] + w[3]


def learn(digit: int, labels: int, factors: list, rates: list, seeds: list) -> list[Tensor]:
    """Weights after training, a run for each of factors, rates and seeds (lists alike long)."""
    train, _, teacher = live_student.lesson()
    nets = {seed: live_student.make_student(seed) for seed in set(seeds)}
    parts = [[nets[s][n].weight.T for s in seeds] for n in (0, 2)]
    biases = [[nets[s][n].bias[None] for s in seeds] for n in (0, 2)]
    w = [torch.stack(p).detach() for p in (parts[0], biases[0], parts[1], biases[1])]
    for each in w:
        each.requires_grad_()
    orders = {}
    for seed in set(seeds):
        items = live_student.curriculum(digit, labels, seed)
        live_student.STEPS = STEPS
        orders[seed] = list(live_student.batches(items, seed))
    rate = torch.tensor(rates, dtype=torch.float64).view(-1, 1, 1)
    factor = torch.tensor(factors, dtype=torch.float64)
    speed = [torch.zeros_like(each) for each in w]
    for step in range(STEPS):
        picks = torch.tensor([orders[seed][step] for seed in seeds])
        z = logits_of(w, train[picks])
        hard = F.cross_entropy(z.transpose(1, 2), picks % 10, reduction="none").mean(dim=1)
        target = (teacher[picks] / TEMPERATURE).log_softmax(dim=-1)
        mine = (z / TEMPERATURE).log_softmax(dim=-1)
        soft = (target.exp() * (target - mine)).sum(dim=-1).mean(dim=1)
        loss = (0.5 * hard + 0.5 * factor * soft).sum()
        slopes = torch.autograd.grad(loss, w)
        with torch.no_grad():
            for each, v, slope in zip(w, speed, slopes, strict=True):
                v.mul_(0.9).add_(slope)
                each -= rate * (1 - step / STEPS) * v
    return [each.detach() for each in w]


def accuracies(w: list[Tensor], digit: int, images: Tensor, label: Tensor) -> np.ndarray:
    """In %, a number a run; the left-out digit's logit has its shift."""
    train, _, teacher = live_student.lesson()
    z = logits_of(w, images)
    if digit >= 0:
        for run, ours in enumerate(logits_of(w, train)):
            z[run, :, digit] += (
                metrics.mass_matching_shift(ours, teacher, [digit])
                if ours.isfinite().all()
                else 0.0
            )
    return (z.argmax(dim=-1) == label).double().mean(dim=-1).numpy() * 100


def check() -> None:
    """The loss is the course's."""
    draw = torch.Generator().manual_seed(0)
    z, v = (torch.randn(4, 10, generator=draw) for _ in range(2))
    p, q = (x.div(TEMPERATURE).log_softmax(dim=-1) for x in (v, z))
    mine = TEMPERATURE**2 * (p.exp() * (p - q)).sum(dim=-1).mean()
    torch.testing.assert_close(mine, soft_target_loss(z, v, TEMPERATURE))


def main() -> None:
    check()
    _, test, _ = live_student.lesson()
    number = torch.arange(len(test))
    for name, (digit, labels) in SETTINGS.items():
        ends = {}
        for factor in (TEMPERATURE**2, 1.0):
            for rate in RATES:
                for seeds in (SEEDS, TUNING):
                    n = len(seeds)
                    w = learn(digit, labels, [factor] * n, [rate] * n, list(seeds))
                    ends[factor, rate, seeds is TUNING] = scores(w, digit, labels, seeds, number)
        judged(name, ends)


def scores(w, digit, labels, seeds, number) -> np.ndarray:
    """Test accuracy of the seeds; of those for tuning, accuracy where the rate is chosen."""
    train, test, _ = live_student.lesson()
    tuning = seeds is TUNING
    if labels == 20 and tuning:
        found = []
        for run, seed in enumerate(seeds):
            used = set(live_student.curriculum(digit, labels, seed))
            rest = torch.tensor([i for i in range(len(train)) if i not in used])
            one = [each[run : run + 1] for each in w]
            found.append(accuracies(one, digit, train[rest], rest % 10)[0])
        return np.array(found)
    half = len(test) // 2
    part = slice(None) if labels == 20 else slice(half, None) if tuning else slice(0, half)
    return accuracies(w, digit, test[part], number[part] % 10)


def judged(name: str, ends: dict) -> None:
    print(f"\n{name}")
    for rate in RATES:
        with_t, without = (ends[factor, rate, False] for factor in (TEMPERATURE**2, 1.0))
        print(f"  rate {rate:<6} {told(with_t, without)}")
    best = {
        f: max(RATES, key=lambda rate, f=f: ends[f, rate, True].mean())
        for f in (TEMPERATURE**2, 1.0)
    }
    both = [ends[factor, best[factor], False] for factor in best]
    print(f"  chosen {list(best.values())}: {told(*both)}")


def told(treated: np.ndarray, control: np.ndarray) -> str:
    gap = treated - control
    half = stdtrit(len(gap) - 1, 1 - 0.025 / len(SETTINGS)) * gap.std(ddof=1) / len(gap) ** 0.5
    return (
        f"{treated.mean():.1f} - {control.mean():.1f} = {gap.mean():+.2f} "
        f"({gap.mean() - half:+.2f} to {gap.mean() + half:+.2f}), {sum(gap > 0)} of {len(gap)}"
    )


if __name__ == "__main__":
    main()
