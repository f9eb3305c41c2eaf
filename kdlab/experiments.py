"""Experiments: run on any machine, recorded as JSON, rendered as tables.

They are declared in `kdlab.recipes`; a record is what `python -m kdlab run NAME` wrote to
data/results.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import date
from functools import cache, partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from kdlab import metrics, tuning
from kdlab.data import Images, balanced, data_dir, load, select, split
from kdlab.engines import ENGINES
from kdlab.machine import ROOT, cache_dir, cores, describe, peak_memory, reset_peak_memory
from kdlab.methods import Peers, objective
from kdlab.models import build
from kdlab.recipes import (  # noqa: F401 (chapters say experiments.SMALL)
    BEST,
    EXPERIMENTS,
    FAST,
    FAST_10K,
    FROM_10K,
    HINTON,
    KD,
    LADDER,
    MLP,
    PAIR,
    PUPIL,
    SMALL,
    STUDENTS,
    TEACHER_SEEDS,
    TEACHERS,
    TUNED,
    Experiment,
    Recipe,
    without,
    written,
)
from kdlab.robust import robust_accuracy
from kdlab.teachers import (
    Answers,
    answer,
    atomically,
    digest,
    freeze,
    load_teacher,
    save_teacher,
    write_json,
)
from kdlab.training import fit, labels_only

images_of = cache(load)  # a split, read once a process


def training_set(recipe: Recipe, seed: int = 0) -> tuple[Images, Images | None]:
    """The images a run trains on, and those that it holds out (of all classes).

    Where only some are labelled (`seed` draws them), a run that needs labels trains on these; one
    that needs none, with `hard_weight` 0, on all.
    """
    data, held_out = images_of(recipe.data), None
    if recipe.hold_out:
        data, held_out = split(data, recipe.hold_out)
    if recipe.classes:
        data = of_classes(data, recipe.classes)
    if recipe.labelled and recipe.hard_weight:
        data = balanced(data, recipe.labelled, seed)
    return data, held_out


def of_classes(data: Images, classes: Iterable[int]) -> Images:
    """The images of these classes."""
    return select(data, torch.isin(data.labels, torch.tensor(tuple(classes))))


def judged_images(recipe: Recipe) -> Images:
    """What a run is measured on: the test images or, for a choice, images that no net saw."""
    if recipe.judge == "test":
        return images_of(recipe.data, "test")
    return training_set(recipe)[1] if recipe.hold_out else images_of(recipe.data, "validation")


def answers_for(
    recipe: Recipe, teacher: nn.Module, data: Images, seed: int, device: str
) -> Answers:
    """A teacher's answers to every view that the student of this seed will see."""
    return answer(
        teacher, data, epochs=recipe.epochs, views=recipe.views, view_seed=seed, device=device
    )


def names_of_teachers(recipe: Recipe, seed: int) -> tuple[str, ...]:
    """The named teachers of the run with this seed; none for a teacher that is trained first."""
    teacher = recipe.twin if recipe.twin and seed % 2 else recipe.teacher
    names = (teacher,) if isinstance(teacher, str) else teacher
    return () if isinstance(teacher, Recipe) else tuple(name for name in names if name)


def teachers_of(recipe: Recipe, seed: int = 0, device: str = "cpu") -> list[nn.Module]:
    """The recipe's teachers: loaded by name, or trained first by a recipe of their own."""
    if isinstance(recipe.teacher, Recipe):
        return [freeze(trained(recipe.teacher, seed, device))]
    return [load_teacher(name) for name in names_of_teachers(recipe, seed)]


def trained(recipe: Recipe, seed: int, device: str) -> nn.Module:
    """The net of a recipe, kept in the cache for the other runs that begin with it.

    A net is known by its recipe, its seed and the code of this package.
    """
    sources = sorted(p for p in Path(__file__).parent.rglob("*.py"))
    code = b"".join(path.read_bytes() for path in sources)
    key = digest(code + json.dumps([written(recipe), seed, describe(device)]).encode())[:24]
    path = cache_dir() / "nets" / f"{key}.safetensors"
    net = build(recipe.student, len(images_of(recipe.data).classes))
    with suppress(SafetensorError, OSError, RuntimeError):
        net.load_state_dict(load_file(path))
        return net
    net = train(recipe, seed, device)[0].cpu()
    state = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    with suppress(OSError, SafetensorError):  # a full disk must not cost this run its result
        atomically(path, lambda target: save_file(state, target))
    return net


def train(
    recipe: Recipe, seed: int = 0, device: str = "cpu", report: Callable | None = None
) -> tuple[nn.Module, list[dict]]:
    """Carry out one recipe: the trained student and its history."""
    data = training_set(recipe, seed)[0]
    teachers = teachers_of(recipe, seed, device)
    torch.manual_seed(seed)
    student = build(recipe.student, len(data.classes))
    if recipe.start:
        student.load_state_dict(trained(recipe.start, seed, device).state_dict())
    if recipe.method == "mutual learning":
        student = Peers(student, build(recipe.student, len(data.classes)))
    names = ("epochs", "views", "batch_size", "optimizer", "lr", "weight_decay")
    settings = {name: getattr(recipe, name) for name in names}
    if teachers or recipe.method:
        names = ("temperature", "soft_weight", "hard_weight", "weight")
        weights = {name: getattr(recipe, name) for name in names}
        teacher = teachers[0] if teachers else None
        goal = objective(recipe.method, student=student, teacher=teacher, data=data, **weights)
        if not getattr(goal, "stages", ()):  # only outputs are matched: they come from the cache
            answers = [answers_for(recipe, one, data, seed, device) for one in teachers]
            teacher = answers if len(answers) > 1 else next(iter(answers), None)
        settings["teacher"] = teacher
    else:
        goal = partial(labels_only, smoothing=recipe.smoothing)
    settings |= {"seed": seed, "view_seed": seed, "device": device, "report": report}
    history = fit(student, data, goal, **settings)
    return student.nets[0] if isinstance(student, Peers) else student, history


def execute(recipe: Recipe, seed: int = 0, device: str = "cpu") -> dict:
    """One run, measured: errors, accuracy, calibration, agreement with the teacher, seconds.

    On a CPU these are the processor's seconds, so that a busy machine does not count as cost.
    """
    reset_peak_memory(device)
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    try:
        student, history = train(recipe, seed, device)
    except FloatingPointError as error:  # a result, too, but not an accuracy
        seconds = round(clock() - start, 1)
        nothing = dict.fromkeys(("errors", "accuracy", "ece", "loss"))
        return {"seed": seed, "diverged": str(error), **nothing, "seconds": seconds}
    seconds = clock() - start
    judged = judged_images(recipe)
    if recipe.verify:
        known = recipe.classes or without(*recipe.verify)
        strangers, judged = (of_classes(judged, c) for c in (recipe.verify, known))
    logits = metrics.predict(student, judged)
    wrong = metrics.errors(logits, judged.labels)
    result = {
        "seed": seed,
        "errors": wrong,
        "accuracy": round(100 * (1 - wrong / len(judged.labels)), 3),
        "ece": round(metrics.expected_calibration_error(logits, judged.labels), 3),
        "loss": round(history[-1]["loss"], 5),
        "seconds": round(seconds, 1),
        "memory": peak_memory(device),
    }
    if len(names := names_of_teachers(recipe, seed)) == 1:
        theirs = answer(load_teacher(*names), judged, device=device)
        result["agreement"] = round(
            metrics.agreement(logits, theirs.for_images(judged.index, 0)), 3
        )
    if recipe.attacked:
        result["robust"] = round(robust_accuracy(student, judged, steps=20), 3)
    if recipe.verify:
        result |= verification(student, strangers)
    elif recipe.classes:
        result |= unseen_classes(recipe, student, device)
    return result


def execute_arm(arm: str, recipe: Recipe, seed: int, device: str) -> dict:
    """`execute`, with the arm's name on the result: what an engine carries to its workers."""
    return {"arm": arm, **execute(recipe, seed, device)}


def verification(student: nn.Module, strangers: Images) -> dict:
    """How well the embedding tells pairs of one class from pairs of two: TAR in percent at false
    accept rates of 1% and 10%, and the area under the ROC curve."""
    scores = metrics.pair_scores(metrics.embeddings(student, strangers), strangers.labels)
    return {
        "tar": round(metrics.tar_at_far(*scores, 0.01), 3),
        "tar 10%": round(metrics.tar_at_far(*scores, 0.1), 3),
        "area": round(metrics.roc_area(*scores), 5),
    }


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
    engine: str = "local",
    address: str = "",
    skip: Iterable[tuple[str, int]] = (),
    report: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Every arm with every seed, in parallel processes of one thread each (default: one a core).

    A process of one thread keeps its speed beside other load, where the threads of one training
    wait for each other. Named teachers are asked once, before. `engine` is "local" or "ray" (on
    the cluster at `address`): the results are the same.
    """
    if engine not in ENGINES:
        raise ValueError(f"no engine {engine!r}: there are {', '.join(ENGINES)}")
    skip = set(skip)
    jobs = [(arm, seed) for seed in seeds for arm in arms if (arm, seed) not in skip]
    if engine == "local":  # the workers of a cluster have caches of their own
        ask_first(((arms[arm], seed) for arm, seed in jobs), device)
    workers = min(workers or cores(), max(1, len(jobs)))
    done = {}
    work = [(arm, arms[arm], seed, device) for arm, seed in jobs]
    with closing(ENGINES[engine](execute_arm, work, workers, address)) as finished:
        for (arm, _, seed, _), result in finished:
            done[arm, seed] = result
            if report:
                report(result)
    return [done[job] for job in jobs]


def ask_first(jobs: Iterable[tuple[Recipe, int]], device: str) -> None:
    """Fill the cache of answers with what these runs will ask named teachers, each thing once."""
    names = ("teacher", "twin", "data", "epochs", "views", "classes", "hold_out", "labelled")
    names += ("judge",)
    asked = {
        (*(getattr(recipe, name) for name in names), bool(recipe.hard_weight), seed): (recipe, seed)
        for recipe, seed in jobs
    }
    for recipe, seed in sorted(asked.values(), key=lambda job: -job[0].epochs):
        for name in names_of_teachers(recipe, seed):
            teacher = load_teacher(name)
            answers_for(recipe, teacher, training_set(recipe, seed)[0], seed, device)
            answer(teacher, judged_images(recipe), device=device)


def say(result: Mapping) -> None:
    """One line for a finished run."""
    told = result.get("diverged") or f"{result['errors']} errors ({result['accuracy']:.2f}%)"
    print(f"{result['arm']}, seed {result['seed']}: {told}, {result['seconds']:.0f} s", flush=True)


def run(name: str, *, seeds: int = 3, device: str = "cpu", **where) -> dict:
    """Run an experiment and record it, run by run: after an interruption, only the rest is run.

    A search goes on with new seeds of `kdlab.tuning`; other experiments have seeds from 0. A record
    of other settings, another machine or other code is begun anew. `where` are `run_all`'s workers,
    engine and address.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"no experiment {name!r}: there are {', '.join(EXPERIMENTS)}")
    experiment = EXPERIMENTS[name]
    record = {
        "name": name,
        "title": experiment.title,
        **stamp(f"run {name} --seeds {seeds} --device {device}", device),
        "settings": {},
        "runs": [],
    }
    path = results_dir() / f"{name}.json"
    old = load_result(name) if path.is_file() else {}
    same = all(old.get(key) == record[key] for key in ("machine", "commit"))
    order: dict[str, int] = {}

    def keep(result: dict) -> None:
        record["runs"].append(result)
        record["runs"].sort(key=lambda r: (r["seed"], order[r["arm"]]))
        write_json(path, record)
        say(result)

    for arms, new_seeds in rounds(experiment, seeds, record["runs"]):
        settings = json.loads(json.dumps({arm: written(recipe) for arm, recipe in arms.items()}))
        record["settings"] |= settings
        order |= {arm: len(order) + n for n, arm in enumerate(arms) if arm not in order}
        known = {a for a, s in settings.items() if same and old["settings"].get(a) == s}
        done = {(r["arm"], r["seed"]): r for r in record["runs"]}
        done |= {(r["arm"], r["seed"]): r for r in old.get("runs", ()) if r["arm"] in known}
        record["runs"][:] = done.values()
        run_all(arms, new_seeds, device=device, skip=done, report=keep, **where)
    return load_result(name)


def rounds(
    experiment: Experiment, seeds: int, runs: list[dict]
) -> Iterator[tuple[dict[str, Recipe], list[int]]]:
    """What is run, arms and seeds, one round after the other; `runs` grows in between."""
    trials, spaces = dict(experiment.arms), experiment.spaces
    if not spaces:
        yield trials, list(range(seeds))
        return
    first, *others = range(tuning.FIRST_SEED, tuning.FIRST_SEED + seeds)
    yield trials, [first]
    more = tuning.beyond(spaces, trials, runs)
    yield more, [first]
    trials |= more
    yield {name: trials[name] for name in tuning.finalists(spaces, runs)}, others


def train_teacher(name: str, device: str = "cpu", seed: int | None = None) -> Path:
    """Train a teacher, or a student that is deployed, by its recipe; save weights and card.

    `seed` is by default the one that the teacher is declared with.

    ValueError lists the names.
    """
    if name not in TEACHERS | STUDENTS:
        raise ValueError(f"no teacher {name!r}: there are {', '.join(TEACHERS | STUDENTS)}")
    recipe = (TEACHERS | STUDENTS)[name]
    seed = TEACHER_SEEDS.get(name, 0) if seed is None else seed
    start = time.perf_counter()
    model, _ = train(recipe, seed, device, report=lambda row: print(name, row, flush=True))
    seconds = time.perf_counter() - start
    test = images_of(recipe.data, "test")
    if recipe.classes:
        test = of_classes(test, recipe.classes)
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
    folder = data_dir() / ("teachers" if name in TEACHERS else "students")
    return save_teacher(name, model, about, folder)


def results_dir() -> Path:
    """Where the records are."""
    return ROOT / "data" / "results"


def stamp(words: str, device: str = "cpu") -> dict:
    """How a record was made: the command, the commit of the code, the day and the machine."""
    made = {"command": f"python -m kdlab {words}", "commit": commit()}
    return made | {"date": date.today().isoformat(), "machine": describe(device)}


def commit() -> str:
    """The commit of the code that runs ($KDLAB_COMMIT where there is no .git). Where it has been
    edited, "-dirty" and a digest of the edits follow: other edits are other code.

    Only edits of kdlab and of the teachers count: a record changes data/results by being written.
    """
    places = ("kdlab", "data/teachers")

    def git(*words: str) -> bytes:
        return subprocess.run(("git", *words), cwd=ROOT, capture_output=True).stdout

    try:
        here = git("rev-parse", "--short=12", "HEAD").decode().strip()
        if git("status", "--porcelain", "--", *places):
            new = git("ls-files", "--others", "--exclude-standard", "-z", "--", *places).decode()
            files = [(ROOT / name).read_bytes() for name in new.split("\0") if name]
            here += f"-dirty-{digest(b''.join([git('diff', 'HEAD', '--', *places), *files]))[:8]}"
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
    """One arm's values of a metric, in the order of the seeds, without those that diverged."""
    mine = sorted((r for r in runs if r["arm"] == arm), key=lambda r: r["seed"])
    return [r[metric] for r in mine if r[metric] is not None]


def summarise(runs: Sequence[Mapping], metric: str = "accuracy", control: str | None = None):
    """A DataFrame: per arm, n seeds, mean, std, and the difference to `control` (the first arm).

    It is paired over the seeds that both arms have, with a 95% Student's interval, its p value, and
    the p value after Holm's correction over the table; `beyond` noise is what that leaves up to
    0.05. Where runs have diverged, a column counts them: they have no value and enter no mean.
    """
    import pandas as pd

    arms = list(dict.fromkeys(r["arm"] for r in runs))
    by_seed = pd.DataFrame(runs).pivot(index="seed", columns="arm", values=metric)[arms]
    by_seed = by_seed.astype(float)
    rows = pd.DataFrame({"seeds": by_seed.count(), "mean": by_seed.mean(), "std": by_seed.std()})
    if any("diverged" in r for r in runs):
        rows["diverged"] = [sum("diverged" in r for r in runs if r["arm"] == arm) for arm in arms]
    control = control or arms[0]
    for arm in arms:
        both = by_seed[[arm, control]].dropna()
        if arm != control and len(both) > 1:
            gap = metrics.paired(both[arm].tolist(), both[control].tolist())
            rows.loc[arm, ["difference", "95% low", "95% high", "p"]] = (*gap[:3], gap.p)
    if "p" not in rows:
        return rows.round(2)
    compared = rows["p"].notna()
    rows.loc[compared, "Holm"] = metrics.holm(rows.loc[compared, "p"].tolist())
    rows["beyond"] = rows["Holm"] <= 0.05
    return rows.round({column: 2 for column in rows if column not in ("p", "Holm")})


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
