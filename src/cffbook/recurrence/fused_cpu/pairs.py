"""The fused pass over time of independent flip-flops, as an operator that PyTorch knows: autograd, compile."""

import torch
from torch import Tensor

from cffbook.recurrence.forms import Pairs
from cffbook.recurrence.fused_cpu.arithmetic import np
from cffbook.recurrence.fused_cpu.operators import differentiate, operator, refuse
from cffbook.recurrence.fused_cpu.pairs_backward import backward
from cffbook.recurrence.fused_cpu.pairs_forward import LANES, VALUES, chunk_of, forward
from cffbook.recurrence.fused_cpu.pool import share


def run(form: Pairs, unfolds: int, lines: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, ...]:
    """Potentials `(batch, time, pairs)` of neuron a, those of b, and the last ones; arguments as `unroll` has prepared them."""
    if lengths is None:
        lengths = torch.full((lines.shape[0],), lines.shape[1])
    return fused_pairs(lines, form.values, potential, elapsed, lengths, unfolds, form.steered, form.shared)


def _forward(
    lines: Tensor, values: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor, unfolds: int, steered: bool, shared: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Potentials of neuron a at all samples, of neuron b, and the last ones of both."""
    batch, time, pairs = lines.shape[:3]
    own, other = roomy(batch, time, pairs, like=lines), roomy(batch, time, pairs, like=lines)
    last = potential.clone(memory_format=torch.contiguous_format)
    if batch * time == 0:
        return own, other, last
    arrays = _arrays(lines, values, potential, elapsed, lengths)
    none = potential.new_empty(0, 0, 0, 0).numpy()
    tail = unfolds, steered, shared, False, own.numpy(), other.numpy(), last.numpy(), none, 0, 0
    share(lambda first, end: forward(first, end, *arrays, *tail), _blocks(batch * pairs), batch * time * pairs * unfolds)
    return own, other, last


def _backward(
    given: Tensor, given_other: Tensor | None, last: Tensor, lines: Tensor, values: Tensor, potential: Tensor, elapsed: Tensor,
    lengths: Tensor, own: Tensor, other: Tensor, unfolds: int, steered: bool, shared: bool, timed: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of lines, values, potential and, where it is wanted, elapsed `(batch, time or 1, pairs, 2)`."""
    batch, time, pairs = lines.shape[:3]
    g_lines, g_start = roomy(*lines.shape, like=lines), last.clone(memory_format=torch.contiguous_format)
    g_elapsed = lines.new_zeros((batch, elapsed.shape[1], pairs, 2) if timed else (0, 0, 0, 0))
    sums = torch.zeros(_blocks(batch * pairs), VALUES * LANES, dtype=torch.float64)
    if batch * time:
        lines_, values_, _, times, lengths_ = _arrays(lines, values, potential, elapsed, lengths)
        nothing = lines.new_empty(0, 0, 0).detach()
        given_other = nothing if given_other is None else given_other
        gradients = *(each.detach().contiguous().numpy() for each in (given, given_other)), g_start.clone().numpy()
        written = g_lines.reshape(batch, time, pairs, -1).numpy(), g_start.numpy(), g_elapsed.numpy(), sums.numpy()
        marks = _marks(potential, own, other, chunk_of(unfolds)).numpy()
        arrays = lines_, values_, times, lengths_
        tail = unfolds, steered, shared, False, marks, 0, 0, nothing.numpy(), nothing.numpy(), *gradients, *written
        share(lambda first, end: backward(first, end, *arrays, *tail), len(sums), 3 * batch * time * pairs * unfolds)
    return g_lines, sum_lanes(sums, batch, pairs, values.dtype), g_start, g_elapsed


def sum_lanes(sums: Tensor, batch: int, pairs: int, dtype: torch.dtype) -> Tensor:
    """Gradients of the values `(17, pairs, 2)` from the sums of every lane `(blocks, 34 * LANES)`."""
    lanes = sums.reshape(-1, VALUES, LANES).transpose(0, 1).flatten(1)[:, : batch * pairs]
    return lanes.reshape(VALUES // 2, 2, batch, pairs).sum(2).transpose(1, 2).to(dtype, memory_format=torch.contiguous_format)


def roomy(*shape: int, like: Tensor) -> Tensor:
    """An empty tensor; numpy asks the system for large pages where PyTorch does not, which come four times as fast."""
    return torch.from_numpy(np.empty(shape, like.detach().numpy().dtype))


def _marks(potential: Tensor, own: Tensor, other: Tensor, chunk: int) -> Tensor:
    """Potentials before every `chunk` samples, `(batch, chunks, pairs, 2)`; where sequences have ended, any finite ones do."""
    before = torch.stack((own[:, chunk - 1 : -1 : chunk], other[:, chunk - 1 : -1 : chunk]), -1)
    return torch.cat((potential.to(own.dtype)[:, None], before), 1).detach().contiguous()


def _arrays(lines: Tensor, values: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor) -> tuple:
    """The kernels' arrays: neither copies of what is contiguous, nor of what is the same for many samples."""
    batch, _, pairs = lines.shape[:3]
    times = elapsed.detach().expand(batch, -1, pairs, 2).numpy()
    lines, values, potential = (each.detach().contiguous().numpy() for each in (lines, values, potential))
    return lines.reshape(*lines.shape[:3], -1), values, potential, times, lengths.numpy()


def _blocks(lanes: int) -> int:
    return -(-lanes // LANES)


def _like_forward(lines, values, potential, elapsed, lengths, unfolds, steered, shared):
    own, other = lines.new_empty(lines.shape[:3]), lines.new_empty(lines.shape[:3])
    return own, other, torch.empty_like(potential, memory_format=torch.contiguous_format)


def _like_backward(given, given_other, last, lines, values, potential, elapsed, lengths, own, other, unfolds, steered, shared, timed):
    times = (lines.shape[0], elapsed.shape[1], lines.shape[2], 2) if timed else (0, 0, 0, 0)
    return (
        lines.new_empty(lines.shape), values.new_empty(values.shape), potential.new_empty(potential.shape), lines.new_empty(times)
    )  # fmt: skip


fused_pairs = operator("fused_pairs", _forward, _like_forward)
fused_pairs_backward = operator("fused_pairs_backward", _backward, _like_backward)


def _keep(ctx, inputs, output):
    *tensors, ctx.unfolds, ctx.steered, ctx.shared = inputs
    ctx.save_for_backward(*tensors, *output[:2])
    ctx.set_materialize_grads(False)


def _differentiate(ctx, given, given_other, last):
    saved = ctx.saved_tensors
    lines, _, potential, elapsed, *_ = saved
    timed = ctx.needs_input_grad[3]
    given = lines.new_zeros(lines.shape[:3]) if given is None else given
    last = torch.zeros_like(potential) if last is None else last
    gradients = fused_pairs_backward(given, given_other, last, *saved, ctx.unfolds, ctx.steered, ctx.shared, timed)
    return *gradients[:3], gradients[3].sum_to_size(elapsed.shape) if timed else None, None, None, None, None


differentiate("fused_pairs", _differentiate, _keep)
refuse("fused_pairs_backward")
