"""For the engineer: the commands that serve the models and measure the deployment."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Option


def serve(
    host: Annotated[str, Option(help="0.0.0.0: phones in this network, too")] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="0: one that is free")] = 8000,
    model: Annotated[
        list[Path] | None, Option(help="exported models; default: those of the course")
    ] = None,
    shadow: Annotated[
        list[str] | None, Option(help="NAME:SHADOW:SHARE:IMAGES, a model in shadow")
    ] = None,
) -> None:
    """Serve the page (draw a digit) and the models over HTTP, on this machine alone."""
    from kdlab.apps.serving import service

    listening = service.listen(host, port)
    if not model:
        command = [sys.executable, "-m", "kdlab.apps.serving.export"]
        done = subprocess.run(command, capture_output=True, text=True)  # torch stays over there
        if done.returncode:
            raise ValueError(done.stderr.strip().splitlines()[-1])
        model = [Path(line) for line in done.stdout.splitlines()]
    app = service.create_app(service.Service(model, service.read_shadows(shadow or [])))
    # who comes before the service runs waits for it
    typer.echo(f"open {service.url_of(listening)}")
    service.serve(app, listening)


def deploy(
    record: Annotated[bool, Option("--record", help="keep it in data/results")] = False,
    seconds: Annotated[float, Option(min=0.2, help="of each load that is offered")] = 2.0,
    soak: Annotated[float, Option(help="seconds of load at 80% of the highest rate")] = 60.0,
) -> None:
    """Export to ONNX and int8, then measure size, latency and load."""
    from kdlab.apps.serving.benchmark import measure_deployment

    measure_deployment(record=record, seconds=seconds, soak=soak)


COMMANDS = {"serve": [serve, deploy]}
