"""Drawings of a wiring: neurons with arcs between them, and the polarity as a heat map (plotly, extra 'plots')."""

from math import ceil, sqrt
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cffbook._optional import require
from cffbook.wiring.base import Wiring

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def colours() -> dict[str, str]:
    """The two colours of polarity (distinct to colour-blind readers) and those of neurons."""
    return {"excitatory": "#0072B2", "inhibitory": "#D55E00", "neuron": "#888888", "input": "#CC79A7"}


def draw(wiring: Wiring, most: int = 20_000) -> "Figure":
    """Neurons as points and synapses as arcs that end in a dot at their target, one colour per polarity.

    A lattice is laid out by its shape, an NCP in layers from left to right, equal blocks as circles side by side,
    anything else on one circle. A self synapse is a ring around its neuron.

    Args:
        wiring: what to draw.
        most: refuse to draw more synapses than this (a browser cannot show them).

    Raises:
        ImportError: plotly is not installed.
        ValueError: more than `most` synapses.
    """
    plotly = require("plotly.graph_objects", extra="plots", purpose="drawing a wiring")
    if wiring.synapses > most:
        raise ValueError(
            f"expected at most {most} synapses to draw, got {wiring.synapses}: use heatmap(), or raise most"
        )
    neurons, inputs = layout(wiring)
    everything = torch.cat([neurons, inputs])
    flat = not everything[:, 2].any()
    polarity = wiring.polarity
    if len(inputs):
        polarity = torch.cat([polarity, wiring.sensory])
    figure = plotly.Figure()
    for name, sign in (("excitatory", 1), ("inhibitory", -1)):
        for trace in _synapses(plotly, polarity, sign, everything, name, flat):
            figure.add_trace(trace)
    for name, points in (("neuron", neurons), ("input", inputs)):
        if len(points):
            figure.add_trace(_neurons(plotly, name, points, wiring, flat))
    hidden = {"visible": False}
    figure.update_layout(title=_title(wiring), template="plotly_white", legend={"itemsizing": "constant"})
    if flat:
        figure.update_xaxes(**hidden)
        figure.update_yaxes(**hidden, scaleanchor="x")
    else:
        figure.update_scenes(xaxis=hidden, yaxis=hidden, zaxis=hidden, aspectmode="data")
    return figure


def heatmap(wiring: Wiring) -> "Figure":
    """The polarity as a matrix: one row per source, one column per target.

    Raises:
        ImportError: plotly is not installed.
    """
    plotly = require("plotly.graph_objects", extra="plots", purpose="drawing a wiring")
    colour = colours()
    steps = [colour["inhibitory"], "#F4F4F4", colour["excitatory"]]
    scale = [[edge / 3, shade] for number, shade in enumerate(steps) for edge in (number, number + 1)]
    bar = {"tickvals": [-2 / 3, 0, 2 / 3], "ticktext": ["inhibitory", "no synapse", "excitatory"], "len": 0.5}
    figure = plotly.Figure(
        plotly.Heatmap(
            z=wiring.polarity.tolist(),
            zmin=-1,
            zmax=1,
            colorscale=scale,
            colorbar=bar,
            hovertemplate="source %{y}, target %{x}: %{z}<extra></extra>",
        )
    )
    figure.update_layout(title=_title(wiring), template="plotly_white")
    figure.update_xaxes(title="target neuron", constrain="domain")
    figure.update_yaxes(title="source neuron", autorange="reversed", scaleanchor="x", constrain="domain")
    return figure


def layout(wiring: Wiring) -> tuple[Tensor, Tensor]:
    """Positions ``(size, 3)`` of the neurons and ``(inputs, 3)`` of the inputs; flat layouts have z = 0."""
    inputs = 0 if wiring.sensory is None else wiring.sensory.shape[0]
    if wiring.layers is not None:
        motor, command, inter = wiring.layers
        columns = [_column(3.0, motor), _column(2.0, command), _column(1.0, inter)]
        return torch.cat(columns), _column(0.0, inputs)
    neurons = _grid(wiring.shape) if len(wiring.shape) > 1 else _circles(wiring)
    left = float(neurons[:, 0].min()) - 1.5
    return neurons, _column(left, inputs)


def _column(x: float, count: int) -> Tensor:
    """`count` points at this x, spread evenly over a height of 2."""
    y = 1.0 - (2 * torch.arange(count) + 1) / max(count, 1)
    return torch.stack([torch.full((count,), x), y, torch.zeros(count)], 1)


def _grid(shape: tuple[int, ...]) -> Tensor:
    """Lattice points; from the fourth axis on, whole copies lie beside each other along x, y, z in turn."""
    index = torch.arange(torch.Size(shape).numel())
    position = torch.zeros(len(index), 3)
    extent = [1.0, 1.0, 1.0]
    inner = len(index)
    for axis, size in enumerate(shape):
        inner //= size
        side = axis % 3
        position[:, side] += extent[side] * (index // inner % size)
        extent[side] *= size + 1
    if len(shape) == 2:  # as an image: rows downwards, columns to the right
        position = torch.stack([position[:, 1], -position[:, 0], position[:, 2]], 1)
    return position


def _circles(wiring: Wiring) -> Tensor:
    blocks = wiring.blocks()
    position = torch.zeros(wiring.size, 3)
    if len({len(block) for block in blocks}) > 1:
        blocks = [torch.arange(wiring.size)]
    columns = ceil(sqrt(len(blocks)))
    for number, block in enumerate(blocks):
        angle = torch.pi / 2 - 2 * torch.pi * torch.arange(len(block)) / len(block)
        radius = 1.0 if len(block) > 1 else 0.0
        position[block, 0] = radius * angle.cos() + 3.0 * (number % columns)
        position[block, 1] = radius * angle.sin() - 3.0 * (number // columns)
    return position


def _synapses(plotly: ModuleType, polarity: Tensor, sign: int, position: Tensor, name: str, flat: bool) -> list:
    """Three traces of one polarity: arcs, dots at the targets, rings of the self synapses."""
    source, target = (polarity == sign).nonzero(as_tuple=True)
    own = source == target
    rings = position[source[own]]
    start, end = position[source[~own]], position[target[~own]]
    direction = end - start
    up = torch.tensor([0.0, 0.0, 1.0]).expand_as(direction)
    upright = (direction[:, :2] == 0).all(1, keepdim=True)
    bend = torch.linalg.cross(direction, torch.where(upright, torch.tensor([1.0, 0.0, 0.0]), up))
    middle = (start + end) / 2 + 0.12 * bend  # the two synapses of a pair bend apart

    def along(t: float) -> Tensor:
        return (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end

    gap = torch.full_like(start, float("nan"))  # breaks the line between two synapses
    arcs = torch.stack([*(along(t) for t in (0.0, 0.25, 0.5, 0.75, 1.0)), gap], 1).flatten(0, 1)
    colour = colours()[name]
    thick = {"width": 1 if flat else 2, "color": colour}
    scatter = plotly.Scatter if flat else plotly.Scatter3d
    common = {"legendgroup": name, "hoverinfo": "skip"}
    lines = scatter(**_axes(arcs, flat), mode="lines", line=thick, name=name, opacity=0.6, **common)
    dot = {"size": 5 if flat else 2, "color": colour}
    dots = scatter(**_axes(along(0.88), flat), mode="markers", marker=dot, showlegend=False, **common)
    ring = {"size": 18 if flat else 9, "symbol": "circle-open", "color": colour}
    loops = scatter(**_axes(rings, flat), mode="markers", marker=ring, showlegend=False, **common)
    return [lines, dots, loops] if len(rings) else [lines, dots]


def _neurons(plotly: ModuleType, name: str, points: Tensor, wiring: Wiring, flat: bool):
    scatter = plotly.Scatter if flat else plotly.Scatter3d
    if name == "input":
        text = [f"input {number}" for number in range(len(points))]
    else:
        sent, received = wiring.adjacency.sum(1).tolist(), wiring.adjacency.sum(0).tolist()
        role = _roles(wiring)
        text = [f"{role[i]} {i}: {sent[i]} out, {received[i]} in" for i in range(wiring.size)]
    marker = {"size": 9 if flat else 4, "color": colours()[name], "symbol": "circle" if name == "neuron" else "square"}
    return scatter(
        **_axes(points, flat), mode="markers", marker=marker, name=name, text=text, hovertemplate="%{text}<extra></extra>"
    )


def _roles(wiring: Wiring) -> list[str]:
    if wiring.layers is not None:
        words = ("motor neuron", "command neuron", "inter neuron")
        return [word for word, count in zip(words, wiring.layers, strict=True) for _ in range(count)]
    motor = wiring.outputs or 0
    return ["motor neuron"] * motor + ["neuron"] * (wiring.size - motor)


def _axes(points: Tensor, flat: bool) -> dict[str, list]:
    values = [[None if value != value else value for value in column] for column in points.T.tolist()]
    return dict(zip("xy" if flat else "xyz", values, strict=False))


def _title(wiring: Wiring) -> str:
    plural = "" if wiring.synapses == 1 else "s"
    return f"{wiring.name}: {wiring.size} neurons, {wiring.synapses} synapse{plural}"
