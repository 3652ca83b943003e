"""Figures of the transformer with memory: the block, who has the parameters, what streams, who is reached, learning."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cffbook._optional import require

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

LINES = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#999999")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
GREY = "#888888"


def block(mixers: Sequence[str], start: int = 0) -> "Figure":
    """One pre-norm block as a drawing; buttons exchange the mixer, and nothing else changes.

    Args:
        mixers: what the buttons offer.
        start: number of the one shown at first.

    Raises:
        ImportError: plotly is not installed.
    """
    plotly, figure = _plotly(), _plotly().Figure()
    for first, names, colours in ((0.9, ("norm", mixers[start]), (GREY, LINES[1])), (4.9, ("norm", "MLP"), (GREY, GREY))):
        for place, colour in zip((first, first + 1.3), colours, strict=True):
            figure.add_shape(type="rect", x0=place, x1=place + 1.1, y0=0.55, y1=1.15, line={"color": colour, "width": 2.5})
        for place, name in zip((first + 0.55, first + 1.85), names, strict=True):
            figure.add_annotation(x=place, y=0.85, text=name, showarrow=False, font={"size": 15})
        _path(figure, [(first - 0.35, 0.0), (first - 0.35, 0.85), (first, 0.85)])
        _path(figure, [(first + 1.1, 0.85), (first + 1.3, 0.85)])
        _path(figure, [(first + 2.4, 0.85), (first + 2.85, 0.85), (first + 2.85, 0.1)])
    _path(figure, [(0.0, 0.0), (8.6, 0.0)], width=4)
    for place, anchor in ((0.0, "left"), (8.6, "right")):
        figure.add_annotation(x=place, y=-0.3, text="<i>x</i> (batch, time, d_model)", showarrow=False, xanchor=anchor)
    # The mixer's name is the second annotation; a button rewrites it and nothing else.
    buttons = [{"label": name, "method": "relayout", "args": [{"annotations[1].text": name}]} for name in mixers]
    # An active button's colour is plotly's own and unreadable on a dark page: the box says what is shown.
    menu = {"type": "buttons", "direction": "right", "buttons": buttons, "active": start, "showactive": False}
    menu |= {"x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom"}
    sums = {"symbol": "circle-cross-open", "size": 24, "color": GREY, "line": {"width": 2.5}}
    figure.add_trace(plotly.Scatter(x=[3.75, 7.75], y=[0, 0], mode="markers", marker=sums, hoverinfo="skip", showlegend=False))
    figure.update_layout(template="plotly_white", height=320, margin={"t": 60, "r": 10, "l": 10, "b": 10}, updatemenus=[menu],
                         meta={"width": 560})  # the least in which the words fit their boxes; a page reads it
    figure.update_xaxes(visible=False, range=[-0.1, 8.7], fixedrange=True)
    figure.update_yaxes(visible=False, range=[-0.5, 1.3], fixedrange=True)
    return figure


def parameters_by_part(parts: Mapping[str, Mapping[str, int]]) -> "Figure":
    """Stacked bars: the parameters of each part of a model, one bar for each mixer.

    Args:
        parts: by mixer, then by part.

    Raises:
        ImportError: plotly is not installed.
    """
    figure = _plotly().Figure()
    names = list(next(iter(parts.values())))
    for number, part in enumerate(names):
        counts = [found[part] for found in parts.values()]
        figure.add_bar(
            y=list(parts), x=counts, name=part, orientation="h", marker={"color": LINES[(number + 1) % len(LINES)]},
            hovertemplate="%{y}, " + part + ": %{x:,}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(template="plotly_white", barmode="stack", height=120 + 42 * len(parts), margin={"t": 20, "r": 20})
    figure.update_layout(legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "traceorder": "normal"})
    figure.update_xaxes(title="trainable parameters", tickformat=",")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def state_bytes(times: Sequence[int], curves: Mapping[str, Sequence[int]]) -> "Figure":
    """Bytes of the state that a model carries from token to token, over the tokens generated so far.

    Raises:
        ImportError: plotly is not installed.
    """
    figure = _lines({name: (list(times), list(values)) for name, values in curves.items()}, markers=True)
    figure.update_xaxes(title="tokens so far", type="log", dtick=1)
    figure.update_yaxes(title="bytes of state", type="log", dtick=1, exponentformat="SI")
    return figure


def influence(norms: Mapping[str, Tensor], floor: float = 1e-12) -> "Figure":
    """Gradient of a model's score with respect to each input sample, over the distance to the end.

    Args:
        norms: by model, `(time,)`, distance 0 first.
        floor: smaller norms are not drawn.

    Raises:
        ImportError: plotly is not installed.
    """
    curves = {}
    for name, norm in norms.items():
        kept = torch.logspace(0, torch.log10(torch.tensor(float(len(norm)))).item(), 120).round().long().unique()
        kept = kept[kept <= len(norm)]
        values = [float(f"{value:.4g}") if value > floor else None for value in norm[kept - 1].tolist()]
        curves[name] = (kept.tolist(), values)
    figure = _lines(curves)
    figure.update_xaxes(title="distance from the end + 1 (samples)", type="log", dtick=1)
    figure.update_yaxes(title="mean gradient norm", type="log", dtick=2, exponentformat="power")
    return figure


def training_curves(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], score: str, floors: Mapping[str, float]) -> "Figure":
    """Validation score over updates, one line for each model, and what a trivial predictor scores.

    Args:
        curves: by model, updates and scores.
        score: name of the score.
        floors: by name of the predictor.

    Raises:
        ImportError: plotly is not installed.
    """
    figure = _lines({name: (list(steps), [float(f"{v:.4g}") for v in values]) for name, (steps, values) in curves.items()}, markers=True)
    for name, value in floors.items():
        figure.add_hline(y=value, line={"color": GREY, "dash": "dot"}, annotation_text=name, annotation_position="top right")
    figure.update_xaxes(title="updates")
    figure.update_yaxes(title=score, rangemode="tozero")
    return figure


def _lines(curves: Mapping[str, tuple[list, list]], markers: bool = False) -> "Figure":
    figure = _plotly().Figure()
    for number, (name, (x, y)) in enumerate(curves.items()):
        style = {"color": LINES[number % len(LINES)], "dash": DASHES[number % len(DASHES)], "width": 2.5}
        figure.add_scatter(x=x, y=y, name=name, line=style, mode="lines+markers" if markers else "lines")
    figure.update_layout(template="plotly_white", height=400, margin={"t": 20, "r": 20}, hovermode="x unified",
                         legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"})
    return figure


def _path(figure: "Figure", points: list[tuple[float, float]], width: float = 2) -> None:
    steps = "".join(f"{'L' if number else 'M'} {x},{y} " for number, (x, y) in enumerate(points))
    figure.add_shape(type="path", path=steps, line={"color": GREY, "width": width})


def _plotly() -> ModuleType:
    return require("plotly.graph_objects", extra="plots", purpose="a figure")
