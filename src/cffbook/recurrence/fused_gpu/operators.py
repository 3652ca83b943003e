"""What the operators have in common: room for results, and the launch of a kernel."""

import torch
from torch import Tensor

from cffbook.recurrence.fused_gpu import interpreted


def outputs(lines: Tensor, potential: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Room for the potentials of neuron a and b at all samples, and for the last ones, which are those given until a sample comes."""
    own, other = (_room(lines.shape[:3], lines, lengths) for _ in range(2))
    return own, other, potential.clone(memory_format=torch.contiguous_format)


def gradients(lines: Tensor, last: Tensor, elapsed: Tensor, lengths: Tensor | None, timed: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Room for the gradients of lines, of the start and, where it is wanted, of elapsed `(batch, time or 1, pairs, 2)`."""
    g_elapsed = lines.new_zeros(shape_of_times(lines, elapsed, timed))
    return _room(lines.shape, lines, lengths), last.clone(memory_format=torch.contiguous_format), g_elapsed


def shape_of_times(lines: Tensor, elapsed: Tensor, timed: bool) -> tuple[int, ...]:
    """The shape of the gradient of elapsed, empty where it is not wanted."""
    return (lines.shape[0], elapsed.shape[1], lines.shape[2], 2) if timed else (0, 0, 0, 0)


def _room(shape, like: Tensor, lengths: Tensor | None) -> Tensor:
    # A program ends at its own last real sample: what it leaves is 0.
    return like.new_empty(shape) if lengths is None else like.new_zeros(shape)


def contiguous(*tensors: Tensor) -> list[Tensor]:
    """The tensors as kernels read them."""
    return [each.contiguous() for each in tensors]


def launch(kernel, grid: tuple[int, ...], warps: int, tensors: list[Tensor], sizes: tuple[int, ...], lengths: Tensor | None,
           elapsed: Tensor, more: tuple[Tensor, ...], constants: dict[str, int | bool]) -> None:  # fmt: skip
    """Run the programs of a kernel, whose arguments begin with lines, values, start, elapsed and lengths.

    Args:
        tensors: lines, values, start, and what follows the lengths.
        sizes: integers before the strides of elapsed.
        more: what follows the tensors.
        constants: those of the kernel but STEADY, PADDED and FAST.
    """
    lines, values, start, *rest = tensors
    times = elapsed.expand(lines.shape[0], -1, lines.shape[2], 2)
    constants = constants | {"STEADY": elapsed.shape[1] == 1, "PADDED": lengths is not None}
    constants["FAST"] = lines.dtype == torch.float32 and not interpreted()
    arguments = lines, values, start, times, lines if lengths is None else lengths, *rest, *more, *sizes, *times.stride()
    with torch.cuda.device_of(lines):
        kernel[grid](*arguments, **constants, num_warps=warps, enable_fp_fusion=True)


def given_or_zero(lines: Tensor, given: Tensor | None, last: Tensor | None) -> tuple[Tensor, Tensor]:
    """Gradients of neuron a's potentials and of the last ones, 0 where there are none."""
    given = lines.new_zeros(lines.shape[:3]) if given is None else given
    return given, lines.new_zeros(lines.shape[0], lines.shape[2], 2) if last is None else last
