"""The fused pass over time of independent flip-flops, as an operator that PyTorch knows: autograd, compile."""

import torch
from torch import Tensor

from cffbook.recurrence.forms import Pairs
from cffbook.recurrence.fused_gpu import interpreted
from cffbook.recurrence.fused_gpu.pairs_backward import backward
from cffbook.recurrence.fused_gpu.pairs_forward import MANY, forward

LANES = 32  # of a program, which is one warp: lanes wait for no others


def run(form: Pairs, unfolds: int, lines: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, ...]:
    """Potentials `(batch, time, pairs)` of neuron a, those of b, and the last ones; arguments as `unroll` has prepared them."""
    return fused_pairs(lines, form.values, potential, elapsed, lengths, unfolds, form.steered, form.shared)


@torch.library.custom_op("cffbook::fused_pairs_gpu", mutates_args=())
def fused_pairs(
    lines: Tensor, values: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None, unfolds: int, steered: bool, shared: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Potentials of neuron a at all samples, of neuron b, and the last ones of both."""
    # Programs end at their own last real sample: what they leave is 0.
    make = torch.empty if lengths is None else torch.zeros
    own, other = (make(lines.shape[:3], dtype=lines.dtype, device=lines.device) for _ in range(2))
    last = potential.clone(memory_format=torch.contiguous_format)
    if lines.shape[0] * lines.shape[1]:
        read = _contiguous(lines, values, potential), elapsed, lengths
        _launch(forward, *read, (own, other, last), unfolds, {"STEERED": steered, "SHARED": shared})
    return own, other, last


@torch.library.custom_op("cffbook::fused_pairs_gpu_backward", mutates_args=())
def fused_pairs_backward(
    given: Tensor, given_other: Tensor | None, last: Tensor, lines: Tensor, values: Tensor, potential: Tensor, elapsed: Tensor,
    own: Tensor, other: Tensor, lengths: Tensor | None, unfolds: int, steered: bool, shared: bool, timed: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of lines, values, potential and, where it is wanted, elapsed `(batch, time or 1, pairs, 2)`."""
    batch, time, pairs = lines.shape[:3]
    make = torch.empty if lengths is None else torch.zeros
    g_lines, g_start = make(lines.shape, dtype=lines.dtype, device=lines.device), last.clone(memory_format=torch.contiguous_format)
    g_elapsed = lines.new_zeros((batch, elapsed.shape[1], pairs, 2) if timed else (0, 0, 0, 0))
    sums = torch.zeros(batch, pairs, len(values), 2, dtype=torch.float64, device=lines.device)
    if batch * time:
        kept = lines.new_empty((2, unfolds, batch * pairs) if unfolds > MANY else 0)
        told = _contiguous(own, other, given, given if given_other is None else given_other, last)
        constants = {"STEERED": steered, "SHARED": shared, "BOTH": given_other is not None, "TIMED": timed}
        read = _contiguous(lines, values, potential), elapsed, lengths
        _launch(backward, *read, (*told, g_lines, g_start, g_elapsed, sums, kept), unfolds, constants)
    g_values = sums.sum(0).transpose(0, 1).to(values.dtype, memory_format=torch.contiguous_format)
    return g_lines, g_values, g_start, g_elapsed


def _launch(kernel, read: list[Tensor], elapsed: Tensor, lengths: Tensor | None, more: tuple, unfolds: int, constants: dict) -> None:
    """One program for each `LANES` lanes."""
    batch, time, pairs = read[0].shape[:3]
    times, single = elapsed.expand(batch, -1, pairs, 2), read[0].dtype == torch.float32
    constants = constants | {"UNFOLDS": unfolds, "STEADY": elapsed.shape[1] == 1, "PADDED": lengths is not None, "LANES": LANES}
    arguments = *read, times, read[0] if lengths is None else lengths, *more, time, pairs, batch * pairs, *times.stride()
    with torch.cuda.device_of(read[0]):
        grid = (-(-batch * pairs // LANES),)
        kernel[grid](*arguments, **constants, FAST=single and not interpreted(), num_warps=1, enable_fp_fusion=True)


def _contiguous(*tensors: Tensor) -> list[Tensor]:
    return [each.contiguous() for each in tensors]


@fused_pairs.register_fake
def _(lines, values, potential, elapsed, lengths, unfolds, steered, shared):
    own, other = lines.new_empty(lines.shape[:3]), lines.new_empty(lines.shape[:3])
    return own, other, torch.empty_like(potential, memory_format=torch.contiguous_format)


@fused_pairs_backward.register_fake
def _(given, given_other, last, lines, values, potential, elapsed, own, other, lengths, unfolds, steered, shared, timed):
    times = (lines.shape[0], elapsed.shape[1], lines.shape[2], 2) if timed else (0, 0, 0, 0)
    return (
        lines.new_empty(lines.shape), values.new_empty(values.shape), potential.new_empty(potential.shape), lines.new_empty(times)
    )  # fmt: skip


def _keep(ctx, inputs, output):
    *tensors, ctx.lengths, ctx.unfolds, ctx.steered, ctx.shared = inputs
    ctx.save_for_backward(*tensors, *output[:2])
    ctx.set_materialize_grads(False)


def _differentiate(ctx, given, given_other, last):
    saved = ctx.saved_tensors
    lines, _, potential, elapsed, *_ = saved
    timed = ctx.needs_input_grad[3]
    given = lines.new_zeros(lines.shape[:3]) if given is None else given
    last = torch.zeros_like(potential) if last is None else last
    tail = ctx.lengths, ctx.unfolds, ctx.steered, ctx.shared, timed
    gradients = fused_pairs_backward(given, given_other, last, *saved, *tail)
    return *gradients[:3], gradients[3].sum_to_size(elapsed.shape) if timed else None, None, None, None, None


fused_pairs.register_autograd(_differentiate, setup_context=_keep)
