"""Flip-flop language modelling, FFL(p): read out the bit that was written last, past bits that are to be ignored.

A text is made of pairs of an instruction and a bit: w (write), r (read), i (ignore). The first instruction is w and the last
is r; between them i has probability p, w and r have (1 - p) / 2 each. The bit after r is the one that was written last, other
bits are fair. Models are trained on p = 0.8 and tested on it, on p = 0.98 (sparse: long ignored stretches) and on p = 0.1
(dense). Source: Liu et al. 2023.
"""

import numpy as np

from cffbook.tasks.generated import SPLITS, Generated, below, collate, longer_tests, mix, splits, token_floors
from cffbook.tasks.task import IGNORED, Batch, Task

WRITE, READ, IGNORE, ZERO, ONE = range(1, 6)
SCORED = ("reads", "all")
SPARSE, DENSE = 0.98, 0.1
_UNIT = 1 << 32


class FlipFlopLanguage(Generated):
    """Batches of `(batch, length)` tokens, and at each the next one where it is scored.

    Where the length is odd the text ends in the last r, whose bit is still asked for. Classes are token ids.

    Args:
        seed, role, size, length: see `Generated`; the length in tokens.
        ignored: probability p of i.
        scored: see `build`.
    """

    least = 3

    def __init__(self, seed: int, role: str, size: int, length: int, ignored: float, scored: str = "reads"):
        super().__init__(seed, role, size, length)
        self.ignored, self.scored = ignored, scored

    def with_ignored(self, ignored: float, size: int | None = None) -> "FlipFlopLanguage":
        """The split with another probability of i, and as many examples if not told."""
        other = self.at(self.length, size)
        other.ignored = ignored
        other.key = mix(other.key + np.uint64(round(ignored * _UNIT)))
        return other

    def _batch(self, indices: np.ndarray) -> Batch:
        pairs = (self.length + 1) // 2
        numbers = self.numbers(indices, 2 * pairs)
        instructions, bits = self._instructions(numbers[:, :pairs]), below(numbers[:, pairs:], 2)
        last = np.maximum.accumulate(np.where(instructions == WRITE, np.arange(pairs), 0), axis=1)
        bits = np.where(instructions == READ, np.take_along_axis(bits, last, 1), bits)
        text = np.empty((len(indices), 2 * pairs + 1), dtype=np.int64)
        text[:, 0:-1:2], text[:, 1::2], text[:, -1] = instructions, ZERO + bits, IGNORED
        inputs, targets = text[:, : self.length].copy(), text[:, 1 : self.length + 1].copy()
        if self.scored == "reads":
            targets[inputs != READ] = IGNORED
        return collate(inputs, targets)

    def _instructions(self, numbers: np.ndarray) -> np.ndarray:
        """Instructions `(batch, pairs)`; probabilities are multiples of 2^-32."""
        places = (numbers >> np.uint64(32)).astype(np.int64)
        ignored = round(self.ignored * _UNIT)
        instructions = np.where(places < ignored, IGNORE, np.where(places - ignored < (_UNIT - ignored) // 2, WRITE, READ))
        instructions[:, -1] = READ
        instructions[:, 0] = WRITE
        return instructions

    def _contents(self):
        yield from (f"ignored={self.ignored} scored={self.scored}", *super()._contents())


def build(
    length: int = 512, ignored: float = 0.8, scored: str = "reads", valid_length: int | None = None,
    longer: tuple[int, ...] = (), longer_size: int = 100, train: int = 100_000, valid: int = 2_000, test: int = 2_000, seed: int = 0,
) -> Task:  # fmt: skip
    """Build flip-flop language modelling, with the test splits "sparse" and "dense" beside "test".

    Args:
        length: tokens of a text.
        ignored: probability of i in the splits train, valid and test.
        scored: "reads" (the bit after each r) or "all" (every next token, most of which nobody can know).
        valid_length, longer, longer_size, train, valid, test, seed: as of parity.

    Raises:
        ValueError: an option out of range.
    """
    if not isinstance(ignored, (int, float)) or not 0 <= ignored < 1:
        raise ValueError(f"expected ignored to be a probability below 1, got {ignored!r}")
    if scored not in SCORED:
        raise ValueError(f"expected scored to be one of {', '.join(SCORED)}; got {scored!r}")
    sizes = {"train": train, "valid": valid, "test": test}
    made = {role: FlipFlopLanguage(seed, role, sizes[role], length, ignored, scored) for role in SPLITS}
    parts, test_split = splits(made, valid_length), made["test"]
    tests = {"sparse": test_split.with_ignored(SPARSE), "dense": test_split.with_ignored(DENSE), **longer_tests(test_split, longer, longer_size)}
    return Task(
        name="flip_flop_language", kind="tokens", vocabulary=6, features=None, classes=6,
        length=max(length, valid_length or 0), **parts,
        variant={"length": length, "ignored": ignored, "scored": scored, "valid_length": valid_length, "longer": list(longer),
                 "longer_size": longer_size, **sizes, "seed": seed},
        floors=token_floors(parts["valid"], parts["test"], 6) | ({"chance": 1 / 2} if scored == "reads" else {}), tests=tests,
    )  # fmt: skip
