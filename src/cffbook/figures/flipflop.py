"""Figures of one continuous flip-flop: its circuit, its phase plane, its basins, and what it does over time."""

from collections.abc import Mapping, Sequence
from math import cos, pi, sin
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cffbook._optional import require
from cffbook.analysis import fixed_points, hull, nullclines, run, select
from cffbook.flipflop import FlipFlopCircuit, PairSynapses, Steering

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

A, B, NEUTRAL = "#0072B2", "#D55E00", "#888888"
EXCITATORY, INHIBITORY = "#009E73", "#CC3311"
SHADE = 0.15  # opacity of a basin: the curves that cross it stand out from it on white and on black


def circuit(self_polarity: int = -1, steered: bool = False) -> "Figure":
    """The circuit of a CFF: two neurons, their lines, leaks and synapses; an inhibitory synapse ends in a dot, the others in an arrow.

    Args:
        self_polarity: -1, 0 or +1.
        steered: draw the second gate of the sensory synapses.

    Raises:
        ImportError: plotly is not installed.
    """
    plotly = _plotly()
    figure = plotly.Figure()
    _wire(figure, [(0.45, 0.28), (1.2, 0.48), (1.95, 0.28)], False, "a inhibits b")
    _wire(figure, [(1.95, -0.28), (1.2, -0.48), (0.45, -0.28)], False, "b inhibits a")
    if self_polarity:
        for x, name in ((0.0, "a"), (2.4, "b")):
            loop = [(x + 0.42 * sin(turn), 0.9 - 0.42 * cos(turn)) for turn in (0.5 + k * (2 * pi - 1.0) / 24 for k in range(25))]
            _wire(figure, loop, self_polarity > 0, f"self synapse of {name}")
    for x, side in ((0.0, -1), (2.4, 1)):
        _wire(figure, [(x + 1.5 * side, 0.0), (x + 0.55 * side, 0.0)], True, "sensory synapse")
        _wire(figure, [(x, -1.25), (x, -0.55)], True, "leak towards E_leak", NEUTRAL)
        if steered:
            figure.add_scatter(x=[2.4 - x, 1.2 + side, x + side], y=[-0.4, -0.95, -0.1], mode="lines", line={"color": NEUTRAL, "dash": "dot", "shape": "spline"},
                               hoverinfo="skip", showlegend=False)  # fmt: skip
    figure.add_scatter(x=[0, 2.4], y=[0, 0], mode="markers", marker={"size": 62, "color": [A, B]}, hovertext=["neuron a: the output", "neuron b"],
                       hoverinfo="text", showlegend=False)  # fmt: skip
    _wire(figure, [(-0.4, -0.36), (-1.1, -0.95)], True, "the output", A)
    for x, y, text, anchor in ((-1.55, 0, "u<sub>a</sub> (set)", "right"), (3.95, 0, "u<sub>b</sub> (reset)", "left"),
                               (-1.0, -1.12, "output v<sub>a</sub>", "right"),
                               (0, -1.4, "leak", "center"), (2.4, -1.4, "leak", "center"),
                               (1.2, 0.62, "reciprocal", "center"), (1.2, -0.64, "reciprocal", "center")):  # fmt: skip
        figure.add_annotation(x=x, y=y, text=text, showarrow=False, xanchor=anchor)
    for x, y, text in ((0, 0, "a"), (2.4, 0, "b")):
        figure.add_annotation(x=x, y=y, text=f"<b>{text}</b>", showarrow=False, font={"color": "white", "size": 18})
    if self_polarity:
        figure.add_annotation(x=1.2, y=1.1, text="← self →", showarrow=False)
    figure.update_layout(template="plotly_white", height=330, margin={"t": 10, "r": 10, "b": 10, "l": 10},
                         meta={"width": 560})  # the least in which the names fit beside the lines; a page reads it
    figure.update_xaxes(visible=False, range=[-2.6, 5.0])
    figure.update_yaxes(visible=False, range=[-1.55, 1.4], scaleanchor="x")
    return figure


def phase_plane(steps: Mapping[str, tuple[FlipFlopCircuit, Tensor | float]], slider: str, start: int = 0, samples: int = 40) -> "Figure":
    """Nullclines, fixed points and four trajectories in the plane (v_a, v_b); one step of the slider for each circuit.

    Args:
        steps: by what the slider says, a circuit (its first pair is drawn) and the constant inputs it is under.
        slider: what the slider moves.
        start: number of the step shown at first.
        samples: length of the trajectories, at a tenth of a sample a point.

    Raises:
        ImportError: plotly is not installed.
    """
    plotly = _plotly()
    bounds = [hull(select(each, 0)) for each, _ in steps.values()]
    low, high = min(b[0] for b in bounds), max(b[1] for b in bounds)
    frames = [plotly.Frame(name=name, data=plane_traces(each, inputs, trajectories(each, inputs, samples)))
              for name, (each, inputs) in steps.items()]  # fmt: skip
    figure = plotly.Figure(data=frames[start].data, frames=frames)
    figure.update_layout(sliders=[_slider(list(steps), slider, start)], margin={"t": 20, "r": 20, "b": 110}, height=560, template="plotly_white")
    figure.update_xaxes(title="v<sub>a</sub>", range=[low - 0.05, high + 0.05])
    figure.update_yaxes(title="v<sub>b</sub>", range=[low - 0.05, high + 0.05])
    return figure


def plane_traces(each: FlipFlopCircuit, inputs: Tensor | float, path: Tensor, resolution: int = 161) -> list:
    """The traces of a phase plane: two nullclines, stable and unstable fixed points, and a path `(points, 2)`; NaN breaks it."""
    plotly = _plotly()
    traces = []
    for line, name, colour in zip(nullclines(each, inputs, resolution=resolution), ("a at rest", "b at rest"), (A, B), strict=True):
        # An excitatory self synapse folds a nullcline: then its points have no order along one axis.
        other = line[:, 1 if colour == A else 0]
        mode = "lines" if len(other.unique()) == len(other) else "markers"
        traces.append(plotly.Scatter(x=_short(line[:, 0]), y=_short(line[:, 1]), mode=mode, name=name, line={"color": colour, "width": 2.5},
                                     marker={"color": colour, "size": 3, "symbol": "circle"}))  # fmt: skip
    traces.append(plotly.Scatter(x=_short(path[:, 0]), y=_short(path[:, 1]), mode="lines", name="trajectory", line={"color": NEUTRAL, "dash": "dot"}))
    points = fixed_points(each, inputs)
    for name, which, symbol in (("stable", points.stable, "circle"), ("unstable", ~points.stable, "x")):
        found = points.potential[which]
        traces.append(plotly.Scatter(x=_short(found[:, 0]), y=_short(found[:, 1]), mode="markers", name=name,
                                     marker={"size": 12, "symbol": symbol, "color": EXCITATORY if symbol == "circle" else NEUTRAL}))  # fmt: skip
    return traces


def trajectories(each: FlipFlopCircuit, inputs: Tensor | float = 0.0, samples: int = 40) -> Tensor:
    """Four paths from corners of the hull, one after another with NaN between them, `(points, 2)`."""
    low, high = hull(select(each, 0))
    middle = (low + high) / 2
    starts = torch.tensor([[high, middle + 0.02], [middle + 0.02, high], [low + 0.02, low], [low, low + 0.02]], dtype=torch.float64)
    path = _together(select(each, 0), starts, inputs, samples)
    path = torch.cat((starts[None], path, torch.full((1, 4, 2), torch.nan, dtype=torch.float64)))
    return path.transpose(0, 1).flatten(0, 1)


def basins(steps: Mapping[str, FlipFlopCircuit], slider: str, start: int = 0, resolution: int = 41) -> "Figure":
    """Which bit a pair left alone at each start ends in; one step of the slider for each circuit. The edge is the separatrix.

    Raises:
        ImportError: plotly is not installed.
    """
    plotly = _plotly()
    frames = []
    for name, each in steps.items():
        low, high = hull(select(each, 0))
        grid = torch.linspace(low, high, resolution, dtype=torch.float64)
        starts = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), -1).flatten(0, 1)
        last = _together(select(each, 0), starts, 0.0, 60)[-1]
        bit = (last[:, 0] > last[:, 1]).int().reshape(resolution, resolution)
        heat = plotly.Heatmap(x=_short(grid), y=_short(grid), z=bit.tolist(), colorscale=[[0, B], [1, A]], zmin=0, zmax=1, opacity=SHADE, showscale=False,
                              hovertemplate="start (%{x:.2f}, %{y:.2f}): bit %{z}<extra></extra>")  # fmt: skip
        frames.append(plotly.Frame(name=name, data=[heat, *plane_traces(each, 0.0, trajectories(each))]))
    figure = plotly.Figure(data=frames[start].data, frames=frames)
    figure.update_layout(sliders=[_slider(list(steps), slider, start)], margin={"t": 20, "r": 20, "b": 110}, height=560, template="plotly_white")
    figure.update_xaxes(title="v<sub>a</sub>")
    figure.update_yaxes(title="v<sub>b</sub>")
    return figure


def potentials(lines: Tensor, runs: Mapping[str, Tensor]) -> "Figure":
    """Input lines `(time, 2)` above, potentials `(time, 2)` of one or more pairs under these inputs below, a row each.

    Raises:
        ImportError: plotly is not installed.
    """
    subplots = require("plotly.subplots", extra="plots", purpose="a figure")
    rows = len(runs) + 1
    figure = subplots.make_subplots(rows=rows, cols=1, shared_xaxes=True, row_heights=[0.4] + [1.0] * len(runs), vertical_spacing=0.06)
    time = list(range(len(lines)))
    for row, (name, values) in enumerate({"input": lines, **runs}.items(), start=1):
        labels = ("u<sub>a</sub>", "u<sub>b</sub>") if row == 1 else ("v<sub>a</sub>", "v<sub>b</sub>")
        for column, (label, colour) in enumerate(zip(labels, (A, B), strict=True)):
            dash = ("solid", "dash")[column]
            line = {"color": colour, "dash": dash, "width": 2, "shape": "hv" if row == 1 else "linear"}
            figure.add_scatter(x=time, y=_short(values[:, column]), name=label, line=line, mode="lines", row=row, col=1, showlegend=row < 3)
        figure.update_yaxes(title=name, row=row, col=1)
    figure.update_xaxes(title="time (samples)", row=rows, col=1)
    figure.update_layout(template="plotly_white", height=160 + 190 * len(runs), margin={"t": 20, "r": 20})
    return figure


def lock_step(runs: Mapping[str, Tensor], slider: str, start: int = 0) -> "Figure":
    """Potentials `(time, 2)` of one pair, one step of the slider for each run.

    Raises:
        ImportError: plotly is not installed.
    """
    plotly = _plotly()
    frames = []
    for name, values in runs.items():
        traces = [plotly.Scatter(y=_short(values[:, column]), name=label, mode="lines+markers", line={"color": colour, "dash": dash}, marker={"size": size})
                  for column, (label, colour, dash, size) in enumerate((("v<sub>a</sub>", A, "solid", 9), ("v<sub>b</sub>", B, "dot", 5)))]  # fmt: skip
        frames.append(plotly.Frame(name=name, data=traces))
    figure = plotly.Figure(data=frames[start].data, frames=frames)
    figure.update_layout(sliders=[_slider(list(runs), slider, start)], margin={"t": 20, "r": 20, "b": 110}, height=440, template="plotly_white")
    figure.update_xaxes(title="solver step")
    figure.update_yaxes(title="potential", range=[-1.1, 1.1])
    return figure


def _together(one: FlipFlopCircuit, starts: Tensor, inputs: Tensor | float, samples: int) -> Tensor:
    """Potentials `(time, starts, 2)` of copies of one pair, from each start, at ten points a sample."""
    shape = (samples, len(starts), 2) if one.scheme == "set_reset" else (samples, len(starts))
    return run(_repeat(one, len(starts)), torch.as_tensor(inputs, dtype=torch.float64).expand(shape), starts, elapsed=0.1)


def _repeat(one: FlipFlopCircuit, count: int) -> FlipFlopCircuit:
    parts = []
    for value in one:
        if isinstance(value, PairSynapses | Steering):
            value = type(value)(*(part.expand(count, 2) for part in value))
        elif torch.is_tensor(value):
            value = value.expand(count, 2)
        parts.append(value)
    return FlipFlopCircuit(*parts)


def _wire(figure: "Figure", points: Sequence[tuple[float, float]], excitatory: bool, text: str, colour: str | None = None) -> None:
    """A spline through points that ends in an arrow head (excitatory) or a dot (inhibitory)."""
    colour = colour or (EXCITATORY if excitatory else INHIBITORY)
    x, y = ([point[axis] for point in points] for axis in (0, 1))
    head = {"symbol": ["circle"] * len(x), "size": [0] * (len(x) - 1) + [12], "color": colour, "opacity": 1, "line": {"width": 0}}
    if excitatory:
        head |= {"symbol": "arrow", "angleref": "previous", "size": [0] * (len(x) - 1) + [14]}
    figure.add_scatter(x=x, y=y, mode="lines+markers", line={"color": colour, "width": 3, "shape": "spline"}, marker=head, text=text, hoverinfo="text",
                       showlegend=False)  # fmt: skip


def _slider(names: Sequence[str], what: str, start: int) -> dict:
    move = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [{"label": name, "method": "animate", "args": [[name], move]} for name in names]
    return {"active": start, "steps": steps, "pad": {"t": 45}, "currentvalue": {"prefix": f"{what}: "}}


def _short(values: Tensor) -> list[float | None]:
    """Values to four digits after the point: a page carries every one of them; None where NaN."""
    return [None if value != value else round(value, 4) for value in values.tolist()]


def _plotly() -> ModuleType:
    return require("plotly.graph_objects", extra="plots", purpose="a figure")
