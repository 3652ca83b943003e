"""Figures of gradients over distance, and of what holds a value in a recurrence."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cffbook._optional import require
from cffbook.gradients import Measurement

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FLOOR = 1e-24
COLOURS = ("#8A8A8A", "#0072B2", "#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#D55E00", "#8E6CC5")
DASHES = ("solid", "dash", "dot")


def gradient_norms(measurements: Mapping[str, Measurement], hidden: Sequence[str] = ()) -> "Figure":
    """||dL/dh_t|| of each model over the distance T - t, mean over the batch; a click in the legend switches a model.

    Args:
        measurements: by the model's name; what stands before a comma is the kind of model and fixes the colour.
        hidden: names that are switched off at first.

    Raises:
        ImportError: plotly is not installed.
    """
    plotly = _plotly()
    figure = plotly.Figure()
    kinds = [name.split(",")[0] for name in measurements]
    for number, (name, result) in enumerate(measurements.items()):
        distance, norm = curve(result.measured)
        colour, dash = list(dict.fromkeys(kinds)).index(kinds[number]), kinds[:number].count(kinds[number])
        line = {"color": COLOURS[colour % len(COLOURS)], "dash": DASHES[dash % len(DASHES)], "width": 2.5}
        shown = "legendonly" if name in hidden else True
        figure.add_scatter(x=distance, y=norm, name=name, line=line, mode="lines", visible=shown)
    _log_axes(figure, "mean gradient norm")
    return figure


def bound_and_measured(measurements: Mapping[str, Measurement], start: int = 0) -> "Figure":
    """Measured gradient norm and its bounds, one step of the slider for each network.

    Args:
        measurements: by what the slider says of the network; each with a weight bound.
        start: number of the one shown at first.

    Raises:
        ImportError: plotly is not installed.
        ValueError: a measurement has no weight bound.
    """
    plotly = _plotly()
    frames = []
    for name, result in measurements.items():
        if result.weight_bound is None:
            raise ValueError(f"{name!r} has no weight bound: measure a network of the form h = σ(W h + V x)")
        curves = ("||W|| ||diag σ'||", result.weight_bound, "dot"), ("Jacobian norms", result.jacobian_bound, "dash"), (
            "measured", result.measured, "solid")  # fmt: skip
        traces = [
            plotly.Scatter(x=x, y=y, name=label, mode="lines", line={"color": colour, "dash": dash, "width": 2.5})
            for (label, norms, dash), colour in zip(curves, ("#D55E00", "#E69F00", "#0072B2"), strict=True)
            for x, y in [curve(norms)]
        ]
        frames.append(plotly.Frame(name=name, data=traces))
    figure = plotly.Figure(data=frames[start].data, frames=frames)
    _log_axes(figure, "gradient norm and bounds")
    # One range for all frames: an axis that moves would hide what changes.
    figure.update_yaxes(range=[-24, 24])
    figure.update_layout(sliders=[_slider(list(measurements), start)], margin={"b": 110}, height=500)
    return figure


def held_values(values: Mapping[str, Tensor], title: str, horizontal: str = "time (samples)") -> "Figure":
    """Traces `(time,)` over time, one line for each name.

    Raises:
        ImportError: plotly is not installed.
    """
    plotly = _plotly()
    figure = plotly.Figure()
    for number, (name, trace) in enumerate(values.items()):
        line = {"color": COLOURS[(number + 1) % len(COLOURS)], "dash": DASHES[number % len(DASHES)], "width": 2.5}
        keep = _kept(len(trace))
        mode = "lines+markers" if len(trace) <= 30 else "lines"
        figure.add_scatter(x=keep, y=_rounded(trace[keep]), name=name, line=line, mode=mode)
    figure.update_layout(template="plotly_white", height=380, margin={"t": 20, "r": 20}, hovermode="x unified")
    figure.update_xaxes(title=horizontal)
    figure.update_yaxes(title=title)
    return figure


def gate_of_a_step(conductance: Tensor, gates: Mapping[str, Tensor]) -> "Figure":
    """Gate z `(points,)` over the total conductance, one line for each name.

    Raises:
        ImportError: plotly is not installed.
    """
    plotly = _plotly()
    figure = plotly.Figure()
    for number, (name, gate) in enumerate(gates.items()):
        line = {"color": COLOURS[(number + 1) % len(COLOURS)], "dash": DASHES[number % len(DASHES)], "width": 2.5}
        figure.add_scatter(x=_rounded(conductance), y=_rounded(gate), name=name, line=line, mode="lines")
    figure.update_layout(template="plotly_white", height=380, margin={"t": 20, "r": 20})
    figure.update_xaxes(title="total conductance G", type="log", exponentformat="power")
    figure.update_yaxes(title="gate z", range=[-0.02, 1.02])
    return figure


def _plotly() -> ModuleType:
    return require("plotly.graph_objects", extra="plots", purpose="a figure")


def _kept(length: int, points: int = 160) -> list[int]:
    if length <= points:
        return list(range(length))
    return torch.linspace(0, length - 1, points).round().long().unique().tolist()


def curve(norms: Tensor) -> tuple[list[int], list[float | None]]:
    """Distances from 1 in equal steps of their logarithm, and mean norms; None below FLOOR and for infinity."""
    mean = norms.mean(1)
    distance = torch.logspace(0, torch.log10(torch.tensor(len(mean) - 1.0)).item(), 150).round().long().unique()
    distance = distance[distance < len(mean)]
    kept = mean[distance]
    good = (kept > FLOOR) & torch.isfinite(kept)
    return distance.tolist(), [float(f"{value:.4g}") if fine else None for value, fine in zip(kept.tolist(), good.tolist(), strict=True)]


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.5g}") for value in values.tolist()]


def _log_axes(figure: "Figure", title: str) -> None:
    figure.update_layout(template="plotly_white", height=460, margin={"t": 20, "r": 20}, hovermode="x unified")
    figure.update_xaxes(title="distance T - t (samples)", type="log", dtick=1)
    figure.update_yaxes(title=title, type="log", exponentformat="power", range=[-24, 2], dtick=4)


def _slider(names: list[str], start: int) -> dict:
    def animate(name: str) -> dict:
        arguments = [[name], {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}]
        return {"label": name, "method": "animate", "args": arguments}

    return {"active": start, "steps": [animate(name) for name in names], "pad": {"t": 50}, "currentvalue": {"prefix": "||W|| = "}}
