"""Pathfinder's parameters, and the tables of integers that its generator works with.

Everything that sines, cosines and resampling decide is computed here once and rounded, so that growing and drawing are
integer arithmetic and a seed gives the same bytes on every machine. A direction is a row of the tables: 0 to 359 are whole
degrees, for the first segment of a snake; the others belong to the pixels on the circle of end points, for all later ones.
A segment is drawn from its anchor: a first one forwards from its tail, a later one backwards from its head.
Source: Linsley et al. 2018 (drewlinsley/pathfinder); parameters of google-research/long-range-arena, in words of our own.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cffbook.tasks.pathfinder_raster import FINE, disc, grown, line, nearest, resample, upwards

UNIT = 1 << 16  # weight of going straight on, where nothing is near
LENGTHS = {"easy": 6, "intermediate": 9, "hard": 14}
SHORT = {32: 20, 64: 22, 128: 35}  # segments of all short snakes that are tried
# Log odds of label 1 by the distance of the discs in pixels, for each (side, contour, margin): least and largest distance, odds
# at 16 distances evenly between them. Counted over up to a million pairs of long snakes, of which all were kept.
BALANCE: dict[tuple[int, int, int], tuple[float, ...]] = {
    (32, 6, 1): (3.0, 24.84, -0.26, -0.28, -0.73, -0.57, -0.46, -0.56, -0.3,
                 0.09, 0.29, 0.6, 0.38, -0.37, -0.3, -0.96, -2.05, -3.12),
    (32, 9, 1): (2.0, 26.25, -0.35, -0.25, -0.38, -0.57, -0.5, -0.31, 0.01,
                 0.27, 0.22, 0.15, 0.06, -0.11, -0.05, 0.23, 0.22, 0.18),
    (32, 14, 1): (1.41, 26.4, -0.08, -0.04, -0.06, -0.08, -0.11, -0.11, -0.17,
                  -0.24, -0.01, 0.22, 0.37, 0.44, 0.21, -0.04, -0.2, -0.28),
}  # fmt: skip


@dataclass(frozen=True)
class Design:
    """One kind of image.

    Args:
        side, padding: pixels; the border of this width stays free.
        paddle, thickness: length and width of a segment.
        margins: one is drawn for each image; segments keep that far apart.
        seed_distance: between the first tips of the two long snakes.
        radius: of the two markers.
        contour, distractor: segments of a long and of a short snake.
        distractors: short snakes that are tried.
        continuity: how straight a snake goes on; no turn of more than pi / 2 / continuity.
        target_contrast, distractor_contrast: percent of the markers' brightness, before the image is stretched.
    """

    side: int
    contour: int
    distractor: int
    distractors: int
    padding: int = 1
    paddle: int = 5
    thickness: float = 1.0
    margins: tuple[int, ...] = (1,)
    seed_distance: int = 12
    radius: float = 2.5
    continuity: float = 1.8
    target_contrast: int = 100
    distractor_contrast: int = 100


def design(side: int, difficulty: str | int) -> Design:
    """The release's parameters for 32, 64 or 128 pixels and easy, intermediate or hard; or for contours of another number of segments, from 3 on.

    Of another number the labels are even, and the distance of the discs may tell something about them.
    """
    contour = difficulty if isinstance(difficulty, int) else LENGTHS[difficulty]
    short = contour // 3
    tries = SHORT[side] // short
    if side == 32:
        return Design(32, contour, short, tries, paddle=2, thickness=0.5, seed_distance=7, radius=1.5, continuity=1.0,
                      target_contrast=150, distractor_contrast=200)  # fmt: skip
    if side == 64:
        return Design(64, contour, short, tries, target_contrast=80, distractor_contrast=80)
    return Design(128, contour, short, tries, thickness=1.5, margins=(2, 3), seed_distance=20, radius=3.0,
                  target_contrast=90, distractor_contrast=90)  # fmt: skip


@dataclass(frozen=True)
class Tables:
    """Integers for one design and margin; a step is `(2,)`, rows and columns.

    Args:
        far: `(directions, 2)` step from a segment's anchor to its other end.
        back: `(360, 2)` step from the head of a first segment to the pivot that the second one goes on from.
        onward: `(directions, 2)` step from a pivot to the next one.
        ends: `(ends, 2)` steps from a pivot to the pixels where the next head may be; end i has the direction 360 + i.
        turns: `(directions, ends)` weight of each end after a segment in that direction.
        seeds: `(360, 2)` steps from the first tip of one long snake to that of the other.
        core: `(360, pixels, 2)` steps from the tail of a first segment to pixels that have to be free; some occur again.
        spread: `(360, 2, 2)` least and largest of these steps.
        usable: `(360,)` whether a first segment may have that direction, see `_usable`.
        line, zone: `(directions, size, size)` a segment around its anchor, 0 to 255, and the zone it keeps free.
        disc: `(size, size)` a marker.
        accept: `(2, 2 * side ** 2 + 1)` of 65,536 images with that label and squared distance of the discs, how many are kept.
    """

    far: np.ndarray
    back: np.ndarray
    onward: np.ndarray
    ends: np.ndarray
    turns: np.ndarray
    seeds: np.ndarray
    core: np.ndarray
    spread: np.ndarray
    usable: np.ndarray
    line: np.ndarray
    zone: np.ndarray
    disc: np.ndarray
    accept: np.ndarray


@lru_cache(maxsize=16)
def tables(design: Design, margin: int) -> Tables:
    """Compute the tables; they are kept."""
    ends = _circle(design.paddle + margin)
    degrees = [math.radians(degree) for degree in range(360)]
    angles = [math.atan2(row, column) for row, column in ends]
    anchored = degrees + [angle + math.pi for angle in angles]  # seen from the anchor
    lines = [_fine(design, margin, angle) for angle in anchored]
    size = 2 * _reach(design, margin) + 1
    zone = np.stack([resample(255 * grown(image, margin * FINE), size) for image in lines])
    cores = [_core(patch, design.paddle + margin) for patch in zone[:360]]
    return Tables(
        far=_steps(anchored, design.paddle, upwards),
        back=_steps(degrees, -(design.paddle + margin), upwards),
        onward=_steps(degrees + angles, design.paddle + 2 * margin, upwards),
        ends=np.array(ends),
        turns=np.array([[_weight(one - other, design.continuity) for other in angles] for one in degrees + angles], dtype=np.int64),
        seeds=_steps(degrees, design.seed_distance, nearest),
        core=np.stack([np.resize(core, (max(map(len, cores)), 2)) for core in cores]),
        spread=np.array([[core.min(0), core.max(0)] for core in cores]),
        usable=np.array([_usable(core) for core in cores]),
        line=np.stack([resample(255 * image, size) for image in lines]),
        zone=zone,
        disc=disc(design.radius),
        accept=_accept(design, margin),
    )


def _steps(directions: list[float], distance: float, rounded) -> np.ndarray:
    return np.array([[rounded(distance * part) for part in (math.sin(angle), math.cos(angle))] for angle in directions])


def _circle(radius: int) -> list[tuple[int, int]]:
    """Distinct pixels on a circle, one tried for each pixel of arc; rounded down, as the original does."""
    angles = [step / radius for step in range(math.ceil(2 * math.pi * radius))]
    return sorted({tuple(math.floor(round(radius * part, 9)) for part in (math.sin(angle), math.cos(angle))) for angle in angles})


def _weight(turn: float, continuity: float) -> int:
    turn = abs(math.remainder(turn, 2 * math.pi))
    return round(UNIT * math.cos(min(continuity * turn, math.pi / 2)) ** 2)


def _reach(design: Design, margin: int) -> int:
    return design.paddle + math.ceil(design.thickness) + margin


def _fine(design: Design, margin: int, angle: float) -> np.ndarray:
    """Draw a segment on the fine grid, from the middle in the direction of an angle."""
    far = _steps([angle], design.paddle * FINE, upwards)[0].tolist()
    return line(tuple(far), round(design.thickness * FINE), _reach(design, margin) * FINE)


def _core(zone: np.ndarray, reach: int) -> np.ndarray:
    """Steps to where a zone is full; moved down and right by a pixel, as the original's are, and at most `reach` pixels long."""
    steps = np.argwhere(zone == 255) - zone.shape[0] // 2 + 1
    return steps[(abs(steps) <= reach).all(1)]


def _usable(core: np.ndarray) -> bool:
    """Whether steps lead into every quadrant, axes included.

    Where they do not, all of them lead out of the frame from one of its corners, and the original then takes the whole frame
    for occupied. That makes short snakes rarer, and is kept for that reason.
    """
    return all(((core * signs >= 0).all(1)).any() for signs in ((-1, -1), (-1, 1), (1, -1), (1, 1)))


def _accept(design: Design, margin: int) -> np.ndarray:
    """Keep so many of the more frequent label at each distance that the distance tells nothing about the label."""
    least, largest, *odds = BALANCE.get((design.side, design.contour, margin), (0.0, 1.0, 0.0, 0.0))
    distances = np.sqrt(np.arange(2 * design.side**2 + 1))
    found = np.interp(distances, np.linspace(least, largest, len(odds)), odds)
    return np.stack([np.round((1 << 16) * np.minimum(1.0, np.exp(sign * found))) for sign in (1, -1)]).astype(np.int64)
