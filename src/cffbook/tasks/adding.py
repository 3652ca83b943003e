"""The adding problem: the sum of the two marked numbers among T.

A sample is (value, marker), irregularly sampled if told: values uniform in [0, 1), markers 0 but for a 1 once in the first half and once in the second.
Source: Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016 for the two halves and for the floor: always answering 1
has mean squared error 1/6, the variance of the sum.
"""

import numpy as np

from cffbook.tasks.generated import SPLITS, Generated, below, collate, gaps, longer_tests, uniform
from cffbook.tasks.task import Batch, Task


class Adding(Generated):
    """Batches of `(batch, length, 2)` float32 with targets `(batch,)` float32."""

    least = 2

    def __init__(self, seed: int, role: str, size: int, length: int, irregular: bool = False):
        super().__init__(seed, role, size, length)
        self.irregular = irregular

    def _batch(self, indices: np.ndarray) -> Batch:
        length, half = self.length, self.length // 2
        numbers = self.numbers(indices, length + 2 + length * self.irregular)
        inputs = np.zeros((len(indices), length, 2), dtype=np.float32)
        inputs[:, :, 0] = uniform(numbers[:, :length])
        rows = np.arange(len(indices))
        places = below(numbers[:, length], half), half + below(numbers[:, length + 1], length - half)
        for place in places:
            inputs[rows, place, 1] = 1
        targets = inputs[rows, places[0], 0] + inputs[rows, places[1], 0]
        return collate(inputs, targets, gaps(numbers[:, -length:]) if self.irregular else None)


def build(
    length: int = 100, irregular: bool = False, longer: tuple[int, ...] = (), longer_size: int = 100,
    train: int = 100_000, valid: int = 2_000, test: int = 2_000, seed: int = 0,
) -> Task:  # fmt: skip
    """Build the adding problem.

    Args:
        length: samples T, at least 2.
        irregular: samples come 1/8 to 8 apart (see `gaps`); the times since the last sample are in the batch, and change no sum.
        longer: lengths of further test splits.
        longer_size: examples in each of them.
        train, valid, test: examples in each split, made on the fly.
        seed: fixes everything.

    Raises:
        ValueError: an option out of range.
    """
    sizes = {"train": train, "valid": valid, "test": test}
    splits = {role: Adding(seed, role, sizes[role], length, irregular) for role in SPLITS}
    return Task(
        name="adding", kind="regression", vocabulary=None, features=2, classes=1, length=length, **splits,
        variant={"length": length, "irregular": irregular, "longer": list(longer), "longer_size": longer_size,
                 "sizes": list(sizes.values()), "seed": seed},
        floors={"predict_one": _error_of_one(splits["test"])}, tests=longer_tests(splits["test"], longer, longer_size),
    )  # fmt: skip


def _error_of_one(split: Adding) -> float:
    """Mean squared error of always answering 1, about 1/6."""
    block = max(1, min(1000, (1 << 20) // split.length))
    squares = [
        ((split.batch(range(first, min(first + block, len(split)))).targets.double() - 1) ** 2).sum().item()
        for first in range(0, len(split), block)
    ]
    return sum(squares) / len(split)
