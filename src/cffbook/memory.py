"""The memory layer: continuous flip-flops over an adjacency matrix, called like attention.

To the equation of the pair its lateral synapses add::

    C dv_i/dt = (cff) + Σ_j p_ji w_ji s(γ_ji (v_j - μ_ji)) (E_ji - v_i)                                (lateral)

The sources are CFF outputs, the targets both neurons of a CFF: a synapse of polarity +1 pushes its target towards
set (excites a, inhibits b), one of -1 towards reset. Source: Brantner 2021, section 3.2; Hasani et al. 2021.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from cffbook.flipflop import FlipFlop, FlipFlopCircuit, NearCritical
from cffbook.neuron import inverse_softplus
from cffbook.recurrence import Network, Synaptic, blank_padding, unroll
from cffbook.recurrence.forms import PAIR_VALUES, layout
from cffbook.solver import SemiImplicitEuler
from cffbook.wiring import Wiring, independent

LATERAL = ("presynaptic", "per_synapse")
READOUTS = ("one", "both")


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

    def __init__(self, wiring: Wiring, kind: str = "presynaptic", strength: float = 0.1):
        super().__init__()
        _check_kind(kind)
        source, target = torch.nonzero(wiring.polarity, as_tuple=True)
        sign = wiring.polarity[source, target].to(torch.get_default_dtype())
        self.kind, self.size = kind, wiring.size
        self.register_buffer("source", source, persistent=False)
        self.register_buffer("target", target, persistent=False)
        self.register_buffer("sign", torch.stack((sign, -sign), -1), persistent=False)
        count = len(source)
        fan_in = max(1.0, count / wiring.size)
        self.raw_conductance = nn.Parameter(inverse_softplus(torch.empty(count, 2).uniform_(1e-3, 1.0) * strength / fan_in))
        self.raw_reversal = nn.Parameter(inverse_softplus(torch.ones(count, 2)))
        gates = (wiring.size,) if kind == "presynaptic" else (count, 2)
        self.raw_slope = nn.Parameter(inverse_softplus(torch.full(gates, 8.0)))
        self.half_activation = nn.Parameter(torch.empty(gates).uniform_(-0.3, 0.3))

    def matrix(self, values: Tensor) -> Tensor:
        """Values `(synapses, 2)` as `(source, target, 2)`, 0 where there is no synapse."""
        return values.new_zeros(self.size, self.size, 2).index_put((self.source, self.target), values)

    def places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Source neuron of each gate; gate and target neuron of each synapse; the order is that of `vectors`."""
        target = torch.stack((2 * self.target, 2 * self.target + 1), -1).flatten()
        if self.kind == "presynaptic":
            return 2 * torch.arange(self.size), self.source.repeat_interleave(2), target
        return 2 * self.source.repeat_interleave(2), torch.arange(len(target)), target

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

    Raises:
        ValueError: the wiring is for another number of CFFs, or the kind is unknown.
    """

    def __init__(self, flip_flops: FlipFlop, wiring: Wiring, lateral: str = "presynaptic"):
        super().__init__()
        _check_wiring(wiring, flip_flops.pairs)
        self.flip_flops = flip_flops
        self.lateral = LateralSynapses(wiring, lateral)
        self.state_shape, self.input_shape, self.solver = flip_flops.state_shape, flip_flops.input_shape, flip_flops.solver
        self._lay_out()

    def _lay_out(self) -> None:
        """Order all synapses between neurons by target and gate: self, reciprocal, then lateral ones."""
        neurons = torch.arange(2 * self.flip_flops.pairs)
        self.other = neurons ^ 1
        lines = neurons // 2 if self.flip_flops.scheme == "shared" else neurons
        self.sensory_layout = layout(lines, neurons, neurons)
        source, gate, target = self.lateral.places()
        sources = torch.cat((neurons, self.other, source))
        self.gate_order = torch.arange(len(sources))
        if self.lateral.kind == "per_synapse":
            # One gate a synapse, so gates may follow the order of the synapses.
            self.gate_order = torch.argsort(torch.cat((neurons, neurons, target)), stable=True)
        place = torch.argsort(self.gate_order)
        gates = place[torch.cat((neurons, len(neurons) + neurons, 2 * len(neurons) + gate))]
        targets = torch.cat((neurons, neurons, target))
        self.order = torch.argsort(targets * (len(sources) + 1) + gates)
        self.layout = layout(sources[self.gate_order], gates[self.order], targets[self.order])

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


class MemoryLayer(nn.Module):
    """A memory of continuous flip-flops in place of attention.

    An affine map gives each CFF its input lines, the CFFs run over time, an affine map of what they hold gives the
    outputs. Cost and memory are linear in time; a step needs only the potentials, so that streaming is constant.

    Args:
        d_model: width of inputs and outputs.
        flip_flops: a number of CFFs (steered, set and reset lines, one unfold, `NearCritical` start), or a `FlipFlop`.
        wiring: lateral synapses between CFFs, none by default. Of an NCP only the synapses between its neurons count, as
            the layer maps all inputs and outputs itself. With both directions a wiring of half the size is repeated
            for each direction.
        lateral: kind of lateral synapse, "presynaptic" or "per_synapse".
        readout: "one" neuron of each CFF (the proposal), or "both".
        bidirectional: the second half of the CFFs runs backwards in time.
        backend: see `cffbook.recurrence.unroll`.

    Raises:
        ValueError: sizes do not fit, or a name is unknown.

    Example:
        >>> layer = MemoryLayer(64)
        >>> y, potential = layer(torch.randn(8, 100, 64))
        >>> y.shape, potential.shape
        (torch.Size([8, 100, 64]), torch.Size([8, 64, 2]))
    """

    def __init__(
        self,
        d_model: int,
        flip_flops: FlipFlop | int = 64,
        wiring: Wiring | None = None,
        lateral: str = "presynaptic",
        readout: str = "one",
        bidirectional: bool = False,
        backend: str = "auto",
    ):
        super().__init__()
        if isinstance(flip_flops, int):
            flip_flops = FlipFlop(flip_flops, sensory="steered", solver=SemiImplicitEuler(1), init=NearCritical())
        _check_kind(lateral)
        if readout not in READOUTS:
            raise ValueError(f"unknown readout {readout!r}: choose one of {', '.join(READOUTS)}")
        wiring = _both_ways(wiring, flip_flops.pairs) if bidirectional else wiring
        if wiring is not None:
            _check_wiring(wiring, flip_flops.pairs)
        coupled = wiring is not None and wiring.synapses > 0
        self.cell: FlipFlop | MemoryCell = MemoryCell(flip_flops, wiring, lateral) if coupled else flip_flops
        self.d_model, self.readout, self.bidirectional, self.backend = d_model, readout, bidirectional, backend
        lines, held = flip_flops.pairs * (2 if flip_flops.scheme == "set_reset" else 1), flip_flops.pairs * (1 if readout == "one" else 2)
        self.input_map = nn.Linear(d_model, lines)
        self.output_map = nn.Linear(held, d_model)

    def forward(
        self, inputs: Tensor, potential: Tensor | None = None, elapsed: Tensor | float = 1.0, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Outputs `(batch, time, d_model)` and the last potentials `(batch, pairs, 2)`.

        Args:
            inputs: `(batch, time, d_model)`.
            potential: `(batch, pairs, 2)` at the start, zeros when None; what a call returned continues it.
            elapsed: time since the last sample, a number, `(batch,)` or `(batch, time)`.
            lengths: `(batch,)` real samples of each sequence; outputs are 0 after them.

        Raises:
            ValueError: a shape, length or time does not fit, or a bidirectional layer is asked to stream.
        """
        if inputs.dim() != 3 or inputs.shape[-1] != self.d_model:
            raise ValueError(f"inputs must have the shape (batch, time, {self.d_model}), got {tuple(inputs.shape)}: see d_model")
        if self.bidirectional and potential is not None:
            raise ValueError("a bidirectional layer cannot continue from a potential, it needs the whole sequence: use bidirectional=False")
        one = self.readout == "one"
        held, last = self._run(inputs, potential, elapsed, lengths, first=one)
        return blank_padding(self.output_map(held if one else held.flatten(-2)), lengths), last

    def potentials(
        self, inputs: Tensor, potential: Tensor | None = None, elapsed: Tensor | float = 1.0, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Membrane potentials `(batch, time, pairs, 2)` and the last ones; arguments as in `forward`."""
        return self._run(inputs, potential, elapsed, lengths, first=False)

    def _run(self, inputs, potential, elapsed, lengths, first: bool) -> tuple[Tensor, Tensor]:
        lines = self.input_map(blank_padding(inputs, lengths)).unflatten(-1, self.cell.input_shape)
        if not self.bidirectional:
            return unroll(self.cell, lines, potential, elapsed, lengths, self.backend, first)
        order = reversal(inputs.shape[0], inputs.shape[1], lengths, inputs.device)
        times = _turned_times(elapsed, order, self.cell)
        potentials, last = unroll(self.cell, _turn(lines, order), None, times, lengths, self.backend, first)
        return _turn(potentials, order), last


def reversal(batch: int, time: int, lengths: Tensor | None, device: torch.device) -> Tensor:
    """Indices `(batch, time)` that reverse each sequence and leave its padding in place."""
    steps = torch.arange(time, device=device).expand(batch, time)
    if lengths is None:
        return steps.flip(1)
    lengths = torch.as_tensor(lengths, device=device)[:, None]
    return torch.where(steps < lengths, lengths - 1 - steps, steps)


class _Reorder(torch.autograd.Function):
    """Samples of each sequence in an order that is its own inverse, so that the gradient takes the same way."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, order: Tensor) -> Tensor:
        batch, time = order.shape
        flat = order + time * torch.arange(batch, device=order.device)[:, None]
        return values.flatten(0, 1).index_select(0, flat.flatten()).unflatten(0, (batch, time))

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return _Reorder.apply(gradient, *ctx.saved_tensors), None


def _turn(values: Tensor, order: Tensor) -> Tensor:
    """`values` `(batch, time, pairs, ...)` with the second half of the pairs reversed in time."""
    forward, backward = values.chunk(2, 2)
    return torch.cat((forward, _Reorder.apply(backward, order)), 2)


def _turned_times(elapsed: Tensor | float, order: Tensor, cell: nn.Module) -> Tensor | float:
    """Elapsed times for both directions: backwards, the time since the last sample is that to the next one."""
    if not torch.is_tensor(elapsed) or elapsed.dim() < 2:
        return elapsed
    following = torch.cat((elapsed[:, 1:], elapsed[:, -1:]), 1)
    # A sequence's own last sample has no next one: it keeps its own time.
    last = order[:, :1]
    following = following.scatter(1, last, elapsed.gather(1, last)).gather(1, order)
    half = cell.state_shape[0] // 2
    both = torch.cat((elapsed[..., None].expand(-1, -1, half), following[..., None].expand(-1, -1, half)), 2)
    return both[..., None]


def _check_kind(lateral: str) -> None:
    if lateral not in LATERAL:
        raise ValueError(f"unknown kind of lateral synapse {lateral!r}: choose one of {', '.join(LATERAL)}")


def _check_wiring(wiring: Wiring, pairs: int) -> None:
    if wiring.size != pairs:
        raise ValueError(f"the wiring is for {wiring.size} flip-flops, got {pairs}: make them equal")


def _both_ways(wiring: Wiring | None, pairs: int) -> Wiring:
    if pairs % 2:
        raise ValueError(f"a bidirectional layer needs an even number of flip-flops, got {pairs}: half of them run backwards")
    if wiring is None:
        return independent(pairs)
    if wiring.size == pairs // 2:
        return wiring.repeat(2)
    if wiring.size == pairs and wiring.crosses(pairs // 2):
        raise ValueError(
            f"the wiring joins flip-flops of both directions of time, got synapses across {pairs // 2}: "
            f"give a wiring of {pairs // 2} flip-flops, which is used for each direction"
        )
    return wiring
