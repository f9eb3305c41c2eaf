"""How long models take to reach a device, under a bandwidth and a patience."""

from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.figure import Figure

from kdlab.apps.chapters.panels import base
from kdlab.apps.i18n import display_name
from kdlab.apps.style import COLOURS, figure, log_ticks, name_rows, speaks, word


def download_state(
    models: Mapping[str, tuple[int, str]], bandwidth: float, patience: float = 1.0
) -> dict:
    """Seconds until each model has arrived; `models`: name -> (bytes, role), bandwidth in Mbit/s.

    Eight bits a byte, and a megabit is a million bits; no latency of the network, no overhead.
    ValueError for a bandwidth or patience that is not positive.
    """
    if not bandwidth > 0 or not patience > 0:
        raise ValueError(f"bandwidth and patience are positive, got {bandwidth} and {patience}")
    seconds = {name: 8 * size / (1e6 * bandwidth) for name, (size, _) in models.items()}
    return {
        "bandwidth": bandwidth,
        "patience": patience,
        "budget": 1e3 * bandwidth * patience / 8,  # kB
        "seconds": seconds,
        "roles": {name: role for name, (_, role) in models.items()},
        "count": sum(took <= patience for took in seconds.values()),
        "models": len(models),
    }


def download_figure(states: Sequence[Mapping], *, title: str = "") -> Figure:
    """Static twin of the download panel: seconds until each model is there, an axis a bandwidth.

    States are from `download_state`. The line is the time that one is willing to wait.
    """
    names = list(states[0]["seconds"])
    drawing = figure(3.4 + 2.5 * len(states), 1.7 + 0.42 * len(names), title)
    axes = drawing.subplots(1, len(states), sharey=True, squeeze=False)[0]
    for axis, state in zip(axes, states, strict=True):
        widths = [state["seconds"][name] - 1e-4 for name in names]
        colours = [COLOURS[state["roles"][name]] for name in names]
        axis.barh(names, widths, color=colours, left=1e-4, linewidth=0)
        axis.axvline(state["patience"], color=COLOURS["accent"], linewidth=2.5)
        log_ticks(axis, (1e-3, 1, 1e3))
        name_rows(axis, [display_name(name, speaks()) for name in names])
        axis.set(xlim=(1e-4, 1e4), xlabel=word("seconds"))
        in_time = word("in time", count=state["count"], models=state["models"])
        axis.set_title(f"{state['bandwidth']:.3g} Mbit/s\n{in_time}")
    return drawing


def download_panel(models: Mapping[str, tuple[int, str]]) -> base.Panel:
    """How long models take to reach a device, under sliders for bandwidth and patience.

    `models`: name -> (bytes, role). Controls: `.bandwidth`, `.patience`.
    """
    return base.Panel(
        "downloads",
        partial(download_state, models),
        controls={
            "bandwidth": base.slider(1.0, 0.01, 1000.0, 0.05, base=10),
            "patience": base.slider(1.0, 0.1, 100.0, 0.05, base=10),
        },
        models=[(name, size, role) for name, (size, role) in models.items()],
    )
