"""The commands of the lab: fetch data, train a teacher, run an experiment."""

from typing import Annotated

import typer
from typer import Argument, Option

Name = Annotated[str, Argument(help="a name; a wrong one lists them all")]
Device = Annotated[str, Option(help="cpu or cuda")]


def check_device(device: str) -> None:
    """A ValueError that says what to do where torch cannot use `device` here."""
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("torch finds no CUDA device here; leave --device out to use the CPU")


def data(name: Annotated[str, Argument(help="cifar10")]) -> None:
    """Fetch a data set that a clone does not carry whole."""
    from kdlab.dataset_files import download

    typer.echo(f"{name} is in {download(name)}")


def train(teacher: Name, device: Device = "cpu") -> None:
    """Train a teacher by its config; write its weights and its card."""
    check_device(device)
    from kdlab.lab import experiments

    typer.echo(f"{teacher} is in {experiments.train_teacher(teacher, device=device)}")


def run(
    experiment: Name,
    seeds: Annotated[int, Option(min=1, help="how many seeds")] = 3,
    device: Device = "cpu",
    workers: Annotated[
        int | None, Option(min=1, help="processes at once; default: one a core")
    ] = None,
    engine: Annotated[str, Option(help="local, or ray for several machines")] = "local",
    address: Annotated[str, Option(help="a Ray cluster; default: one on this machine")] = "",
    keep_seeds: Annotated[
        bool, Option("--keep-seeds", help="keep finished seeds of another machine or other code")
    ] = False,
    show: Annotated[
        bool, Option("--show", help="print each arm's settings and run nothing")
    ] = False,
) -> None:
    """Run an experiment, record it in data/results, and print its table."""
    check_device(device)
    from kdlab.lab import experiments, results

    if show:
        table, alike = experiments.settings_table(experiment)
        typer.echo(table.to_string())
        said = (f"{name} {value}" for name, value in alike.items() if value not in ("", ()))
        typer.echo("all arms: " + ", ".join(said))
        return

    where = {"workers": workers, "engine": engine, "address": address}
    experiments.run(experiment, seeds=seeds, device=device, keep_seeds=keep_seeds, **where)
    typer.echo(results.table(experiment).to_string())


COMMANDS = {"research": [data, train, run]}
