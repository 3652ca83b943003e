"""Independent flip-flops from their arrays, for backends that cut time or lanes apart: gates, and the Jacobian of a sample.

One unfold maps v_i = n_i / d_i, n = C v + h I, d = C + h G, whose Jacobian has four entries a pair::

    a_i = dv_i'/dv_i = (C_i + h w_self s' γ (E_self - v_i')) / d_i
    c_i = dv_i'/dv_j = h (w_rec s' γ (E_rec - v_i') + w_in s_in s_st' γ_st (E_in - v_i')) / d_i          (j the other neuron)

and that of a sample is the product over its unfolds. Source: eq. cff and eq. ltc-step, differentiated.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cffbook.recurrence.checks import blank_padding
from cffbook.recurrence.forms import PAIR_VALUES, Pairs
from cffbook.solver import SemiImplicitEuler

REVERSALS = tuple(row for row, name in enumerate(PAIR_VALUES) if name.endswith("_reversal"))


class PairCircuit:
    """The circuit of `Pairs`, eq. cff; the second implementation of what a flip-flop's own `circuit()` gives."""

    def __init__(self, form: Pairs):
        self.steered, self.shared = form.steered, form.shared
        for name, value in zip(PAIR_VALUES, form.values, strict=True):
            setattr(self, name, value)

    def sense(self, inputs: Tensor) -> tuple[Tensor]:
        """Sensory conductance `(..., pairs, 2)` before any steering."""
        lines = torch.stack((inputs, -inputs), -1) if self.shared else inputs
        return (self.sensory_conductance * torch.sigmoid(self.sensory_slope * (lines - self.sensory_half_activation)),)

    def gates(self, potential: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Self, reciprocal and steering gates `(..., pairs, 2)`, indexed by the neuron that they act on."""
        other = potential.flip(-1)
        own = torch.sigmoid(self.self_slope * (potential - self.self_half_activation))
        cross = torch.sigmoid(self.reciprocal_slope * (other - self.reciprocal_half_activation))
        steering = torch.sigmoid(self.steering_slope * (other - self.steering_half_activation)) if self.steered else None
        return own, cross, steering

    def totals(self, drive: Tensor, gates: tuple[Tensor, Tensor, Tensor | None]) -> tuple[Tensor, Tensor]:
        """(G, I) of gates under a sensory conductance."""
        own, cross = self.self_conductance * gates[0], self.reciprocal_conductance * gates[1]
        sensory = drive if gates[2] is None else drive * gates[2]
        current = self.leak_conductance * self.leak_reversal + own * self.self_reversal
        current = current + cross * self.reciprocal_reversal + sensory * self.sensory_reversal
        return self.leak_conductance + own + cross + sensory, current  # eq. cff

    def rate(self, drive: tuple[Tensor], potential: Tensor) -> tuple[Tensor, Tensor]:
        """(G, I), each `(..., pairs, 2)`, so that C dv/dt = I - G v."""
        return self.totals(drive[0], self.gates(potential))

    def sample(self, drive: tuple[Tensor], potential: Tensor, elapsed: Tensor, unfolds: int) -> tuple[Tensor, Tensor]:
        """Potentials a sample later and their Jacobian `(..., pairs, 2, 2)` by those before; all samples at once if so given."""
        part = elapsed / unfolds
        jacobian = torch.eye(2, dtype=potential.dtype, device=potential.device).expand(*potential.shape, 2)
        for _ in range(unfolds):
            gates = self.gates(potential)
            conductance, current = self.totals(drive[0], gates)
            below = self.capacitance + part * conductance
            after = (self.capacitance * potential + part * current) / below  # eq. ltc-step
            if torch.is_grad_enabled():
                # The same as a change of v, for the gradient alone: that of C is then not the small difference of two sums over all samples.
                change = potential + part * (current - conductance * potential) / below
                after = after.detach() + (change - change.detach())
            potential = after
            own = self.self_conductance * _bend(gates[0]) * self.self_slope * (self.self_reversal - potential)
            cross = self.reciprocal_conductance * _bend(gates[1]) * self.reciprocal_slope * (self.reciprocal_reversal - potential)
            if gates[2] is not None:
                cross = cross + drive[0] * _bend(gates[2]) * self.steering_slope * (self.sensory_reversal - potential)
            straight, crossed = (self.capacitance + part * own) / below, part * cross / below
            jacobian = straight.unsqueeze(-1) * jacobian + crossed.unsqueeze(-1) * jacobian.flip(-2)
        return potential, jacobian


def _bend(gate: Tensor) -> Tensor:
    return gate * (1 - gate)


class FrozenPairs(NamedTuple):
    """A cell of given values, so that a backend can run some pairs of a layer, or others for each sequence, on another backend."""

    frozen: Pairs
    solver: SemiImplicitEuler

    @property
    def tile_size(self) -> int:
        """Flip-flops that are coupled to one another: none."""
        return 0

    @property
    def state_shape(self) -> tuple[int, int]:
        """Pairs, and two neurons each."""
        return (self.frozen.values.shape[1], 2)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """One line a pair where it is shared, else two."""
        return self.state_shape[:1] if self.frozen.shared else self.state_shape

    def form(self) -> Pairs:
        """The values."""
        return self.frozen

    def circuit(self) -> PairCircuit:
        """Gates and currents of the values."""
        return PairCircuit(self.frozen)

    def parameters(self):
        """The values, as the one parameter."""
        yield self.frozen.values


def hull(values: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest reversal potential `(pairs, 1)` of values `(17, pairs, 2)`; absent synapses count with their 0."""
    reversals = values[list(REVERSALS)]
    return reversals.amin((0, 2)).unsqueeze(-1), reversals.amax((0, 2)).unsqueeze(-1)


def finish(potentials: Tensor, start: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Potentials `(batch, time, pairs, 2)` with zeros where padded, and the last real ones, or the start where there are none."""
    if lengths is None:
        return potentials, potentials[:, -1]
    at = (lengths - 1).clamp(min=0).reshape(-1, 1, 1, 1).expand(-1, 1, *start.shape[1:])
    last = torch.where((lengths > 0).reshape(-1, 1, 1), potentials.gather(1, at).squeeze(1), start)
    return blank_padding(potentials, lengths), last


def refusal(cell) -> str | None:
    """Why a backend for independent flip-flops cannot run this cell, to follow the backend's name; None if it can."""
    if type(cell.solver) is not SemiImplicitEuler:
        return f"expects the solver SemiImplicitEuler, got {type(cell.solver).__name__}: change the solver, or use backend='sequential'"
    if not (hasattr(cell, "form") and isinstance(cell.form(), Pairs)):
        return (
            "expects independent flip-flops, got a cell whose neurons are coupled in other ways: leave out the lateral synapses, "
            "or use backend='sequential'"
        )
    return None
