"""What a fused or parallel backend knows of a cell: its physical values as a few arrays, in one of two forms.

`Pairs` is the block-diagonal layer, independent flip-flops; `Network` is every circuit of neurons, gates and synapses.
A cell gives its form by `form()`, differentiable in its parameters; the definition itself uses `circuit()`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cffbook.wiring.devices import on_processor

PAIR_VALUES = (
    "capacitance", "leak_conductance", "leak_reversal",
    "self_conductance", "self_slope", "self_half_activation", "self_reversal",
    "reciprocal_conductance", "reciprocal_slope", "reciprocal_half_activation", "reciprocal_reversal",
    "sensory_conductance", "sensory_slope", "sensory_half_activation", "sensory_reversal",
    "steering_slope", "steering_half_activation",
)  # fmt: skip


class Pairs(NamedTuple):
    """Independent flip-flops, eq. cff.

    Args:
        values: `(17, pairs, 2)` in the order of `PAIR_VALUES`; an absent synapse has conductance 0.
        steered: the sensory gate is multiplied by the steering gate of the other neuron, else the last two rows are unused.
        shared: inputs are `(batch, time, pairs)`, u for neuron a and -u for neuron b; else `(batch, time, pairs, 2)`.
    """

    values: Tensor
    steered: bool
    shared: bool


class Tiles(NamedTuple):
    """Flip-flops with presynaptic lateral synapses, eq. lateral, by blocks along the diagonal of the adjacency matrix.

    Args:
        pairs: the flip-flops.
        gates: `(2, pairs)` slope and half-activation of the gate that a flip-flop's output opens.
        matrices: `(4, blocks, size, size)`, for a block [source, target]: conductance onto neuron a, onto neuron b, and each
            times its reversal potential; 0 where there is no synapse, and beyond the last flip-flop.
    """

    pairs: Pairs
    gates: Tensor
    matrices: Tensor


class Layout(NamedTuple):
    """Where synapses are, which does not change: gates of sources, and synapses that carry a gate to a target.

    The first `own` synapses have a gate each for themselves, synapse i the gate i; the others share the gates after these. Both come
    in the order of their targets.

    Args:
        source: `(gates,)` int64, the neuron or input that a gate sees.
        gate: `(synapses,)` int64, the gate of a synapse.
        target: `(synapses,)` int64, its neuron.
        own: how many synapses have a gate for themselves.
        sources, gates: `source`, and `gate` of the other synapses counted from `own` on, with their `runs`.
        first, shared_first: `(neurons + 1,)` int64, the first synapse onto each neuron of those with a gate for themselves, and of
            the others counted from `own` on; and how many there are.
        order: `(synapses,)` int64, all synapses in the order of their targets.
        all_gates, all_first: as `gates` and `first` for the synapses in this order, gates counted from 0 on.
    """

    source: Tensor
    gate: Tensor
    target: Tensor
    own: int
    sources: Tensor
    gates: Tensor
    first: Tensor
    shared_first: Tensor
    order: Tensor
    all_gates: Tensor
    all_first: Tensor


@on_processor
def layout(source: Tensor, gate: Tensor, target: Tensor, neurons: int) -> tuple[Layout, Tensor, Tensor]:
    """The layout of gates `(gates,)` with these sources and synapses `(synapses,)` with these gates and targets.

    Returns:
        The layout, and which of the given gates and synapses its own are.
    """
    alone = (torch.bincount(gate, minlength=len(source)) == 1)[gate]
    order = torch.argsort(target * len(source) + gate)
    order = torch.cat((order[alone[order]], order[~alone[order]]))
    own = int(alone.sum())
    others = torch.ones(len(source), dtype=torch.bool).index_fill(0, gate[order[:own]], False)
    gates = torch.cat((gate[order[:own]], others.nonzero()[:, 0]))
    source, gate, target = source[gates], torch.argsort(gates)[gate[order]], target[order]
    by_target = torch.argsort(target, stable=True)
    ends = [torch.searchsorted(part.contiguous(), torch.arange(neurons + 1)) for part in (target[:own], target[own:], target[by_target])]
    runs_of = runs(source), runs(gate[own:] - own), runs(gate[by_target])
    return Layout(source, gate, target, own, *runs_of[:2], *ends[:2], by_target, runs_of[2], ends[2]), gates, order


def runs(index: Tensor) -> Tensor:
    """Indices `(items,)`, each with the number of items from it on whose indices follow one another, `(items, 2)`."""
    place = torch.arange(len(index))
    end = torch.where(torch.diff(index, append=index[-1:]) == 1, len(index), place + 1)
    return torch.stack((index, end.flip(0).cummin(0).values.flip(0) - place), 1)


class Synaptic(NamedTuple):
    """Synapses of one kind.

    Args:
        layout: where they are.
        gates: `(2, gates)` slope and half-activation.
        synapses: `(2, synapses)` conductance and reversal.
    """

    layout: Layout
    gates: Tensor
    synapses: Tensor


class Network(NamedTuple):
    """Neurons with any synapses, eq. ltc; states and inputs are flattened: neuron = pair * 2 + (0 for a, 1 for b).

    Args:
        neurons: `(3, neurons)` capacitance, leak conductance, leak reversal.
        sensory: gates see inputs, once a sample.
        recurrent: gates see neurons, in every unfold.
        steering: None, or source `(neurons,)` int64 and values `(2, neurons)`, slope and half-activation, of the gate
            that multiplies all sensory conductance of a neuron.
    """

    neurons: Tensor
    sensory: Synaptic
    recurrent: Synaptic
    steering: tuple[Tensor, Tensor] | None
