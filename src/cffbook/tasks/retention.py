"""Retention: bits are set or reset by pulses, held over a noisy stretch, and asked for at the end.

With m bits there are m lines and m cues, features (line 1 ... line m, cue 1 ... cue m). The first m samples set (+1) or
reset (-1) one bit each, in any order; then noise, uniform within +-`noise`, is on all lines, never as strong as a pulse; the
last m samples cue bit 1 ... m, and its value is the label. A leaky or summing memory loses the bit in the noise; a latch does not.
Source of the latch problem: Bengio et al. 1994; Hochreiter & Schmidhuber 1997.
"""

import numpy as np

from cffbook.tasks.generated import SPLITS, Generated, below, collate, first, gaps, longer_tests, splits, uniform
from cffbook.tasks.task import IGNORED, Batch, Task, check_count


class Retention(Generated):
    """Batches of `(batch, length, 2 bits)` float32; targets 0 (reset) or 1 (set) at the last `bits` samples.

    Args:
        seed, role, size, length: see `Generated`.
        bits, noise, irregular: see `build`.
    """

    def __init__(self, seed: int, role: str, size: int, length: int, bits: int, noise: float, irregular: bool):
        self.least = 2 * bits
        super().__init__(seed, role, size, length)
        self.bits, self.noise, self.irregular = bits, noise, irregular

    def _batch(self, indices: np.ndarray) -> Batch:
        count, length, bits = len(indices), self.length, self.bits
        numbers = self.numbers(indices, 2 * bits + length * (bits + self.irregular))
        values, order = below(numbers[:, :bits], 2), np.argsort(numbers[:, bits : 2 * bits], axis=1, kind="stable")
        inputs = np.zeros((count, length, 2 * bits), dtype=np.float32)
        drawn = numbers[:, 2 * bits : 2 * bits + length * bits].reshape(count, length, bits)[:, bits:-bits]
        inputs[:, bits:-bits, :bits] = (2 * uniform(drawn) - 1) * np.float32(self.noise)
        rows, places = np.arange(count)[:, None], np.arange(bits)
        inputs[rows, places, order] = 2 * np.take_along_axis(values, order, 1) - 1
        inputs[:, length - bits + places, bits + places] = 1
        targets = np.full((count, length), IGNORED, dtype=np.int64)
        targets[:, -bits:] = values
        elapsed = gaps(numbers[:, -length:]) if self.irregular else None
        return collate(inputs, targets, elapsed)


def build(
    bits: int = 1, noise: float = 0.5, irregular: bool = False, length: int = 100, valid_length: int | None = None,
    longer: tuple[int, ...] = (), longer_size: int = 100, train: int = 100_000, valid: int = 2_000, test: int = 2_000, seed: int = 0,
) -> Task:  # fmt: skip
    """Build the retention of bits.

    Args:
        bits: bits to hold.
        noise: largest noise on the lines, below 1, where a pulse begins.
        irregular: samples come 1/8 to 8 apart, evenly on either side of 1 on a logarithmic scale (see `gaps`); the times
            since the last sample are in the batch, and say nothing about the bits.
        length: samples, pulses and cues included; at least 2 bits.
        valid_length, longer, longer_size, train, valid, test, seed: as of parity.

    Raises:
        ValueError: an option out of range.
    """
    check_count("bits", bits)
    if isinstance(noise, bool) or not isinstance(noise, (int, float)) or not 0 <= noise < 1:
        raise ValueError(f"expected noise of at least 0 and below 1, got {noise!r}")
    sizes = {"train": train, "valid": valid, "test": test}
    made = {role: Retention(seed, role, sizes[role], length, bits, noise, irregular) for role in SPLITS}
    parts = splits(made, valid_length)
    ones = float(np.mean(first(parts["test"], 500).targets[:, -bits:].numpy()))
    return Task(
        name="retention", kind="tokens", vocabulary=None, features=2 * bits, classes=2, length=max(length, valid_length or 0), **parts,
        variant={"bits": bits, "noise": noise, "irregular": irregular, "length": length, "valid_length": valid_length,
                 "longer": list(longer), "longer_size": longer_size, **sizes, "seed": seed},
        floors={"chance": 1 / 2, "majority": max(ones, 1 - ones)}, tests=longer_tests(made["test"], longer, longer_size),
    )  # fmt: skip
