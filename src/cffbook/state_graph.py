"""The automaton inside a memory: its states and what each input does to them, read out of trajectories.

    states: clusters of potentials, no two centres nearer than a tolerance
    edges:  table[s, x] = the state most often found after s under input x
    two states are one if they give the same answer, and under every input go to states that are one        (same-state)

The last line is the coarsest such partition, found by refinement; its classes are the states of the least automaton.
Source: Moore 1956.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cffbook.lateral import MemoryCell
from cffbook.memory import MemoryLayer


class StateGraph(NamedTuple):
    """An automaton: `table` `(states, inputs)` int64, -1 where never seen; `answers` `(states,)`; and where it came from.

    `centres` are potentials `(states, pairs, 2)`, `visits` `(states,)` how often each was seen, `certainty` the share of
    all steps that the table tells right, `spread` the largest distance of a potential from the centre of its state.
    """

    table: Tensor
    answers: Tensor
    centres: Tensor
    visits: Tensor
    certainty: float
    spread: float


def read_out(potentials: Tensor, inputs: Tensor, answers: Tensor, tolerance: float = 0.3) -> StateGraph:
    """The automaton that trajectories show.

    Args:
        potentials: after every sample, `(batch, time, pairs, 2)`.
        inputs: what the samples were, `(batch, time)`, from 0.
        answers: what was read out of each, `(batch, time)`.
        tolerance: largest difference of a potential from its state's centre.

    Raises:
        ValueError: shapes do not fit, or so many states that the trajectories have no clusters.
    """
    if potentials.shape[:2] != inputs.shape or inputs.shape != answers.shape or inputs.shape[1] < 2:
        raise ValueError(f"expected potentials (batch, time >= 2, pairs, 2), inputs and answers (batch, time), got {tuple(potentials.shape)}, "
                         f"{tuple(inputs.shape)} and {tuple(answers.shape)}")  # fmt: skip
    centres, labels, spread = clusters(potentials.flatten(0, 1).flatten(1), tolerance)
    states, symbols = len(centres), int(inputs.max()) + 1
    labels = labels.view(inputs.shape)
    counts = torch.zeros(states, symbols, states, dtype=torch.int64)
    ones = torch.ones(inputs[:, 1:].numel(), dtype=torch.int64)
    counts.index_put_((labels[:, :-1].flatten(), inputs[:, 1:].flatten(), labels[:, 1:].flatten()), ones, accumulate=True)
    most, table = counts.max(-1)
    told = torch.stack([answers[labels == state].mode().values for state in range(states)])
    visits = torch.bincount(labels.flatten(), minlength=states)
    centres = centres.view(states, *potentials.shape[2:])
    return StateGraph(torch.where(most > 0, table, -1), told, centres, visits, float(most.sum() / counts.sum()), spread)


def clusters(points: Tensor, tolerance: float, most: int = 1_000) -> tuple[Tensor, Tensor, float]:
    """Centres `(clusters, values)`, the cluster of each of the points `(points, values)`, and the largest distance to a centre.

    A point farther than the tolerance from every centre, in the largest of its differences, becomes a centre of its own.
    """
    centres = points[:1]
    distance = (points - centres[0]).abs().amax(-1)
    label = torch.zeros(len(points), dtype=torch.int64)
    while bool((distance > tolerance).any()):
        if len(centres) == most:
            raise ValueError(f"expected at most {most} states, found more: the potentials have no clusters at a tolerance of {tolerance}")
        new = points[distance.argmax()]
        gap = (points - new).abs().amax(-1)
        label[gap < distance] = len(centres)
        distance, centres = torch.minimum(distance, gap), torch.cat((centres, new[None]))
    return centres, label, float(distance.max())


def least(graph: StateGraph) -> tuple[Tensor, Tensor]:
    """The least automaton with the same answers: the class of each state `(states,)`, and the table of the classes.

    A step that was never seen says nothing: such states are told apart from those where it was.
    """
    classes, count = graph.answers.unique(return_inverse=True)[1], 0
    while int(classes.max()) + 1 > count:
        count = int(classes.max()) + 1
        after = torch.where(graph.table >= 0, classes[graph.table], -1)
        rows = torch.cat((classes[:, None], after), 1)  # eq. same-state
        classes = rows.unique(dim=0, return_inverse=True)[1]
    first = torch.stack([(classes == each).nonzero()[0, 0] for each in range(count)])
    return classes, torch.where(graph.table[first] >= 0, classes[graph.table[first]], -1)


def isomorphism(table: Tensor, other: Tensor, start: int, other_start: int) -> Tensor | None:
    """The states of `other` `(states,)` that the states of `table` are, both `(states, inputs)`, or None if there is no such map.

    Both are walked from their first states along equal inputs; states that cannot be reached are -1.
    """
    found = torch.full((len(table),), -1)
    found[start], waiting = other_start, [start]
    while waiting:
        state = waiting.pop()
        for after, expected in zip(table[state].tolist(), other[found[state]].tolist(), strict=True):
            if after < 0 or (found[after] >= 0 and found[after] != expected):
                return None
            if found[after] < 0:
                found[after] = expected
                waiting.append(after)
    reached = found[found >= 0]
    return found if len(reached.unique()) == len(reached) else None


@torch.no_grad()
def silence(layer: MemoryLayer, flip_flops: Iterable[int] = (), synapses: Iterable[int] = ()) -> MemoryLayer:
    """Cut what some CFFs tell others and the output, or single lateral synapses, in the layer itself, which is returned.

    Raises:
        ValueError: lateral synapses of a layer that has none.
    """
    cell: nn.Module = layer.cell
    chosen = torch.tensor(list(flip_flops), dtype=torch.int64)
    columns = chosen if layer.readout == "one" else torch.cat((2 * chosen, 2 * chosen + 1))
    layer.output_map.weight[:, columns] = 0
    cut = torch.tensor(list(synapses), dtype=torch.int64)
    if isinstance(cell, MemoryCell):
        cut = torch.cat((cut, torch.isin(cell.lateral.source, chosen).nonzero()[:, 0]))
        cell.lateral.raw_conductance[cut] = -40.0  # softplus: 4e-18
    elif len(cut):
        raise ValueError(f"expected no lateral synapses to silence in independent flip-flops, got {cut.tolist()}")
    return layer
