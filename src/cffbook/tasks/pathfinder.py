"""Pathfinder, whether one dashed contour joins two discs, read pixel by pixel; Path-X is the same at 128 x 128 pixels.

Generated from a seed, or read from Long Range Arena's release. Two protocols, whose numbers never share a column: `lra` feeds
each gray value as a token (vocabulary 256; 0 is black and not padding), `s4` the value itself, pixel / 255.
Source: Linsley et al. 2018; Tay et al. 2021; the state-space models' `s4` data loaders.
"""

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from cffbook.tasks.cache import cache_folder, load_arrays, save_arrays
from cffbook.tasks.image import PROTOCOLS, Pixels
from cffbook.tasks.pathfinder_draw import ARRAYS, VERSION, Drawn, draw
from cffbook.tasks.pathfinder_release import prepare
from cffbook.tasks.pathfinder_shapes import LENGTHS, SHORT, design
from cffbook.tasks.task import Task, check_count

SIZES = {"train": 160_000, "valid": 20_000, "test": 20_000}


class Contours(Pixels):
    """Pathfinder images as sequences.

    Args:
        images: `(examples, side, side)` uint8.
        labels: `(examples,)`, whether a contour joins the discs.
        real: as of `Pixels`.
        drawn: how each came about; None where the release was read.
        length: segments of a contour.
        draw: draws as many images with contours of other lengths; None where the release was read.
    """

    mean, deviation = 0.0, 255.0
    least = 3  # with fewer segments both discs would touch

    def __init__(self, images: np.ndarray, labels: np.ndarray, real: bool, drawn: Drawn | None = None, length: int = LENGTHS["hard"],
                 draw: Callable[[int], Drawn] | None = None):  # fmt: skip
        super().__init__(images.reshape(len(images), -1), labels, real)
        self.drawn, self.length, self._draw = drawn, length, draw
        self._last = None

    def at(self, length: int) -> "Contours":
        """Images of the same role and seed, as many, whose contours have another number of segments: what a curriculum begins with.

        Raises:
            ValueError: fewer than 3 segments or more than the images have, or images of a release.
        """
        if self._draw is None or not self.least <= length <= self.length:
            raise ValueError(f"expected drawn images, and contours of {self.least} to {self.length} segments, got {length} segments of "
                             f"{'a release' if self._draw is None else 'drawn images'}")
        if length == self.length:
            return self
        if self._last is None or self._last.length != length:  # the last one is kept, as updates ask one after the other
            drawn = self._draw(length)
            self._last = Contours(drawn.images, drawn.labels, self.real, drawn, length, self._draw)
        return self._last


def build(
    resolution: int = 32,
    difficulty: str = "hard",
    protocol: str = "lra",
    train: int = SIZES["train"],
    valid: int = SIZES["valid"],
    test: int = SIZES["test"],
    seed: int = 0,
    workers: int = 1,
    source: str | os.PathLike | None = None,
) -> Task:
    """Build the Pathfinder task, 160,000 / 20,000 / 20,000 images, 2 classes.

    Generated images are kept in the cache, a file for each split; fewer images are the beginning of more.

    Args:
        resolution: 32, 64 or 128 pixels a side.
        difficulty: "easy", "intermediate" or "hard": contours of 6, 9 or 14 segments; the arena's is "hard".
        protocol: "lra" (tokens) or "s4" (real values).
        train, valid, test: images in each split; of a release at most 80, 10 and 10 percent.
        seed: fixes everything, of a release which images are in which split.
        workers: threads that draw; they do not change the result.
        source: LRA's archive lra_release.gz or its unpacked folder, read in place of generating.

    Raises:
        ValueError: an option out of range, or a damaged file.
        FileNotFoundError: `source` lacks a file.
        ImportError: numba (to generate) or Pillow (to read the release) is not installed.
    """
    return _build("pathfinder", resolution, difficulty, protocol, {"train": train, "valid": valid, "test": test}, seed, workers, source)


def build_pathx(
    protocol: str = "lra",
    train: int = SIZES["train"],
    valid: int = SIZES["valid"],
    test: int = SIZES["test"],
    seed: int = 0,
    workers: int = 1,
    source: str | os.PathLike | None = None,
) -> Task:
    """Build Path-X: Pathfinder, hard, at 128 x 128 = 16,384 pixels; arguments and errors as of `build`."""
    return _build("pathx", 128, "hard", protocol, {"train": train, "valid": valid, "test": test}, seed, workers, source)


def _build(name, resolution, difficulty, protocol, sizes, seed, workers, source) -> Task:
    for option, value, known in (("resolution", resolution, SHORT), ("difficulty", difficulty, LENGTHS), ("protocol", protocol, PROTOCOLS)):
        if value not in known:
            raise ValueError(f"expected {option} to be one of {', '.join(map(str, known))}; got {value!r}")
    for option, value in {**sizes, "workers": workers}.items():
        check_count(option, value)
    check_count("seed", seed, 0)
    real = protocol == "s4"
    origin = {"generator": VERSION}
    if source is None:
        splits = {}
        for role, count in sizes.items():
            drawn = _drawn(resolution, difficulty, seed, role, count, workers)
            again = partial(_drawn, resolution, seed=seed, role=role, count=count, workers=workers)
            splits[role] = Contours(drawn.images, drawn.labels, real, drawn, LENGTHS[difficulty], again)
    else:
        splits, origin["source"] = _released(Path(source), resolution, difficulty, sizes, seed, real)
        del origin["generator"]
    variant = {**origin, "resolution": resolution, "difficulty": difficulty, "protocol": protocol,
               "sizes": [len(split) for split in splits.values()], "seed": seed}  # fmt: skip
    common = np.bincount(splits["train"].targets, minlength=2).argmax()
    return Task(
        name=name, kind="classification", vocabulary=None if real else 256, features=1 if real else None, classes=2,
        length=resolution**2, **splits, variant=variant, floors={"majority": float(np.mean(splits["test"].targets == common))},
    )  # fmt: skip


def _drawn(resolution: int, difficulty: str | int, seed: int, role: str, count: int, workers: int) -> Drawn:
    path = cache_folder() / "pathfinder" / f"v{VERSION}_{resolution}_{difficulty}_seed{seed}_{role}{count}.npz"
    if path.exists():
        return Drawn(**load_arrays(path, ARRAYS))
    made = draw(design(resolution, difficulty), seed, role, count, workers)
    save_arrays(path, vars(made), packed=True)
    return made


def _released(source: Path, side: int, difficulty: str, sizes: dict[str, int], seed: int, real: bool) -> tuple[dict[str, Contours], str]:
    """Return splits of 80, 10 and 10 percent, drawn from seed and names, and what was read."""
    stored = load_arrays(prepare(source, side, difficulty), ("images", "labels", "names", "source"))
    ranks = [hashlib.blake2b(name.encode(), digest_size=8, key=str(seed).encode()).digest() for name in stored["names"].tolist()]
    order = np.array(sorted(range(len(ranks)), key=ranks.__getitem__))
    cuts = [0, len(order) * 8 // 10, len(order) * 9 // 10, len(order)]
    if cuts[1] == 0 or cuts[1] == cuts[2]:
        raise ValueError(f"expected at least 10 images to split, got {len(order)}")
    splits = {}
    for place, (role, size) in enumerate(sizes.items()):
        chosen = order[cuts[place] : cuts[place + 1]][:size]
        splits[role] = Contours(stored["images"][chosen], stored["labels"][chosen], real, length=LENGTHS[difficulty])
    return splits, str(stored["source"])
