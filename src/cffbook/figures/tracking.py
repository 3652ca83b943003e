"""Figures of what memories track: accuracy over length, the graph of a memory's states, what holds them, what fails without it."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from types import ModuleType
from typing import TYPE_CHECKING

from torch import Tensor

from cffbook._optional import require
from cffbook.results import Record

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#E7298A", "#888888", "#A6761D", "#7570B3")
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

    Every row is drawn a little smaller than the one before it, so that rows with the same accuracy are rings around one another.

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
    for number, (row, lengths) in enumerate(rows.items()):
        wider = len(rows) - 1 - number
        mean = [100 * fmean(scores) for scores in lengths.values()]
        below = [100 * (fmean(scores) - min(scores)) for scores in lengths.values()]
        figure.add_scatter(x=list(lengths), y=mean, name=row, mode="lines+markers", line={"color": COLOURS[number]},
                           marker={"symbol": f"{SYMBOLS[number]}-open", "size": 7 + 2 * wider, "line": {"width": 2}},
                           error_y={"type": "data", "symmetric": False, "array": [0] * len(mean), "arrayminus": below})  # fmt: skip
    if floor is not None:
        place = "bottom right" if floor > 0.1 else "top left"  # below a low one stand the axis's numbers
        figure.add_hline(y=100 * floor, line={"color": "#888888", "dash": "dash"}, annotation_text="guess", annotation_position=place)
    ticks = sorted({length for lengths in rows.values() for length in lengths})
    figure.update_xaxes(type="log", title="samples of a tested sequence", tickvals=ticks, ticktext=[f"{tick:,}" for tick in ticks])
    figure.update_yaxes(title="right answers (%)", range=[0, 108])
    return _dress(figure, 420)


def graph(table: Tensor, states: Sequence[str], inputs: Sequence[str]) -> "Figure":
    """States as discs and an arrow for what each input does to each, in the input's colour; loops are left out.

    If an input leads through all states in rounds of equal length, three or more, as every generator of a group does, the longest such rounds
    are drawn as rings: two of them one inside the other, more of them side by side, each turned so that the arrows to the others are short.
    Otherwise the states lie on one circle, in their order.

    Args:
        table: `(states, inputs)`, the next state; -1 where there is none.
        states: names of the states.
        inputs: names of the inputs.

    Raises:
        ImportError: plotly is not installed.
        ValueError: names do not fit the table.
    """
    if table.shape != (len(states), len(inputs)):
        raise ValueError(f"expected a table ({len(states)}, {len(inputs)}), one row a state and one column an input, got {tuple(table.shape)}")
    figure, rows = _plotly().Figure(), table.tolist()
    places = _places(rows)
    size = min(46.0, 70 * min((math.dist(*two) for two in combinations(places, 2)), default=1.0))  # pixels; about 150 are a radius
    figure.add_scatter(x=[x for x, _ in places], y=[y for _, y in places], mode="markers+text", text=list(states), showlegend=False,
                       marker={"size": size, "color": "#F0E442", "line": {"width": 1.5, "color": "#555555"}}, textfont={"color": "#000000"})  # fmt: skip
    for number, name in enumerate(inputs):
        colour, next_state = COLOURS[number % len(COLOURS)], [row[number] for row in rows]
        moves = [(state, after) for state, after in enumerate(next_state) if after not in (-1, state)]
        figure.add_scatter(x=[None], y=[None], mode="lines", name=name if moves else f"{name}: stays", line={"color": colour, "width": 3})
        for state, after in moves:
            back = next_state[after] == state
            if not back or state < after:
                beside = rows[state].count(after) + rows[after].count(state) > 1 + back
                _arrow(figure, places[state], places[after], colour, size / 2 + 3, both=back, aside=0.05 * beside)
    figure.update_xaxes(visible=False, range=[-1.25, 1.25])
    figure.update_yaxes(visible=False, range=[-1.25, 1.25], scaleanchor="x")
    return _dress(figure, 460).update_layout(margin={"l": 10, "r": 10, "b": 10})


def _rings(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """States in the order in which they are drawn, ring by ring."""
    found = []
    for number in range(len(rows[0])):
        after = [row[number] for row in rows]
        if sorted(after) == list(range(len(rows))):
            rounds, seen = [], set()
            for state in range(len(rows)):
                ring = []
                while state not in seen:
                    seen.add(state)
                    ring.append(state)
                    state = after[state]
                rounds += [ring] if ring else []
            if len(set(map(len, rounds))) == 1 and len(rounds[0]) > 2:
                found.append(rounds)
    return max(found, key=lambda rounds: len(rounds[0]), default=[list(range(len(rows)))])


def _places(rows: Sequence[Sequence[int]]) -> list[tuple[float, float]]:
    """Where each state lies within the unit circle."""
    rings, place = _rings(rows), {}
    spots = [_spots(len(ring), number, len(rings)) for number, ring in enumerate(rings)]
    for _ in range(1 if len(rings) < 3 else 4):  # again, when those that came later have their places
        for ring, around in zip(rings, spots, strict=True):
            ways = [dict(zip(ring, way[k:] + way[:k], strict=True)) for way in (around, around[::-1]) for k in range(len(ring))]
            others = {state: spot for state, spot in place.items() if state not in ring}
            place |= min(ways, key=lambda way: _length(rows, others, way))  # noqa: B023
    return [place[state] for state in range(len(rows))]


def _spots(states: int, number: int, rings: int) -> list[tuple[float, float]]:
    """The places of a ring: around the middle if there are one or two, else around a point beside it, the first towards the middle."""
    turn, half = 2 * math.pi * number / rings, math.sin(math.pi / rings)
    radius, first = ((1.0, 0.4)[number], 0.0) if rings < 3 else (0.85 * half / (1 + half), turn + math.pi)
    x, y = (0.0, 0.0) if rings < 3 else ((1 - radius) * math.sin(turn), (1 - radius) * math.cos(turn))
    return [(x + radius * math.sin(first + 2 * math.pi * k / states), y + radius * math.cos(first + 2 * math.pi * k / states)) for k in range(states)]


def _length(rows: Sequence[Sequence[int]], place: Mapping[int, tuple[float, float]], way: Mapping[int, tuple[float, float]]) -> float:
    """Of all arrows between the states of a ring and those that have their place."""
    arrows = [(state, after) for state, row in enumerate(rows) for after in row]
    return sum(math.dist(place[one], way[other]) for state, after in arrows for one, other in ((state, after), (after, state)) if one in place and other in way)


def _arrow(figure: "Figure", start: tuple[float, float], end: tuple[float, float], colour: str, gap: float, both: bool, aside: float) -> None:
    """An arrow that ends `gap` pixels before its nodes' centres, `aside` of their line, so that others between them do not cover it."""
    along = (end[0] - start[0], end[1] - start[1])
    shift = (-aside * along[1] / math.hypot(*along), aside * along[0] / math.hypot(*along))
    figure.add_annotation(x=end[0] + shift[0], y=end[1] + shift[1], ax=start[0] + shift[0], ay=start[1] + shift[1], xref="x", yref="y", axref="x", ayref="y",
                          text="", showarrow=True, arrowhead=2, arrowsize=1.2, arrowwidth=2, arrowcolor=colour, standoff=gap, startstandoff=gap,
                          startarrowhead=2, startarrowsize=1.2, arrowside="end+start" if both else "end")  # fmt: skip


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
