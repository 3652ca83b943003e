"""Lateral synapses: continuous flip-flops over an adjacency matrix, a cell for `cffbook.recurrence.unroll`.

To the equation of the pair they add::

    C dv_i/dt = (cff) + Σ_j p_ji w_ji s(γ_ji (v_j - μ_ji)) (E_ji - v_i)                                (lateral)

The sources are CFF outputs, the targets both neurons of a CFF: a synapse of polarity +1 pushes its target towards
set (excites a, inhibits b), one of -1 towards reset. Source: Brantner 2021, section 3.2; Hasani et al. 2021.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from cffbook.flipflop import FlipFlop, FlipFlopCircuit
from cffbook.neuron import inverse_softplus
from cffbook.recurrence import Network, Synaptic
from cffbook.recurrence.forms import PAIR_VALUES, Tiles, layout
from cffbook.wiring import Wiring
from cffbook.wiring.devices import beside

LATERAL = ("presynaptic", "per_synapse")
STRENGTH = 0.1


class Lateral(NamedTuple):
    """Physical values of lateral synapses; conductance and reversal `(source, target, 2)`, 0 where there is none.

    Slope and half-activation are `(source,)` for presynaptic gates and `(source, target, 2)` for gates per synapse.
    """

    conductance: Tensor
    reversal: Tensor
    slope: Tensor
    half_activation: Tensor

    def __call__(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Conductance and current `(batch, target, 2)` that CFF outputs `(batch, source)` cause."""
        driven = self.conductance * self.reversal
        if self.slope.dim() == 1:
            gate = torch.sigmoid(self.slope * (outputs - self.half_activation))
            return torch.einsum("bs,stk->btk", gate, self.conductance), torch.einsum("bs,stk->btk", gate, driven)
        gate = torch.sigmoid(self.slope * (outputs[:, :, None, None] - self.half_activation))
        return (gate * self.conductance).sum(1), (gate * driven).sum(1)  # eq. lateral


class MemoryCircuit(NamedTuple):
    """Physical values of a memory cell."""

    flip_flops: FlipFlopCircuit
    lateral: Lateral

    @property
    def capacitance(self) -> Tensor:
        """C `(pairs, 2)`."""
        return self.flip_flops.capacitance

    def sense(self, inputs: Tensor) -> tuple[Tensor]:
        """Sensory conductance `(batch, time, pairs, 2)`."""
        return self.flip_flops.sense(inputs)

    def rate(self, drive: tuple[Tensor], potential: Tensor) -> tuple[Tensor, Tensor]:
        """(G, I), each `(batch, pairs, 2)`, so that C dv/dt = I - G v."""
        conductance, current = self.flip_flops.rate(drive, potential)
        more, driven = self.lateral(potential[..., 0])
        return conductance + more, current + driven  # eq. lateral


class LateralSynapses(nn.Module):
    """Trainable lateral synapses along a wiring; nothing is stored for absent ones.

    Args:
        wiring: polarity [source, target] between CFFs.
        kind: "presynaptic", one gate for each source, so that an unfold is one matrix product; or "per_synapse".
        strength: largest initial conductance of all synapses onto one neuron together.
    """

    def __init__(self, wiring: Wiring, kind: str = "presynaptic", strength: float = STRENGTH):
        super().__init__()
        check_kind(kind)
        if not strength > 0:
            raise ValueError(f"strength must be positive, got {strength}: {STRENGTH} starts nearly independent, 1 tracks states")
        source, target = torch.nonzero(wiring.polarity, as_tuple=True)
        sign = wiring.polarity[source, target].to(torch.get_default_dtype())
        self.kind, self.size = kind, wiring.size
        count = len(source)
        fan_in = max(1.0, count / wiring.size)
        self.raw_conductance = nn.Parameter(inverse_softplus(torch.empty(count, 2).uniform_(1e-3, 1.0) * strength / fan_in))
        self.raw_reversal = nn.Parameter(inverse_softplus(torch.ones(count, 2)))
        gates = (wiring.size,) if kind == "presynaptic" else (count, 2)
        self.raw_slope = nn.Parameter(inverse_softplus(torch.full(gates, 8.0)))
        self.half_activation = nn.Parameter(torch.empty(gates).uniform_(-0.3, 0.3))
        for name, fixed in (("source", source), ("target", target), ("sign", torch.stack((sign, -sign), -1))):
            self.register_buffer(name, beside(self.half_activation, fixed), persistent=False)

    def extra_repr(self) -> str:
        """Size and kind, for `print`."""
        return f"{self.size}, synapses={len(self.source)}, kind={self.kind!r}"

    def matrix(self, values: Tensor) -> Tensor:
        """Values `(synapses, 2)` as `(source, target, 2)`, 0 where there is no synapse."""
        return values.new_zeros(self.size, self.size, 2).index_put((self.source, self.target), values)

    def places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Source neuron of each gate; gate and target neuron of each synapse; the order is that of `vectors`."""
        target = torch.stack((2 * self.target, 2 * self.target + 1), -1).flatten()
        if self.kind == "presynaptic":
            return 2 * torch.arange(self.size, device=target.device), self.source.repeat_interleave(2), target
        return 2 * self.source.repeat_interleave(2), torch.arange(len(target), device=target.device), target

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Slope and half-activation `(2, gates)`, conductance and reversal `(2, synapses)`."""
        gates = torch.stack((softplus(self.raw_slope).flatten(), self.half_activation.flatten()))
        reversal = self.sign * softplus(self.raw_reversal)
        return gates, torch.stack((softplus(self.raw_conductance).flatten(), reversal.flatten()))

    def values(self) -> Lateral:
        """The physical values."""
        slope, half_activation = softplus(self.raw_slope), self.half_activation
        if self.kind == "per_synapse":
            slope, half_activation = self.matrix(slope), self.matrix(half_activation)
        reversal = self.sign * softplus(self.raw_reversal)
        return Lateral(self.matrix(softplus(self.raw_conductance)), self.matrix(reversal), slope, half_activation)


class MemoryCell(nn.Module):
    """Flip-flops with lateral synapses, a cell for `cffbook.recurrence.unroll`.

    Args:
        flip_flops: the CFFs.
        wiring: polarity [source, target] between them.
        lateral: kind of lateral synapse, "presynaptic" or "per_synapse".
        strength: largest initial conductance of all lateral synapses onto one neuron together.

    Raises:
        ValueError: the wiring is for another number of CFFs, or the kind is unknown.
    """

    def __init__(self, flip_flops: FlipFlop, wiring: Wiring, lateral: str = "presynaptic", strength: float = STRENGTH):
        super().__init__()
        check_wiring(wiring, flip_flops.pairs)
        self.flip_flops = flip_flops
        self.lateral = LateralSynapses(wiring, lateral, strength)
        self.state_shape, self.input_shape, self.solver = flip_flops.state_shape, flip_flops.input_shape, flip_flops.solver
        # Flip-flops that are coupled to one another at most, as neighbours; None where gates are not those of sources alone.
        self.tile_size = wiring.tile_size() if lateral == "presynaptic" else None
        self._lay_out()

    def _lay_out(self) -> None:
        """Where all synapses between neurons are: self, reciprocal, then lateral ones."""
        neurons = torch.arange(2 * self.flip_flops.pairs, device="cpu")
        self.other = neurons ^ 1
        lines = neurons // 2 if self.flip_flops.scheme == "shared" else neurons
        self.sensory_layout, *_ = layout(lines, neurons, neurons, len(neurons))
        source, gate, target = (place.cpu() for place in self.lateral.places())
        sources, targets = torch.cat((neurons, self.other, source)), torch.cat((neurons, neurons, target))
        gates = torch.cat((neurons, len(neurons) + neurons, 2 * len(neurons) + gate))
        self.layout, self.gate_order, self.order = layout(sources, gates, targets, len(neurons))

    def circuit(self) -> MemoryCircuit:
        """The physical values of the parameters."""
        return MemoryCircuit(self.flip_flops.circuit(), self.lateral.values())

    def form(self) -> Network:
        """The same values as arrays, for the fused backends; neuron = pair * 2 + (0 for a, 1 for b)."""
        values, steered, shared = self.flip_flops.form()
        named = dict(zip(PAIR_VALUES, values.flatten(1), strict=True))
        sign = values.new_tensor([1.0, -1.0]).repeat(self.flip_flops.pairs) if shared else 1.0  # s(γ(-u - μ)) = s(-γ(u + μ))

        def rows(*names: str) -> Tensor:
            return torch.stack([named[name] for name in names])

        sensory = Synaptic(
            self.sensory_layout, rows("sensory_slope", "sensory_half_activation") * sign, rows("sensory_conductance", "sensory_reversal")
        )
        gates, synapses = self.lateral.vectors()
        for kind in ("reciprocal", "self"):
            gates = torch.cat((rows(f"{kind}_slope", f"{kind}_half_activation"), gates), 1)
            synapses = torch.cat((rows(f"{kind}_conductance", f"{kind}_reversal"), synapses), 1)
        recurrent = Synaptic(self.layout, gates[:, self.gate_order], synapses[:, self.order])
        steering = (self.other, rows("steering_slope", "steering_half_activation")) if steered else None
        return Network(rows("capacitance", "leak_conductance", "leak_reversal"), sensory, recurrent, steering)


    def tiles(self, size: int) -> Tiles:
        """The same values by blocks of `size` flip-flops, a multiple of `tile_size`, for backends that run each block alone."""
        source, target, pairs = self.lateral.source, self.lateral.target, self.flip_flops.pairs
        gates, synapses = self.lateral.vectors()
        conductance, reversal = synapses.unflatten(1, (-1, 2))
        values = torch.cat((conductance, conductance * reversal), 1)  # (synapses, 4)
        at = source // size, source % size, target % size
        matrices = values.new_zeros(-(-pairs // size), size, size, 4).index_put(at, values).movedim(3, 0)
        return Tiles(self.flip_flops.form(), gates, matrices)


def check_kind(lateral: str) -> None:
    """Raise unless the kind of lateral synapse is known."""
    if lateral not in LATERAL:
        raise ValueError(f"unknown kind of lateral synapse {lateral!r}: choose one of {', '.join(LATERAL)}")


def check_wiring(wiring: Wiring, pairs: int) -> None:
    """Raise unless the wiring is for so many flip-flops."""
    if wiring.size != pairs:
        raise ValueError(f"the wiring is for {wiring.size} flip-flops, got {pairs}: make them equal")
