"""Pathfinder's images, grown and drawn in integers: one call, many images, each from its own number.

Two long snakes of segments grow in turn from neighbouring seeds; a segment that finds no place in three tries discards
both (rejection sampling, as in the original; here also one whose zone overlaps that of the other snake's newest segment, so
that the two never cross). Then short snakes, then two discs: at one of the seeds, and at the far end of
the same snake (label 1) or of the other (label 0). Random numbers are SplitMix64, counted on from the image's number.
A segment is a row (head's row, head's column, direction, pivot's row, pivot's column).
"""

import numpy as np

from cffbook._optional import require

numba = require("numba", extra="fast", purpose="generating Pathfinder images")

_ROOM = 459  # 1.8 * 255: zones may overlap by less than this
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
    """Whether a disc around a pixel is inside the frame and free."""
    side = mask.shape[0]
    if row < 0 or column < 0 or row >= side or column >= side:
        return False
    for r in range(max(row - reach, 0), min(row + reach + 1, side)):
        for c in range(max(column - reach, 0), min(column + reach + 1, side)):
            if mask[r, c] and (r - row) ** 2 + (c - column) ** 2 <= reach * reach:
                return False
    return True


@numba.njit(cache=True, nogil=True)
def _put(snake, place, head_row, head_column, direction, pivot_row, pivot_column):
    snake[place, 0], snake[place, 1], snake[place, 2] = head_row, head_column, direction
    snake[place, 3], snake[place, 4] = pivot_row, pivot_column


@numba.njit(cache=True, nogil=True)
def _keep_free(mask, zone, snake, place):
    """Keep the zone of a segment free from now on."""
    _raise(mask, zone[snake[place, 2]], snake[place, 0], snake[place, 1], 1)


@numba.njit(cache=True, nogil=True)
def _start(mask, row, column, direction, snake, ahead, back, zone):
    """Set the first segment of a snake from its tail; whether head and pivot are in the frame and the zone is free."""
    side = mask.shape[0]
    head_row, head_column = row + ahead[direction, 0], column + ahead[direction, 1]
    pivot_row, pivot_column = head_row + back[direction, 0], head_column + back[direction, 1]
    if min(head_row, head_column, pivot_row, pivot_column) < 0 or max(head_row, head_column, pivot_row, pivot_column) >= side:
        return False
    _put(snake, 0, head_row, head_column, direction, pivot_row, pivot_column)
    return _fits(mask, zone[direction], head_row, head_column)


@numba.njit(cache=True, nogil=True)
def _extend(state, mask, snake, place, margin, onward, ends, towards, turns, zone, weights):
    """Add segment `place` to a snake, and then keep the zone of the one before it free; whether it found a place."""
    direction = snake[place - 1, 2]
    row = snake[place - 1, 3] + onward[direction, 0]
    column = snake[place - 1, 4] + onward[direction, 1]
    total = 0
    for end in range(len(ends)):
        weight = turns[direction, end]
        if weight and not _free(mask, row + ends[end, 0], column + ends[end, 1], margin):
            weight = 0
        total += weight
        weights[end] = total
    if total == 0:
        return False
    for _ in range(_TRIES):
        drawn, end = _below(state, total), 0
        while weights[end] <= drawn:
            end += 1
        head_row, head_column, new = row + ends[end, 0], column + ends[end, 1], towards[end]
        if _fits(mask, zone[new], head_row, head_column):
            _keep_free(mask, zone, snake, place - 1)
            _put(snake, place, head_row, head_column, new, row, column)
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _clash(zone, one, other):
    """Whether the zones of two segments overlap; both are the newest of their snakes, which the mask does not hold yet."""
    size = zone.shape[1]
    down, right = other[0] - one[0], other[1] - one[1]
    for r in range(max(down, 0), min(size + down, size)):
        for c in range(max(right, 0), min(size + right, size)):
            if np.int64(zone[one[2], r, c]) + np.int64(zone[other[2], r - down, c - right]) >= _ROOM:
                return True
    return False


@numba.njit(cache=True, nogil=True)
def _blank(mask, padding):
    mask[:] = 255
    mask[padding : mask.shape[0] - padding, padding : mask.shape[0] - padding] = 0


@numba.njit(cache=True, nogil=True)
def _targets(state, mask, snakes, margin, padding, distance, ahead, back, onward, ends, towards, turns, seeds, zone, weights):
    """Grow the two long snakes; return how many times they were begun."""
    side, contour = mask.shape[0], snakes.shape[1]
    span = side - 4 * distance
    begun = 0
    while True:
        begun += 1
        _blank(mask, padding)
        row, column = 2 * distance + _below(state, span), 2 * distance + _below(state, span)
        if not _start(mask, row, column, _below(state, 360), snakes[0], ahead, back, zone):
            continue
        angle = _below(state, 360)
        row, column = row + seeds[angle, 0], column + seeds[angle, 1]
        if not _start(mask, row, column, _below(state, 360), snakes[1], ahead, back, zone):
            continue
        place = 1
        while place < contour:
            if not _extend(state, mask, snakes[0], place, margin, onward, ends, towards, turns, zone, weights):
                break
            if _clash(zone, snakes[0, place], snakes[1, place - 1]):
                break
            if not _extend(state, mask, snakes[1], place, margin, onward, ends, towards, turns, zone, weights):
                break
            if _clash(zone, snakes[0, place], snakes[1, place]):
                break
            place += 1
        if place == contour:
            for snake in range(2):
                _keep_free(mask, zone, snakes[snake], contour - 1)
            return begun


@numba.njit(cache=True, nogil=True)
def _seed(state, mask, direction, line):
    """Number of a pixel, row * side + column, drawn evenly from those where a first segment meets nothing; -1 if too few."""
    side = mask.shape[0]
    patch = line[(direction + 180) % 360]
    reach = patch.shape[0] // 2
    free = np.empty(side * side, np.int64)
    count = 0
    for row in range(side):
        for column in range(side):
            if mask[row, column]:
                continue
            clear = True
            for r in range(max(row - reach, 0), min(row + reach + 1, side)):
                for c in range(max(column - reach, 0), min(column + reach + 1, side)):
                    if mask[r, c] and patch[r - row + reach, c - column + reach]:
                        clear = False
                        break
                if not clear:
                    break
            if clear:
                free[count] = row * side + column
                count += 1
    if count * 100 < side * side:
        return np.int64(-1)
    return free[_below(state, count)]


@numba.njit(cache=True, nogil=True)
def _short(state, mask, snake, margin, ahead, back, onward, ends, towards, turns, line, zone, weights):
    """Grow one short snake in the free part of the mask; whether it found room."""
    side, length = mask.shape[0], snake.shape[0]
    kept = mask.copy()
    for _ in range(_SHORT_TRIES):
        direction = _below(state, 360)
        seed = _seed(state, mask, direction, line)
        grows = seed >= 0 and _start(mask, seed // side, seed % side, direction, snake, ahead, back, zone)
        place = 1
        while grows and place < length:
            grows = _extend(state, mask, snake, place, margin, onward, ends, towards, turns, zone, weights)
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
def _set(rows, place, snake, segment, behind):
    """Write down a segment as snake, tail and head."""
    rows[place, 0] = snake
    rows[place, 1], rows[place, 2] = segment[0] + behind[segment[2], 0], segment[1] + behind[segment[2], 1]
    rows[place, 3], rows[place, 4] = segment[0], segment[1]


@numba.njit(cache=True, nogil=True)
def grow(keys, labels, contour, short, margin, padding, distance, tries, target_contrast, distractor_contrast,
         ahead, behind, back, onward, ends, towards, turns, seeds, line, zone, disc, accept, images, segments, discs, begun):  # fmt: skip
    """Fill images, one for each key.

    Args:
        keys, labels: `(images,)` uint64 numbers, and whether the discs lie on one snake.
        contour, short, margin, padding, distance, tries, target_contrast, distractor_contrast: see `Design`.
        ahead, behind, back, onward, ends, towards, turns, seeds, line, zone, disc, accept: see `Tables`.
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
                state, mask, long, margin, padding, distance, ahead, back, onward, ends, towards, turns, seeds, zone, weights
            )
            first = _below(state, 2)
            start, far = long[first, 0], long[first if labels[image] else 1 - first, contour - 1]
            row, column = start[0] - ahead[start[2], 0], start[1] - ahead[start[2], 1]
            if _below(state, 1 << 16) < accept[labels[image], (row - far[0]) ** 2 + (column - far[1]) ** 2]:
                break
        discs[image, 0, 0], discs[image, 0, 1], discs[image, 1, 0], discs[image, 1, 1] = row, column, far[0], far[1]
        segments[image] = -1
        drawn[:] = 0
        for snake in range(2):
            for place in range(contour):
                _set(segments[image], snake * contour + place, snake, long[(first + snake) % 2, place], behind)
                _draw(drawn, line, long[(first + snake) % 2, place], target_contrast)
        count = 0
        for _ in range(tries):
            if _short(state, mask, extra, margin, ahead, back, onward, ends, towards, turns, line, zone, weights):
                for place in range(short):
                    _set(segments[image], 2 * contour + count * short + place, 2 + count, extra[place], behind)
                    _draw(drawn, line, extra[place], distractor_contrast)
                count += 1
        for one in range(2):
            _raise(drawn, disc, discs[image, one, 0], discs[image, one, 1], 100)
        top = drawn.max()
        for row in range(side):
            for column in range(side):
                images[image, row, column] = (2 * 255 * drawn[row, column] + top) // (2 * top)
