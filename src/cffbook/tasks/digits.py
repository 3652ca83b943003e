"""Sequential MNIST: handwritten digits pixel by pixel, in rows or in an order drawn once (permuted).

A sample is (pixel - 33.3) / 78.6, mean and deviation of the training pixels. The permuted order destroys the short-range
structure, so that what is far apart has to be held. Source: Le et al. 2015.
"""

import os

import numpy as np

from cffbook.tasks.cache import load_arrays
from cffbook.tasks.generated import mix
from cffbook.tasks.image import Pixels, shrink
from cffbook.tasks.mnist import ARRAYS, SIDE, prepare
from cffbook.tasks.task import Task, check_count


class Digits(Pixels):
    """Digits as sequences of `(batch, time, 1)` normalised float32; arguments as of `Pixels`."""

    mean, deviation = 33.3, 78.6


def build(
    permuted: bool = False,
    side: int = 28,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    source: str | os.PathLike | None = None,
    seed: int = 0,
) -> Task:
    """Build sequential MNIST: 55,000 / 5,000 / 10,000 digits (train[:55,000], the rest of train, test), 10 classes.

    The first call downloads 12 MB, once, unless a source is given or $CFFBOOK_DATA names a folder with one.

    Args:
        permuted: all digits in the same random order of pixels.
        side: 28 for 784 pixels, or 14 for 196: means over 2 x 2, halves rounded up.
        train, valid, test: use only that many digits, the first of the split; None uses all.
        source: see `cffbook.tasks.mnist.prepare`.
        seed: of the order.

    Raises:
        ValueError: an option out of range, or a damaged source.
        ConnectionError: the download failed.
    """
    if side not in (SIDE // 2, SIDE):
        raise ValueError(f"expected a side of {SIDE // 2} or {SIDE} pixels, got {side!r}")
    check_count("seed", seed, 0)
    stored = load_arrays(prepare(source), (*ARRAYS, "source"))
    cut = len(stored["x_train"]) * 11 // 12
    whole = {
        "train": (stored["x_train"][:cut], stored["y_train"][:cut], train),
        "valid": (stored["x_train"][cut:], stored["y_train"][cut:], valid),
        "test": (stored["x_test"], stored["y_test"], test),
    }
    order = pixel_order(side, seed) if permuted else np.arange(side * side)
    splits = {}
    for name, (images, targets, size) in whole.items():
        if size is not None:
            check_count(name, size)
            if size > len(targets):
                raise ValueError(f"expected {name} to be at most {len(targets)}, got {size}")
        pixels = shrink(images[:size]) if side < SIDE else images[:size]
        splits[name] = Digits(pixels.reshape(len(pixels), -1)[:, order], targets[:size], real=True)
    common = np.bincount(splits["train"].targets, minlength=10).argmax()
    return Task(
        name="mnist", kind="classification", vocabulary=None, features=1, classes=10, length=side * side, **splits,
        variant={"permuted": permuted, "side": side, "sizes": [len(split) for split in splits.values()], "seed": seed,
                 "source": str(stored["source"])},
        floors={"majority": float(np.mean(splits["test"].targets == common))},
    )  # fmt: skip


def pixel_order(side: int, seed: int) -> np.ndarray:
    """A random order of the pixels, `(side^2,)` int64, the same on every machine."""
    return np.argsort(mix(np.arange(1, side * side + 1, dtype=np.uint64) + (np.uint64(seed) << np.uint64(32))), kind="stable")
