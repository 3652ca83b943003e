"""Lines, discs, dilation and resampling in integers, from which Pathfinder's patches are made.

Shapes are drawn `FINE` times finer, resampled with Lanczos's kernel of three lobes and rounded to 8 bits, as the original's
image library does it; a line one pixel wide is the very same one, a wider one differs from that library's in 0.4 pixels on average.
"""

import math

import numpy as np

FINE = 2
_BITS = 22  # of the resampling weights


def nearest(value: float) -> int:
    """Round, one half up; the last digits, which differ between machines, do not count."""
    return math.floor(round(value, 9) + 0.5)


def upwards(value: float) -> int:
    """Round up, but for the last digits."""
    return math.ceil(round(value, 9))


def outwards(value: float) -> int:
    """Round, one half away from zero."""
    return nearest(value) if value >= 0 else -nearest(-value)


def inwards(value: float) -> int:
    """Round, one half towards zero."""
    return upwards(value - 0.5) if value >= 0 else -upwards(-value - 0.5)


def line(far: tuple[int, int], width: int, reach: int) -> np.ndarray:
    """Draw a line from the middle of `(2 * reach + 1, 2 * reach + 1)` pixels, 0 and 1.

    Args:
        far: rows and columns from the middle to the other end, not both 0.
        width: in pixels.
        reach: pixels on each side of the middle.
    """
    image = np.zeros((2 * reach + 1, 2 * reach + 1), dtype=np.int64)
    down, right = far
    if width == 1:
        count = max(abs(down), abs(right))
        for step in range(count + 1):
            image[reach + outwards(down * step / count), reach + outwards(right * step / count)] = 1
        return image
    corners = _corners(down, right, (width - 1) / 2)
    for row in range(min(corner[0] for corner in corners), max(corner[0] for corner in corners) + 1):
        crossed = [place for one, other in zip(corners, corners[1:] + corners[:1], strict=True) for place in _crossed(row, one, other)]
        image[reach + row, reach + outwards(min(crossed)) : reach + inwards(max(crossed)) + 1] = 1
    return image


def _corners(down: int, right: int, half: float) -> list[tuple[int, int]]:
    """Corners, in whole pixels, of a line that reaches `half` to either side of its middle."""
    length = math.hypot(down, right)
    less, more = inwards(half) / length, outwards(half) / length
    before, after = (outwards(less * right), inwards(less * down)), (outwards(more * right), inwards(more * down))
    return [(after[0], -before[1]), (down + after[0], right - before[1]), (down - before[0], right + after[1]), (-before[0], after[1])]


def _crossed(row: int, one: tuple[int, int], other: tuple[int, int]) -> list[float]:
    """Columns where the edge from one corner to the other meets a row."""
    if one[0] == other[0]:
        return [one[1], other[1]] if row == one[0] else []
    inside = min(one[0], other[0]) <= row <= max(one[0], other[0])
    return [one[1] + (other[1] - one[1]) * (row - one[0]) / (other[0] - one[0])] if inside else []


def grown(image: np.ndarray, radius: int) -> np.ndarray:
    """Dilate by a disc."""
    size = image.shape[0]
    padded, wide = np.pad(image, radius), np.zeros_like(image)
    for row in range(-radius, radius + 1):
        for column in range(-radius, radius + 1):
            if row * row + column * column <= radius * radius:
                wide |= padded[radius + row : radius + row + size, radius + column : radius + column + size]
    return wide


def disc(radius: float) -> np.ndarray:
    """Draw a marker around the middle pixel, 0 to 255; the kernel's lobes reach three pixels further than the disc.

    Its centre is a corner of the fine grid's pixels and so a quarter of a pixel up and left of the middle, as in the original.
    """
    reach = math.ceil(radius) + 4
    axis = np.arange(-reach * FINE, (reach + 1) * FINE)
    return resample(255 * (axis[:, None] ** 2 + axis**2 <= (radius * FINE) ** 2).astype(np.int64), 2 * reach + 1)


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
