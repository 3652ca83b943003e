"""Figures of the memory layer: rasters over real inputs, wirings side by side, cost, and what coupling buys."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cffbook._optional import require
from cffbook.wiring import Wiring

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

RESET, NEITHER, SET = "#D55E00", "rgba(127,127,127,0.12)", "#0072B2"
LINES = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
NAMED = 16  # upright words that have room below a plot, on a phone too


def raster(outputs: Tensor, rows: Sequence[str], samples: Sequence[str], held: tuple[float, float] = (-1.0, 1.0)) -> "Figure":
    """CFF outputs over time, one row for each CFF, with the word that was read below; of many samples only as many are named as have room.

    Args:
        outputs: `(time, flip_flops)`.
        rows: name of each CFF.
        samples: what was read at each time.
        held: output of a CFF that holds reset and of one that holds set; they get the full colours.

    Raises:
        ImportError: plotly is not installed.
        ValueError: as many names as rows, and words as samples, are needed.
    """
    if tuple(outputs.shape) != (len(samples), len(rows)):
        raise ValueError(f"expected outputs ({len(samples)}, {len(rows)}), got {tuple(outputs.shape)}: name every sample and every row")
    plotly, step = _plotly(), ceil(len(samples) / NAMED)
    figure = plotly.Figure(_heatmap(plotly, outputs, list(rows), "%{y} after %{customdata}, v = %{z:.2f}", samples, held))
    figure.update_layout(template="plotly_white", height=110 + 24 * len(rows), margin={"t": 20, "r": 20, "b": 60})
    figure.update_xaxes(tickvals=list(range(0, len(samples), step)), ticktext=list(samples)[::step], tickangle=90, tickfont={"size": 10}, showgrid=False,
                        title="token read" + f" (one in {step} is named)" * (step > 1))  # fmt: skip
    figure.update_yaxes(autorange="reversed", showgrid=False, title="flip-flop", type="category")
    return figure


def image_raster(image: Tensor, outputs: Tensor, rows: Sequence[str]) -> "Figure":
    """A picture, its pixels in the order in which they are read, and below them CFF outputs, one row each.

    Args:
        image: `(side, side)` gray values.
        outputs: `(side * side, flip_flops)`.
        rows: name of each CFF.

    Raises:
        ImportError: plotly is not installed.
        ValueError: there is not one output for each pixel and one name for each row.
    """
    pixels = image.flatten()
    if tuple(outputs.shape) != (len(pixels), len(rows)):
        raise ValueError(f"expected outputs ({len(pixels)}, {len(rows)}), got {tuple(outputs.shape)}: give one for each pixel and row")
    plotly = _plotly()
    specs = [[{}, {}], [{"colspan": 2}, None]]
    figure = _subplots().make_subplots(rows=2, cols=2, specs=specs, row_heights=[0.32, 0.68], column_widths=[0.24, 0.76], vertical_spacing=0.12, horizontal_spacing=0.12)
    shades = {"colorscale": "Gray", "showscale": False, "hovertemplate": "row %{y}, column %{x}<extra></extra>"}
    figure.add_trace(plotly.Heatmap(z=_compact(image), **shades), row=1, col=1)
    line = {"color": "#999999", "width": 1}
    figure.add_trace(plotly.Scatter(y=_compact(pixels), mode="lines", line=line, showlegend=False, name="pixel"), row=1, col=2)
    figure.add_trace(_heatmap(plotly, outputs, list(rows), "%{y}, pixel %{x}, v = %{z:.2f}"), row=2, col=1)
    figure.update_layout(template="plotly_white", height=620, margin={"t": 20, "r": 20})
    figure.update_xaxes(showgrid=False)
    figure.update_xaxes(visible=False, constrain="domain", row=1, col=1)
    figure.update_yaxes(visible=False, autorange="reversed", scaleanchor="x", constrain="domain", row=1, col=1)
    figure.update_yaxes(title="gray value", row=1, col=2)
    figure.update_xaxes(title="pixel read", row=2, col=1)
    figure.update_yaxes(title="flip-flop (capacitance)", showgrid=False, type="category", autorange="reversed", nticks=12, row=2, col=1)
    return figure


def gallery(wirings: Sequence[Wiring], columns: int = 3) -> "Figure":
    """The polarity matrices of several wirings side by side: a row per source, a column per target.

    Raises:
        ImportError: plotly is not installed.
        ValueError: there is no wiring.
    """
    if not wirings:
        raise ValueError("expected at least one wiring, got none: see cffbook.wiring.names()")
    plotly, rows = _plotly(), ceil(len(wirings) / columns)
    titles = [f"{wiring.name}<br>{wiring.synapses} synapses" for wiring in wirings]
    figure = _subplots().make_subplots(rows=rows, cols=columns, subplot_titles=titles, vertical_spacing=0.36 / rows, horizontal_spacing=0.05)
    for number, wiring in enumerate(wirings):
        here = {"row": number // columns + 1, "col": number % columns + 1}
        matrix = plotly.Heatmap(
            z=wiring.polarity.numpy(), zmin=-1, zmax=1, colorscale=_scale(), showscale=False,
            hovertemplate="source %{y}, target %{x}: %{z}<extra></extra>",
        )  # fmt: skip
        figure.add_trace(matrix, **here)
        figure.update_xaxes(constrain="domain", **here)
        # The axis of another panel is its own: each matrix is square in its own panel.
        figure.update_yaxes(autorange="reversed", scaleanchor=f"x{number + 1 if number else ''}", constrain="domain", **here)
    figure.update_layout(template="plotly_white", height=250 * rows, margin={"t": 60, "r": 10, "l": 40, "b": 30})
    figure.update_xaxes(showgrid=False, zeroline=False, nticks=3)
    figure.update_yaxes(showgrid=False, zeroline=False, nticks=3)
    figure.update_annotations(font={"size": 12})
    return figure


def cost(sizes: Sequence[int], parameters: Mapping[str, Sequence[int]], milliseconds: Mapping[str, Sequence[float]]) -> "Figure":
    """Parameters and time of a sample over the number of CFFs, for each kind of lateral synapse.

    Raises:
        ImportError: plotly is not installed.
    """
    plotly = _plotly()
    figure = _subplots().make_subplots(cols=2, horizontal_spacing=0.12)
    for column, curves in enumerate((parameters, milliseconds), 1):
        for number, (name, values) in enumerate(curves.items()):
            style = {"color": LINES[number], "dash": DASHES[number], "width": 2.5}
            trace = plotly.Scatter(
                x=list(sizes), y=list(values), name=name, legendgroup=name, line=style, mode="lines+markers", showlegend=column == 1
            )
            figure.add_trace(trace, row=1, col=column)
    figure.update_layout(template="plotly_white", height=380, margin={"t": 20, "r": 20}, legend={"orientation": "h", "y": 1.15})
    figure.update_xaxes(type="log", title="flip-flops", tickvals=list(sizes))
    figure.update_yaxes(type="log", title="trainable parameters of the lateral synapses", dtick=1, row=1, col=1)
    figure.update_yaxes(type="log", title="milliseconds a sample (batch of 32)", dtick=1, row=1, col=2)
    return figure


def accuracy_over_time(right: Mapping[str, Tensor], trained: int, chance: float) -> "Figure":
    """Accuracy along long sequences, with the longest length that was trained and what guessing gives.

    Args:
        right: by model, `(sequences, time)`, 1 where the answer is right; times are averaged in bins of equal ratio.
        trained: longest length that was trained.
        chance: accuracy of guessing.

    Raises:
        ImportError: plotly is not installed.
    """
    plotly = _plotly()
    figure = plotly.Figure()
    for number, (name, values) in enumerate(right.items()):
        style = {"color": LINES[number], "dash": DASHES[number], "width": 2.5}
        edges = torch.logspace(0, torch.log10(torch.tensor(values.shape[1] + 1.0)).item(), 31).round().long().unique().tolist()
        bins = list(pairwise(edges))
        accuracy = [round(float(values[:, start - 1 : end - 1].mean()), 4) for start, end in bins]
        middle = [round((start * (end - 1)) ** 0.5, 2) for start, end in bins]
        figure.add_scatter(x=middle, y=accuracy, name=name, line=style, mode="lines+markers")
    figure.add_hline(y=chance, line={"color": "#999999", "dash": "dot"}, annotation_text="guessing", annotation_position="bottom left")
    figure.add_vline(x=trained, line={"color": "#999999", "dash": "dot"})
    figure.update_layout(template="plotly_white", height=400, margin={"t": 20, "r": 20}, hovermode="x unified")
    figure.update_xaxes(type="log", title=f"time (samples); dotted: the longest trained, {trained}", dtick=1)
    figure.update_yaxes(title="accuracy", range=[0.4, 1.03])
    return figure


def _plotly() -> ModuleType:
    return require("plotly.graph_objects", extra="plots", purpose="a figure")


def _subplots() -> ModuleType:
    return require("plotly.subplots", extra="plots", purpose="a figure")


def _scale() -> list[list]:
    return [[0.0, RESET], [0.5, NEITHER], [1.0, SET]]


def _compact(values: Tensor):
    """The values with 8 bits where they are integers, else 32: plotly stores an array as its bytes."""
    return values.detach().float().numpy() if values.is_floating_point() else values.numpy()


def _heatmap(plotly: ModuleType, outputs: Tensor, rows: list[str], hover: str, samples: Sequence[str] | None = None, held=(-1.0, 1.0)):
    words = None if samples is None else [list(samples)] * len(rows)
    ticks = [held[0], sum(held) / 2, held[1]]
    bar = {"title": "output", "tickvals": ticks, "ticktext": [f"{value:.2g}" for value in ticks], "len": 0.6}
    return plotly.Heatmap(
        z=_compact(outputs.T.contiguous()), y=rows, zmin=held[0], zmax=held[1], colorscale=_scale(), colorbar=bar,
        customdata=words, hovertemplate=hover + "<extra></extra>",
    )  # fmt: skip
