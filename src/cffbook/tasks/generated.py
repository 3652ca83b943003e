"""Examples made when asked for, from (seed, split, index) alone: nothing is stored, and batches never change them.

Numbers are SplitMix64 (Steele, Lea & Flood 2014): 64-bit integer arithmetic, the same on every machine and for whole
batches at once. An example's key is mixed from the split's key, which knows its length, and its index; its numbers count
on from that key.
"""

import copy
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import numpy as np
import torch

from cffbook.tasks.task import IGNORED, Batch, Split, check_count

SPLITS = ("train", "valid", "test")
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_HASHED, _AT_ONCE = 256, 1 << 21


def mix(state: np.ndarray) -> np.ndarray:
    """SplitMix64's output function, elementwise on uint64."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def below(numbers: np.ndarray, bound: int) -> np.ndarray:
    """Map uint64 to integers 0 ... bound - 1, int64, evenly up to bound / 2^32."""
    return (((numbers >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)


def uniform(numbers: np.ndarray) -> np.ndarray:
    """Map uint64 to float32 in [0, 1), multiples of 2^-24."""
    return (numbers >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def gaps(numbers: np.ndarray) -> np.ndarray:
    """Map uint64 to times since the last sample, float32 in [1/8, 8): a power of two times a uniform number in [1, 2).

    As many are below as above 1. Only exact operations, so that every machine has the same bits.
    """
    return np.ldexp(1 + uniform(numbers << np.uint64(32)), (below(numbers, 6) - 3).astype(np.int32))


class Generated(Split):
    """A split whose examples are computed.

    Args:
        seed: of the task.
        role: "train", "valid" or "test": each has its own stream, at each length.
        size: number of examples.
        length: what the subclass makes its length from.
    """

    least = 1  # the shortest length that the subclass can make

    def __init__(self, seed: int, role: str, size: int, length: int):
        check_count("seed", seed, 0)
        check_count(role, size)
        check_count("length", length, self.least)
        self.seed, self.role, self.size, self.length = seed, role, size, length
        entropy = np.random.SeedSequence(entropy=seed, spawn_key=(SPLITS.index(role), length))
        self.key = entropy.generate_state(1, np.uint64)

    def __len__(self) -> int:
        return self.size

    def at(self, length: int, size: int | None = None) -> Self:
        """The split of the same role and seed at another length, whose examples are others; `size` of them, or as many.

        Raises:
            ValueError: a length that the task cannot have, or no examples.
        """
        other = copy.copy(self)
        other.__dict__.pop("hash", None)
        Generated.__init__(other, self.seed, self.role, self.size if size is None else size, length)
        return other

    def numbers(self, indices: np.ndarray, count: int) -> np.ndarray:
        """Return `(batch, count)` uniform uint64 of the examples at `indices`."""
        keys = mix(self.key + (indices.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
        return mix(keys[:, None] + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)

    @abstractmethod
    def _batch(self, indices: np.ndarray) -> Batch: ...

    def _contents(self) -> Iterator[np.ndarray | str]:
        """The stream's key, the length and the first examples, which fix all others as long as the code stays."""
        batch = first(self, _HASHED)
        yield from (self.key, f"length={self.length}", batch.inputs.numpy(), batch.targets.numpy())
        if batch.elapsed is not None:
            yield batch.elapsed.numpy()


def first(split: Generated, examples: int) -> Batch:
    """The first examples of a split, fewer where they are very long."""
    return split.batch(range(max(1, min(len(split), examples, _AT_ONCE // split.length))))


def collate(inputs: np.ndarray, targets: np.ndarray, elapsed: np.ndarray | None = None) -> Batch:
    """A batch of equally long examples, nothing padded."""
    lengths = torch.full((len(inputs),), inputs.shape[1])
    times = None if elapsed is None else torch.from_numpy(elapsed)
    return Batch(torch.from_numpy(inputs), lengths, torch.from_numpy(targets), times)


def splits(make: Mapping[str, Generated], valid_length: int | None = None) -> dict[str, Generated]:
    """The three splits, the validation split at a length of its own if told."""
    return {**make, "valid": make["valid"].at(valid_length)} if valid_length is not None else dict(make)


def longer_tests(test: Generated, longer: Sequence[int], size: int) -> dict[str, Generated]:
    """Test splits of `size` examples at other lengths, by name: "length 1000"."""
    check_count("longer_size", size)
    return {f"length {length}": test.at(length, size) for length in longer}


def token_floors(valid: Generated, test: Generated, classes: int, examples: int = 500) -> dict[str, float]:
    """Accuracies on the first test examples (fewer where they are very long): chance; always the commonest label; the commonest label after each token.

    What is common is counted on `valid`. The last one is the best that a model without memory and positions can do.
    """
    rows = []
    for split in (valid, test):
        batch = first(split, examples)
        scored = batch.targets != IGNORED
        rows.append((batch.inputs[scored].numpy(), batch.targets[scored].numpy()))
    (tokens, labels), (test_tokens, test_labels) = rows
    counts = np.zeros((max(tokens.max(), test_tokens.max()) + 1, classes), dtype=np.int64)
    np.add.at(counts, (tokens, labels), 1)
    return {
        "chance": 1 / classes,
        "majority": float(np.mean(test_labels == counts.sum(0).argmax())),
        "memoryless": float(np.mean(test_labels == counts.argmax(1)[test_tokens])),
    }
