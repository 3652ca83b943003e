"""Figures of speed: time and memory over the length of sequences, what was asked against what was measured, what the machine's limits leave."""

import math
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from cffbook._optional import require
from cffbook.speed import Comparison, bars, work
from cffbook.speed.bars import HALF, PROPOSAL, Bar
from cffbook.speed.cases import Case

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

GREY, OURS, OTHER, GOOD, SMALL = "#888888", "#D55E00", "#0072B2", "#009E73", "#E69F00"
STYLES = {
    "memory": ("memory layer", OURS, "solid", "circle"), PROPOSAL: ("memory layer, plain, six unfolds", SMALL, "solid", "diamond"),
    HALF: ("memory layer, half as many flip-flops", OURS, "dash", "diamond"),
    "lstm": ("LSTM", GOOD, "solid", "square"), "gru": ("GRU", "#CC79A7", "solid", "triangle-up"),
    "attention": ("attention", OTHER, "solid", "circle"), "attention, bfloat16": ("attention in bfloat16", OTHER, "dot", "circle-open"),
    "linear": ("linear attention", "#56B4E9", "dash", "square"),
    "min_gru": ("minGRU", "#CC79A7", "dot", "diamond"), "state_space": ("diagonal state space", GREY, "dash", "triangle-up"),
    "ncps LTC": ("LTC of ncps", GREY, "solid", "x"),
    "memory, sequential": ("memory layer, its definition's loop", GREY, "dot", "x"),
    f"{PROPOSAL}, sequential": ("memory layer, plain, six unfolds, its definition's loop", GREY, "dot", "cross"),
    "memory, tiles of 16": ("memory layer in tiles of 16", GOOD, "solid", "circle"),
    "memory, tiles of 16, sequential": ("memory layer in tiles of 16, its definition's loop", GREY, "dash", "cross"),
    "memory, basins": ("memory layer, two basins", OTHER, "solid", "diamond"),
    "memory transformer": ("transformer with memory", OURS, "solid", "circle"),
    "attention transformer": ("transformer with attention", OTHER, "solid", "circle"),
}  # fmt: skip
QUANTITIES = {"seconds": ("milliseconds a sequence", 1e3), "memory": ("MiB a sequence", 1 / 2**20)}


def over_time(comparisons: Sequence[Comparison], quantity: str = "seconds", group: str = "time", batch: int | None = None) -> "Figure":
    """Time or memory of a pass over the length of its sequences, one line for each layer; both axes are logarithmic.

    Args:
        comparisons: any; those of the group are drawn, all values for one sequence of the batch.
        quantity: ``seconds`` or ``memory``.
        group: of the cases; they have to agree in all but batch, time, layers and rounds.
        batch: of the cases; None takes all, if there is one for each length.

    Raises:
        ImportError: plotly is not installed.
        ValueError: another quantity, or comparisons that must not stand in one figure.
    """
    if quantity not in QUANTITIES:
        raise ValueError(f"unknown quantity {quantity!r}: choose one of {', '.join(QUANTITIES)}")
    shown = sorted((each for each in comparisons if each.case["group"] == group and batch in (None, each.case["batch"])), key=_length)
    if len({_length(each) for each in shown}) < len(shown):
        raise ValueError(f"one figure would mix comparisons of one length, got several in {group!r}: choose a batch")
    for name in ("d_model", "threads", "backward"):
        if len({each.case[name] for each in shown}) > 1:
            raise ValueError(f"one figure would mix comparisons that differ in {name}: choose those of one value")
    figure, (title, scale) = _plotly().Figure(), QUANTITIES[quantity]
    for layer in dict.fromkeys(layer for each in shown for layer in each.case["layers"]):
        points = {each.case["time"]: point for each in shown if (point := _point(each, layer, quantity)) is not None}
        name, colour, dash, symbol = STYLES.get(layer, (layer, GREY, "solid", "cross"))
        figure.add_scatter(
            x=list(points), y=[float(f"{scale * value:.4g}") for value, _ in points.values()], customdata=[ratio for _, ratio in points.values()],
            name=name, mode="lines+markers", line={"color": colour, "dash": dash, "width": 2.5}, marker={"symbol": symbol, "size": 9},
            hovertemplate=f"{name}, %{{x:,}} samples: %{{y:,.4~g}} {title}, %{{customdata}}<extra></extra>",
        )  # fmt: skip
    times = [_length(each) for each in shown]
    figure.update_xaxes(title="samples of a sequence", type="log", tickvals=times, ticktext=[f"{time:,}" for time in times])
    figure.update_yaxes(title=title, type="log", dtick=1)
    return _dress(figure, bool(shown))


def _length(found: Comparison) -> int:
    return found.case["time"]


def _point(found: Comparison, layer: str, quantity: str) -> tuple[float, str] | None:
    """Value of one sequence, and in words its ratio to the first layer; None where it was not measured or is nothing on a log axis."""
    if layer not in found.case["layers"]:
        return None
    first = found.case["layers"][0]
    if quantity == "seconds":
        return found.median(layer) / found.case["batch"], f"{found.ratio(layer):.3g} times the time of {STYLES.get(first, (first,))[0]}"
    value, ours = found.memory[layer], found.memory[first]
    if not value:
        return None
    return value / found.case["batch"], f"{value / ours:.3g} times the memory of {STYLES.get(first, (first,))[0]}" if ours else ""


def bars_met(comparisons: Sequence[Comparison]) -> "Figure":
    """How far each of `cffbook.speed.bars` is reached: bars of measured over asked, log axis, with a line where what was asked is met.

    What was measured stands in the bar, what was asked beside its name. Whiskers span the rounds of a comparison. Diamonds are
    other memory layers in its place: the proposal's own flip-flops, and half as many.

    Args:
        comparisons: any; a bar without a record stays empty and says so.

    Raises:
        ImportError: plotly is not installed.
    """
    figure, shown = _plotly().Figure(), bars()
    found = [bar.measured(comparisons) for bar in shown]
    reaches = [None if value is None else bar.reach(value) for bar, value in zip(shown, found, strict=True)]
    names, said = [bar.name for bar in shown], [_said(bar, value) for bar, value in zip(shown, found, strict=True)]
    spans = [_span(bar, reach, comparisons) for bar, reach in zip(shown, reaches, strict=True)]
    figure.add_bar(
        x=reaches, y=names, orientation="h", customdata=said, hovertemplate="%{y}<br>%{customdata}<extra></extra>", showlegend=False,
        text=["" if value is None else bar.said(value) for bar, value in zip(shown, found, strict=True)],
        textposition="inside", insidetextanchor="start", textangle=0, constraintext="none", textfont={"size": 11},
        marker={"color": [GOOD if reach is not None and reach >= 1 else OURS for reach in reaches]},
        error_x={"array": [high for _, high in spans], "arrayminus": [low for low, _ in spans], "symmetric": False, "color": GREY, "thickness": 1},
    )  # fmt: skip
    ends = [1.0, *(reach for reach in reaches if reach)]
    for layer, name, symbol in ((PROPOSAL, "plain, six unfolds", "diamond"), (HALF, "half as many flip-flops", "diamond-open")):
        other = [(bar, value) for bar in shown if (value := bar.measured(comparisons, layer)) is not None]
        ends += [bar.reach(value) for bar, value in other]
        figure.add_scatter(
            x=[bar.reach(value) for bar, value in other], y=[bar.name for bar, _ in other], text=[_said(bar, value) for bar, value in other],
            mode="markers", marker={"symbol": symbol, "size": 9, "color": OTHER}, name=name, hovertemplate=f"%{{y}}, {name}<br>%{{text}}<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=1, line={"color": GREY, "width": 2})
    figure.add_annotation(x=0, y=1, yref="paper", text="as asked", showarrow=False, yanchor="bottom")  # x is a logarithm
    # Bars begin far enough on the left for the shortest to have room for its number.
    left, right = min(ends) / 3, max(ends) * 1.3
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if left < tick < right]
    figure.update_xaxes(title="measured, of what was asked", type="log", range=[math.log10(left), math.log10(right)], tickvals=ticks)
    figure.update_yaxes(autorange="reversed", automargin=True, tickvals=names, ticktext=[f"{bar.name} ({bar.asked:g})" for bar in shown])
    _dress(figure, any(value is not None for value in found), 160 + 24 * len(shown))
    return figure.update_layout(legend={"x": 1, "xanchor": "right"}, meta={"width": 640})  # the least beside names that long; a page reads it


def _said(bar: Bar, value: float | None) -> str:
    return f"{bar.said(value)}, asked {bar.asked:g}: {bar.verdict(value)}"


def _span(bar: Bar, reach: float | None, comparisons: Sequence[Comparison]) -> tuple[float, float]:
    """How far the worst and the best round of a ratio of times lie from the median, in reach."""
    if reach is None or bar.quantity != "time":
        return 0.0, 0.0
    ratios = next(each for each in comparisons if each.name == bar.case).ratios(bar.layer)
    return reach - bar.reach(min(ratios)), bar.reach(max(ratios)) - reach


def shares_of_limits(comparisons: Sequence[Comparison]) -> "Figure":
    """What share of a pass on one thread the machine would need for the layer's products and gates at its limits, stacked; the rest is the distance.

    Args:
        comparisons: any; memory layers on one thread are drawn, in so far as the record has the limits.

    Raises:
        ImportError: plotly is not installed.
    """
    figure, rows = _plotly().Figure(), shares(comparisons)
    for part, colour in (("products", OTHER), ("gates", OURS), ("rest", "#767676")):
        values = [round(max(0.0, 100 * share[part]), 1) for share in rows.values()]  # beyond the limits nothing is left
        hover = [f"{value:.1f} %: {part}" + f"; moving every array once takes {100 * share['memory']:.1f} %" * (part == "rest")
                 for value, share in zip(values, rows.values(), strict=True)]  # fmt: skip
        figure.add_bar(x=values, y=list(rows), name=part, orientation="h", marker={"color": colour}, text=[f"{value:.0f} %" if value else "" for value in values],
                       textposition="inside", textfont={"color": "#ffffff"}, hovertext=hover, hoverinfo="text")  # fmt: skip
    longest = max((100 * (share["products"] + share["gates"]) for share in rows.values()), default=100.0)
    figure.update_xaxes(title="share of the measured time (%)", range=[0, max(100.0, 1.02 * longest)])
    figure.add_vline(x=100, line={"color": GREY, "width": 2})
    figure.update_yaxes(autorange="reversed", automargin=True)
    _dress(figure, bool(rows), 160 + 60 * max(1, len(rows)))
    return figure.update_layout(barmode="stack", legend={"traceorder": "normal"})


def shares(comparisons: Sequence[Comparison]) -> dict[str, Mapping[str, float]]:
    """Shares of the measured time by name of layer and pass: products, gates, the rest; and moving memory, which goes on beside them."""
    rows = {}
    for each in comparisons:
        if each.case["threads"] != 1 or "operations_per_second" not in each.limits or each.case["group"] not in ("forward", "threads"):
            continue
        case = Case(**each.case | {"layers": tuple(each.case["layers"])})
        for layer in case.layers:
            least = {part: seconds / each.median(layer) for part, seconds in work(case, layer).seconds(each.limits).items()}
            kind = "forward and backward" if case.backward else "forward"
            rows[f"{STYLES[layer][0]}<br>{kind}"] = least | {"rest": 1 - least["products"] - least["gates"]}
    return rows


def _dress(figure: "Figure", drawn: bool, height: int = 480) -> "Figure":
    if not drawn:
        figure.add_scatter(x=[None], y=[None], showlegend=False)  # a figure without any data would count as one that was lost
        figure.add_annotation(x=0.5, y=0.5, xref="paper", yref="paper", text="no record yet", showarrow=False, font={"size": 18})
    figure.update_layout(template="plotly_white", height=height, margin={"t": 30, "r": 20}, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    return figure


def _plotly() -> ModuleType:
    return require("plotly.graph_objects", extra="plots", purpose="a figure")
