"""What 4-grams of bytes alone can tell: a linear classifier of a text, and the cosine of two texts.

A text is the set of its hashed 4-grams, x_j = 1 / sqrt(number of them) for each. The classifier is a linear support vector
machine trained by dual coordinate ascent (Hsieh et al. 2008): with s = +1 or -1 and 0 <= a_i <= C,

    a_i <- clip(a_i + 1 - s_i w.x_i, 0, C),  w = sum_i a_i s_i x_i

Texts are visited in an order that a fixed seed draws, so that the same data give the same accuracy.
"""

import numpy as np

from cffbook.tasks.task import RaggedTokens

ORDER, BITS = 4, 18
_PASSES, _C = 5, 1.0
_PAIRS = 20_000  # pairs that the threshold of the cosine is fitted on, at most


class Grams:
    """The set of hashed n-grams of each text.

    Args:
        texts: their tokens; a text shorter than `ORDER` has no n-gram.
    """

    def __init__(self, texts: RaggedTokens):
        self.buckets = []
        seen = np.zeros(1 << BITS, dtype=np.int64)
        for index in range(len(texts)):
            hashed = hashes(texts.example(index))
            positions = np.arange(len(hashed))
            seen[hashed] = positions
            self.buckets.append(hashed[seen[hashed] == positions])  # one position of each n-gram

    def __len__(self) -> int:
        return len(self.buckets)

    def scale(self, index: int) -> float:
        """1 / Euclidean length of a text's indicator vector."""
        return max(len(self.buckets[index]), 1) ** -0.5


def hashes(tokens: np.ndarray) -> np.ndarray:
    """Return the bucket of the n-gram at each position, `(time - ORDER + 1,)` int64."""
    count = max(len(tokens) - ORDER + 1, 0)
    state = np.zeros(count, dtype=np.uint32)
    for step in range(ORDER):
        state = state * np.uint32(16777619) + tokens[step : step + count]
    return ((state * np.uint32(2654435769)) >> np.uint32(32 - BITS)).astype(np.int64)


def linear_accuracy(fit: RaggedTokens, split: RaggedTokens) -> float:
    """Accuracy on `split` of the linear classifier trained on `fit`, both with classes 0 and 1."""
    weight = train_linear(Grams(fit), fit.targets)
    grams = Grams(split)
    scores = np.array([weight[buckets].sum() for buckets in grams.buckets])
    return float(np.mean((scores > 0) == (split.targets == 1)))


def train_linear(grams: Grams, targets: np.ndarray) -> np.ndarray:
    """Return the weight of each bucket, `(2 ** BITS,)`."""
    weight, dual = np.zeros(1 << BITS), np.zeros(len(grams))
    signs = np.where(targets == 1, 1.0, -1.0)
    source = np.random.PCG64(0)
    for _ in range(_PASSES):
        for index in np.argsort(source.random_raw(len(grams)), kind="stable").tolist():
            buckets, scale, sign = grams.buckets[index], grams.scale(index), signs[index]
            slack = 1.0 - sign * scale * weight[buckets].sum()
            new = min(max(dual[index] + slack, 0.0), _C)
            if new != dual[index]:
                weight[buckets] += (new - dual[index]) * sign * scale
                dual[index] = new
    return weight


def cosine_accuracy(texts: RaggedTokens, fit: tuple[np.ndarray, np.ndarray], split: tuple[np.ndarray, np.ndarray]) -> float:
    """Accuracy on `split` of "class 1 where the cosine is above a threshold", the threshold being the best on `fit`.

    Args:
        texts: all texts.
        fit, split: pairs `(pairs, 2)` of indices into the texts, and their classes 0 or 1. Each n-gram weighs
            log(texts / texts with it), counted over the texts of `fit`. At most the first 20,000 pairs are fitted on.
    """
    grams = Grams(texts)
    pairs, targets = fit[0][:_PAIRS], fit[1][:_PAIRS]
    known = np.unique(pairs)
    counts = np.zeros(1 << BITS)
    for index in known.tolist():
        counts[grams.buckets[index]] += 1
    weight = np.log(len(known) / np.maximum(counts, 1)) ** 2
    threshold = best_threshold(cosines(grams, weight, pairs), targets)
    return float(np.mean((cosines(grams, weight, split[0]) > threshold) == (split[1] == 1)))


def cosines(grams: Grams, weight: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair of texts, `(pairs,)`; 0 where a text has no n-gram with a weight."""
    norms = np.sqrt([weight[buckets].sum() for buckets in grams.buckets])
    dots, marked, before = np.zeros(len(pairs)), np.zeros(1 << BITS), -1
    for place in np.argsort(pairs[:, 0], kind="stable").tolist():
        first, second = pairs[place]
        if first != before:
            if before >= 0:
                marked[grams.buckets[before]] = 0
            marked[grams.buckets[first]] = weight[grams.buckets[first]]
            before = first
        dots[place] = marked[grams.buckets[second]].sum()
    norm = norms[pairs[:, 0]] * norms[pairs[:, 1]]
    return np.divide(dots, norm, out=np.zeros(len(pairs)), where=norm > 0)


def best_threshold(values: np.ndarray, targets: np.ndarray) -> float:
    """Return the threshold with the most correct "class 1 iff above"; between two values, the lowest of equally good ones."""
    order = np.argsort(values, kind="stable")
    ordered, ones = values[order], targets[order] == 1
    below = np.concatenate([[0], np.cumsum(~ones)])  # zeros below the cut
    above = ones.sum() - np.concatenate([[0], np.cumsum(ones)])
    edges = np.concatenate([[-np.inf], (ordered[:-1] + ordered[1:]) / 2, [np.inf]])
    possible = np.concatenate([[True], ordered[:-1] < ordered[1:], [True]])
    return float(edges[np.where(possible, below + above, -1).argmax()])
