"""What a fused or parallel backend knows of a cell: its physical values as a few arrays, in one of two forms.

`Pairs` is the block-diagonal layer, independent flip-flops; `Network` is every circuit of neurons, gates and synapses.
A cell gives its form by `form()`, differentiable in its parameters; the definition itself uses `circuit()`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

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


class Layout(NamedTuple):
    """Where synapses are, which does not change: gates of sources, and synapses that carry a gate to a target.

    Args:
        source: `(gates,)` int64, the neuron or input that a gate sees.
        gate: `(synapses,)` int64, the gate of a synapse; several synapses may share one.
        target: `(synapses,)` int64, its neuron; ascending.
        sources, gates: the first two with their `runs`.
        first: `(neurons + 1,)` int64, the first synapse onto each neuron, and the number of synapses.
        reach: `(neurons,)` int64, how many of the gates, from the first on, neurons up to this one need.
        spent: `(neurons,)` int64, how many of the gates, from the first on, no neuron after this one needs.
    """

    source: Tensor
    gate: Tensor
    target: Tensor
    sources: Tensor
    gates: Tensor
    first: Tensor
    reach: Tensor
    spent: Tensor


def layout(source: Tensor, gate: Tensor, target: Tensor, neurons: int) -> Layout:
    """The layout of gates `(gates,)` with these sources and synapses `(synapses,)` with these gates and ascending targets."""
    first = torch.searchsorted(target, torch.arange(neurons + 1))
    need = torch.zeros(neurons, dtype=torch.long).scatter_reduce(0, target, gate + 1, "amax")
    least = torch.full((neurons + 1,), len(source)).scatter_reduce(0, target, gate, "amin")
    spent = least.flip(0).cummin(0).values.flip(0)[1:]
    return Layout(source, gate, target, runs(source), runs(gate), first, need.cummax(0).values, spent.contiguous())


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
