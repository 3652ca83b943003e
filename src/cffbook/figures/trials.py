"""The search for how a memory learns: trials that differ in one setting alone, what that did to the loss, and all trials in tables."""

import itertools
import json
from collections.abc import Sequence
from statistics import fmean
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from cffbook._optional import require
from cffbook.figures.comparison import data_name
from cffbook.results import DASH, Record, Table, flatten

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = {"ListOps": "#D55E00", "Text": "#009E73", "AAN-rebuilt": "#CC79A7", "Image": "#0072B2", "Pathfinder": "#8C564B"}
GREY = "#888888"
SEED = "seed alone"


class Step(NamedTuple):
    """Two runs on the same data that differ in one setting alone, and its value in both."""

    setting: str
    before: Any
    after: Any
    one: Record
    other: Record

    @property
    def difference(self) -> float:
        """Validation loss at the end, of the other run minus that of the first."""
        return end(self.other) - end(self.one)


def end(record: Record) -> float:
    """Validation loss at the end of a run."""
    return record.evaluations[-1].valid_loss


def loss(records: Sequence[Record]) -> float:
    """Mean validation loss at the end of some runs; not a number where there is none."""
    return fmean(map(end, records)) if records else float("nan")


def where(records: Sequence[Record], **settings: Any) -> list[Record]:
    """The records whose settings, named as by `results.flatten`, have these values; of a list each value will do.

    ``data_seed`` is the seed that the data were drawn from, ``seed`` that of the run.
    """
    allowed = {name: value if isinstance(value, list) else [value] for name, value in settings.items()}
    told = ((record, flatten(record.settings)) for record in records)
    known = ((record, {"data_seed": found.get("task_options.seed", 0), **found}) for record, found in told)
    return [record for record, found in known if all(found.get(name) in values for name, values in allowed.items())]


def steps(records: Sequence[Record]) -> list[Step]:
    """All pairs of records on the same data that differ in one setting alone, mixers apart, or in the seed alone.

    A step leads from the smaller value to the larger one, from False to True, from no value to one, and else along the alphabet.
    """
    told = [_told(record) for record in records]
    found = []
    for (one, first), (other, second) in itertools.combinations(zip(records, told, strict=True), 2):
        names = [name for name in first.keys() | second.keys() if first.get(name) != second.get(name)] if one.task == other.task else []
        if len(names) == 1 and names != ["mixer"]:
            sides = sorted(((first.get(names[0]), one), (second.get(names[0]), other)), key=lambda side: _rank(side[0]))
            found.append(Step(SEED if names == ["seed"] else names[0], sides[0][0], sides[1][0], sides[0][1], sides[1][1]))
    return found


def series(records: Sequence[Record], setting: str) -> list[dict[Any, Record]]:
    """Runs that are alike in all but one setting, by its value, ascending; those with one value alone are left out."""
    groups: dict[str, dict[Any, Record]] = {}
    for record in records:
        told = _told(record)
        value = told.pop(setting, None)
        groups.setdefault(json.dumps([told, record.task], sort_keys=True, default=str), {})[value] = record
    return [dict(sorted(group.items(), key=lambda item: _rank(item[0]))) for group in groups.values() if len(group) > 1]


def effects(records: Sequence[Record], least: int = 2) -> "Figure":
    """What a step in one setting did to the loss: a line for each setting, a dot for each pair of runs, the seed's line at the top.

    Left of zero the larger value has learned more. Filled dots are of memory rows, open ones of others.

    Args:
        records: any runs; all pairs of them that differ in one setting alone are drawn.
        least: settings with fewer pairs are left out.

    Raises:
        ImportError: plotly is not installed.
    """
    found = steps(records)
    figure = _figure(found, "no pair of runs yet")
    groups: dict[str, list[Step]] = {}
    for step in found:
        groups.setdefault(step.setting, []).append(step)
    shown = sorted((name for name, some in groups.items() if len(some) >= least), key=lambda name: (name == SEED, len(groups[name]), name))
    for step in (step for name in shown for step in groups[name]):
        told = f"{data_name(step.one.task)}, {step.one.settings['row']}, {step.one.steps:,} updates<br>{step.setting}: {step.before} to {step.after}"
        symbol = "circle" if step.one.settings["mixer"] == "memory" else "circle-open"
        figure.add_scatter(x=[round(step.difference, 3)], y=[step.setting], mode="markers", **_of_task(step.one),
                           marker={"size": 9, "color": COLOURS.get(_task(step.one), GREY), "opacity": 0.8, "symbol": symbol},
                           hovertemplate=f"{told}<br>loss %{{x:+.3f}}<extra></extra>")  # fmt: skip
    figure.add_vline(x=0, line={"color": GREY, "width": 1.5})
    figure.update_layout(height=150 + 32 * max(4, len(shown)))
    figure.update_xaxes(title="loss with the larger value, minus that with the smaller one", zeroline=False)
    figure.update_yaxes(automargin=True, categoryorder="array", categoryarray=shown)
    return _keyed(figure)


def loss_over_setting(records: Sequence[Record], setting: str, title: str) -> "Figure":
    """Loss over the values of one setting, on a logarithmic axis: a line for each `series`, from its smallest value, whose loss counts as zero.

    Args:
        records: any runs.
        setting: with numbers as values.
        title: of the axis.

    Raises:
        ImportError: plotly is not installed.
    """
    found = series(records, setting)
    figure = _figure(found, "no two runs alike yet")
    for group in found:
        first = next(iter(group.values()))
        told = f"{data_name(first.task)}, {first.settings['row']}, {first.steps:,} updates"
        figure.add_scatter(x=list(group), y=[round(end(record) - end(first), 3) for record in group.values()], mode="lines+markers", **_of_task(first),
                           line={"color": COLOURS.get(_task(first), GREY), "width": 1.5}, marker={"size": 8},
                           hovertemplate=f"{told}<br>{setting} %{{x:,}}: loss %{{y:+.3f}}<extra></extra>")  # fmt: skip
    figure.update_layout(height=420)
    figure.update_xaxes(title=title, type="log", dtick=1)
    figure.update_yaxes(title="loss, minus the first", automargin=True)
    return _keyed(figure)


def pairs(found: Sequence[Step]) -> Table:
    """Steps as a table, by setting and task: a line for each pair of runs, with its losses."""
    ordered = sorted(found, key=lambda step: (step.setting, _task(step.one)))
    lines = [(_task(step.one), f"`{step.one.settings['row']}`", f"{step.one.steps:,}", f"`{step.setting}` {step.before} to {step.after}",
              f"{end(step.one):.3f}", f"{end(step.other):.3f}", f"{step.difference:+.3f}") for step in ordered]  # fmt: skip
    return Table(("data", "row", "updates", "what changes", "loss before", "after", "difference"), tuple(lines))


def tables(trials: Sequence[Record], tabled: Sequence[Record] = ()) -> dict[str, Table]:
    """All trials, in a table for each kind of data, row, width and number of updates; each line says in what it differs from the first.

    Args:
        trials: in the order in which they were run.
        tabled: records of the evaluation; one of the same row, seed, data and updates is the first line of a table.
    """
    groups: dict[tuple, list[Record]] = {}
    for record in trials:
        drawn, row = record.settings["task_options"].get("seed", 0), record.settings["row"].removesuffix("_both")
        groups.setdefault((data_name(record.task), drawn, row, record.settings["body"]["d_model"], record.steps), []).append(record)
    found = {}
    for (name, drawn, row, width, updates), group in groups.items():
        alike = [(record.task, record.settings["row"], record.seed, record.steps) for record in group[:1]]
        known = [record for record in tabled if (record.task, record.settings["row"], record.seed, record.steps) in alike][:1]
        lines = [_line(record, (known + group)[0]) for record in known + group]
        lines[0] = ("as in the tables" if known else "first of its kind", *lines[0][1:-1], DASH)
        title = f"{name}{f', drawn from seed {drawn}' * (drawn > 0)}: `{row}` of width {width}, {updates:,} updates"
        found[title] = Table(("what differs", "validation (%)", "loss", "difference"), tuple(lines))
    return found


def _told(record: Record) -> dict[str, Any]:
    return {name: value for name, value in flatten(record.settings).items() if name != "row"}


def _line(record: Record, first: Record) -> tuple[str, ...]:
    one, other = flatten(record.settings), flatten(first.settings)
    what = ", ".join(f"{name} {value}" for name, value in one.items() if value != other.get(name)) or "nothing"
    return what, f"{100 * record.evaluations[-1].valid_score:.1f}", f"{end(record):.3f}", f"{end(record) - end(first):+.3f}"


def _rank(value: Any) -> tuple:
    return (value is not None, isinstance(value, str), 0 if value is None else value)


def _task(record: Record) -> str:
    return data_name(record.task).split(",")[0].split("-32")[0]


def _of_task(record: Record) -> dict[str, Any]:
    return {"name": _task(record), "legendgroup": _task(record), "showlegend": False}


def _figure(found: Sequence, otherwise: str) -> "Figure":
    plotly: ModuleType = require("plotly.graph_objects", extra="plots", purpose="a figure")
    figure = plotly.Figure()
    if not found:
        figure.add_annotation(x=0.5, y=0.5, xref="paper", yref="paper", text=otherwise, showarrow=False, font={"size": 18})
    figure.update_layout(template="plotly_white", margin={"t": 20, "r": 20, "b": 50})
    return figure


def _keyed(figure: "Figure") -> "Figure":
    """A legend entry for each task in the figure."""
    for task in dict.fromkeys(trace.name for trace in figure.data):
        figure.add_scatter(x=[None], y=[None], mode="markers", name=task, legendgroup=task, marker={"size": 10, "color": COLOURS.get(task, GREY)})
    figure.update_layout(legend={"orientation": "h", "y": -80 / figure.layout.height, "yanchor": "top"})
    return figure
