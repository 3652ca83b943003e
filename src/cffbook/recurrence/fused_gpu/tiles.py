"""The fused pass over time of flip-flops in tiles, as an operator that PyTorch knows: autograd, compile."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from cffbook.recurrence.fused_gpu import LARGEST
from cffbook.recurrence.fused_gpu.operators import contiguous, given_or_zero, gradients, launch, outputs, shape_of_times
from cffbook.recurrence.fused_gpu.tiles_backward import backward
from cffbook.recurrence.fused_gpu.tiles_forward import forward

ROWS = 16  # sequences of a program, the least that Triton's products of matrices take


def run(cell, lines: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, ...]:
    """Potentials `(batch, time, pairs)` of neuron a, those of b, and the last ones; arguments as `unroll` has prepared them."""
    size = next(size for size in (16, LARGEST) if cell.tile_size <= size)
    block = size // cell.tile_size * cell.tile_size  # small tiles share a program
    pairs, gates, matrices = cell.tiles(block)
    matrices = pad(matrices, (0, size - block, 0, size - block))
    tail = block, cell.solver.unfolds, pairs.steered, pairs.shared
    return fused_tiles(lines, pairs.values, potential, elapsed, gates, matrices, lengths, *tail)


@torch.library.custom_op("cffbook::fused_tiles_gpu", mutates_args=())
def fused_tiles(
    lines: Tensor, values: Tensor, potential: Tensor, elapsed: Tensor, gates: Tensor, matrices: Tensor, lengths: Tensor | None,
    block: int, unfolds: int, steered: bool, shared: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Potentials of neuron a at all samples, of neuron b, and the last ones of both."""
    found = outputs(lines, potential, lengths)
    if lines.shape[0] * lines.shape[1]:
        constants = {"BLOCK": block, "UNFOLDS": unfolds, "STEERED": steered, "SHARED": shared}
        warps = ROWS * matrices.shape[2] // 32  # a thread for each flip-flop of each sequence
        _launch(forward, warps, contiguous(lines, values, potential, gates, matrices), lengths, elapsed, found, constants)
    return found


@torch.library.custom_op("cffbook::fused_tiles_gpu_backward", mutates_args=())
def fused_tiles_backward(
    given: Tensor, given_other: Tensor | None, last: Tensor, lines: Tensor, values: Tensor, potential: Tensor, elapsed: Tensor,
    gates: Tensor, matrices: Tensor, own: Tensor, other: Tensor, lengths: Tensor | None,
    block: int, unfolds: int, steered: bool, shared: bool, timed: bool,
) -> list[Tensor]:  # fmt: skip
    """Gradients of lines, values, potential, elapsed `(batch, time or 1, pairs, 2)` where it is wanted, gates and matrices."""
    batch, time, pairs = lines.shape[:3]
    written = gradients(lines, last, elapsed, lengths, timed)
    shapes = (batch, pairs, len(values), 2), (batch, pairs, 2), (-(-batch // ROWS), matrices.shape[1], 4, *matrices.shape[2:])
    sums = [torch.zeros(shape, dtype=torch.float64, device=lines.device) for shape in shapes]
    if batch * time:
        told = contiguous(own, other, given, given if given_other is None else given_other, last)
        more = *told, *written, *sums, lines.new_empty(2, unfolds, batch * pairs)
        constants = {"BLOCK": block, "UNFOLDS": unfolds, "STEERED": steered, "SHARED": shared}
        constants |= {"BOTH": given_other is not None, "TIMED": timed}
        # 8 warps: a thread has as many registers as there can be.
        _launch(backward, 8, contiguous(lines, values, potential, gates, matrices), lengths, elapsed, more, constants)
    whole = sums[0].sum(0).transpose(0, 1), sums[1].sum(0).T, sums[2].sum(0).transpose(0, 1)
    g_values, *rest = (each.to(lines.dtype, memory_format=torch.contiguous_format) for each in whole)
    return [written[0], g_values, *written[1:], *rest]


def _launch(kernel, warps: int, tensors: list[Tensor], lengths: Tensor | None, elapsed: Tensor, more: tuple, constants: dict) -> None:
    """One program for each `ROWS` sequences and each block of the adjacency matrix."""
    matrices, (batch, time, pairs) = tensors[-1], tensors[0].shape[:3]
    grid, constants = (-(-batch // ROWS), matrices.shape[1]), constants | {"ROWS": ROWS, "SIZE": matrices.shape[2]}
    launch(kernel, grid, warps, tensors, (batch, time, pairs), lengths, elapsed, more, constants)


@fused_tiles.register_fake
def _(lines, values, potential, elapsed, gates, matrices, lengths, block, unfolds, steered, shared):
    return outputs(lines, potential, lengths)


@fused_tiles_backward.register_fake
def _(given, given_other, last, lines, values, potential, elapsed, gates, matrices, own, other, lengths, block, unfolds, steered, shared, timed):
    every = [each.new_empty(each.shape) for each in (lines, values, potential, gates, matrices)]
    return [*every[:3], lines.new_empty(shape_of_times(lines, elapsed, timed)), *every[3:]]


def _keep(ctx, inputs, output):
    *tensors, ctx.lengths, ctx.block, ctx.unfolds, ctx.steered, ctx.shared = inputs
    ctx.save_for_backward(*tensors, *output[:2])
    ctx.set_materialize_grads(False)


def _differentiate(ctx, given, given_other, last):
    saved = ctx.saved_tensors
    timed, elapsed = ctx.needs_input_grad[3], saved[3]
    given, last = given_or_zero(saved[0], given, last)
    tail = ctx.lengths, ctx.block, ctx.unfolds, ctx.steered, ctx.shared, timed
    g_lines, g_values, g_start, times, *more = fused_tiles_backward(given, given_other, last, *saved, *tail)
    times = times.sum_to_size(elapsed.shape) if timed else None
    return g_lines, g_values, g_start, times, *more, None, None, None, None, None


fused_tiles.register_autograd(_differentiate, setup_context=_keep)
