"""Pathfinder images from a seed: whole splits, the same bytes on any machine and with any number of threads.

Every image has a number of its own, mixed from seed, split and index (SplitMix64); label and margin are bits of that number.
What departs from the original (drewlinsley/pathfinder), besides its random numbers: of the label that is more frequent at a
distance of the two discs some images are discarded, as that distance alone would tell 54 % to 60 % of the labels of 32
pixels, and now tells nothing; two long snakes with one end, of which no label would be true, are discarded; and lines wider
than a pixel differ by 0.4 pixels, see `pathfinder_raster`. As in the original the long snakes may touch or cross.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from cffbook.tasks.cache import progress
from cffbook.tasks.generated import SPLITS, mix
from cffbook.tasks.pathfinder_shapes import Design, tables

VERSION = 2
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_JOB = 50  # images that one thread makes at a time
_BAR = 2_000  # images from which on a bar is shown


@dataclass(frozen=True)
class Drawn:
    """Images and how they came about.

    Args:
        images: `(images, side, side)` uint8.
        labels: `(images,)` uint8, 1 where both discs lie on one snake.
        segments: `(images, most, 5)` int8: snake (-1: none), rows and columns of tail and head. The long snakes are 0, which
            bears the disc at its first tip, and 1; segments of a snake follow one another.
        discs: `(images, 2, 2)` int8, rows and columns.
        margins: `(images,)` uint8.
    """

    images: np.ndarray
    labels: np.ndarray
    segments: np.ndarray
    discs: np.ndarray
    margins: np.ndarray


ARRAYS = tuple(item.name for item in fields(Drawn))


def keys(seed: int, role: str, count: int) -> np.ndarray:
    """Return the number of each image, `(count,)` uint64."""
    stream = np.random.SeedSequence(entropy=seed, spawn_key=(VERSION, SPLITS.index(role))).generate_state(1, np.uint64)
    return mix(stream + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)


def draw(design: Design, seed: int, role: str, count: int, workers: int = 1) -> Drawn:
    """Draw a split.

    Args:
        design: what kind of images.
        seed, role: fix the images; "train", "valid" and "test" are different streams.
        count: images; fewer are the beginning of more.
        workers: threads, which do not change the result.

    Raises:
        ImportError: numba is not installed.
    """
    from cffbook.tasks.pathfinder_grow import grow  # compiles, and numba is an extra

    numbers = keys(seed, role, count)
    bits = mix(numbers)
    labels = (bits & np.uint64(1)).astype(np.uint8)
    margins = np.array(design.margins, dtype=np.uint8)[(bits >> np.uint64(1)) % np.uint64(len(design.margins))]
    most = 2 * design.contour + design.distractors * design.distractor
    drawn = Drawn(
        np.empty((count, design.side, design.side), np.uint8), labels, np.empty((count, most, 5), np.int8),
        np.empty((count, 2, 2), np.int8), margins,
    )  # fmt: skip
    for margin in design.margins:
        tables(design, margin)  # once, and not in every thread

    def fill(first: int, last: int) -> int:
        for margin in design.margins:
            chosen = first + np.flatnonzero(margins[first:last] == margin)
            if len(chosen):
                made = _grown(grow, design, margin, numbers[chosen], labels[chosen], most)
                drawn.images[chosen], drawn.segments[chosen], drawn.discs[chosen] = made
        return last - first

    jobs = list(pairwise([*range(0, count, _JOB), count]))
    with ThreadPoolExecutor(workers) as pool:
        done = pool.map(lambda job: fill(*job), jobs)
        if count < _BAR:
            list(done)
            return drawn
        with progress(f"Pathfinder, {design.side} pixels, {role}", count, unit=" images") as advance:
            for number in done:
                advance(number)
    return drawn


def _grown(grow, design: Design, margin: int, numbers: np.ndarray, labels: np.ndarray, most: int) -> tuple[np.ndarray, ...]:
    images = np.empty((len(numbers), design.side, design.side), np.uint8)
    segments, discs = np.empty((len(numbers), most, 5), np.int8), np.empty((len(numbers), 2, 2), np.int8)
    begun = np.empty(len(numbers), np.int64)
    given = tables(design, margin)
    grow(
        numbers, labels, design.contour, design.distractor, margin, design.padding, design.seed_distance, design.distractors,
        design.target_contrast, design.distractor_contrast, *(getattr(given, item.name) for item in fields(given)),
        images, segments, discs, begun,
    )  # fmt: skip
    return images, segments, discs


def traced(segments: np.ndarray, discs: np.ndarray, reach: float) -> int:
    """Recompute the label of one image: follow the contour from the first disc to its end, and look for the other disc.

    Args:
        segments: `(most, 5)`, see `Drawn`.
        discs: `(2, 2)`.
        reach: the next segment begins at most so far from where the last one ended.

    Raises:
        ValueError: no long snake begins at the first disc, or a contour is broken.
    """
    known = segments[segments[:, 0] >= 0].astype(np.int64)
    contours = [known[known[:, 0] == snake] for snake in (0, 1)]
    contour = next((one for one in contours if len(one) and _far(one[0, 1:3], discs[0]) <= 2), None)
    if contour is None:
        raise ValueError(f"expected a long snake that begins at the disc {discs[0].tolist()}, there is none")
    for before, after in pairwise(contour):
        if _far(before[3:], after[1:3]) > reach:
            raise ValueError(f"expected the next segment within {reach} pixels of {before[3:].tolist()}, got {after[1:3].tolist()}")
    return int(_far(contour[-1, 3:], discs[1]) == 0)


def _far(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.hypot(*(one.astype(np.int64) - other.astype(np.int64))))
