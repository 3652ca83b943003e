"""CIFAR-10 in gray, read pixel by pixel in rows: Long Range Arena's Image task.

Two protocols, whose numbers never share a column: `lra` feeds each gray value as a token (vocabulary 256; the value is the
token, so 0 is black and not padding: all images are equally long and none is ever padded), `s4` feeds the value itself,
(pixel - 122.6) / 61. Source: Tay et al. 2021; the state-space models' `s4` data loaders.
"""

import os
from collections.abc import Iterator

import numpy as np
import torch

from cffbook.tasks.cache import load_arrays
from cffbook.tasks.cifar import ARRAYS, Archive, prepare, read_archive
from cffbook.tasks.task import Batch, Split, Task, check_count

__all__ = ["Archive", "Pixels", "build", "prepare", "read_archive"]

PROTOCOLS = ("lra", "s4")
MEAN, DEVIATION = 122.6, 61.0


class Pixels(Split):
    """Gray images as sequences.

    Args:
        pixels: `(examples, time)` uint8.
        targets: `(examples,)` classes.
        real: whether a batch holds `(batch, time, 1)` normalised float32, or `(batch, time)` int64 tokens.
    """

    mean, deviation = MEAN, DEVIATION

    def __init__(self, pixels: np.ndarray, targets: np.ndarray, real: bool = False):
        self.pixels = pixels
        self.targets = targets.astype(np.int64)
        self.real = real

    def __len__(self) -> int:
        return len(self.targets)

    def _batch(self, indices: np.ndarray) -> Batch:
        chosen = torch.from_numpy(self.pixels[indices])
        inputs = ((chosen.float() - self.mean) / self.deviation).unsqueeze(-1) if self.real else chosen.long()
        lengths = torch.full((len(indices),), self.pixels.shape[1])
        return Batch(inputs, lengths, torch.from_numpy(self.targets[indices]))

    def _contents(self) -> Iterator[np.ndarray | str]:
        yield from (self.pixels, self.targets, f"real={self.real}")


def build(
    protocol: str = "lra",
    side: int = 32,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    source: str | os.PathLike | None = None,
) -> Task:
    """Build the image task: 45,000 / 5,000 / 10,000 images (train[:90%], train[90%:], test), 10 classes.

    The first call downloads 170 MB, once, unless a source is given or $CFFBOOK_DATA names a folder with one.

    Args:
        protocol: "lra" (tokens) or "s4" (real values).
        side: 32 for 1,024 pixels, or 16 for 256: means over 2 x 2, halves rounded up.
        train, valid, test: use only that many images, the first of the split; None uses all.
        source: see `prepare`.

    Raises:
        ValueError: an option out of range, or a damaged source.
        ConnectionError: the download failed.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"expected a protocol, one of {', '.join(PROTOCOLS)}; got {protocol!r}")
    if side not in (16, 32):
        raise ValueError(f"expected a side of 16 or 32 pixels, got {side!r}")
    stored = load_arrays(prepare(source), (*ARRAYS, "source"))
    cut = len(stored["x_train"]) * 9 // 10
    whole = {
        "train": (stored["x_train"][:cut], stored["y_train"][:cut]),
        "valid": (stored["x_train"][cut:], stored["y_train"][cut:]),
        "test": (stored["x_test"], stored["y_test"]),
    }
    splits = {}
    for name, size in {"train": train, "valid": valid, "test": test}.items():
        images, targets = whole[name]
        if size is not None:
            check_count(name, size)
            if size > len(targets):
                raise ValueError(f"expected {name} to be at most {len(targets)}, got {size}")
        pixels = shrink(images[:size]) if side == 16 else images[:size]
        splits[name] = Pixels(pixels.reshape(len(pixels), -1), targets[:size], real=protocol == "s4")
    common = np.bincount(splits["train"].targets, minlength=10).argmax()
    tokens = protocol == "lra"
    return Task(
        name="image", kind="classification", vocabulary=256 if tokens else None, features=None if tokens else 1,
        classes=10, length=side * side, **splits,
        variant={"protocol": protocol, "side": side, "sizes": [len(split) for split in splits.values()],
                 "source": str(stored["source"])},
        floors={"majority": float(np.mean(splits["test"].targets == common))},
    )  # fmt: skip


def shrink(images: np.ndarray) -> np.ndarray:
    """Average 2 x 2 pixels, `(n, side, side)` to `(n, side / 2, side / 2)` uint8, halves rounded up."""
    half = images.shape[-1] // 2
    blocks = images.reshape(len(images), half, 2, half, 2).astype(np.uint16)
    return ((blocks.sum((2, 4)) + 2) >> 2).astype(np.uint8)
