"""How long models take to reach a device, under a bandwidth and a patience."""

from collections.abc import Callable, Mapping, Sequence

import ipywidgets
from matplotlib.axes import Axes

from kdlab.show.panels.base import Moving, Panel, State
from kdlab.show.style import COLOURS, figure


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


def download_figure(states: Sequence[State], *, title: str = "") -> Moving:
    """Seconds until each model is on the device, a panel a bandwidth; and move(state).

    States are from `download_state`. The line is the time that one is willing to wait.
    """
    names = list(states[0]["seconds"])
    width = 9 if len(states) == 1 else 3.4 + 2.5 * len(states)
    drawing = figure(width, 1.7 + 0.42 * len(names), title)
    axes = drawing.subplots(1, len(states), sharey=True, squeeze=False)[0]
    moves = [_download_bars(axis, state, names) for axis, state in zip(axes, states, strict=True)]
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    return drawing, moves[0]


def _download_bars(axis: Axes, state: State, names: Sequence[str]) -> Callable[[State], list]:
    colours = [COLOURS[state["roles"][name]] for name in names]
    bars = axis.barh(names, [1] * len(names), color=colours, left=1e-4, linewidth=0)
    line = axis.axvline(1, color=COLOURS["accent"], linewidth=2.5)
    axis.set(xscale="log", xlim=(1e-4, 1e4), xlabel="seconds")
    axis.set_xticks((1e-3, 1, 1e3), ("0.001", "1", "1000"))
    axis.minorticks_off()
    axis.grid(axis="y", visible=False)
    heading = axis.set_title("\n")

    def move(state: State) -> list:
        for bar, name in zip(bars, names, strict=True):
            bar.set_width(state["seconds"][name] - 1e-4)
        line.set_xdata([state["patience"]] * 2)
        heading.set_text(
            f"{state['bandwidth']:.3g} Mbit/s\n{state['count']} of {state['models']} in time"
        )
        return [*bars, line, heading]

    move(state)
    return move


def download_panel(models: Mapping[str, tuple[int, str]]) -> Panel:
    """How long models take to reach a device, under sliders for bandwidth and patience.

    `models`: name -> (bytes, role). Controls: `.bandwidth`, `.patience`.
    """
    if not models:
        raise ValueError("a panel needs at least one model")
    wide = {"readout_format": ".3g", "layout": {"width": "26em"}}
    controls = {
        "bandwidth": ipywidgets.FloatLogSlider(value=1.0, min=-2, max=3, step=0.05, **wide),
        "patience": ipywidgets.FloatLogSlider(value=1.0, min=-1, max=2, step=0.05, **wide),
    }

    def compute() -> dict:
        return download_state(models, **{name: c.value for name, c in controls.items()})

    return Panel(controls, compute, download_figure([compute()]), "downloads")
