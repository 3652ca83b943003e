"""Figures of what memories track: accuracy over length, the graph of a memory's states, what holds them, what fails without it."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from types import ModuleType
from typing import TYPE_CHECKING

from torch import Tensor

from cffbook._optional import require
from cffbook.results import Record

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#888888", "#A6761D", "#7570B3")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "triangle-down", "pentagon", "hexagon")
TRAINED = "test"


def by_length(records: Sequence[Record]) -> dict[str, dict[int, list[float]]]:
    """Accuracies of every row at every tested length, one for each seed; splits of other distributions are left out."""
    found: dict[str, dict[int, list[float]]] = {}
    for record in records:
        lengths = found.setdefault(record.settings["row"], {})
        for name, score in record.tests.items():
            if name == TRAINED or name.startswith("length "):
                length = record.settings["task_options"]["length"] if name == TRAINED else int(name.split()[1])
                lengths.setdefault(length, []).append(score["score"])
    return {row: dict(sorted(lengths.items())) for row, lengths in found.items()}


def generalisation(records: Sequence[Record], floor: float | None = None) -> "Figure":
    """Accuracy in percent over the length of the tested sequences, mean of the seeds with the worst as a bar below it.

    Args:
        records: of one task.
        floor: accuracy of a guess, drawn as a line.

    Raises:
        ImportError: plotly is not installed.
        ValueError: records of several tasks, or more rows than can be told apart.
    """
    tasks, rows = {record.task["name"] for record in records}, by_length(records)
    if len(tasks) > 1 or len(rows) > len(COLOURS):
        raise ValueError(f"expected records of one task and at most {len(COLOURS)} rows, got {sorted(tasks)} and {len(rows)} rows: draw them apart")
    figure = _plotly().Figure()
    for (row, lengths), colour, symbol in zip(rows.items(), COLOURS, SYMBOLS, strict=False):
        mean = [100 * fmean(scores) for scores in lengths.values()]
        below = [100 * (fmean(scores) - min(scores)) for scores in lengths.values()]
        figure.add_scatter(x=list(lengths), y=mean, name=row, mode="lines+markers", line={"color": colour}, marker={"symbol": symbol, "size": 9},
                           error_y={"type": "data", "symmetric": False, "array": [0] * len(mean), "arrayminus": below})  # fmt: skip
    if floor is not None:
        figure.add_hline(y=100 * floor, line={"color": "#888888", "dash": "dash"}, annotation_text="guess")
    figure.update_xaxes(type="log", title="samples of a tested sequence")
    figure.update_yaxes(title="right answers (%)", range=[0, 104])
    return _dress(figure, 420)


def graph(table: Tensor, states: Sequence[str], inputs: Sequence[str]) -> "Figure":
    """States on a circle and an arrow for what each input does to each, in the input's colour; loops are left out.

    Args:
        table: `(states, inputs)`, the next state; -1 where there is none.
        states: names of the states, in the order around the circle.
        inputs: names of the inputs.

    Raises:
        ImportError: plotly is not installed.
        ValueError: names do not fit the table.
    """
    if table.shape != (len(states), len(inputs)):
        raise ValueError(f"expected a table ({len(states)}, {len(inputs)}), one row a state and one column an input, got {tuple(table.shape)}")
    count, figure = len(states), _plotly().Figure()
    places = [(math.sin(2 * math.pi * k / count), math.cos(2 * math.pi * k / count)) for k in range(count)]
    figure.add_scatter(x=[x for x, _ in places], y=[y for _, y in places], mode="markers+text", text=list(states), showlegend=False,
                       marker={"size": 46, "color": "#F0E442", "line": {"width": 1.5, "color": "#555555"}}, textfont={"color": "#000000"})  # fmt: skip
    for number, name in enumerate(inputs):
        colour = COLOURS[number % len(COLOURS)]
        figure.add_scatter(x=[None], y=[None], mode="lines", name=name, line={"color": colour, "width": 3})
        for state, after in enumerate(table[:, number].tolist()):
            if after >= 0 and after != state:
                _arrow(figure, places[state], places[after], colour)
    figure.update_xaxes(visible=False, range=[-1.35, 1.35])
    figure.update_yaxes(visible=False, range=[-1.35, 1.35], scaleanchor="x")
    return _dress(figure, 460)


def _arrow(figure: "Figure", start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """An arrow between two nodes, a little to the left of their line, so that its return does not cover it."""
    along = (end[0] - start[0], end[1] - start[1])
    length = math.hypot(*along)
    unit = (along[0] / length, along[1] / length)
    aside = (-0.05 * unit[1], 0.05 * unit[0])
    (x, y), (ax, ay) = (tuple(point[i] + aside[i] + sign * 0.2 * unit[i] for i in range(2)) for point, sign in ((end, -1), (start, 1)))
    figure.add_annotation(x=x, y=y, ax=ax, ay=ay, xref="x", yref="y", axref="x", ayref="y", text="", showarrow=True, arrowhead=2,
                          arrowsize=1.2, arrowwidth=2, arrowcolor=colour)  # fmt: skip


def heat(values: Tensor, rows: Sequence[str], columns: Sequence[str], what: str, across: str, down: str, middle: float | None = None) -> "Figure":
    """A matrix `(rows, columns)` as colours: what each CFF holds in each state, or what is left without each of them.

    Args:
        values: the matrix.
        rows, columns: their names.
        what: name of the values.
        across, down: titles of the axes.
        middle: value of the neutral colour, with other colours on either side; None for one range of colours.

    Raises:
        ImportError: plotly is not installed.
        ValueError: names do not fit the matrix.
    """
    if values.shape != (len(rows), len(columns)):
        raise ValueError(f"expected values ({len(rows)}, {len(columns)}), one for each pair of names, got {tuple(values.shape)}")
    scale = {"colorscale": "Viridis"} if middle is None else {"colorscale": "RdBu", "zmid": middle}
    figure = _plotly().Figure()
    figure.add_heatmap(z=[[round(value, 4) for value in line] for line in values.tolist()], x=list(columns), y=list(rows), colorbar={"title": what}, **scale)
    figure.update_xaxes(title=across, type="category")
    figure.update_yaxes(title=down, type="category", autorange="reversed")
    return _dress(figure, 160 + 24 * len(rows))


def _dress(figure: "Figure", height: int) -> "Figure":
    figure.update_layout(template="plotly_white", height=height, margin={"t": 20, "r": 20}, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    return figure


def _plotly() -> ModuleType:
    return require("plotly.graph_objects", extra="plots", purpose="a figure")
