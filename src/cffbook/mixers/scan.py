"""A linear recurrence with given gates over a whole sequence, without a step for each sample::

    h_t = a_t h_{t-1} + b_t                                                                        (scan)

Time is cut into about sqrt(T) chunks that run side by side; then each chunk's start runs through the chunks. Unlike the
form in logarithms (Heinsen 2023) it allows any sign and loses no digits to a long sum.
"""

import math

import torch
from torch import Tensor


def linear_scan(gate: Tensor, value: Tensor, start: Tensor) -> Tensor:
    """All states `(batch, time, size)` of equation (scan).

    Args:
        gate: a `(batch, time, size)`.
        value: b `(batch, time, size)`.
        start: h before the first sample `(batch, size)`.
    """
    return _Scan.apply(gate, value, start)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gate: Tensor, value: Tensor, start: Tensor) -> Tensor:
        states = chunked(gate, value, start)
        ctx.save_for_backward(gate, start, states)
        return states

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # The adjoint runs the same recurrence from the end: l_t = g_t + a_{t+1} l_{t+1}.
        gate, start, states = ctx.saved_tensors
        later = torch.cat((gate[:, 1:], torch.zeros_like(gate[:, :1])), 1)
        adjoint = linear_scan(later.flip(1), gradient.flip(1), torch.zeros_like(start)).flip(1)
        before = torch.cat((start[:, None], states[:, :-1]), 1)
        return adjoint * before, adjoint, gate[:, 0] * adjoint[:, 0]


def chunked(gate: Tensor, value: Tensor, start: Tensor) -> Tensor:
    """The states, by a loop over the samples of a chunk and one over the chunks."""
    batch, time, size = value.shape
    length = max(1, math.isqrt(time))
    chunks = -(-time // length)
    padded = value.new_zeros(2, batch, chunks * length, size)
    padded[0, :, :time], padded[1, :, :time] = gate, value
    through, states = padded.unflatten(2, (chunks, length))  # (B, chunks, length, size)
    for t in range(1, length):
        states[:, :, t].addcmul_(through[:, :, t], states[:, :, t - 1])
        through[:, :, t].mul_(through[:, :, t - 1])
    carried = [start]
    for chunk in range(chunks - 1):
        carried.append(states[:, chunk, -1] + through[:, chunk, -1] * carried[-1])
    states.addcmul_(through, torch.stack(carried, 1)[:, :, None])
    return states.flatten(1, 2)[:, :time].contiguous()
