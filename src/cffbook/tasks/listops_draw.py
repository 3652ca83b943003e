"""Random ListOps trees, many at once, level by level.

At every node an operator with probability 1/4 and a digit otherwise, while depth < max_depth (the root has depth 1); operator
and digit uniform, 2 ... max_args arguments uniform. A tree is kept iff minimum < length < maximum, where a digit counts 1
and an operator 2 + its arguments. Source: google-research/long-range-arena, lra_benchmarks/data/listops.py, in distribution
(that generator has no seed). Numbers come from PCG64's raw 64-bit stream, one a node, and from integer arithmetic alone,
so that a seed gives the same trees on every machine; chunk k of a seed has its own stream.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from cffbook.tasks.listops_text import CLOSE, FIRST_OPERATOR
from cffbook.tasks.task import check_count

VERSION = 1
DRAWS = 2048  # trees a chunk: the levels of a chunk stay in cache


@dataclass(frozen=True)
class Grammar:
    """What a tree may be: length strictly between minimum and maximum, at most max_args arguments and max_depth levels.

    Raises:
        ValueError: a bound that is no integer, or no length between the bounds.
    """

    minimum: int = 500
    maximum: int = 2000
    max_args: int = 10
    max_depth: int = 10

    def __post_init__(self) -> None:
        for name, least in (("minimum", 0), ("maximum", 2), ("max_args", 2), ("max_depth", 1)):
            check_count(name, getattr(self, name), least)
        if self.maximum - self.minimum < 2:
            raise ValueError(f"expected a length between minimum and maximum, got {self.minimum} and {self.maximum}")


@dataclass(frozen=True)
class Chunk:
    """The accepted trees of one chunk of draws: tokens as in `RaggedTokens`, values, and how many draws failed and why."""

    tokens: np.ndarray
    offsets: np.ndarray
    values: np.ndarray
    draws: int
    short: int
    long: int


@dataclass
class _Level:
    code: np.ndarray  # (nodes,) token id of a digit or an operator
    arity: np.ndarray  # (operators,)
    tree: np.ndarray  # (nodes,) ascending
    length: np.ndarray | None = None  # (nodes,) tokens of the subtree

    @property
    def operator(self) -> np.ndarray:
        return self.code >= FIRST_OPERATOR

    @property
    def starts(self) -> np.ndarray:
        """Where the children of each operator begin in the next level."""
        return np.cumsum(self.arity) - self.arity


def _grow(source: np.random.PCG64, grammar: Grammar, draws: int) -> tuple[list[_Level], np.ndarray]:
    """Draw all levels; also (draws,) whether a tree was given up because it has `maximum` nodes already."""
    tree = np.arange(draws, dtype=np.int32)
    nodes = np.zeros(draws, dtype=np.int64)
    levels = []
    for depth in range(1, grammar.max_depth + 1):
        nodes += np.diff(np.searchsorted(tree, np.arange(draws + 1)))
        raw = source.random_raw(len(tree))
        number = raw >> np.uint64(32)
        code = ((number * np.uint64(10)) >> np.uint64(32)).astype(np.uint8) + np.uint8(1)
        if depth < grammar.max_depth:
            operator = np.flatnonzero(((raw & np.uint64(3)) == 0) & (nodes < grammar.maximum)[tree])
        else:
            operator = np.empty(0, dtype=np.int64)
        code[operator] = FIRST_OPERATOR + ((raw[operator] >> np.uint64(2)) & np.uint64(3)).astype(np.uint8)
        arity = 2 + ((number[operator] * np.uint64(grammar.max_args - 1)) >> np.uint64(32)).astype(np.int64)
        levels.append(_Level(code, arity, tree))
        tree = np.repeat(tree[operator], arity)
        if not len(tree):
            break
    return levels, nodes >= grammar.maximum


def _measure(levels: list[_Level]) -> None:
    below = None
    for level in reversed(levels):
        level.length = np.ones(len(level.code), dtype=np.int32)
        if len(level.arity):
            level.length[level.operator] = 2 + np.add.reduceat(below, level.starts)
        below = level.length


def _keep(levels: list[_Level], accepted: np.ndarray) -> list[_Level]:
    kept = []
    for level in levels:
        chosen = accepted[level.tree]
        arity = level.arity[chosen[level.operator]]
        kept.append(_Level(level.code[chosen], arity, level.tree[chosen], level.length[chosen]))
    return kept


def _medians(children: np.ndarray, arity: np.ndarray) -> np.ndarray:
    """Mean of the middle two (or the middle one twice), cut; children of consecutive operators lie side by side."""
    owner = np.repeat(np.arange(len(arity), dtype=np.int32), arity)
    ordered = np.sort((owner << 4) | children)
    first = np.cumsum(arity) - arity
    return ((ordered[first + (arity - 1) // 2] & 15) + (ordered[first + arity // 2] & 15)) // 2


def _values(levels: list[_Level]) -> np.ndarray:
    below = None
    for level in reversed(levels):
        value = level.code - np.uint8(1)
        if len(level.arity):
            kind = level.code[level.operator] - FIRST_OPERATOR
            starts, median = level.starts, kind == 2
            result = np.minimum.reduceat(below, starts)
            result = np.where(kind == 1, np.maximum.reduceat(below, starts), result)
            result = np.where(kind == 3, np.add.reduceat(below, starts, dtype=np.int32) % 10, result)
            result[median] = _medians(below[np.repeat(median, level.arity)], level.arity[median])
            value[level.operator] = result
        below = value
    return below


def _emit(levels: list[_Level], offsets: np.ndarray) -> np.ndarray:
    """Write every node at its place in reading order: an operator, its arguments, the closing bracket."""
    tokens = np.zeros(offsets[-1], dtype=np.uint8)
    place = offsets[:-1]
    for level, below in zip(levels, [*levels[1:], None], strict=True):
        tokens[place] = level.code
        if not len(level.arity):
            break
        operator = np.flatnonzero(level.operator)
        place = place[operator]
        tokens[place + level.length[operator] - 1] = CLOSE
        before = np.cumsum(below.length, dtype=np.int64) - below.length
        place = before + np.repeat(place + 1 - before[level.starts], level.arity)
    return tokens


def draw_chunk(grammar: Grammar, seed: int | tuple[int, ...], index: int, draws: int = DRAWS) -> Chunk:
    """Draw chunk `index` of the stream that belongs to `seed`, and keep the trees whose length fits."""
    source = np.random.PCG64(np.random.SeedSequence(entropy=seed, spawn_key=(VERSION, index)))
    levels, given_up = _grow(source, grammar, draws)
    _measure(levels)
    long = given_up | (levels[0].length >= grammar.maximum)
    accepted = ~long & (levels[0].length > grammar.minimum)
    levels = _keep(levels, accepted)
    offsets = np.concatenate([[0], np.cumsum(levels[0].length, dtype=np.int64)])
    count = len(levels[0].code)
    return Chunk(
        tokens=_emit(levels, offsets), offsets=offsets, values=_values(levels).astype(np.int64),
        draws=draws, short=draws - count - int(long.sum()), long=int(long.sum()),
    )  # fmt: skip


def chunks(grammar: Grammar, seed: int | tuple[int, ...], workers: int = 1) -> Iterator[Chunk]:
    """Yield chunks 0, 1, 2, ... without end, drawn ahead by `workers` threads: their number never changes the result."""
    if workers == 1:
        index = 0
        while True:
            yield draw_chunk(grammar, seed, index)
            index += 1
    with ThreadPoolExecutor(workers) as pool:
        ahead = deque(pool.submit(draw_chunk, grammar, seed, index) for index in range(2 * workers))
        try:
            index = len(ahead)
            while True:
                yield ahead.popleft().result()
                ahead.append(pool.submit(draw_chunk, grammar, seed, index))
                index += 1
        finally:
            for future in ahead:
                future.cancel()
