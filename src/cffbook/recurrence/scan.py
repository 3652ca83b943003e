"""Associative scans: a recurrence over time in O(log T) steps, each of them parallel over what is left of time.

The affine recurrence y_t = A_t y_{t-1} + b_t joins two neighbours into one sample,
(A, b) after (A', b') = (A A', A b' + b): half of the samples are left, and so on. Source: Blelloch 1990.
"""

import torch
from torch import Tensor


def apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """`matrix` `(..., n, n)` times `vector` `(..., n)`."""
    return (matrix * vector.unsqueeze(-2)).sum(-1)


def affine(matrix: Tensor, offset: Tensor) -> Tensor:
    """y_t = A_t y_{t-1} + b_t from y_{-1} = 0; a start y goes into the first offset, as b_0 + A_0 y.

    Args:
        matrix: A, `(batch, time, ..., n, n)`; the first one is not used.
        offset: b, `(batch, time, ..., n)`.

    Returns:
        y, shaped as `offset`.
    """
    time = offset.shape[1]
    if time <= 1:
        return offset
    even, odd = offset[:, 0 : time - time % 2 : 2], offset[:, 1::2]
    later = matrix[:, 1::2]
    # Only the second of a pair needs the product: the first of all pairs is never asked for, nor is its matrix finite always.
    joined = torch.cat((torch.zeros_like(later[:, :1]), later[:, 1:] @ matrix[:, 2 : time - time % 2 : 2]), 1)
    second = affine(joined, apply(later, even) + odd)
    first = offset[:, 2::2]
    first = torch.cat((offset[:, :1], apply(matrix[:, 2::2], second[:, : first.shape[1]]) + first), 1)
    return _interleave(first, second)


def affine_reverse(matrix: Tensor, offset: Tensor) -> Tensor:
    """The adjoint of `affine`: z_t = A_{t+1}^T z_{t+1} + b_t, from the last sample back; shapes as there."""
    turned = matrix.transpose(-1, -2).flip(1).roll(1, 1)
    return affine(turned, offset.flip(1)).flip(1)


def compose(maps: Tensor) -> Tensor:
    """Running composition of maps of a finite set onto itself: out[k] = maps[k] o ... o maps[0].

    Args:
        maps: `(steps, states, ...)` int64; maps[k, i] is where step k takes state i.
    """
    steps, reach = maps.shape[0], 1
    while reach < steps:
        # maps[k] after what was done up to `reach` steps before
        maps = torch.cat((maps[:reach], maps[reach:].gather(1, maps[:-reach])))
        reach *= 2
    return maps


def _interleave(first: Tensor, second: Tensor) -> Tensor:
    """first[0], second[0], first[1], ...; `first` may be longer by one."""
    count = second.shape[1]
    pairs = torch.stack((first[:, :count], second), 2).flatten(1, 2)
    return torch.cat((pairs, first[:, count:]), 1)
