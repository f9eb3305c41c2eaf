"""Experiments carried out: on any machine, by any engine, recorded run by run.

They are declared in `kdlab.lab.catalogue`; what was recorded is read by `kdlab.lab.results`.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, replace
from functools import cache, partial
from operator import attrgetter
from pathlib import Path

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from kdlab import metrics
from kdlab.data import Images, balanced, load, select, split
from kdlab.files import atomically, cache_dir, data_dir, digest
from kdlab.lab import results, search
from kdlab.lab.catalogue import EXPERIMENTS
from kdlab.lab.configs import STUDENTS, TEACHER_SEEDS, TEACHERS, Arms, Config, without
from kdlab.lab.executors import ENGINES
from kdlab.lab.hardware import cores, describe, peak_memory, reset_peak_memory
from kdlab.logit_cache import CachedLogits, cache_logits
from kdlab.methods import labels_only, objective
from kdlab.models import FewBits, Peers, build
from kdlab.robust import robust_accuracy
from kdlab.teachers import card, freeze, load_teacher, save_teacher
from kdlab.training import Optimizer, fit

images_of = cache(load)  # a split, read once a process


def arms_of(name: str) -> Arms:
    """The arms of an experiment; in a search, its first round of trials. Where they depend on a
    search: with what its record has chosen. ValueError lists the names."""
    if name not in EXPERIMENTS:
        raise ValueError(f"no experiment {name!r}: there are {', '.join(EXPERIMENTS)}")
    experiment = EXPERIMENTS[name]
    if experiment.search:
        return experiment.arms(chosen(experiment.search))
    return dict(experiment.arms)


def settings_table(name: str) -> tuple[pd.DataFrame, dict]:
    """What each arm of an experiment would run with: a row an arm, for the settings that differ;
    and the settings that all arms have alike."""
    arms = arms_of(name)
    table = pd.DataFrame.from_dict(
        {arm: {k: short(v) for k, v in vars(config).items()} for arm, config in arms.items()},
        orient="index",
    )
    alike = [setting for setting in table if table[setting].astype(str).nunique() == 1]
    return table.drop(columns=alike), table[alike].iloc[0].to_dict()


def short(setting: object) -> object:
    """A setting as a table shows it; a net that is trained first by what it is and how long."""
    if isinstance(setting, Config):
        teacher = f" of {short(setting.teacher)}" if setting.teacher else ""
        return f"{setting.student}{teacher}, {setting.epochs} epochs, lr {setting.lr:g}"
    return setting


def chosen(tuning: str) -> Arms:
    """Each arm of a search with the settings that its record has chosen, to be run on the test
    images; where there is no record, with the first that it would try, or those of its space."""
    arms, spaces = arms_of(tuning), EXPERIMENTS[tuning].spaces
    record = results.read(tuning) if tuning in results.names() else {"runs": [], "settings": {}}
    configs = {}
    for first in arms:
        if (arm := search.arm_of(first)) in configs:
            continue
        trial = search.choose(record["runs"], arm)
        if arm not in spaces:
            configs[arm] = replace(arms[trial or first], judge="test")
            continue
        space, values = spaces[arm], {}
        if trial:
            values = search.values_of(record["settings"][trial], space.ranges)
        configs[arm] = search.with_settings(space.base, values)
    return configs


def training_set(config: Config, seed: int = 0) -> tuple[Images, Images | None]:
    """The images a run trains on, and those that it holds out (of all classes).

    Where only some are labelled (`seed` draws them), a run that needs labels trains on these; one
    that needs none, with `hard_weight` 0, on all or, without `unlabelled`, on these, too.
    """
    data, held_out = images_of(config.data), None
    if config.hold_out:
        data, held_out = split(data, config.hold_out)
    data = of_classes(data, config.classes)
    if config.labelled and (config.hard_weight or not config.unlabelled):
        data = balanced(data, config.labelled, seed)
    return data, held_out


def of_classes(data: Images, classes: Iterable[int]) -> Images:
    """The images of these classes; (), as in a config: of all."""
    classes = torch.tensor(tuple(classes))
    return select(data, torch.isin(data.labels, classes)) if len(classes) else data


def judged_images(config: Config) -> Images:
    """What a run is measured on: the test images or, for a choice, others it does not train on."""
    if config.judge == "test":
        return images_of(config.data, "test")
    return training_set(config)[1] if config.hold_out else images_of(config.data, "validation")


def cached_for(
    config: Config, teacher: nn.Module, data: Images, seed: int, device: str
) -> CachedLogits:
    """A teacher's logits for every view that the student of this seed will see."""
    return cache_logits(
        teacher, data, epochs=config.epochs, views=config.views, view_seed=seed, device=device
    )


def names_of_teachers(config: Config, seed: int) -> tuple[str, ...]:
    """The named teachers of the run with this seed; none for a teacher that is trained first."""
    teacher = config.twin if config.twin and seed % 2 else config.teacher
    names = (teacher,) if isinstance(teacher, str) else teacher
    return () if isinstance(teacher, Config) else tuple(name for name in names if name)


def teachers_of(config: Config, seed: int = 0, device: str = "cpu") -> list[nn.Module]:
    """The config's teachers: loaded by name, or trained first by a config of their own."""
    if isinstance(config.teacher, Config):
        return [freeze(trained(config.teacher, seed, device))]
    return [load_teacher(name) for name in names_of_teachers(config, seed)]


def trained(config: Config, seed: int, device: str) -> nn.Module:
    """The net of a config, kept in the cache for the other runs that begin with it: it is known by
    its config, its named teachers' weights, its seed, the machine and the code of core and lab.

    Torch's generators are left as they were, so that no later draw depends on the cache.
    """
    package = Path(__file__).parents[1]
    science = [*package.glob("*.py"), *package.glob("losses/*.py"), *package.glob("lab/*.py")]
    code = b"".join(path.read_bytes() for path in sorted(science))
    description = json.dumps([asdict(config), seed, describe(device)])
    weights = [card(name)["sha256"] for name in TEACHERS if f'"{name}"' in description]
    key = digest(code + f"{description} {weights}".encode())[:24]
    path = cache_dir() / "nets" / f"{key}.safetensors"
    with torch.random.fork_rng([device] if device.startswith("cuda") else []):
        net = build(config.student, len(images_of(config.data).classes))
        with suppress(SafetensorError, OSError, RuntimeError):
            net.load_state_dict(load_file(path))
            return net
        net = train(config, seed, device)[0].cpu()
    state = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    with suppress(OSError, SafetensorError):  # a full disk must not cost this run its result
        atomically(path, lambda target: save_file(state, target))
    return net


def train(
    config: Config, seed: int = 0, device: str = "cpu", report: Callable | None = None
) -> tuple[nn.Module, list[dict]]:
    """Carry out one config: the trained student and its history."""
    data = training_set(config, seed)[0]
    teachers = teachers_of(config, seed, device)
    torch.manual_seed(seed)
    student = build(config.student, len(data.classes))
    if config.start:
        begun = student.net if isinstance(student, FewBits) else student
        begun.load_state_dict(trained(config.start, seed, device).state_dict())
    if config.method == "mutual learning":
        student = Peers(student, build(config.student, len(data.classes)))
    goal, teacher = partial(labels_only, smoothing=config.smoothing), next(iter(teachers), None)
    if teachers or config.method:
        goal = objective(
            config.method,
            student=student,
            teacher=teacher,
            data=data,
            temperature=config.temperature,
            soft_weight=config.soft_weight,
            hard_weight=config.hard_weight,
            weight=config.weight,
        )
        if not getattr(goal, "stages", ()):  # only outputs are matched: they come from the cache
            cached = [cached_for(config, one, data, seed, device) for one in teachers]
            teacher = cached if len(cached) > 1 else next(iter(cached), None)
    history = fit(
        student,
        data,
        goal,
        epochs=config.epochs,
        teacher=teacher,
        views=config.views,
        view_seed=seed,
        seed=seed,
        batch_size=config.batch_size,
        optimizer=Optimizer(config.optimizer, config.lr, config.weight_decay),
        device=device,
        report=report,
    )
    return student.nets[0] if isinstance(student, Peers) else student, history


def execute(config: Config, seed: int = 0, device: str = "cpu") -> dict:
    """One run, measured: errors, accuracy, calibration, agreement with the teacher, seconds.

    On a CPU these are the processor's seconds, so that a busy machine does not count as cost.
    """
    reset_peak_memory(device)
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    try:
        student, history = train(config, seed, device)
    except FloatingPointError as error:  # a result, too, but not an accuracy
        seconds = round(clock() - start, 1)
        nothing = dict.fromkeys(("errors", "accuracy", "ece", "loss"))
        return {"seed": seed, "diverged": str(error), **nothing, "seconds": seconds}
    seconds = clock() - start
    judged = judged_images(config)
    if config.verify:
        known = config.classes or without(*config.verify)
        strangers, judged = (of_classes(judged, c) for c in (config.verify, known))
    logits = metrics.predict(student, judged)
    wrong = metrics.errors(logits, judged.labels)
    result = {
        "seed": seed,
        "errors": wrong,
        "accuracy": round(100 * (1 - wrong / len(judged.labels)), 3),
        "ece": round(metrics.expected_calibration_error(logits, judged.labels), 3),
        "loss": round(history[-1]["loss"], 5) if history else None,
        "seconds": round(seconds, 1),
        "memory": peak_memory(device),
    }
    if len(names := names_of_teachers(config, seed)) == 1:
        cached = cache_logits(load_teacher(*names), judged, device=device)
        theirs = cached.for_images(judged.index, epoch=0)
        result["agreement"] = round(metrics.agreement(logits, theirs), 3)
    if config.start:
        before = metrics.predict(trained(config.start, seed, device), judged)
        result["as start"] = round(metrics.agreement(logits, before), 3)
    if config.attacked:
        result["robust"] = round(robust_accuracy(student, judged, steps=20), 3)
    if config.verify:
        result |= verification_scores(student, strangers)
    elif config.classes:
        result |= unseen_classes(config, student, device)
    return result


def execute_arm(arm: str, config: Config, seed: int, device: str) -> dict:
    """`execute`, with the arm's name on the result: what an engine carries to its workers."""
    return {"arm": arm, **execute(config, seed, device)}


def verification_scores(student: nn.Module, strangers: Images) -> dict:
    """How well the embedding tells pairs of one class from pairs of two: TAR in percent at false
    accept rates of 1% and 10%, and the area under the ROC curve."""
    scores = metrics.pair_scores(metrics.embeddings(student, strangers), strangers.labels)
    return {
        "tar": round(metrics.tar_at_far(*scores, 0.01), 3),
        "tar 10%": round(metrics.tar_at_far(*scores, 0.1), 3),
        "area": round(metrics.auroc(*scores), 5),
    }


def unseen_classes(config: Config, student: nn.Module, device: str) -> dict:
    """How a student does on classes it never saw, before and after a shift of their logits.

    The shift is chosen on held-out training images without their labels: it gives the shifted
    classes the probability that the teacher gives them there.
    """
    held_out, test = training_set(config)[1], images_of(config.data, "test")
    unseen = without(*config.classes)
    shifted = list(min(unseen, config.classes, key=len))
    teacher = load_teacher(config.teacher).to(device)
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
    arms: Mapping[str, Config],
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
        cache_ahead(((arms[arm], seed) for arm, seed in jobs), device)
    workers = min(workers or cores(), max(1, len(jobs)))
    done = {}
    work = [(arm, arms[arm], seed, device) for arm, seed in jobs]
    with closing(ENGINES[engine](execute_arm, work, workers, address)) as finished:
        for (arm, _, seed, _), result in finished:
            done[arm, seed] = result
            if report:
                report(result)
    return [done[job] for job in jobs]


def cache_ahead(jobs: Iterable[tuple[Config, int]], device: str) -> None:
    """Fill the cache with the logits that these runs will need of named teachers, each once."""
    what = attrgetter(
        *("teacher", "twin", "data", "epochs", "views", "classes", "hold_out", "judge"),
        *("labelled", "unlabelled"),
    )
    asked = {(what(r), bool(r.hard_weight), seed): (r, seed) for r, seed in jobs}
    for config, seed in sorted(asked.values(), key=lambda job: -job[0].epochs):
        for name in names_of_teachers(config, seed):
            teacher = load_teacher(name)
            cached_for(config, teacher, training_set(config, seed)[0], seed, device)
            cache_logits(teacher, judged_images(config), device=device)


def print_run(result: Mapping) -> None:
    """One line for a finished run."""
    outcome = result.get("diverged") or results.LINES["errors"].format(**result)
    print(results.LINES["run"].format(**result, outcome=outcome), flush=True)


def run(
    name: str, *, seeds: int = 3, device: str = "cpu", keep_seeds: bool = False, **where
) -> dict:
    """Run an experiment and record it, run by run: after an interruption, only the rest is run.

    A search goes on with new seeds of `kdlab.lab.search`; other experiments have seeds from 0.
    Runs of an arm's other settings, of another machine or of other code are run anew; with
    `keep_seeds`, seeds that all arms have finished there are kept, and the record says how they
    were made ("earlier"). A pair of arms is compared within a seed, so always on one machine.
    `where` are `run_all`'s workers, engine and address.
    """
    trials = arms_of(name)
    experiment = EXPERIMENTS[name]
    made_by = f"run {name} --seeds {seeds} --device {device}" + " --keep-seeds" * keep_seeds
    record = {
        "name": name,
        "title": experiment.title,
        **results.stamp(made_by, device),
        **({"families": experiment.families} if experiment.families else {}),
        "settings": {},
        "runs": [],
    }
    old = results.read(name) if name in results.names() else {}
    same = all(old.get(key) == record[key] for key in ("machine", "commit"))
    earlier = old.get("earlier", []) if same or keep_seeds else []
    if keep_seeds and old and not same:
        old = whole_seeds(old)
        origin = {key: old[key] for key in ("command", "commit", "date", "machine")}
        before = {seed for part in earlier for seed in part["seeds"]}
        new = sorted({r["seed"] for r in old["runs"]} - before)
        earlier = [*earlier, origin | {"seeds": new}] if new else earlier
    if earlier:
        record["earlier"] = earlier

    def keep(result: dict) -> None:
        order = list(record["settings"])
        record["runs"].append(result)
        record["runs"].sort(key=lambda r: (r["seed"], order.index(r["arm"])))
        results.write(record)
        print_run(result)

    for arms, new_seeds in rounds(trials, experiment.spaces, seeds, record["runs"]):
        settings = json.loads(json.dumps({arm: asdict(r) for arm, r in arms.items()}))
        record["settings"] |= settings
        kept = old["settings"] if old and (same or keep_seeds) else {}
        known = {a for a, s in settings.items() if a in kept and s | kept[a] == s}
        done = {(r["arm"], r["seed"]): r for r in record["runs"]}
        done |= {(r["arm"], r["seed"]): r for r in old.get("runs", ()) if r["arm"] in known}
        record["runs"][:] = done.values()
        run_all(arms, new_seeds, device=device, skip=done, report=keep, **where)
    return results.read(name)


def whole_seeds(record: dict) -> dict:
    """A record without the seeds that some of its arms have not run."""
    arms = Counter(run["seed"] for run in record["runs"])
    whole = {seed for seed, n in arms.items() if n == len(record["settings"])}
    return record | {"runs": [run for run in record["runs"] if run["seed"] in whole]}


def rounds(
    trials: Arms, spaces: Mapping[str, search.Space], seeds: int, runs: list[dict]
) -> Iterator[tuple[Arms, list[int]]]:
    """What is run, arms and seeds, one round after the other; `runs` grows in between."""
    if not spaces:
        yield trials, list(range(seeds))
        return
    first, *others = range(search.FIRST_SEED, search.FIRST_SEED + seeds)
    yield trials, [first]
    more = search.past_the_edge(spaces, trials, runs)
    yield more, [first]
    trials |= more
    yield {name: trials[name] for name in search.finalists(spaces, runs)}, others


def train_teacher(name: str, device: str = "cpu") -> Path:
    """Train a teacher, or a student that is deployed, by its config; save weights and card.

    ValueError lists the names.
    """
    declared = TEACHERS | STUDENTS
    if name not in declared:
        raise ValueError(f"no teacher {name!r}: there are {', '.join(declared)}")
    config, seed = declared[name], TEACHER_SEEDS.get(name, 0)
    start = time.perf_counter()
    model, _ = train(config, seed, device, report=lambda row: print(name, row, flush=True))
    seconds = time.perf_counter() - start
    test = of_classes(images_of(config.data, "test"), config.classes)
    wrong = metrics.errors(metrics.predict(model.half().float(), test), test.labels)
    about = {
        "name": name,
        "model": config.student,
        "test errors": wrong,
        "test accuracy": round(100 * (1 - wrong / len(test.labels)), 2),
        "recipe": asdict(config),
        "seed": seed,
        "seconds": round(seconds),
        **results.stamp(f"train {name} --device {device}", device),
    }
    folder = data_dir() / ("teachers" if name in TEACHERS else "students")
    return save_teacher(name, model, about, folder)
