"""Pathfinder's images, grown and drawn in integers: one call, many images, each from its own number.

Two long snakes of segments grow in turn from neighbouring seeds; a segment that finds no place in three tries discards
both (rejection sampling, as in the original). Then short snakes, then two discs: at one of the seeds, and at the far end of
the same snake (label 1) or of the other (label 0). Random numbers are SplitMix64, counted on from the image's number.
A segment keeps its zone free once the next one of its snake is placed, so that the newest two of the long snakes may cross.
A segment is a row (anchor's row, anchor's column, direction, pivot's row, pivot's column).
"""

import numpy as np

from cffbook._optional import require
from cffbook.tasks.pathfinder_shapes import UNIT

numba = require("numba", extra="fast", purpose="generating Pathfinder images")

_ROOM = 459  # 1.8 * 255: zones may overlap by less than this
_OCCUPIED = 77  # 0.3 * 255: a pixel above is no place for a first segment
_LEAST = UNIT * 255 // 10_000  # an end has to be found among weights of at least this
_TRIES, _SEEDS, _SHORT_TRIES = 3, 3, 5


@numba.njit(cache=True, nogil=True, inline="always")
def _next(state):
    """Next number of SplitMix64; `state` is one uint64 in an array."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    value = state[0]
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@numba.njit(cache=True, nogil=True, inline="always")
def _below(state, bound):
    """Integer from 0 to bound - 1, bound below 2^31."""
    return np.int64(((_next(state) >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@numba.njit(cache=True, nogil=True)
def _fits(mask, zone, row, column):
    """Whether a zone around (row, column) overlaps nothing much."""
    reach, side = zone.shape[0] // 2, mask.shape[0]
    for r in range(max(row - reach, 0), min(row + reach + 1, side)):
        for c in range(max(column - reach, 0), min(column + reach + 1, side)):
            if np.int64(mask[r, c]) + np.int64(zone[r - row + reach, c - column + reach]) >= _ROOM:
                return False
    return True


@numba.njit(cache=True, nogil=True)
def _raise(image, patch, row, column, contrast):
    """Raise an image to a patch around (row, column), times contrast."""
    reach, side = patch.shape[0] // 2, image.shape[0]
    for r in range(max(row - reach, 0), min(row + reach + 1, side)):
        for c in range(max(column - reach, 0), min(column + reach + 1, side)):
            value = contrast * np.int64(patch[r - row + reach, c - column + reach])
            if value > image[r, c]:
                image[r, c] = value


@numba.njit(cache=True, nogil=True)
def _free(mask, row, column, reach):
    """How free a disc around a pixel is, 0 to 255; 0 outside the frame."""
    side, most = mask.shape[0], np.int64(0)
    if row < 0 or column < 0 or row >= side or column >= side:
        return np.int64(0)
    for r in range(max(row - reach, 0), min(row + reach + 1, side)):
        for c in range(max(column - reach, 0), min(column + reach + 1, side)):
            if mask[r, c] > most and (r - row) ** 2 + (c - column) ** 2 <= reach * reach:
                most = mask[r, c]
    return 255 - most


@numba.njit(cache=True, nogil=True)
def _put(snake, place, row, column, direction, pivot_row, pivot_column):
    snake[place, 0], snake[place, 1], snake[place, 2] = row, column, direction
    snake[place, 3], snake[place, 4] = pivot_row, pivot_column


@numba.njit(cache=True, nogil=True)
def _keep_free(mask, zone, snake, place):
    """Keep the zone of a segment free from now on."""
    _raise(mask, zone[snake[place, 2]], snake[place, 0], snake[place, 1], 1)


@numba.njit(cache=True, nogil=True)
def _start(side, row, column, direction, snake, far, back):
    """Set the first segment of a snake from its tail; whether head and pivot are in the frame."""
    head_row, head_column = row + far[direction, 0], column + far[direction, 1]
    pivot_row, pivot_column = head_row + back[direction, 0], head_column + back[direction, 1]
    _put(snake, 0, row, column, direction, pivot_row, pivot_column)
    return min(head_row, head_column, pivot_row, pivot_column) >= 0 and max(head_row, head_column, pivot_row, pivot_column) < side


@numba.njit(cache=True, nogil=True)
def _extend(state, mask, snake, place, margin, onward, ends, turns, zone, weights):
    """Add segment `place` to a snake, and then keep the zone of the one before it free; whether it found a place."""
    direction = snake[place - 1, 2]
    row = snake[place - 1, 3] + onward[direction, 0]
    column = snake[place - 1, 4] + onward[direction, 1]
    total = 0
    for end in range(len(ends)):
        if turns[direction, end]:
            total += turns[direction, end] * _free(mask, row + ends[end, 0], column + ends[end, 1], margin)
        weights[end] = total
    if total < _LEAST:
        return False
    for _ in range(_TRIES):
        drawn, end = _below(state, total), 0
        while weights[end] <= drawn:
            end += 1
        head_row, head_column, new = row + ends[end, 0], column + ends[end, 1], 360 + end
        if _fits(mask, zone[new], head_row, head_column):
            _keep_free(mask, zone, snake, place - 1)
            _put(snake, place, head_row, head_column, new, row, column)
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _blank(mask, padding):
    mask[:] = 255
    mask[padding : mask.shape[0] - padding, padding : mask.shape[0] - padding] = 0


@numba.njit(cache=True, nogil=True)
def _begin(state, side, snakes, distance, far, back, seeds, spread, usable):
    """Set the first segments of the two long snakes; whether they found a place.

    The core of the first lies inside a band of twice the seeds' distance; the second is that distance away.
    """
    direction = _below(state, 360)
    low, high, band = spread[direction, 0], spread[direction, 1], 2 * distance
    rows, columns = side - 2 * band - (high[0] - low[0]), side - 2 * band - (high[1] - low[1])
    if not usable[direction] or rows <= 0 or columns <= 0:
        return False
    row, column = band - low[0] + _below(state, rows), band - low[1] + _below(state, columns)
    if not _start(side, row, column, direction, snakes[0], far, back):
        return False
    for _ in range(_SEEDS):
        angle, direction = _below(state, 360), _below(state, 360)
        if _start(side, row + seeds[angle, 0], column + seeds[angle, 1], direction, snakes[1], far, back):
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _targets(state, mask, snakes, margin, padding, distance, far, back, onward, ends, turns, seeds, spread, usable, zone, weights):
    """Grow the two long snakes; return how many times they were begun."""
    contour, begun = snakes.shape[1], 0
    while True:
        begun += 1
        if not _begin(state, mask.shape[0], snakes, distance, far, back, seeds, spread, usable):
            continue
        _blank(mask, padding)
        place = 1
        while place < contour:
            if not _extend(state, mask, snakes[0], place, margin, onward, ends, turns, zone, weights):
                break
            if not _extend(state, mask, snakes[1], place, margin, onward, ends, turns, zone, weights):
                break
            place += 1
        meet = snakes[0, contour - 1, 0] == snakes[1, contour - 1, 0] and snakes[0, contour - 1, 1] == snakes[1, contour - 1, 1]
        if place == contour and not meet:  # a disc on both ends would have two labels
            _keep_free(mask, zone, snakes[1], contour - 1)  # of the second snake alone, as in the original
            return begun


@numba.njit(cache=True, nogil=True)
def _seed(state, mask, core):
    """Number of a pixel, row * side + column, drawn evenly from those whose core is free; -1 if there is none."""
    side = mask.shape[0]
    places, count, empty = np.empty(side * side, np.int64), 0, 0
    for row in range(side):
        for column in range(side):
            empty += mask[row, column] < _OCCUPIED
            clear = True
            for step in range(len(core)):
                r, c = row + core[step, 0], column + core[step, 1]
                if r >= 0 and c >= 0 and r < side and c < side and mask[r, c] >= _OCCUPIED:
                    clear = False
                    break
            if clear:
                places[count] = row * side + column
                count += 1
    if count == 0 or empty * 100 < side * side:
        return np.int64(-1)
    return places[_below(state, count)]


@numba.njit(cache=True, nogil=True)
def _sown(state, mask, snake, far, back, core, usable):
    """Set the first segment of a short snake; whether it found a place."""
    side = mask.shape[0]
    for _ in range(_SEEDS):
        direction = _below(state, 360)
        seed = _seed(state, mask, core[direction]) if usable[direction] else np.int64(-1)
        if seed < 0:
            return False
        if _start(side, seed // side, seed % side, direction, snake, far, back):
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _short(state, mask, snake, margin, far, back, onward, ends, turns, core, usable, zone, weights):
    """Grow one short snake in the free part of the mask; whether it found room."""
    length = snake.shape[0]
    kept = mask.copy()
    for _ in range(_SHORT_TRIES):
        grows, place = _sown(state, mask, snake, far, back, core, usable), 1
        while grows and place < length:
            grows = _extend(state, mask, snake, place, margin, onward, ends, turns, zone, weights)
            place += 1
        if grows:
            _keep_free(mask, zone, snake, length - 1)
            return True
        mask[:] = kept
    return False


@numba.njit(cache=True, nogil=True)
def _draw(image, line, segment, contrast):
    _raise(image, line[segment[2]], segment[0], segment[1], contrast)


@numba.njit(cache=True, nogil=True)
def _set(rows, place, snake, segment, far):
    """Write down a segment as snake, tail and head."""
    row, column = segment[0] + far[segment[2], 0], segment[1] + far[segment[2], 1]
    rows[place, 0] = snake
    if segment[2] < 360:
        rows[place, 1], rows[place, 2], rows[place, 3], rows[place, 4] = segment[0], segment[1], row, column
    else:
        rows[place, 1], rows[place, 2], rows[place, 3], rows[place, 4] = row, column, segment[0], segment[1]


@numba.njit(cache=True, nogil=True)
def grow(keys, labels, contour, short, margin, padding, distance, tries, target_contrast, distractor_contrast,
         far, back, onward, ends, turns, seeds, core, spread, usable, line, zone, disc, accept, images, segments, discs, begun):  # fmt: skip
    """Fill images, one for each key.

    Args:
        keys, labels: `(images,)` uint64 numbers, and whether the discs lie on one snake.
        contour, short, margin, padding, distance, tries, target_contrast, distractor_contrast: see `Design`.
        far, back, onward, ends, turns, seeds, core, spread, usable, line, zone, disc, accept: see `Tables`.
        images: `(images, side, side)` uint8, filled.
        segments: `(images, most, 5)` int8, filled: snake (-1: no segment), rows and columns of tail and head. The long snakes
            are 0, which bears the disc at its first tip, and 1; segments of a snake follow one another.
        discs: `(images, 2, 2)` int8, filled: row and column of the disc at the first tip and of the other.
        begun: `(images,)` int64, filled: how often the two long snakes were begun.
    """
    side = images.shape[1]
    mask, drawn = np.empty((side, side), np.int64), np.empty((side, side), np.int64)
    long, extra = np.empty((2, contour, 5), np.int64), np.empty((short, 5), np.int64)
    weights, state = np.empty(len(ends), np.int64), np.empty(1, np.uint64)
    for image in range(len(keys)):
        state[0] = keys[image]
        begun[image] = 0
        while True:
            begun[image] += _targets(
                state, mask, long, margin, padding, distance, far, back, onward, ends, turns, seeds, spread, usable, zone, weights
            )
            first = _below(state, 2)
            start, end = long[first, 0], long[first if labels[image] else 1 - first, contour - 1]
            if _below(state, 1 << 16) < accept[labels[image], (start[0] - end[0]) ** 2 + (start[1] - end[1]) ** 2]:
                break
        discs[image, 0, 0], discs[image, 0, 1], discs[image, 1, 0], discs[image, 1, 1] = start[0], start[1], end[0], end[1]
        segments[image] = -1
        drawn[:] = 0
        for snake in range(2):
            for place in range(contour):
                _set(segments[image], snake * contour + place, snake, long[(first + snake) % 2, place], far)
                _draw(drawn, line, long[(first + snake) % 2, place], target_contrast)
        count = 0
        for _ in range(tries):
            if _short(state, mask, extra, margin, far, back, onward, ends, turns, core, usable, zone, weights):
                for place in range(short):
                    _set(segments[image], 2 * contour + count * short + place, 2 + count, extra[place], far)
                    _draw(drawn, line, extra[place], distractor_contrast)
                count += 1
        for one in range(2):
            _raise(drawn, disc, discs[image, one, 0], discs[image, one, 1], 100)
        top = drawn.max()
        for row in range(side):
            for column in range(side):
                images[image, row, column] = (2 * 255 * drawn[row, column] + top) // (2 * top)
