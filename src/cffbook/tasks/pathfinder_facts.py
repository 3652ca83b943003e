"""What Pathfinder's images look like in numbers, of those drawn here and of the original's.

`ORIGINAL` was measured once on 300 hard, 150 intermediate and 150 easy images of 32 pixels and 40 hard ones of 64 and of 128
pixels from the original's own code (drewlinsley/pathfinder, commit ab9c130) with the byte scaling of the SciPy of its time.
"""

import numpy as np

from cffbook.tasks.pathfinder_draw import Drawn
from cffbook.tasks.pathfinder_shapes import Design

NAMES = ("short snakes placed", "mean pixel", "share exactly 0", "share >= 64", "share >= 128", "components at >= 64",
         "distance of the first tips", "first tip to its own end", "first tip to the other end")  # fmt: skip
ORIGINAL = {
    (32, "easy"): (3.53, 13.2, 0.767, 0.078, 0.052, 7.7, 7.05, 15.1, 14.8),
    (32, "intermediate"): (1.79, 15.5, 0.732, 0.094, 0.064, 9.6, 7.07, 14.5, 14.1),
    (32, "hard"): (1.26, 20.4, 0.655, 0.127, 0.086, 13.8, 7.07, 13.2, 12.7),
    (64, "hard"): (2.77, 13.6, 0.735, 0.091, 0.047, 17.0, 11.95, 31.5, 28.7),
    (128, "hard"): (7.62, 7.9, 0.863, 0.041, 0.030, 57.8, 20.05, 78.2, 75.2),
}
IMAGES = {(32, "easy"): 150, (32, "intermediate"): 150, (32, "hard"): 300, (64, "hard"): 40, (128, "hard"): 40}


def measure(drawn: Drawn, kind: Design) -> np.ndarray:
    """Return the numbers of `NAMES` for every image, `(images, 9)`; the last three are means over both long snakes."""
    images, long = drawn.images, drawn.segments[:, : 2 * kind.contour].astype(np.int64)
    tips, ends = long[:, [0, kind.contour], 1:3], long[:, [kind.contour - 1, 2 * kind.contour - 1], 3:]
    short = (drawn.segments[:, 2 * kind.contour :, 0] >= 0).sum(1) / kind.distractor
    shares = [(images == 0).mean((1, 2)), (images >= 64).mean((1, 2)), (images >= 128).mean((1, 2))]
    parts = [components(image >= 64) for image in images]
    apart = [_far(tips[:, 0], tips[:, 1]), _far(tips, ends).mean(1), _far(tips, ends[:, ::-1]).mean(1)]
    return np.stack([short, images.mean((1, 2)), *shares, parts, *apart], axis=1)


def components(image: np.ndarray) -> int:
    """Number of 8-connected components of a boolean image."""
    left = {tuple(place) for place in np.argwhere(image).tolist()}
    count = 0
    while left:
        count, reached = count + 1, [left.pop()]
        while reached:
            row, column = reached.pop()
            near = {(row + r, column + c) for r in (-1, 0, 1) for c in (-1, 0, 1)} & left
            left -= near
            reached += near
    return count


def discs_apart(drawn: Drawn) -> np.ndarray:
    """Distance of the two discs, `(images,)`."""
    discs = drawn.discs.astype(np.int64)
    return _far(discs[:, 0], discs[:, 1])


def _far(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.hypot(*np.moveaxis(one - other, -1, 0))
