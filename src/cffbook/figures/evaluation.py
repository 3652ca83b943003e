"""Figures of the evaluation: scores against parameters beside the floors, learning curves, published scores, the aim."""

import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cffbook._optional import require
from cffbook.figures.comparison import FAMILIES, TASKS, Comparison, best_of, by_row, comparable, compare, data_name, front, standard_error
from cffbook.results import Record
from cffbook.training.checks import check_known

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["FAMILIES", "TASKS", "Comparison", "aim", "best_of", "by_row", "comparable", "compare", "curves", "data_name", "front",
           "published", "published_scores", "scores", "standard_error", "style"]

GREY = "#888888"
STYLES = {
    "memory": ("#D55E00", "circle"), "memory_small": ("#E69F00", "circle"), "memory_both": ("#D55E00", "square"),
    "memory_plain": ("#D55E00", "diamond"), "memory_tiles": ("#D55E00", "triangle-up"), "attention": ("#0072B2", "circle"),
    "lstm": ("#009E73", "circle"), "gru": ("#9467BD", "circle"), "min_gru": ("#8C564B", "circle"), "state_space": ("#CC79A7", "diamond"),
    "linear": ("#56B4E9", "circle"), "performer": ("#56B4E9", "square"), "linformer": ("#56B4E9", "diamond"), "nystrom": ("#56B4E9", "triangle-up"),
    "local": ("#0072B2", "square"), "sparse": ("#0072B2", "diamond"), "longformer": ("#0072B2", "triangle-up"), "bigbird": ("#0072B2", "triangle-down"),
    "synthesizer_random": ("#0072B2", "x"), "synthesizer_factorised": ("#56B4E9", "x"),
}  # fmt: skip
ACROSS = 3  # panels beside each other
SYMBOLS = ("square", "diamond", "triangle-up", "star", "cross", "x", "triangle-down", "pentagon", "hexagon", "hourglass", "bowtie",
           "star-triangle-up", "star-square", "diamond-tall")  # fmt: skip


def published() -> dict[str, Any]:
    """What others published for ListOps and Image, with sources and marks, and what is known to be wrong with it."""
    return json.loads((resources.files("cffbook") / "data" / "published.json").read_text(encoding="utf-8"))


def scores(groups: Mapping[str, Sequence[Record]]) -> "Figure":
    """Test accuracy against the number of parameters, one panel for each group, with its Pareto front and the floors of its data.

    Bars are two standard errors of the test split. The accuracy axis reaches from the lowest floor to the lowest one above the best score.

    Args:
        groups: as from `comparable`; none gives an empty figure that says so.

    Raises:
        ImportError: plotly is not installed.
    """
    figure = _panels(groups)
    for place, group in zip(_places(groups), groups.values(), strict=True):
        best = front(group)
        figure.add_scatter(x=[size for size, _ in best.values()], y=[round(100 * score, 2) for _, score in best.values()], name="Pareto front",
                           legendgroup="front", mode="lines", line={"color": GREY, "width": 1.5, "shape": "hv"}, hoverinfo="skip", **place)
        for record in _memory_last(group):
            colour, symbol = style(record.settings["row"])
            figure.add_scatter(
                x=[record.parameters["total"]], y=[round(100 * record.test_score, 2)], name=record.settings["row"], mode="markers",
                legendgroup=record.settings["row"], marker={"size": 13, "color": colour, "symbol": symbol},
                error_y={"array": [round(200 * standard_error(record), 2)], "color": colour}, **place,
                hovertemplate=f"{record.settings['row']}, seed {record.seed}<br>%{{y:.1f}} %, %{{x:,}} parameters<extra></extra>",
            )  # fmt: skip
        _floors(figure, group, place, [record.test_score + side * standard_error(record) for record in group for side in (-2, 2)])
    _legend_once(figure)
    largest = max((record.parameters["total"] for group in groups.values() for record in group), default=1)
    figure.update_xaxes(title="parameters", type="log", range=[4, max(6.4, math.log10(largest) + 0.6)], dtick=1)  # room for the floors' names
    figure.update_yaxes(title="test accuracy (%)", col=1)
    return figure


def curves(groups: Mapping[str, Sequence[Record]], over: str = "updates") -> "Figure":
    """Validation accuracy over updates or time, one panel for each group, one line for each record, with the floors of its data.

    Args:
        groups: as from `comparable`.
        over: ``updates``, or ``processor seconds`` of training and evaluation, on a logarithmic axis and for records that have them.

    Raises:
        ImportError: plotly is not installed.
        ValueError: another axis.
    """
    check_known("axis", over, ("updates", "processor seconds"))
    figure, timed = _panels(groups), over != "updates"
    for place, group in zip(_places(groups), groups.values(), strict=True):
        for record in _memory_last(group):
            if timed and record.processor_seconds is None:
                continue
            row, scale = record.settings["row"], record.processor_seconds / record.steps if timed else 1
            figure.add_scatter(
                x=[scale * look.step for look in record.evaluations], y=[round(100 * look.valid_score, 2) for look in record.evaluations],
                name=row, legendgroup=row, line={"color": style(row)[0], "width": 2}, mode="lines+markers",
                marker={"symbol": style(row)[1]}, **place,
            )  # fmt: skip
        _floors(figure, group, place, [look.valid_score for record in group for look in record.evaluations])
        if not timed:
            figure.update_xaxes(range=[0, 1.6 * max(record.steps for record in group)], **place)  # room for the floors' names
    _legend_once(figure)
    figure.update_xaxes(title=over, **({"type": "log", "range": [0.5, 3.5], "dtick": 1} if timed else {}))
    figure.update_yaxes(title="validation accuracy (%)", col=1)
    return figure


def published_scores(groups: Sequence[Mapping[str, Any]], task: str, floors: Mapping[str, float]) -> "Figure":
    """Published accuracies on one task as dots, one line for each protocol, with floors of data of the same distribution.

    Args:
        groups: as in `published`.
        task: ``listops`` or ``image``.
        floors: accuracies of trivial predictors by name.

    Raises:
        ImportError: plotly is not installed.
        ValueError: another task.
    """
    columns = {"listops": 1, "image": 2}
    if task not in columns:
        raise ValueError(f"expected a task with published scores, one of {', '.join(columns)}; got {task!r}")
    figure = _plotly().Figure()
    for number, group in enumerate(groups):
        names = [f"{row[0]} {row[3]}".strip() for row in group["rows"]]
        figure.add_scatter(
            x=[row[columns[task]] for row in group["rows"]], y=[group["name"]] * len(names), text=names, mode="markers",
            marker={"size": 10, "color": GREY, "symbol": SYMBOLS[number % len(SYMBOLS)], "opacity": 0.8}, showlegend=False,
            hovertemplate="%{text}: %{x:.1f} %<extra></extra>",
        )  # fmt: skip
    for name, floor in floors.items():
        figure.add_vline(x=100 * floor, line={"color": "#D55E00", "dash": "dot", "width": 1.5}, annotation_text=name.replace("_", " "),
                         annotation={"textangle": -60, "yanchor": "bottom", "xanchor": "left"}, annotation_position="top")  # fmt: skip
    figure.update_layout(template="plotly_white", height=400, margin={"t": 100, "r": 30, "b": 50},
                         meta={"width": 520})  # the least in which the floors' names stand apart; a page reads it  # fmt: skip
    figure.update_xaxes(title="published accuracy (%)", range=[0, 100])
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def aim(groups: Mapping[str, Sequence[Record]], reference: str = "attention") -> "Figure":
    """Accuracy and parameters of rows relative to a reference row, but for those of its family; the proposal's aim is the upper left quarter.

    Args:
        groups: as from `comparable`; a group without the reference has no points.
        reference: the row that the others are compared with.

    Raises:
        ImportError: plotly is not installed.
        ValueError: more groups than symbols to tell them apart.
    """
    if len(groups) > len(SYMBOLS):
        raise ValueError(f"expected at most {len(SYMBOLS)} groups, a symbol for each, got {len(groups)}: draw some of them apart")
    figure = _plotly().Figure()
    relatives = next((family for family in FAMILIES.values() if reference in family), (reference,))
    ratios, gains = [1.0], [0.0]
    for number, (name, group) in enumerate(groups.items()):
        rows = by_row(group)
        for row in rows if reference in rows else ():
            if row in relatives:
                continue
            ratio, gain, error = compare(rows[row], rows[reference])
            colour, symbol = style(row)[0], SYMBOLS[number]
            figure.add_scatter(
                x=[round(ratio, 3)], y=[round(gain, 2)], error_y={"array": [round(error, 2)], "color": colour}, mode="markers",
                name=row, legendgroup=row, showlegend=False, marker={"size": 13, "color": colour, "symbol": symbol},
                hovertemplate=f"{row}, {name}<br>%{{x:.2f}} times the parameters, %{{y:+.1f}} points<extra></extra>",
            )  # fmt: skip
            ratios, gains = [*ratios, ratio], [*gains, gain - error, gain + error]
    left, right = min(0.25, *ratios) / 1.3, max(2.0, *ratios) * 1.3
    low, high = min(-5.0, *gains) - 1, max(5.0, *gains) + 1
    figure.add_shape(type="rect", x0=left, x1=1, y0=0, y1=high, fillcolor="#009E73", opacity=0.12, line_width=0, layer="below")
    for x, y, text in ((left, high, "the aim: fewer parameters, more accurate"), (left, low, "fewer parameters, less accurate")):
        figure.add_annotation(x=math.log10(x), y=y, text=text, showarrow=False, xanchor="left", yanchor="top" if y == high else "bottom")
    if len(gains) == 1:
        figure.add_annotation(x=0, y=0, text="no record to compare yet", showarrow=False)
    figure.add_hline(y=0, line={"color": GREY, "width": 1.5})
    figure.add_vline(x=1, line={"color": GREY, "width": 1.5})
    _key(figure, groups)
    figure.update_layout(template="plotly_white", height=560, margin={"t": 20, "r": 20}, legend={"orientation": "h", "y": -0.2})
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10) if left < tick < right]
    figure.update_xaxes(title=f"parameters, of {reference}'s", type="log", range=[math.log10(left), math.log10(right)], tickvals=ticks)
    figure.update_yaxes(title=f"points above {reference}", range=[low, high], zeroline=False)
    return figure


def _key(figure: "Figure", groups: Mapping[str, Sequence[Record]]) -> None:
    """What the colours of the points say, and what their symbols: an entry for each row, and one for each kind of data."""
    for row in dict.fromkeys(trace.name for trace in figure.data):
        figure.add_scatter(x=[None], y=[None], mode="markers", name=row, legendgroup=row, marker={"size": 11, "color": style(row)[0]})
    for number, name in enumerate(groups if len(figure.data) else ()):
        figure.add_scatter(x=[None], y=[None], mode="markers", name=name, marker={"size": 11, "color": GREY, "symbol": f"{SYMBOLS[number]}-open"})


def style(row: str) -> tuple[str, str]:
    """Colour and symbol of a table row."""
    return STYLES.get(row, (GREY, "cross"))


def _places(groups: Mapping[str, Sequence[Record]]) -> list[dict[str, int]]:
    """Row and column of each group's panel."""
    return [{"row": 1 + number // ACROSS, "col": 1 + number % ACROSS} for number in range(len(groups))]


def _titled(name: str) -> str:
    """A group's name in two lines, task and tier above: panels are narrow."""
    data, comma, tier = name.partition(", tier ")
    task, _, more = data.partition(", ")
    return f"{task}{comma}{tier}" + (f"<br>{more}" if more else "")


def _panels(groups: Mapping[str, Sequence[Record]]) -> "Figure":
    subplots = require("plotly.subplots", extra="plots", purpose="a figure")
    columns, rows = max(1, min(len(groups), ACROSS)), max(1, -(-len(groups) // ACROSS))
    figure = subplots.make_subplots(rows=rows, cols=columns, subplot_titles=[_titled(name) for name in groups] or None,
                                    horizontal_spacing=0.25 / (columns + 1), vertical_spacing=0.34 / rows)
    if not groups:
        figure.add_annotation(x=0.5, y=0.5, xref="paper", yref="paper", text="no record yet", showarrow=False, font={"size": 18})
    figure.update_layout(template="plotly_white", height=120 + 330 * rows, margin={"t": 50, "r": 10, "l": 50},
                         legend={"orientation": "h", "y": -0.22 / rows})
    figure.update_annotations(font={"size": 13})
    return figure


def _floors(figure: "Figure", group: Sequence[Record], place: Mapping[str, int], shown: Sequence[float]) -> None:
    """Floors as lines, and an axis from a little below all that is shown to a little above it or the next floor above it."""
    floors, best = group[0].task["floors"], max(shown)
    above = [floor for floor in floors.values() if floor > best]
    top = min(100.0, 100 * max(best, min(above, default=0.0)) + 6)
    for name, floor in floors.items():
        if 100 * floor <= top:
            figure.add_hline(y=100 * floor, line={"color": GREY, "dash": "dot", "width": 1.5}, **place,
                             annotation_text=name.replace("_", " "), annotation={"font": {"size": 11}},
                             annotation_position="top right")  # fmt: skip
    figure.update_yaxes(range=[max(0.0, 100 * min(*shown, *floors.values()) - 6), top], **place)


def _memory_last(group: Sequence[Record]) -> list[Record]:
    """Records in the order in which they are drawn, the memory's on top of the others."""
    return sorted(group, key=lambda record: _of_memory(record.settings["row"]))


def _of_memory(row: str) -> bool:
    return row.startswith("memory")


def _legend_once(figure: "Figure") -> None:
    """One entry for each row, the memory's first."""
    seen: set[str] = set()
    for trace in figure.data:
        trace.update(showlegend=trace.name not in seen, legendrank=1 if _of_memory(trace.name) else 2)
        seen.add(trace.name)


def _plotly() -> ModuleType:
    return require("plotly.graph_objects", extra="plots", purpose="a figure")
