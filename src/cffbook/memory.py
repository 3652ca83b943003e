"""The memory layer: continuous flip-flops over an adjacency matrix, called like attention.

The flip-flops are those of eq. cff, coupled by eq. lateral; an affine map gives them their inputs, another the outputs.
Source: Brantner 2021, section 3.2.
"""

import torch
from torch import Tensor, nn

from cffbook.flipflop import FlipFlop, NearCritical
from cffbook.lateral import STRENGTH, MemoryCell, check_kind, check_wiring
from cffbook.recurrence import blank_padding, check_backend, unroll, unroll_mapped
from cffbook.recurrence.checks import check_inputs
from cffbook.solver import SemiImplicitEuler
from cffbook.wiring import Wiring, independent
from cffbook.wiring.checks import count

READOUTS = ("one", "both")


class MemoryLayer(nn.Module):
    """A memory of continuous flip-flops in place of attention.

    An affine map gives each CFF its input lines, the CFFs run over time, an affine map of what they hold gives the
    outputs. Cost and memory are linear in time; a step needs only the potentials, so that streaming is constant.
    Built under `torch.device("meta")`, without numbers, it takes those of a checkpoint by `load_state_dict(numbers, assign=True)`.

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
        strength: largest initial conductance of all lateral synapses onto one neuron together; about 1, as much as a pair's
            own synapses, for layers that are to track states, where synapses have to flip what others hold.
        drive: factor of the input map's initial weights; above 1 the lines swing gates further open and closed from the start.

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
        strength: float = STRENGTH,
        drive: float = 1.0,
    ):
        super().__init__()
        d_model = count(d_model, "d_model")
        check_backend(backend)
        if drive <= 0:
            raise ValueError(f"drive must be positive, got {drive}: 1 leaves the input map as `torch.nn.Linear` draws it")
        if not isinstance(flip_flops, FlipFlop):
            flip_flops = FlipFlop(count(flip_flops, "flip_flops"), sensory="steered", solver=SemiImplicitEuler(1), init=NearCritical())
        check_kind(lateral)
        if readout not in READOUTS:
            raise ValueError(f"unknown readout {readout!r}: choose one of {', '.join(READOUTS)}")
        wiring = _both_ways(wiring, flip_flops.pairs) if bidirectional else wiring
        if wiring is not None:
            check_wiring(wiring, flip_flops.pairs)
        coupled = wiring is not None and wiring.synapses > 0
        self.cell: FlipFlop | MemoryCell = MemoryCell(flip_flops, wiring, lateral, strength) if coupled else flip_flops
        self.d_model, self.readout, self.bidirectional, self.backend = d_model, readout, bidirectional, backend
        lines, held = flip_flops.pairs * (2 if flip_flops.scheme == "set_reset" else 1), flip_flops.pairs * (1 if readout == "one" else 2)
        self.input_map = nn.Linear(d_model, lines)
        self.input_map.weight.data.mul_(drive)
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
        check_inputs(inputs, (self.d_model,))
        if self.bidirectional and potential is not None:
            raise ValueError("a bidirectional layer cannot continue from a potential, it needs the whole sequence: use bidirectional=False")
        maps, ways = (self.input_map, self.output_map), 2 if self.bidirectional else 1
        whole = unroll_mapped(self.cell, *maps, inputs, potential, elapsed, lengths, self.backend, ways)
        if whole is None:
            one = self.readout == "one"
            held, last = self._run(inputs, potential, elapsed, lengths, first=one)
            whole = self.output_map(held if one else held.flatten(-2)), last
        return blank_padding(whole[0], lengths), whole[1]

    def extra_repr(self) -> str:
        """What the parts do not say, for `print`."""
        return f"{self.d_model}, readout={self.readout!r}, bidirectional={self.bidirectional}, backend={self.backend!r}"

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
