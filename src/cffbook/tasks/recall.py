"""Associative recall: what followed this token before? The home ground of attention, and a control here.

Multi-query associative recall: pairs of a key and a value, then queries, each of the keys once at any place among blanks; the
value is the target at its query. A recurrent memory has to hold all pairs at once, attention looks them up. Source: Arora et
al. 2023 (vocabulary 8,192, half of it keys; their queries lie closer to the pairs, these anywhere).

Induction heads: random tokens, one special token among them, which comes again at the end; the target is the token that followed
it. Source: Olsson et al. 2022; Gu & Dao 2023 (256 samples, 16 tokens).
"""

import numpy as np

from cffbook.tasks.generated import SPLITS, Generated, below, collate, longer_tests, splits
from cffbook.tasks.task import IGNORED, Batch, Task, check_count


class AssociativeRecall(Generated):
    """Batches of `(batch, length)` tokens: 0 blank, keys 1 ... keys, values above them; targets are value 0 ... values - 1.

    Args:
        seed, role, size, length: see `Generated`.
        pairs, keys, values: see `build`.
    """

    def __init__(self, seed: int, role: str, size: int, length: int, pairs: int, keys: int, values: int):
        self.least = 3 * pairs
        super().__init__(seed, role, size, length)
        self.pairs, self.keys, self.values = pairs, keys, values

    def _batch(self, indices: np.ndarray) -> Batch:
        count, length, pairs = len(indices), self.length, self.pairs
        room = length - 2 * pairs
        numbers = self.numbers(indices, self.keys + pairs + room)
        keys = distinct(numbers[:, : self.keys], pairs)
        values = below(numbers[:, self.keys : self.keys + pairs], self.values)
        places = 2 * pairs + distinct(numbers[:, self.keys + pairs :], pairs)
        inputs = np.zeros((count, length), dtype=np.int64)
        inputs[:, 0 : 2 * pairs : 2], inputs[:, 1 : 2 * pairs : 2] = 1 + keys, 1 + self.keys + values
        targets, rows = np.full_like(inputs, IGNORED), np.arange(count)[:, None]
        inputs[rows, places], targets[rows, places] = 1 + keys, values
        return collate(inputs, targets)


class Induction(Generated):
    """Batches of `(batch, length)` tokens: 0 unused, 1 ... alphabet, the special one; the target is at the last sample.

    Args:
        seed, role, size, length: see `Generated`.
        alphabet: see `build_induction`.
    """

    least = 3

    def __init__(self, seed: int, role: str, size: int, length: int, alphabet: int):
        super().__init__(seed, role, size, length)
        self.alphabet = alphabet

    def _batch(self, indices: np.ndarray) -> Batch:
        rows, numbers = np.arange(len(indices)), self.numbers(indices, self.length + 1)
        inputs = 1 + below(numbers[:, : self.length], self.alphabet)
        place = below(numbers[:, -1], self.length - 2)
        inputs[rows, place] = inputs[:, -1] = self.alphabet + 1
        targets = np.full_like(inputs, IGNORED)
        targets[:, -1] = inputs[rows, place + 1] - 1
        return collate(inputs, targets)


def distinct(numbers: np.ndarray, count: int) -> np.ndarray:
    """`count` different indices of the columns of `(batch, columns)` random numbers, in random order."""
    return np.argsort(numbers, axis=1, kind="stable")[:, :count]


def build(
    pairs: int = 8, keys: int = 64, values: int = 64, length: int = 64, valid_length: int | None = None,
    longer: tuple[int, ...] = (), longer_size: int = 100, train: int = 100_000, valid: int = 2_000, test: int = 2_000, seed: int = 0,
) -> Task:  # fmt: skip
    """Build multi-query associative recall.

    Args:
        pairs: pairs of a key and a value in an example.
        keys, values: different keys and values.
        length: samples, at least 3 x `pairs`.
        valid_length, longer, longer_size, train, valid, test, seed: as of parity.

    Raises:
        ValueError: an option out of range.
    """
    check_count("pairs", pairs)
    check_count("keys", keys, pairs)
    check_count("values", values, 2)
    sizes = {"train": train, "valid": valid, "test": test}
    made = {role: AssociativeRecall(seed, role, sizes[role], length, pairs, keys, values) for role in SPLITS}
    parts = splits(made, valid_length)
    return Task(
        name="associative_recall", kind="tokens", vocabulary=1 + keys + values, features=None, classes=values,
        length=max(length, valid_length or 0), **parts,
        variant={"pairs": pairs, "keys": keys, "values": values, "length": length, "valid_length": valid_length,
                 "longer": list(longer), "longer_size": longer_size, **sizes, "seed": seed},
        floors={"memoryless": 1 / values, "any_value_of_the_example": 1 / pairs + (1 - 1 / pairs) / values},
        tests=longer_tests(made["test"], longer, longer_size),
    )  # fmt: skip


def build_induction(
    alphabet: int = 16, length: int = 256, valid_length: int | None = None,
    longer: tuple[int, ...] = (), longer_size: int = 100, train: int = 100_000, valid: int = 2_000, test: int = 2_000, seed: int = 0,
) -> Task:  # fmt: skip
    """Build induction heads.

    Args:
        alphabet: different tokens beside the special one.
        length: samples, at least 3.
        valid_length, longer, longer_size, train, valid, test, seed: as of parity.

    Raises:
        ValueError: an option out of range.
    """
    check_count("alphabet", alphabet, 2)
    sizes = {"train": train, "valid": valid, "test": test}
    made = {role: Induction(seed, role, sizes[role], length, alphabet) for role in SPLITS}
    parts = splits(made, valid_length)
    return Task(
        name="induction", kind="tokens", vocabulary=alphabet + 2, features=None, classes=alphabet, length=max(length, valid_length or 0),
        **parts,
        variant={"alphabet": alphabet, "length": length, "valid_length": valid_length, "longer": list(longer),
                 "longer_size": longer_size, **sizes, "seed": seed},
        floors={"memoryless": 1 / alphabet}, tests=longer_tests(made["test"], longer, longer_size),
    )  # fmt: skip
