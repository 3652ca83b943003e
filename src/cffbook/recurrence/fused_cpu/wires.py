"""Synapses as the kernels take them: those that have a gate for themselves apart from those that share, or all as if they shared.

A gate that one synapse alone carries is opened where it is needed. Gates opened beforehand have to be written and read, but
neighbours among them can be vector lanes of a sequence that is alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cffbook.recurrence.forms import Layout
from cffbook.recurrence.fused_cpu.arithmetic import LOG2E_DOUBLE, np


class Gates(NamedTuple):
    """Arrays of gates: their sources, with runs as in forms.Layout, and their values; `steep` is -γ log2 e."""

    sources: object
    steep: object
    slope: object
    half: object


class Synapses(NamedTuple):
    """Arrays of synapses: the first one onto each neuron, and their values."""

    first: object
    conductance: object
    reversal: object


class Wires(NamedTuple):
    """Synapses of one kind that have a gate each for themselves, and those that carry, by its index in `carried`, one of other gates."""

    gates: Gates
    synapses: Synapses
    shared_gates: Gates
    shared: Synapses
    carried: object


def places(layout: Layout) -> tuple:
    """The tensors of a layout that `wire` needs."""
    return layout.sources, layout.gates, layout.first, layout.shared_first, layout.order, layout.all_gates, layout.all_first


def gates_of(sources, values: Tensor) -> Gates:
    """Gates of these sources with the values `(2, gates)` slope and half-activation."""
    return Gates(sources, *_rows(values[0] * -LOG2E_DOUBLE, *values))


def wire(places: Sequence, gates: Tensor, synapses: Tensor, apart: bool) -> Wires:
    """Arrays of a kind of synapses, with the values `(2, gates)` and `(2, synapses)`; without `apart` all as if they shared."""
    sources, carried, first, shared_first, order, all_carried, all_first = places
    own = first[-1]
    if not apart:
        own, carried, first, shared_first, synapses = 0, all_carried, np.zeros_like(first), all_first, synapses[:, torch.from_numpy(order)]
    mine, theirs = gates_of(sources[:own], gates[:, :own]), gates_of(sources[own:], gates[:, own:])
    parts = Synapses(first, *_rows(*synapses[:, :own])), Synapses(shared_first, *_rows(*synapses[:, own:]))
    return Wires(mine, parts[0], theirs, parts[1], carried)


def _rows(*values: Tensor) -> list:
    """Arrays that each begin on a line of the cache, as tensors do and arrays of numpy do not."""
    return [value.clone().numpy() for value in values]


def sums_of(wires: Wires) -> list:
    """Zeros for the gradients of synapses and gates in the order in which `gradients` takes them."""
    return [np.zeros((ways, len(values))) for ways, values in ((4, wires.gates.half), (2, wires.shared_gates.half), (2, wires.shared.reversal))]


def gradients(places: Sequence, wires: Wires, sums: Sequence) -> tuple:
    """Gradients `(2, gates)` and `(2, synapses)` of sums that the kernels have left without their factors, -γ of μ and w of E.

    Args:
        sums: `(4, synapses)` of synapses that have a gate for themselves, theirs and their gate's; two each of other gates and synapses.
    """
    own, others, carrying = sums
    gates, synapses = np.concatenate((own[2:], others), 1), np.concatenate((own[:2], carrying), 1)
    gates[1] *= -np.concatenate((wires.gates.slope, wires.shared_gates.slope))
    synapses[1] *= np.concatenate((wires.synapses.conductance, wires.shared.conductance))
    if wires.carried is not places[1]:
        synapses[:, places[4]] = synapses.copy()
    return gates, synapses
