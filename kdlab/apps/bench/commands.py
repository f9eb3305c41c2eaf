"""For whoever asks what kdlab saves: the command that compares speeds."""

from typing import Annotated

from typer import Option


def bench(
    epochs: Annotated[int, Option(min=1, help="fewer for a quick try")] = 10,
    seeds: Annotated[int, Option(min=1, help="how many trainings of each side")] = 1,
    record: Annotated[bool, Option("--record", help="keep it in data/results")] = False,
) -> None:
    """Time a plain distillation loop and this package on the same work."""
    from kdlab.apps.bench.loops import run_bench

    run_bench(epochs=epochs, seeds=seeds, record=record)


COMMANDS = {"research": [bench]}
