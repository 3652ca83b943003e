"""Selective copying: symbols that stand at any places among blanks are said again, in their order, at the end.

Where copying can be done by counting samples, here a memory has to see what it stores. Inputs: `length` samples, `symbols` of
them symbols and the others blanks, then `symbols` cues, at which the symbols are the targets. Source: Gu & Dao 2023 (4,096
samples, 16 symbols of an alphabet of 16); Jing et al. 2019.
"""

import numpy as np

from cffbook.tasks.generated import SPLITS, Generated, below, collate, longer_tests, splits
from cffbook.tasks.task import IGNORED, Batch, Task, check_count


class SelectiveCopying(Generated):
    """Batches of `(batch, length + symbols)` tokens: 0 unused, 1 ... alphabet, blank, cue; targets are symbol - 1.

    Args:
        seed, role, size, length: see `Generated`; the length without the cues.
        symbols, alphabet: see `build`.
    """

    def __init__(self, seed: int, role: str, size: int, length: int, symbols: int, alphabet: int):
        self.least = symbols
        super().__init__(seed, role, size, length)
        self.symbols, self.alphabet = symbols, alphabet

    def _batch(self, indices: np.ndarray) -> Batch:
        count, length, symbols = len(indices), self.length, self.symbols
        numbers = self.numbers(indices, symbols + length)
        said = below(numbers[:, :symbols], self.alphabet)
        places = np.sort(np.argsort(numbers[:, symbols:], axis=1, kind="stable")[:, :symbols], axis=1)
        inputs = np.full((count, length + symbols), self.alphabet + 1, dtype=np.int64)
        inputs[np.arange(count)[:, None], places] = 1 + said
        inputs[:, length:] = self.alphabet + 2
        targets = np.full_like(inputs, IGNORED)
        targets[:, length:] = said
        return collate(inputs, targets)


def build(
    length: int = 256, symbols: int = 16, alphabet: int = 16, valid_length: int | None = None,
    longer: tuple[int, ...] = (), longer_size: int = 100, train: int = 100_000, valid: int = 2_000, test: int = 2_000, seed: int = 0,
) -> Task:  # fmt: skip
    """Build selective copying.

    Args:
        length: samples before the cues, at least `symbols`.
        symbols: symbols to remember.
        alphabet: different symbols.
        valid_length, longer, longer_size, train, valid, test, seed: as of parity.

    Raises:
        ValueError: an option out of range.
    """
    check_count("symbols", symbols)
    check_count("alphabet", alphabet, 2)
    sizes = {"train": train, "valid": valid, "test": test}
    made = {role: SelectiveCopying(seed, role, sizes[role], length, symbols, alphabet) for role in SPLITS}
    parts = splits(made, valid_length)
    return Task(
        name="selective_copying", kind="tokens", vocabulary=alphabet + 3, features=None, classes=alphabet,
        length=max(length, valid_length or 0) + symbols, **parts,
        variant={"length": length, "symbols": symbols, "alphabet": alphabet, "valid_length": valid_length, "longer": list(longer),
                 "longer_size": longer_size, **sizes, "seed": seed},
        floors={"memoryless": 1 / alphabet}, tests=longer_tests(made["test"], longer, longer_size),
    )  # fmt: skip
