"""Experiments as data: declared here, run on any machine, recorded as JSON, rendered as tables.

A `Recipe` holds everything that determines one training run but its seed; an experiment is a few
named recipes (its arms); a record is what `python -m kdlab run NAME` wrote to data/results.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import date
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from kdlab import metrics
from kdlab.data import CIFAR_VIEWS, MNIST_JITTER, NO_VIEWS, Images, Views, load, select, split
from kdlab.machine import ROOT, cores, describe
from kdlab.models import build
from kdlab.teachers import Answers, answer, load_teacher, save_teacher, write_json
from kdlab.training import distil, fit, labels_only


class Recipe(NamedTuple):
    """Everything that determines a training run, but its seed."""

    student: str
    data: str
    epochs: int
    teacher: str = ""  # none: labels only
    temperature: float = 1.0
    soft_weight: float = 0.0
    hard_weight: float = 1.0
    views: Views = NO_VIEWS
    optimizer: str = "sgd"
    lr: float = 0.1
    weight_decay: float = 5e-4
    batch_size: int = 128
    smoothing: float = 0.0  # of the labels, where there is no teacher
    classes: tuple[int, ...] = ()  # train on images of these classes alone; (): of all
    hold_out: int = 0  # training images kept for validation
    judge: str = "test"  # where the result is measured: "test" or "validation"


class Experiment(NamedTuple):
    """Arms that share everything but what their names say; the first is the control."""

    title: str
    arms: dict[str, Recipe]


MLP = Recipe(
    "mlp-800", "mnist", epochs=20, optimizer="adam", lr=2e-3, weight_decay=0.0, batch_size=256
)
SMALL = Recipe("wrn-10-1", "cifar10-10k", epochs=15, views=CIFAR_VIEWS)
HINTON = {"teacher": "mnist-mlp-1200", "temperature": 20.0, "soft_weight": 1.0, "hard_weight": 0.0}
KD = {"temperature": 4.0, "soft_weight": 0.9, "hard_weight": 0.1}
LADDER = ("cifar10-cnn7-8", "cifar10-cnn7-16", "cifar10-cnn7-32", "cifar10-cnn7-64")
BEST, FROM_10K = "cifar10-cnn7-64", "cifar10-10k-cnn7-32"
FAST, FAST_10K = "cifar10-cnn7-16", "cifar10-10k-cnn7-16"  # quick to ask: for live runs
TUNED = SMALL._replace(student="wrn-10-1-s2", teacher=BEST, hold_out=2000, judge="validation")
CNN = Recipe("cnn7-64", "cifar10", 100, views=CIFAR_VIEWS, batch_size=256, lr=0.4)
CNN_10K = Recipe("cnn7-32", "cifar10-10k", 100, views=CIFAR_VIEWS, lr=0.2)
TEACHERS: dict[str, Recipe] = {
    "mnist-mlp-1200": MLP._replace(student="mlp-1200", epochs=150, views=MNIST_JITTER, lr=1e-3),
    FROM_10K: CNN_10K,
    FAST_10K: CNN_10K._replace(student="cnn7-16"),
    **{name: CNN._replace(student=name.removeprefix("cifar10-")) for name in LADDER},
}


def without(*digits: int) -> tuple[int, ...]:
    """The ten classes but these."""
    return tuple(sorted(set(range(10)) - set(digits)))


EXPERIMENTS: dict[str, Experiment] = {
    "trio": Experiment(
        "Hinton's MNIST student, 784-800-800-10: labels against soft targets at T = 20",
        {"labels": MLP, "distilled": MLP._replace(**HINTON)},
    ),
    "unseen-digits": Experiment(
        "Students that never saw some digits, bias shift chosen without a label",
        {
            "no 3": MLP._replace(**HINTON, classes=without(3), hold_out=5000),
            "only 7 and 8": MLP._replace(**HINTON, classes=(7, 8), hold_out=5000),
        },
    ),
    "cifar-gain": Experiment(
        "A 78 k-parameter student on the embedded 10,000 CIFAR-10 images",
        {
            "labels": SMALL,
            "teacher of 50k": SMALL._replace(teacher=BEST, **KD),
            "teacher of 10k": SMALL._replace(teacher=FROM_10K, **KD),
        },
    ),
    "temperature-weight": Experiment(
        "Temperature and soft weight, judged on 2,000 validation images",
        {
            f"T={t:g} a={a:g}": TUNED._replace(
                temperature=t, soft_weight=a, hard_weight=round(1 - a, 3)
            )
            for t in (1.0, 2.0, 4.0, 8.0, 20.0)
            for a in (0.0, 0.3, 0.6, 0.9, 1.0)
        },
    ),
}


images_of = cache(load)  # a split, read once a process


def training_set(recipe: Recipe) -> tuple[Images, Images | None]:
    """The images a run trains on, and those that it holds out (of all classes)."""
    data, held_out = images_of(recipe.data), None
    if recipe.hold_out:
        data, held_out = split(data, recipe.hold_out)
    if recipe.classes:
        data = select(data, torch.isin(data.labels, torch.tensor(recipe.classes)))
    return data, held_out


def answers_for(recipe: Recipe, data: Images, device: str) -> Answers:
    """The cached answers of the recipe's teacher to every view that its student will see."""
    teacher = load_teacher(recipe.teacher)
    return answer(teacher, data, epochs=recipe.epochs, views=recipe.views, device=device)


def train(
    recipe: Recipe, seed: int = 0, device: str = "cpu", report: Callable | None = None
) -> tuple[nn.Module, list[dict]]:
    """Carry out one recipe: the trained student and its history."""
    data, held_out = training_set(recipe)
    torch.manual_seed(seed)
    student = build(recipe.student, len(data.classes))
    names = ("epochs", "views", "batch_size", "optimizer", "lr", "weight_decay")
    settings = {name: getattr(recipe, name) for name in names}
    if recipe.teacher:
        settings["teacher"] = answers_for(recipe, data, device)
        objective = distil(recipe.temperature, recipe.soft_weight, recipe.hard_weight)
    else:
        objective = partial(labels_only, smoothing=recipe.smoothing)
    settings |= {"seed": seed, "device": device, "report": report}
    return student, fit(student, data, objective, **settings)


def execute(recipe: Recipe, seed: int = 0, device: str = "cpu") -> dict:
    """One run, measured: errors, accuracy, calibration, agreement with the teacher, seconds."""
    start = time.perf_counter()
    student, history = train(recipe, seed, device)
    seconds = time.perf_counter() - start
    held_out = training_set(recipe)[1]
    judged = held_out if recipe.judge == "validation" else images_of(recipe.data, "test")
    logits = metrics.predict(student, judged)
    wrong = metrics.errors(logits, judged.labels)
    result = {
        "seed": seed,
        "errors": wrong,
        "accuracy": round(100 * (1 - wrong / len(judged.labels)), 3),
        "ece": round(metrics.expected_calibration_error(logits, judged.labels), 3),
        "loss": round(history[-1]["loss"], 5),
        "seconds": round(seconds, 1),
    }
    if recipe.teacher:
        theirs = answer(load_teacher(recipe.teacher), judged, device=device)
        result["agreement"] = round(
            metrics.agreement(logits, theirs.for_images(judged.index, 0)), 3
        )
    if recipe.classes:
        result |= unseen_classes(recipe, student, device)
    return result


def unseen_classes(recipe: Recipe, student: nn.Module, device: str) -> dict:
    """How a student does on classes it never saw, before and after a shift of their logits.

    The shift is chosen on held-out training images without their labels: it gives the shifted
    classes the probability that the teacher gives them there.
    """
    held_out, test = training_set(recipe)[1], images_of(recipe.data, "test")
    unseen = without(*recipe.classes)
    shifted = list(min(unseen, recipe.classes, key=len))
    teacher = load_teacher(recipe.teacher).to(device)
    shift = metrics.mass_matching_shift(
        metrics.predict(student, held_out), metrics.predict(teacher, held_out), shifted
    )
    logits = metrics.predict(student, test)
    after = logits.clone()
    after[:, shifted] += shift
    never = torch.isin(test.labels, torch.tensor(unseen))
    return {
        "shift": round(shift, 3),
        "errors shifted": metrics.errors(after, test.labels),
        "unseen": int(never.sum()),
        "unseen errors": metrics.errors(logits[never], test.labels[never]),
        "unseen errors shifted": metrics.errors(after[never], test.labels[never]),
    }


def run_all(
    arms: Mapping[str, Recipe],
    seeds: Iterable[int],
    *,
    device: str = "cpu",
    workers: int | None = None,
    skip: Iterable[tuple[str, int]] = (),
    report: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Every arm with every seed, in parallel processes of one thread each (default: one a core).

    A process of one thread keeps its speed beside other load, where the threads of one training
    wait for each other. The teachers are asked once, before.
    """
    skip = set(skip)
    jobs = [(arm, seed) for seed in seeds for arm in arms if (arm, seed) not in skip]
    for recipe in {arms[arm]._replace(student="") for arm, _ in jobs if arms[arm].teacher}:
        answers_for(recipe, training_set(recipe)[0], device)
        answer(load_teacher(recipe.teacher), images_of(recipe.data, "test"), device=device)
    done = []
    workers = min(workers or cores(), max(1, len(jobs)))
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        futures = {pool.submit(execute, arms[arm], seed, device): arm for arm, seed in jobs}
        try:
            for future in as_completed(futures):
                done.append({"arm": futures[future], **future.result()})
                if report:
                    report(done[-1])
        except BaseException:  # an error or Ctrl-C: don't begin what is still waiting
            pool.shutdown(cancel_futures=True)
            raise
    order = {job: i for i, job in enumerate(jobs)}
    return sorted(done, key=lambda r: order[r["arm"], r["seed"]])


def say(result: Mapping) -> None:
    """One line for a finished run."""
    print(
        f"{result['arm']}, seed {result['seed']}: {result['errors']} errors "
        f"({result['accuracy']:.2f}%), {result['seconds']:.0f} s",
        flush=True,
    )


def run(name: str, *, seeds: int = 3, device: str = "cpu", workers: int | None = None) -> dict:
    """Run an experiment and record it, run by run: after an interruption, only the rest is run.

    A record of other settings, another machine or another commit is begun anew.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"no experiment {name!r}: there are {', '.join(EXPERIMENTS)}")
    title, arms = EXPERIMENTS[name]
    record = {
        "name": name,
        "title": title,
        **stamp(f"run {name} --seeds {seeds} --device {device}", device),
        "settings": {arm: recipe._asdict() for arm, recipe in arms.items()},
        "runs": [],
    }
    path = results_dir() / f"{name}.json"
    same = ("settings", "machine", "commit")
    record = json.loads(json.dumps(record))
    if path.is_file() and all((old := load_result(name)).get(k) == record[k] for k in same):
        record["runs"] = old["runs"]

    place = {arm: n for n, arm in enumerate(arms)}

    def keep(result: dict) -> None:
        record["runs"].append(result)
        record["runs"].sort(key=lambda r: (r["seed"], place[r["arm"]]))
        write_json(path, record)
        say(result)

    finished = {(r["arm"], r["seed"]) for r in record["runs"]}
    run_all(arms, range(seeds), device=device, workers=workers, skip=finished, report=keep)
    return load_result(name)


def train_teacher(name: str, device: str = "cpu", seed: int = 0) -> Path:
    """Train a teacher by its recipe and save its weights and card. ValueError lists the names."""
    if name not in TEACHERS:
        raise ValueError(f"no teacher {name!r}: there are {', '.join(TEACHERS)}")
    recipe = TEACHERS[name]
    start = time.perf_counter()
    model, _ = train(recipe, seed, device, report=lambda row: print(name, row, flush=True))
    seconds = time.perf_counter() - start
    test = images_of(recipe.data, "test")
    wrong = metrics.errors(metrics.predict(model.half().float(), test), test.labels)
    about = {
        "name": name,
        "model": recipe.student,
        "test errors": wrong,
        "test accuracy": round(100 * (1 - wrong / len(test.labels)), 2),
        "recipe": recipe._asdict(),
        "seed": seed,
        "seconds": round(seconds),
        **stamp(f"train {name} --device {device}", device),
    }
    return save_teacher(name, model, about)


def results_dir() -> Path:
    """Where the records are."""
    return ROOT / "data" / "results"


def stamp(words: str, device: str = "cpu") -> dict:
    """How a record was made: the command, the commit of the code, the day and the machine."""
    made = {"command": f"python -m kdlab {words}", "commit": commit()}
    return made | {"date": date.today().isoformat(), "machine": describe(device)}


def commit() -> str:
    """The commit of the code that runs ($KDLAB_COMMIT where there is no .git), marked if edited.

    Only edits of kdlab and of the teachers count: a record changes data/results by being written.
    """

    def git(*words: str) -> str:
        asked = subprocess.run(("git", *words), cwd=ROOT, capture_output=True, text=True)
        return asked.stdout.strip()

    try:
        edited = git("status", "--porcelain", "--", "kdlab", "data/teachers")
        here = git("rev-parse", "--short=12", "HEAD") + ("-dirty" if edited else "")
        return os.environ.get("KDLAB_COMMIT") or here or "unknown"
    except OSError:
        return "unknown"


def load_result(name: str) -> dict:
    """A record. FileNotFoundError or, for a damaged one, ValueError says how to make it."""
    path = results_dir() / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"no record {name!r}: make it with `python -m kdlab run {name}`")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"the record {path.name} is damaged: restore it with `git checkout data/results`, or "
            f"delete it and run `python -m kdlab run {name}`"
        ) from error


def values(runs: Sequence[Mapping], arm: str, metric: str) -> list[float]:
    """One arm's values of a metric, in the order of the seeds."""
    return [r[metric] for r in sorted(runs, key=lambda r: r["seed"]) if r["arm"] == arm]


def summarise(runs: Sequence[Mapping], metric: str = "accuracy", control: str | None = None):
    """A DataFrame: per arm, n seeds, mean, std, and the difference to `control` (the first arm).

    It is paired over the seeds that both arms have, with a 95% Student's interval.
    """
    import pandas as pd

    arms = list(dict.fromkeys(r["arm"] for r in runs))
    by_seed = pd.DataFrame(runs).pivot(index="seed", columns="arm", values=metric)[arms]
    rows = pd.DataFrame({"seeds": by_seed.count(), "mean": by_seed.mean(), "std": by_seed.std()})
    control = control or arms[0]
    for arm in arms:
        both = by_seed[[arm, control]].dropna()
        if arm != control and len(both) > 1:
            gap = metrics.paired(both[arm].tolist(), both[control].tolist())
            for column, number in zip(("difference", "95% low", "95% high"), gap, strict=False):
                rows.loc[arm, column] = number
    return rows.round(2)


def table(name: str, metric: str = "accuracy"):
    """The recorded experiment as a DataFrame."""
    return summarise(load_result(name)["runs"], metric)


def provenance(name: str) -> str:
    """One line under a recorded table: command, machine, seeds, date, commit."""
    r = load_result(name)
    gpu, where = r["machine"]["accelerator"], r["machine"]["processor"]
    where = where if gpu == "none" else gpu
    seeds = len({run["seed"] for run in r["runs"]})
    return f"`{r['command']}` · {where} · {seeds} seeds · {r['date']} · commit {r['commit']}"
