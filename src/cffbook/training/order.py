"""Which samples an update sees: a pure function of seed and step, so that a resumed run sees the same ones."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

POSITIONS = 1 << 20  # samples that are held at once where nothing is learned from them


class Order:
    """Batches of indices, reshuffled every epoch by a generator seeded with (seed, epoch).

    The position in the data is the number of updates alone: nothing else has to be kept to resume. A rest smaller than
    a batch is left out of its epoch; a split smaller than a batch is one batch.

    Args:
        samples: size of the split.
        batch: samples a batch.
        seed: seed of the order.
        lengths: length of every sample, `(samples,)`; needed for `bucket`.
        bucket: batches sorted by length together; 0 or 1 keeps the drawn order.

    Raises:
        ValueError: an empty split, or a bucket without lengths.
    """

    def __init__(self, samples: int, batch: int, seed: int, lengths: Tensor | None = None, bucket: int = 0):
        if samples < 1:
            raise ValueError("the split to train on is empty; it needs at least one sample")
        if bucket > 1 and lengths is None:
            raise ValueError("bucketing needs the length of every sample; give lengths, or bucket=0")
        self.samples, self.batch, self.seed = samples, min(batch, samples), seed
        self.lengths, self.bucket = lengths, bucket
        self.batches = samples // self.batch
        self._epoch, self._indices = -1, torch.empty(0, dtype=torch.int64)

    def __getitem__(self, step: int) -> Tensor:
        """Indices of update `step` (from 0), `(batch,)`."""
        epoch, position = divmod(step, self.batches)
        if epoch != self._epoch:
            self._epoch, self._indices = epoch, self.shuffle(epoch)
        return self._indices[position]

    def shuffle(self, epoch: int) -> Tensor:
        """All batches of an epoch, `(batches, batch)`."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
        indices = torch.randperm(self.samples, generator=generator)[: self.batches * self.batch]
        if self.bucket <= 1:
            return indices.view(self.batches, self.batch)
        pools = indices.split(self.bucket * self.batch)
        pools = [pool[torch.argsort(self.lengths[pool], stable=True)] for pool in pools]
        batches = torch.cat(pools).view(self.batches, self.batch)
        return batches[torch.randperm(self.batches, generator=generator)]


def drawn_length(seed: int, step: int, lengths: Sequence[int]) -> int:
    """The length of the examples of update `step` (from 0), evenly one of `lengths`."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**62 + 2**62)  # not one of the order's seeds
    return lengths[int(torch.randint(len(lengths), (), generator=generator))]


def sample_lengths(split, chunk: int = 512) -> Tensor:
    """Length of every sample of a split, `(samples,)`; of two towers the longer one."""
    chunk = max(1, min(chunk, POSITIONS // max(1, split.batch([0]).inputs.shape[1])))
    chunks = [split.batch(torch.arange(start, min(start + chunk, len(split)))).lengths
              for start in range(0, len(split), chunk)]
    lengths = torch.cat(chunks)
    return lengths.amax(dim=1) if lengths.ndim > 1 else lengths


def chunks(samples: int, batch: int, share: int = 0, shares: int = 1, lengths: Tensor | None = None) -> Iterator[Tensor]:
    """Every sample once in batches of indices; process `share` of `shares` gets every `shares`-th batch."""
    indices = torch.arange(samples) if lengths is None else torch.argsort(lengths, stable=True)
    yield from indices.split(batch)[share::shares]
