"""The fused pass over time of flip-flops in tiles, as an operator that PyTorch knows: autograd, compile."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from cffbook.recurrence.fused_gpu import LARGEST, interpreted
from cffbook.recurrence.fused_gpu.tiles_backward import backward
from cffbook.recurrence.fused_gpu.tiles_forward import forward

ROWS = 16  # sequences of a program: rows of a matrix that tensor cores take


def run(cell, lines: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, ...]:
    """Potentials `(batch, time, pairs)` of neuron a, those of b, and the last ones; arguments as `unroll` has prepared them."""
    size = next(size for size in (16, 32, LARGEST) if cell.tile_size <= size)
    block = size // cell.tile_size * cell.tile_size  # small tiles share a program
    pairs, gates, matrices = cell.tiles(block)
    matrices = pad(matrices, (0, size - block, 0, size - block))
    return fused_tiles(
        lines, pairs.values, gates, matrices, potential, elapsed, lengths, block, cell.solver.unfolds, pairs.steered, pairs.shared
    )


@torch.library.custom_op("cffbook::fused_tiles_gpu", mutates_args=())
def fused_tiles(
    lines: Tensor, values: Tensor, gates: Tensor, matrices: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None,
    block: int, unfolds: int, steered: bool, shared: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Potentials of neuron a at all samples, of neuron b, and the last ones of both."""
    # Programs end at their own last real sample: what they leave is 0.
    make = torch.empty if lengths is None else torch.zeros
    own, other = (make(lines.shape[:3], dtype=lines.dtype, device=lines.device) for _ in range(2))
    last = potential.clone(memory_format=torch.contiguous_format)
    if lines.shape[0] * lines.shape[1]:
        read = _contiguous(lines, values, potential, gates, matrices)
        _launch(forward, read, elapsed, lengths, (own, other, last), unfolds, {"BLOCK": block, "STEERED": steered, "SHARED": shared})
    return own, other, last


@torch.library.custom_op("cffbook::fused_tiles_gpu_backward", mutates_args=())
def fused_tiles_backward(
    given: Tensor, given_other: Tensor | None, last: Tensor, lines: Tensor, values: Tensor, gates: Tensor, matrices: Tensor,
    potential: Tensor, elapsed: Tensor, own: Tensor, other: Tensor, lengths: Tensor | None,
    block: int, unfolds: int, steered: bool, shared: bool, timed: bool,
) -> list[Tensor]:  # fmt: skip
    """Gradients of lines, values, gates, matrices, potential and, where it is wanted, elapsed `(batch, time or 1, pairs, 2)`."""
    batch, time, pairs = lines.shape[:3]
    make = torch.empty if lengths is None else torch.zeros
    g_lines, g_start = make(lines.shape, dtype=lines.dtype, device=lines.device), last.clone(memory_format=torch.contiguous_format)
    g_elapsed = lines.new_zeros((batch, elapsed.shape[1], pairs, 2) if timed else (0, 0, 0, 0))
    shapes = (batch, pairs, len(values), 2), (batch, pairs, 2), (-(-batch // ROWS), matrices.shape[1], 4, *matrices.shape[2:])
    sums = [torch.zeros(shape, dtype=torch.float64, device=lines.device) for shape in shapes]
    if batch * time:
        kept = lines.new_empty(2, unfolds, batch * pairs)
        told = _contiguous(own, other, given, given if given_other is None else given_other, last)
        constants = {"BLOCK": block, "STEERED": steered, "SHARED": shared, "BOTH": given_other is not None, "TIMED": timed}
        read = _contiguous(lines, values, potential, gates, matrices)
        _launch(backward, read, elapsed, lengths, (*told, g_lines, g_start, g_elapsed, *sums, kept), unfolds, constants)
    whole = sums[0].sum(0).transpose(0, 1), sums[1].sum(0).T, sums[2].sum(0).transpose(0, 1)
    g_values = (each.to(lines.dtype, memory_format=torch.contiguous_format) for each in whole)
    return [g_lines, *g_values, g_start, g_elapsed]


def _launch(kernel, read: list[Tensor], elapsed: Tensor, lengths: Tensor | None, more: tuple, unfolds: int, constants: dict) -> None:
    """One program for each block of the adjacency matrix and each `ROWS` sequences, a thread for each flip-flop of each."""
    lines, values, start, gates, matrices = read
    batch, time, pairs = lines.shape[:3]
    times, size = elapsed.expand(batch, -1, pairs, 2), matrices.shape[2]
    constants = constants | {"UNFOLDS": unfolds, "STEADY": elapsed.shape[1] == 1, "PADDED": lengths is not None, "ROWS": ROWS, "SIZE": size}
    arguments = lines, values, start, times, lines if lengths is None else lengths, gates, matrices, *more, batch, time, pairs, *times.stride()
    with torch.cuda.device_of(lines):
        grid = (-(-batch // ROWS), matrices.shape[1])
        fast = lines.dtype == torch.float32 and not interpreted()
        kernel[grid](*arguments, **constants, FAST=fast, num_warps=ROWS * size // 32, enable_fp_fusion=True)


def _contiguous(*tensors: Tensor) -> list[Tensor]:
    return [each.contiguous() for each in tensors]


@fused_tiles.register_fake
def _(lines, values, gates, matrices, potential, elapsed, lengths, block, unfolds, steered, shared):
    own, other = lines.new_empty(lines.shape[:3]), lines.new_empty(lines.shape[:3])
    return own, other, torch.empty_like(potential, memory_format=torch.contiguous_format)


@fused_tiles_backward.register_fake
def _(given, given_other, last, lines, values, gates, matrices, potential, elapsed, own, other, lengths, block, unfolds, steered, shared, timed):
    times = (lines.shape[0], elapsed.shape[1], lines.shape[2], 2) if timed else (0, 0, 0, 0)
    return [*(each.new_empty(each.shape) for each in (lines, values, gates, matrices, potential)), lines.new_empty(times)]


def _keep(ctx, inputs, output):
    *tensors, ctx.lengths, ctx.block, ctx.unfolds, ctx.steered, ctx.shared = inputs
    ctx.save_for_backward(*tensors, *output[:2])
    ctx.set_materialize_grads(False)


def _differentiate(ctx, given, given_other, last):
    saved = ctx.saved_tensors
    lines, _, _, _, potential, elapsed, *_ = saved
    timed = ctx.needs_input_grad[5]
    given = lines.new_zeros(lines.shape[:3]) if given is None else given
    last = torch.zeros_like(potential) if last is None else last
    tail = ctx.lengths, ctx.block, ctx.unfolds, ctx.steered, ctx.shared, timed
    *gradients, times = fused_tiles_backward(given, given_other, last, *saved, *tail)
    return *gradients, times.sum_to_size(elapsed.shape) if timed else None, None, None, None, None, None


fused_tiles.register_autograd(_differentiate, setup_context=_keep)
