"""For the engineer: what is said while a comparison runs, and how long it will take."""

import time
from collections.abc import Callable, Mapping

from kdlab.apps.distil.arms import ARMS, EXTRA, Plan
from kdlab.apps.distil.words import arm_name, words

Say = Callable[[str], None]
STEP = 500  # photos between two lines of progress
Tell = Callable[..., None]  # (key, **values)


def speak(say: Say, language: str | None, key: str, **values: object) -> None:
    say(words(key, language, **values))


def time_left(start: float, done: float, total: float) -> Callable[[str], str]:
    """What is left, from what is done of it, if it is a minute or more."""
    minutes = (time.perf_counter() - start) * (total / done - 1) / 60
    return lambda language: words("left", language, minutes=minutes) if minutes >= 1 else ""


def progress(tell: Tell, key: str) -> Callable[[int, int], None]:
    """What tells how far a task has come, at most once in `STEP` photos, and at its end."""
    start, told = time.perf_counter(), 0

    def report(done: int, total: int) -> None:
        nonlocal told
        if done == total or done >= told + STEP:
            told = done
            tell(key, done=done, total=total, left=time_left(start, done, total))

    return report


def teller(record: Mapping, plan: Plan, tell: Tell) -> Callable[[Mapping], None]:
    """What tells each run, and how long the others will take."""
    start, kept = time.perf_counter(), len(record["trials"]) + len(record["runs"])
    each = plan.trials + EXTRA + plan.seeds
    total = sum(ARMS[arm].times * each for arm in plan.arms) - kept
    done = 0

    def report(run: Mapping) -> None:
        nonlocal done
        done += ARMS[run["arm"]].times
        about = {"arm": arm_name(run["arm"]), "left": time_left(start, done, max(total, done))}
        if "number" in run:
            tell("trial", number=run["number"] + 1, score=run["validation"], **about)
        else:
            tell("run", seed=run["seed"], score=run["accuracy"], **about)

    return report
