"""The fused pass over time of independent flip-flops, as an operator that PyTorch knows: autograd, compile."""

import torch
from torch import Tensor

from cffbook.recurrence.forms import Pairs
from cffbook.recurrence.fused_gpu.operators import contiguous, given_or_zero, gradients, launch, outputs, shape_of_times
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
    found = outputs(lines, potential, lengths)
    if lines.shape[0] * lines.shape[1]:
        constants = {"UNFOLDS": unfolds, "STEERED": steered, "SHARED": shared}
        _launch(forward, contiguous(lines, values, potential), lengths, elapsed, found, constants)
    return found


@torch.library.custom_op("cffbook::fused_pairs_gpu_backward", mutates_args=())
def fused_pairs_backward(
    given: Tensor, given_other: Tensor | None, last: Tensor, lines: Tensor, values: Tensor, potential: Tensor, elapsed: Tensor,
    own: Tensor, other: Tensor, lengths: Tensor | None, unfolds: int, steered: bool, shared: bool, timed: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of lines, values, potential and, where it is wanted, elapsed `(batch, time or 1, pairs, 2)`."""
    batch, time, pairs = lines.shape[:3]
    written = gradients(lines, last, elapsed, lengths, timed)
    sums = torch.zeros(batch, pairs, len(values), 2, dtype=torch.float64, device=lines.device)
    if batch * time:
        told = contiguous(own, other, given, given if given_other is None else given_other, last)
        kept = lines.new_empty((2, unfolds, batch * pairs) if unfolds > MANY else 0)
        constants = {"UNFOLDS": unfolds, "STEERED": steered, "SHARED": shared, "BOTH": given_other is not None, "TIMED": timed}
        _launch(backward, contiguous(lines, values, potential), lengths, elapsed, (*told, *written, sums, kept), constants)
    g_values = sums.sum(0).transpose(0, 1).to(values.dtype, memory_format=torch.contiguous_format)
    return written[0], g_values, *written[1:]


def _launch(kernel, tensors: list[Tensor], lengths: Tensor | None, elapsed: Tensor, more: tuple[Tensor, ...], constants: dict) -> None:
    """One program for each `LANES` lanes."""
    batch, time, pairs = tensors[0].shape[:3]
    grid, sizes = (-(-batch * pairs // LANES),), (time, pairs, batch * pairs)
    launch(kernel, grid, 1, tensors, sizes, lengths, elapsed, more, constants | {"LANES": LANES})


@fused_pairs.register_fake
def _(lines, values, potential, elapsed, lengths, unfolds, steered, shared):
    return outputs(lines, potential, lengths)


@fused_pairs_backward.register_fake
def _(given, given_other, last, lines, values, potential, elapsed, own, other, lengths, unfolds, steered, shared, timed):
    every = (each.new_empty(each.shape) for each in (lines, values, potential))
    return *every, lines.new_empty(shape_of_times(lines, elapsed, timed))


def _keep(ctx, inputs, output):
    *tensors, ctx.lengths, ctx.unfolds, ctx.steered, ctx.shared = inputs
    ctx.save_for_backward(*tensors, *output[:2])
    ctx.set_materialize_grads(False)


def _differentiate(ctx, given, given_other, last):
    saved = ctx.saved_tensors
    timed, elapsed = ctx.needs_input_grad[3], saved[3]
    given, last = given_or_zero(saved[0], given, last)
    tail = ctx.lengths, ctx.unfolds, ctx.steered, ctx.shared, timed
    *found, times = fused_pairs_backward(given, given_other, last, *saved, *tail)
    return *found, times.sum_to_size(elapsed.shape) if timed else None, None, None, None, None


fused_pairs.register_autograd(_differentiate, setup_context=_keep)
