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

    Gates and synapses come in *runs*: neighbours that see neighbouring sources, or carry neighbouring gates to one target.

    Args:
        source: `(gates,)` int64, the neuron or input that a gate sees.
        gate: `(synapses,)` int64, the gate of a synapse; several synapses may share one.
        target: `(synapses,)` int64, its neuron; ascending.
        gate_runs: `(runs, 3)` int64, first gate, first source and number of gates of each run.
        synapse_runs: `(runs, 4)` int64, target, first synapse, first gate and number of synapses of each run.
    """

    source: Tensor
    gate: Tensor
    target: Tensor
    gate_runs: Tensor
    synapse_runs: Tensor


def layout(source: Tensor, gate: Tensor, target: Tensor) -> Layout:
    """The layout of gates `(gates,)` with these sources and synapses `(synapses,)` with these gates and ascending targets."""
    whole = torch.arange(len(source))
    at, length = _runs(torch.stack((source - whole,), 1))
    gate_runs = torch.stack((at, source[at], length), 1)
    at, length = _runs(torch.stack((target, gate - torch.arange(len(gate))), 1))
    return Layout(source, gate, target, gate_runs, torch.stack((target[at], at, gate[at], length), 1))


def _runs(keys: Tensor) -> tuple[Tensor, Tensor]:
    """First index and length of every run of equal rows."""
    if not len(keys):
        return keys.new_zeros(0), keys.new_zeros(0)
    first = torch.cat((keys.new_ones(1, dtype=torch.bool), (keys[1:] != keys[:-1]).any(1))).nonzero()[:, 0]
    return first, torch.diff(first, append=first.new_tensor([len(keys)]))


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
