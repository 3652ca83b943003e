"""Examples made when asked for, from (seed, split, index) alone: nothing is stored, and batches never change them.

Numbers are SplitMix64 (Steele, Lea & Flood 2014): 64-bit integer arithmetic, the same on every machine and for whole
batches at once. An example's key is mixed from the split's key and its index; its numbers count on from that key.
"""

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np

from cffbook.tasks.task import Batch, Split, check_count

SPLITS = ("train", "valid", "test")
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_HASHED = 256


def mix(state: np.ndarray) -> np.ndarray:
    """SplitMix64's output function, elementwise on uint64."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def below(numbers: np.ndarray, bound: int) -> np.ndarray:
    """Map uint64 to integers 0 ... bound - 1, int64, evenly up to bound / 2^32."""
    return (((numbers >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)


class Generated(Split):
    """A split whose examples are computed.

    Args:
        seed: of the task.
        role: "train", "valid" or "test": each has its own stream.
        size: number of examples.
        length: what the subclass makes its length from.
    """

    def __init__(self, seed: int, role: str, size: int, length: int):
        check_count("seed", seed, 0)
        check_count(role, size)
        self.size = size
        self.length = length
        entropy = np.random.SeedSequence(entropy=seed, spawn_key=(SPLITS.index(role),))
        self.key = entropy.generate_state(1, np.uint64)

    def __len__(self) -> int:
        return self.size

    def numbers(self, indices: np.ndarray, count: int) -> np.ndarray:
        """Return `(batch, count)` uniform uint64 of the examples at `indices`."""
        keys = mix(self.key + (indices.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
        return mix(keys[:, None] + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)

    @abstractmethod
    def _batch(self, indices: np.ndarray) -> Batch: ...

    def _contents(self) -> Iterator[np.ndarray | str]:
        """The stream's key, the length and the first examples, which fix all others as long as the code stays."""
        batch = self.batch(range(min(self.size, _HASHED)))
        yield from (self.key, f"length={self.length}", batch.inputs.numpy(), batch.targets.numpy())
