"""For the engineer: the arms of a comparison as data, what is compared, and the settings tried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from kdlab.data import CIFAR_VIEWS, Views
from kdlab.lab.search import latin_hypercube


@dataclass(frozen=True)
class Arm:
    """A way to train the student."""

    teacher: str = ""  # whose answers it learns: "given", "own" (of the same labels); "" labels
    times: int = 1  # of the plan's updates
    views: bool = False  # the teacher answers for the very views; else it was asked once
    features: bool = False  # the plan's feature method beside the answers
    net: str = ""  # trained in the student's place


LABELS, LONGER, TEACHER = "labels", "labels, twice as long", "teacher"
OWN, VIEWS, FEATURES = "teacher of the same labels", "teacher, same views", "teacher, features"
OWN_NET = "cnn7-16 on the labels"  # what teaches the arm `OWN`
ARMS = {
    LABELS: Arm(),
    LONGER: Arm(times=2),
    TEACHER: Arm("given"),
    OWN: Arm("own"),
    VIEWS: Arm("given", views=True),
    FEATURES: Arm("given", features=True),
    OWN_NET: Arm(net="cnn7-16"),
}
STANDARD = (LABELS, LONGER, TEACHER)
REQUESTED = {"same-labels": OWN, "same-views": VIEWS, "features": FEATURES}
EXPORTED = TEACHER, 0  # arm and seed
RANGES = {"lr": (0.03, 0.6), "temperature": (1.0, 8.0), "weight": (0.1, 10.0)}  # in the logarithm
EXTRA = 2  # more trials of every arm, beyond the best one where it is the outermost, else beside it
PAST, BESIDE = (2.0, 4.0), 2**0.5


@dataclass(frozen=True)
class Plan:
    """What is run. `updates` are those of every arm but one, which has twice as many."""

    student: str
    seeds: int = 3
    trials: int = 4
    updates: int = 400
    temperatures: tuple[float, float] = RANGES["temperature"]  # the first trials' lowest, highest
    views: Views = field(default=CIFAR_VIEWS)
    arms: tuple[str, ...] = STANDARD
    method: str = "RKD"  # of the arm `FEATURES`, and the stages that it matches
    stages: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """What is chosen for an arm; the weight is that of a method's term, times its paper's."""

    lr: float
    temperature: float = 1.0
    weight: float = 1.0


def pairs(arms: Sequence[str]) -> list[tuple[str, str]]:
    """What is compared, declared before it runs: the teacher's answers with each of their controls,
    and each other way to use the same teacher with its answers."""
    controls = [arm for arm in (LABELS, LONGER, OWN) if arm in arms]
    others = [arm for arm in (VIEWS, FEATURES) if arm in arms]
    return [(TEACHER, over) for over in controls] + [(arm, TEACHER) for arm in others]


# ---------------------------------------------------------------- settings


def open_settings(arm: str) -> list[str]:
    """The names of what is chosen for an arm."""
    how = ARMS[arm]
    return ["lr"] + ["temperature"] * bool(how.teacher) + ["weight"] * how.features


def trials(plan: Plan, arm: str) -> list[Settings]:
    """The settings that an arm tries, spread over their ranges; as many for each arm."""
    ranges = RANGES | {"temperature": plan.temperatures}
    columns = dict(zip(RANGES, latin_hypercube(plan.trials, len(RANGES)).T, strict=True))

    def at(name: str, number: int) -> float:
        low, high = ranges[name]
        return two_digits(low * (high / low) ** columns[name][number])

    names = open_settings(arm)
    return [Settings(**{n: at(n, number) for n in names}) for number in range(plan.trials)]


def further_trials(arm: str, tried: Sequence[Mapping]) -> list[Settings]:
    """`EXTRA` more settings, the same number for every arm: beyond the end where the best trial is
    the outermost in some setting, else on both sides of its rate; all else as in the best."""
    best, values = best_of(tried), {n: [t[n] for t in tried] for n in open_settings(arm)}
    ends = [(n, -1) for n in values if best[n] == min(values[n])]
    ends += [(n, 1) for n in values if best[n] == max(values[n])]
    steps = [(n, best[n] * factor**sign) for factor in PAST for n, sign in ends]
    steps = steps or [("lr", best["lr"] * BESIDE**sign) for sign in (-1, 1)]
    return [replace(settings_of(best), **{n: two_digits(value)}) for n, value in steps[:EXTRA]]


def at_the_edge(arm: str, tried: Sequence[Mapping]) -> list[str]:
    """Which settings of an arm's best trial are still the lowest or highest that was tried."""
    best, names = best_of(tried), open_settings(arm)
    ends = {n: (min(t[n] for t in tried), max(t[n] for t in tried)) for n in names}
    return [name for name in names if best[name] in ends[name]]


def best_of(tried: Sequence[Mapping]) -> Mapping:
    return max(tried, key=lambda trial: trial["validation"])


def settings_of(trial: Mapping) -> Settings:
    return Settings(trial["lr"], trial["temperature"], trial["weight"])


def two_digits(value: float) -> float:
    return float(f"{value:.2g}")
