"""The copying memory problem: symbols to be said again after a long blank.

Inputs: `symbols` symbols of an alphabet, blanks - 1 blanks, a delimiter, `symbols` blanks. Targets: blanks + symbols blanks,
then the symbols. Length blanks + 2 symbols. As in the literature the loss is the mean over all positions, and without
memory it cannot be below symbols ln(alphabet) / length. Made shorter for a curriculum, an example with fewer blanks than
`symbols` has only as many symbols as blanks: one symbol to hold at first, then one more at a time.
Source: Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016.
"""

import math
from typing import Self

import numpy as np

from cffbook.tasks.generated import SPLITS, Generated, below, collate, longer_tests, splits
from cffbook.tasks.task import IGNORED, Batch, Task, check_count

SCORED = ("all", "recall")


class Copying(Generated):
    """Batches of `(batch, length + 2 symbols)` tokens: 0 unused, 1 ... alphabet, blank, delimiter; targets alike."""

    def __init__(self, seed: int, role: str, size: int, blanks: int, symbols: int, alphabet: int, scored: str):
        super().__init__(seed, role, size, blanks)
        self.symbols, self.alphabet, self.scored = symbols, alphabet, scored

    def at(self, length: int, size: int | None = None) -> Self:
        """The split with another number of blanks, and with no more symbols than these; see `Generated.at`."""
        other = super().at(length, size)
        other.symbols = min(self.symbols, length)
        return other

    def _batch(self, indices: np.ndarray) -> Batch:
        count, length = self.symbols, self.length + 2 * self.symbols
        blank, delimiter = self.alphabet + 1, self.alphabet + 2
        said = 1 + below(self.numbers(indices, count), self.alphabet)
        inputs = np.full((len(indices), length), blank, dtype=np.int64)
        targets = np.full_like(inputs, blank if self.scored == "all" else IGNORED)
        inputs[:, :count] = targets[:, -count:] = said
        inputs[:, length - count - 1] = delimiter
        return collate(inputs, targets)


def memoryless_loss(blanks: int, symbols: int = 10, alphabet: int = 8) -> float:
    """Return the mean cross-entropy (nats) over all positions of the best predictor that remembers no symbol."""
    return symbols * math.log(alphabet) / (blanks + 2 * symbols)


def build(
    blanks: int = 100,
    symbols: int = 10,
    alphabet: int = 8,
    scored: str = "all",
    valid_blanks: int | None = None,
    longer: tuple[int, ...] = (),
    longer_size: int = 100,
    train: int = 100_000,
    valid: int = 2_000,
    test: int = 2_000,
    seed: int = 0,
) -> Task:
    """Build the copying memory problem.

    Args:
        blanks: samples between the last symbol said and the first to recall, T of the literature.
        symbols: symbols to remember.
        alphabet: different symbols.
        scored: "all" (every position counts, the literature's loss) or "recall" (only the last `symbols`, the others -100).
        valid_blanks: blanks of the validation split, None for `blanks`.
        longer: blanks of further test splits; where they are fewer than `symbols`, so are the symbols.
        longer_size: examples in each of them.
        train, valid, test: examples in each split, made on the fly.
        seed: fixes everything.

    Returns:
        A task of kind "tokens"; the floor "memoryless" is an accuracy, `memoryless_loss` gives the loss.

    Raises:
        ValueError: an option out of range.
    """
    for name, value, least in (("blanks", blanks, 1), ("symbols", symbols, 1), ("alphabet", alphabet, 2)):
        check_count(name, value, least)
    if scored not in SCORED:
        raise ValueError(f"expected scored to be one of {', '.join(SCORED)}; got {scored!r}")
    sizes = {"train": train, "valid": valid, "test": test}
    made = {role: Copying(seed, role, sizes[role], blanks, symbols, alphabet, scored) for role in SPLITS}
    length, guessed = blanks + 2 * symbols, symbols / alphabet
    longest = max(blanks, valid_blanks or 0) + 2 * symbols
    return Task(
        name="copying", kind="tokens", vocabulary=alphabet + 3, features=None, classes=alphabet + 3, length=longest,
        **splits(made, valid_blanks),
        variant={"blanks": blanks, "symbols": symbols, "alphabet": alphabet, "scored": scored, "valid_blanks": valid_blanks, "longer": list(longer),
                 "longer_size": longer_size, "sizes": list(sizes.values()), "seed": seed},
        floors={"memoryless": (length - symbols + guessed) / length if scored == "all" else 1 / alphabet},
        tests=longer_tests(made["test"], longer, longer_size),
    )  # fmt: skip
