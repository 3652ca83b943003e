"""Figures of what is remembered over a distance: losses over the length of a task, and what a trained layer's gradient and bit do."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cffbook._optional import require
from cffbook.figures.gradients import COLOURS as KINDS
from cffbook.figures.gradients import DASHES, curve
from cffbook.figures.tracking import COLOURS, SYMBOLS, TRAINED
from cffbook.gradients import Measurement
from cffbook.results import Record

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SIZES = ("length", "blanks")


def label(record: Record, records: Sequence[Record]) -> str:
    """The record's row, with the number of updates where records of that row differ in it: such are not to be averaged."""
    row, steps = record.settings["row"], record.settings["recipe"]["steps"]
    alike = all(other.settings["recipe"]["steps"] == steps for other in records if other.settings["row"] == row)
    return row if alike else f"{row}, {steps:,} updates"


def losses(records: Sequence[Record]) -> dict[str, dict[int, list[float]]]:
    """Test losses of every row at every tested length (or number of blanks), one for each seed; rows by their `label`."""
    found: dict[str, dict[int, list[float]]] = {}
    for record in records:
        options = record.settings["task_options"]
        own = next(options[name] for name in SIZES if name in options)
        lengths = found.setdefault(label(record, records), {})
        for name, score in record.tests.items():
            length = own if name == TRAINED else int(name.split()[1])
            lengths.setdefault(length, []).append(score["loss"])
    return {row: dict(sorted(lengths.items())) for row, lengths in found.items()}


def loss_over_length(records: Sequence[Record], floor: float, horizontal: str, vertical: str, bar: float | None = None) -> "Figure":
    """Test loss over the length of the tested sequences, log axes; mean of the seeds with the worst as a bar above it.

    Args:
        records: of one task.
        floor: loss of the best predictor without memory, drawn as a line.
        horizontal, vertical: titles of the axes.
        bar: a second line, what is asked for.

    Raises:
        ImportError: plotly is not installed.
        ValueError: records of several tasks.
    """
    tasks = {record.task["name"] for record in records}
    if len(tasks) > 1:
        raise ValueError(f"expected records of one task, got {', '.join(sorted(tasks))}: draw them apart")
    figure = _plotly().Figure()
    found = losses(records)
    for (row, lengths), colour, symbol in zip(found.items(), COLOURS, SYMBOLS, strict=False):
        mean = [fmean(seeds) for seeds in lengths.values()]
        above = [max(seeds) - fmean(seeds) for seeds in lengths.values()]
        figure.add_scatter(x=list(lengths), y=mean, name=row, mode="lines+markers", line={"color": colour}, marker={"symbol": symbol, "size": 9},
                           error_y={"type": "data", "symmetric": False, "array": above, "arrayminus": [0] * len(mean)})  # fmt: skip
    for value, text in ((floor, "without memory"), (bar, "asked for")):
        if value is not None:
            figure.add_hline(y=value, line={"color": "#888888", "dash": "dash" if value == floor else "dot"}, annotation_text=text,
                             annotation_position="bottom left", annotation={"y": math.log10(value)})  # an annotation's y is a logarithm
    ticks = sorted({length for lengths in found.values() for length in lengths})
    figure.update_xaxes(type="log", title=horizontal, tickvals=ticks, ticktext=[f"{tick:,}" for tick in ticks])
    figure.update_yaxes(type="log", title=vertical, exponentformat="power", dtick=1)
    return _dress(figure, 420)


def before_and_after(panels: Mapping[str, Mapping[str, Measurement]], floor: float = 1e-12) -> "Figure":
    """Gradient norm over distance, a panel for each state of training, the same models in the same colours in all of them.

    Args:
        panels: measurements by the model's name, by the title of the panel.
        floor: lower end of the axis.

    Raises:
        ImportError: plotly is not installed.
    """
    figure = require("plotly.subplots", extra="plots", purpose="a figure").make_subplots(
        rows=1, cols=len(panels), shared_yaxes=True, subplot_titles=list(panels), horizontal_spacing=0.04)  # fmt: skip
    for column, measurements in enumerate(panels.values(), start=1):
        for number, (name, result) in enumerate(measurements.items()):
            distance, norm = curve(result.measured)
            line = {"color": KINDS[number % len(KINDS)], "dash": DASHES[number // len(KINDS) % len(DASHES)], "width": 2.5}
            figure.add_scatter(x=distance, y=norm, name=name, legendgroup=name, showlegend=column == 1, line=line, mode="lines", row=1, col=column)
    figure.update_xaxes(type="log", dtick=1, title="distance T - t (samples)")
    figure.update_yaxes(type="log", exponentformat="power", range=[torch.tensor(floor).log10().item(), 2])
    figure.update_yaxes(title="mean gradient norm", col=1)
    figure.update_layout(template="plotly_white", height=480, margin={"t": 30, "r": 20}, legend={"orientation": "h", "y": -0.2})
    return figure


def dilemma(margin: Tensor, curves: Mapping[str, tuple[Tensor, Tensor]]) -> "Figure":
    """How long a pair keeps its bit (solid) and how far its gradient reaches (dashed) over the margin of the latch condition.

    Args:
        margin: `(points,)`.
        curves: retention and reach in samples, each `(points,)`, by what the pair is; infinite ones are left out.

    Raises:
        ImportError: plotly is not installed.
    """
    figure, drawn = _plotly().Figure(), []
    for (name, pair), colour in zip(curves.items(), COLOURS, strict=False):
        for values, what, dash in zip(pair, ("bit", "gradient"), ("solid", "dash"), strict=True):
            shown = [float(f"{value:.4g}") if value < torch.inf else None for value in values.tolist()]
            drawn += [value for value in shown if value]
            figure.add_scatter(x=[round(value, 5) for value in margin.tolist()], y=shown, name=f"{what}, {name}", mode="lines+markers",
                               line={"color": colour, "dash": dash, "width": 2.5}, marker={"size": 5})  # fmt: skip
    figure.add_vline(x=0, line={"color": "#888888", "dash": "dot"}, annotation_text="onset: from here on<br>the bit stays for ever")
    figure.update_xaxes(title="margin of the latch condition")
    figure.update_yaxes(type="log", title="samples until a thousandth is left", exponentformat="power", dtick=1,
                        range=[math.log10(min(drawn, default=1)) - 0.2, math.log10(max(drawn, default=1)) + 0.7])  # room above the curves for the line's name  # fmt: skip
    return _dress(figure, 440)


def _dress(figure: "Figure", height: int) -> "Figure":
    figure.update_layout(template="plotly_white", height=height, margin={"t": 20, "r": 20}, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    return figure


def _plotly() -> ModuleType:
    return require("plotly.graph_objects", extra="plots", purpose="a figure")
