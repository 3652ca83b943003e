"""Which sample may attend to which: sparse patterns as masks, True where query i sees key j.

Source: Child et al. 2019 (fixed), Beltagy et al. 2020 (Longformer), Zaheer et al. 2020 (BigBird); local blocks as in the
Long Range Arena (Tay et al. 2021), which simulates the patterns with masks too. A mask saves no time: it is the pattern
that is compared here, not its speed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# (query (time, 1), key (1, seen), lengths (batch, 1, 1)) -> bool, broadcast to (batch, time, seen)
Pattern = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Local:
    """Every block of samples sees itself and the blocks on either side."""

    block: int

    def __call__(self, query: Tensor, key: Tensor, lengths: Tensor) -> Tensor:
        return (query // self.block - key // self.block).abs() <= 1


@dataclass(frozen=True)
class Fixed:
    """Every block of samples sees itself and the last samples of every block."""

    block: int
    summary: int

    def __call__(self, query: Tensor, key: Tensor, lengths: Tensor) -> Tensor:
        return (query // self.block == key // self.block) | (key % self.block >= self.block - self.summary)


@dataclass(frozen=True)
class Band:
    """Every sample sees half a window on either side; the first `global_samples` see all and are seen by all."""

    window: int
    global_samples: int = 0

    def __call__(self, query: Tensor, key: Tensor, lengths: Tensor) -> Tensor:
        near = (query - key).abs() <= self.window // 2
        return near | (query < self.global_samples) | (key < self.global_samples)


@dataclass(frozen=True)
class RandomBlocks:
    """Every block sees itself, both neighbours and some random blocks; the first samples see all and are seen by all.

    The random blocks are those of the highest of fixed pseudo-random scores among the sequence's own further blocks (the
    earlier ones if causal), so that they depend neither on padding nor on how far a stream has come.
    """

    block: int
    random_blocks: int
    global_samples: int
    causal: bool

    def __call__(self, query: Tensor, key: Tensor, lengths: Tensor) -> Tensor:
        blocks = -(-key.shape[1] // self.block)
        i, j = torch.arange(blocks, device=key.device)[:, None], torch.arange(blocks, device=key.device)
        free = ((i - j > 1) if self.causal else ((i - j).abs() > 1)) & (j * self.block < lengths)
        scores = scatter_bits(i, j).masked_fill(~free, -1)
        best = scores.topk(min(self.random_blocks, blocks), -1).indices
        chosen = torch.zeros_like(free).scatter(-1, best, True) & free
        seen = ((i - j).abs() <= 1) | chosen
        rows = seen[:, (query // self.block)[:, 0]][:, :, (key // self.block)[0]]
        return rows | (query < self.global_samples) | (key < self.global_samples)


def scatter_bits(i: Tensor, j: Tensor) -> Tensor:
    """A pseudo-random integer in [0, 2^32) for every pair of indices, the same on every machine."""
    bits = (i * 0x9E3779B1 + j * 0x85EBCA77 + 1) & 0xFFFFFFFF
    for multiplier, shift in ((0x7FEB352D, 16), (0x2C1B3C6D, 15)):
        bits = ((bits ^ (bits >> shift)) * multiplier) & 0xFFFFFFFF
    return bits ^ (bits >> 16)
