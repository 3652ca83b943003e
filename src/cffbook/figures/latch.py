"""Figures of the latch condition: where a pair latches, how long it keeps a bit, and what holding does to gradients."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cffbook._optional import require
from cffbook.analysis import FixedPoints

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

A, B, NEUTRAL, GREEN = "#0072B2", "#D55E00", "#888888", "#009E73"
DASHES = ("solid", "dash", "dot")


def phase_diagram(x: Tensor, y: Tensor, margin: Tensor, retention: Tensor, names: tuple[str, str]) -> "Figure":
    """Simulated retention time over two parameters as colours, and the line on which the latch condition changes its answer.

    Args:
        x: `(columns,)`.
        y: `(rows,)`.
        margin: margin of the latch condition, `(rows, columns)`.
        retention: `(rows, columns)`, infinite where a bit is kept.
        names: what the axes are.

    Raises:
        ImportError: plotly is not installed.
    """
    figure = _plotly().Figure()
    kept = torch.isinf(retention)
    top = float(retention[~kept].log10().max()) if bool((~kept).any()) else 1.0
    shade = torch.where(kept, torch.full_like(retention, torch.nan), retention.clamp(min=1e-3).log10())
    figure.add_heatmap(x=_short(x), y=_short(y), z=[_short(row, 2) for row in shade], colorscale="Cividis", zmax=top, hoverongaps=False,
                       colorbar={"title": {"text": "log<sub>10</sub> of<br>samples held"}}, hovertemplate="kept for 10^%{z:.1f} samples<extra></extra>")  # fmt: skip
    figure.add_heatmap(x=_short(x), y=_short(y), z=[[1 if value else None for value in row] for row in kept.tolist()], colorscale=[[0, GREEN], [1, GREEN]],
                       showscale=False, opacity=0.55, hoverongaps=False, hovertemplate="kept for ever<extra></extra>")  # fmt: skip
    figure.add_contour(x=_short(x), y=_short(y), z=[_short(row) for row in margin], contours={"start": 0, "end": 0, "size": 1, "coloring": "lines"},
                       colorscale=[[0, B], [1, B]], line={"width": 4}, showscale=False, name="latch condition", showlegend=True, hoverinfo="skip")  # fmt: skip
    _dress(figure, 480, *names)
    figure.update_layout(legend={"orientation": "h", "y": 1.08})
    return figure


def retention(rate: Tensor, time: Tensor, differ: Tensor, wait: Tensor, fraction: float = 1e-3) -> "Figure":
    """How long pairs outside the latch condition keep a bit, over how far outside they are; log axes.

    Args:
        rate: growth rate of a difference at the rest point, `(pairs,)`, negative outside the condition.
        time: retention time, `(pairs,)`; infinite where the bit was still there at the end of the simulation.
        differ: where condition and simulation differ, `(pairs,)`; drawn large, at the time of the wait.
        wait: length of the simulation of each pair, `(pairs,)`.
        fraction: of the first difference at which a bit counts as lost.

    Raises:
        ImportError: plotly is not installed.
    """
    figure = _plotly().Figure()
    shown = (rate < 0) & torch.isfinite(time)
    figure.add_scattergl(x=_short(-rate[shown]), y=_short(time[shown], 2), mode="markers", name="loses its bit", marker={"size": 3, "color": NEUTRAL, "opacity": 0.5})
    edge = torch.logspace(-5, 1, 40, dtype=torch.float64)
    figure.add_scatter(x=edge.tolist(), y=(-torch.log(torch.tensor(fraction)) / edge).tolist(), mode="lines", name="ln(1/fraction) / |rate|", line={"color": A})
    figure.add_scatter(x=(-rate[differ]).tolist(), y=_short(wait[differ], 2), mode="markers", name="still held when the simulation ended",
                       marker={"size": 12, "symbol": "triangle-up", "color": B})  # fmt: skip
    _dress(figure, 460, "−(growth rate of a difference) per sample", "retention time (samples)")
    figure.update_xaxes(type="log", exponentformat="power")
    figure.update_yaxes(type="log", exponentformat="power")
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "itemsizing": "constant"})
    return figure


def hysteresis(levels: Tensor, curves: Mapping[str, tuple[Tensor, Tensor]]) -> "Figure":
    """Output over input level, going up (solid) and coming down (dashed), one colour for each pair.

    Raises:
        ImportError: plotly is not installed.
    """
    figure = _plotly().Figure()
    for (name, (up, down)), colour in zip(curves.items(), (A, B, GREEN, NEUTRAL), strict=False):
        for values, way, dash in ((up, "up", "solid"), (down, "down", "dash")):
            figure.add_scatter(x=_short(levels), y=_short(values), name=f"{name}, {way}", mode="lines", line={"color": colour, "dash": dash, "width": 2.5})
    return _dress(figure, 420, "input level: u<sub>a</sub> = level, u<sub>b</sub> = −level", "output v<sub>a</sub>")


def bifurcation(values: Sequence[float], found: Sequence[FixedPoints], name: str) -> "Figure":
    """Potential v_a of all fixed points over a parameter, stable ones filled, unstable ones open.

    Raises:
        ImportError: plotly is not installed.
    """
    figure = _plotly().Figure()
    for stable, label, symbol, colour in ((True, "stable", "circle", A), (False, "unstable", "circle-open", B)):
        pairs = [(value, point) for value, points in zip(values, found, strict=True) for point in points.potential[points.stable == stable, 0].tolist()]
        figure.add_scatter(x=[value for value, _ in pairs], y=[round(point, 4) for _, point in pairs], mode="markers", name=label,
                           marker={"size": 6, "symbol": symbol, "color": colour})  # fmt: skip
    return _dress(figure, 420, name, "v<sub>a</sub> of the fixed points")


def fading_gradient(bits: Tensor, radius: Tensor, gradient: Tensor) -> "Figure":
    """Three curves over time, each `(time,)`: output, spectral radius of one sample's Jacobian, norm of their product (log axis).

    Raises:
        ImportError: plotly is not installed.
    """
    subplots = require("plotly.subplots", extra="plots", purpose="a figure")
    figure = subplots.make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.05)
    names = ("output v<sub>a</sub>", "spectral radius", "norm of ∂v/∂v₀")
    for row, (values, name, colour) in enumerate(zip((bits, radius, gradient), names, (A, B, GREEN), strict=True), start=1):
        shown = [value if value > 0 or row == 1 else None for value in values.tolist()]
        figure.add_scatter(y=shown, mode="lines", line={"color": colour, "width": 2.5}, name=name, row=row, col=1, showlegend=False)
        figure.update_yaxes(title=name, row=row, col=1)
    figure.update_yaxes(range=[-1, 1], row=1, col=1)
    figure.update_yaxes(rangemode="tozero", row=2, col=1)
    figure.update_yaxes(type="log", exponentformat="power", row=3, col=1)
    figure.update_xaxes(title="time (samples)", row=3, col=1)
    figure.update_layout(template="plotly_white", height=560, margin={"t": 20, "r": 20})
    return figure


def _dress(figure: "Figure", height: int, horizontal: str, vertical: str) -> "Figure":
    figure.update_layout(template="plotly_white", height=height, margin={"t": 20, "r": 20})
    figure.update_xaxes(title=horizontal)
    figure.update_yaxes(title=vertical)
    return figure


def _short(values: Tensor, digits: int = 6) -> list[float | None]:
    """Rounded values, since a page carries every one of them; None where NaN."""
    return [None if value != value else round(value, digits) for value in values.tolist()]


def _plotly() -> ModuleType:
    return require("plotly.graph_objects", extra="plots", purpose="a figure")
