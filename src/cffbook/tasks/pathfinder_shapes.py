"""Pathfinder's parameters, and the tables of integers that its generator works with.

Everything that sines, cosines and resampling decide is computed here once and rounded, so that growing and drawing are
integer arithmetic and a seed gives the same bytes on every machine. A direction is a row of the tables: 0 to 359 are whole
degrees, for the first segment of a snake; the others belong to the pixels on the circle of end points, for all later ones.
A segment is drawn `FINE` times finer, resampled with Lanczos's kernel of three lobes and rounded to 8 bits.
Source: Linsley et al. 2018 (drewlinsley/pathfinder); parameters of google-research/long-range-arena, in words of our own.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

FINE = 2
UNIT = 1 << 20  # weight of going straight on
_BITS = 22  # of the resampling weights
LENGTHS = {"easy": 6, "intermediate": 9, "hard": 14}
TRIES = {32: {"easy": 4, "intermediate": 2, "hard": 3}, 64: {"easy": 6, "intermediate": 4, "hard": 3},
         128: {"easy": 17, "intermediate": 11, "hard": 8}}  # fmt: skip
# log odds of label 1, a polynomial of the discs' distance over the side, and the distances between which it holds, for each
# (side, contour, margin): logistic regression over images of which all were kept.
BALANCE = {
    (32, 6, 1): (-0.8789, 2.9409, 6.7838, -17.0738, 0.1593, 0.7887),
    (32, 9, 1): (-0.2117, -0.6335, 7.0257, -9.0452, 0.1288, 0.7812),
    (32, 14, 1): (0.4630, -6.3380, 16.5291, -10.8184, 0.1127, 0.7967),
    (128, 6, 2): (31.2098, -486.6715, 1992.0823, -2408.9510, 0.1930, 0.5613),
    (128, 6, 3): (49.8902, -537.0901, 1685.7355, -1624.4376, 0.2511, 0.6442),
    (128, 9, 2): (33.5831, -271.4201, 670.1693, -517.6810, 0.2735, 0.7588),
    (128, 9, 3): (17.1717, -125.7394, 275.2420, -186.4210, 0.2823, 0.8653),
    (64, 6, 1): (-2.9086, -47.8151, 204.6004, -191.1713, 0.3082, 0.8293),
    (64, 9, 1): (1.2477, -17.2822, 44.8792, -31.7219, 0.2563, 0.9203),
    (64, 14, 1): (-0.8574, 5.1822, -11.8528, 9.4513, 0.0781, 0.8846),
    (128, 14, 2): (0.9531, -13.7171, 36.6217, -26.3640, 0.1535, 0.9408),
    (128, 14, 3): (-0.2398, -0.6945, 5.2662, -5.2786, 0.0863, 0.9455),
}


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


def design(side: int, difficulty: str) -> Design:
    """The release's parameters for 32, 64 or 128 pixels and easy, intermediate or hard.

    Departure: the original tries 20 / 4 = 5 short snakes (32 pixels, hard) and places 1.26 of them on average. Here more of
    the tried ones find a place, so that fewer are tried: as many as let the same number be placed.
    """
    contour, tries = LENGTHS[difficulty], TRIES[side][difficulty]
    if side == 32:
        return Design(32, contour, contour // 3, tries, paddle=2, thickness=0.5, seed_distance=7, radius=1.5, continuity=1.0,
                      target_contrast=150, distractor_contrast=200)  # fmt: skip
    if side == 64:
        return Design(64, contour, contour // 3, tries, target_contrast=80, distractor_contrast=80)
    return Design(128, contour, contour // 3, tries, thickness=1.5, margins=(2, 3), seed_distance=20, radius=3.0,
                  target_contrast=90, distractor_contrast=90)  # fmt: skip


@dataclass(frozen=True)
class Tables:
    """Integers for one design and margin.

    Args:
        ahead: `(directions, 2)` from the tail of a first segment to its head, rows and columns.
        behind: `(directions, 2)` from a head to its tail.
        back: `(directions, 2)` from a head to the pivot it was drawn around.
        onward: `(directions, 2)` from a pivot to the next one.
        ends: `(ends, 2)` from a pivot to the pixels where the next head may be.
        towards: `(ends,)` direction of each.
        turns: `(directions, ends)` weight of each after a segment in that direction.
        seeds: `(angles, 2)` from the first tip of one long snake to that of the other.
        line, zone: `(directions, size, size)` a segment drawn from its head, the middle, backwards, and the zone it keeps free.
        disc: `(size, size)` a marker.
        accept: `(2, 2 * side ** 2 + 1)` of 65,536 images with that label and squared distance of the discs, how many are kept.
    """

    ahead: np.ndarray
    behind: np.ndarray
    back: np.ndarray
    onward: np.ndarray
    ends: np.ndarray
    towards: np.ndarray
    turns: np.ndarray
    seeds: np.ndarray
    line: np.ndarray
    zone: np.ndarray
    disc: np.ndarray
    accept: np.ndarray


@lru_cache(maxsize=16)
def tables(design: Design, margin: int) -> Tables:
    """Compute the tables; they are kept."""
    ends, angles = _circle(design.paddle + margin)
    directions = [math.radians(degree) for degree in range(360)] + angles
    turns = np.array([[_weight(one - other, design.continuity) for other in angles] for one in directions], dtype=np.int64)
    lines = [_fine_line(design, margin, angle) for angle in directions]
    size = 2 * (design.paddle + math.ceil(design.thickness) + margin) + 1
    steps = [2 * math.pi * step / 360 for step in range(360)]
    return Tables(
        ahead=_moved(directions, design.paddle),
        behind=np.array([[_nearest(-design.paddle * part) for part in (math.sin(angle), math.cos(angle))] for angle in directions]),
        back=_moved(directions, -(design.paddle + margin)),
        onward=_moved(directions, design.paddle + 2 * margin),
        ends=ends,
        towards=np.arange(360, 360 + len(angles)),
        turns=turns,
        seeds=np.array([[_nearest(design.seed_distance * part) for part in (math.sin(angle), math.cos(angle))] for angle in steps]),
        line=np.stack([resample(255 * line, size) for line in lines]),
        zone=np.stack([resample(255 * grown(line, margin * FINE), size) for line in lines]),
        disc=_disc(design.radius),
        accept=_accept(design, margin),
    )


def _nearest(value: float) -> int:
    return math.floor(round(value, 9) + 0.5)


def _moved(directions: list[float], distance: float) -> np.ndarray:
    """Steps of a distance, rounded up as the original does."""
    return np.array([[math.ceil(round(distance * part, 9)) for part in (math.sin(angle), math.cos(angle))] for angle in directions])


def _circle(radius: int) -> tuple[np.ndarray, list[float]]:
    """Distinct pixels on a circle, one tried for each pixel of arc, and the angle of the first try that met each."""
    count, found = math.ceil(2 * math.pi * radius), {}
    for step in range(count):
        angle = 2 * math.pi * step / count
        found.setdefault((_nearest(radius * math.sin(angle)), _nearest(radius * math.cos(angle))), angle)
    return np.array(list(found)), list(found.values())


def _weight(turn: float, continuity: float) -> int:
    turn = abs(math.remainder(turn, 2 * math.pi))
    return round(UNIT * math.cos(min(continuity * turn, math.pi / 2)) ** 2)


def _fine_line(design: Design, margin: int, angle: float) -> np.ndarray:
    """Draw a segment from the middle backwards on the fine grid, `(size, size)` of 0 and 1."""
    reach = (design.paddle + math.ceil(design.thickness) + margin) * FINE
    image = np.zeros((2 * reach + 1, 2 * reach + 1), dtype=np.int64)
    far = [math.ceil(round(-design.paddle * FINE * part, 9)) for part in (math.sin(angle), math.cos(angle))]
    width, length = design.thickness * FINE, math.hypot(*far)
    if width <= 1:
        count = max(abs(far[0]), abs(far[1]))
        for step in range(count + 1):
            image[reach + _nearest(far[0] * step / count), reach + _nearest(far[1] * step / count)] = 1
        return image
    for row in range(-reach, reach + 1):
        for column in range(-reach, reach + 1):
            along = round((row * far[0] + column * far[1]) / length, 9)
            across = round((row * far[1] - column * far[0]) / length, 9)
            if 0 <= along <= length and -width / 2 <= across < width / 2:
                image[row + reach, column + reach] = 1
    return image


def _accept(design: Design, margin: int) -> np.ndarray:
    """Keep so many of the more frequent label at each distance that the distance tells nothing about the label."""
    c0, c1, c2, c3, low, high = BALANCE.get((design.side, design.contour, margin), (0.0,) * 6)
    kept = np.empty((2, 2 * design.side**2 + 1), dtype=np.int64)
    for square in range(kept.shape[1]):
        u = min(max(math.sqrt(square) / design.side, low), high)
        odds = c0 + u * (c1 + u * (c2 + u * c3))
        kept[:, square] = [round((1 << 16) * min(1.0, math.exp(sign * odds))) for sign in (1, -1)]
    return kept


def grown(image: np.ndarray, radius: int) -> np.ndarray:
    """Dilate by a disc."""
    size = image.shape[0]
    padded, wide = np.pad(image, radius), np.zeros_like(image)
    for row in range(-radius, radius + 1):
        for column in range(-radius, radius + 1):
            if row * row + column * column <= radius * radius:
                wide |= padded[radius + row : radius + row + size, radius + column : radius + column + size]
    return wide


def _disc(radius: float) -> np.ndarray:
    reach = math.ceil(radius) + 1
    axis = np.arange(-reach * FINE, reach * FINE + 1)
    fine = 255 * (axis[:, None] ** 2 + axis**2 <= (radius * FINE) ** 2).astype(np.int64)
    return resample(fine, 2 * reach + 1)


def resample(image: np.ndarray, size: int) -> np.ndarray:
    """Resample a square image of 0 to 255 to `(size, size)` uint8 with Lanczos's kernel, rows then columns."""
    weights = _lanczos(image.shape[0], size)
    half = 1 << (_BITS - 1)
    once = np.clip((image @ weights.T + half) >> _BITS, 0, 255)
    return np.clip((weights @ once + half) >> _BITS, 0, 255).astype(np.uint8)


def _lanczos(before: int, after: int) -> np.ndarray:
    """Weights `(after, before)` in units of 2^-22; the kernel is as wide as three pixels of the coarse image each way."""
    scale = before / after
    weights = np.zeros((after, before), dtype=np.int64)
    for row in range(after):
        middle = (row + 0.5) * scale
        values = [_kernel((place + 0.5 - middle) / scale) for place in range(before)]
        weights[row] = [round(value / sum(values) * (1 << _BITS)) for value in values]
    return weights


def _kernel(x: float) -> float:
    if abs(x) < 1e-9:
        return 1.0
    if abs(x) >= 3:
        return 0.0
    return 3 * math.sin(math.pi * x) * math.sin(math.pi * x / 3) / (math.pi * x) ** 2
