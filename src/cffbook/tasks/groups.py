"""Word problems of finite groups: the product of the elements so far, told after each of them.

    s_t = s_{t-1} x_t,   s_0 = 1                                                                     (word-problem)

A group is given by permutations; a product applies its left factor first. Elements are numbered in the order of their images,
the identity is 0. S5 and A5 are not solvable: their word problems are complete for NC1, while linear recurrences with diagonal
matrices and transformers of bounded depth stay in TC0. Source: Merrill et al. 2024; Barrington 1989.
"""

import re

import numpy as np

from cffbook.tasks.automata import tracking
from cffbook.tasks.task import Task

ALPHABETS, LABELS = ("elements", "generators"), ("element", "place")
LARGEST = 720
Permutation = tuple[int, ...]


def compose(first: Permutation, second: Permutation) -> Permutation:
    """The permutation that applies `first`, then `second`."""
    return tuple(second[image] for image in first)


def closure(generators: list[Permutation]) -> list[Permutation]:
    """All products of the generators, sorted; the identity comes first.

    Raises:
        ValueError: more than `LARGEST` elements.
    """
    found = {tuple(range(len(generators[0])))}
    frontier = list(found)
    while frontier:
        frontier = [product for element in frontier for generator in generators
                    if (product := compose(element, generator)) not in found and not found.add(product)]  # fmt: skip
        if len(found) > LARGEST:
            raise ValueError(f"expected a group of at most {LARGEST} elements, got more: give other generators")
    return sorted(found)


def multiplication(elements: list[Permutation], factors: list[Permutation]) -> np.ndarray:
    """The table `(elements, factors)` int64 of the numbers of their products."""
    number = {element: place for place, element in enumerate(elements)}
    return np.array([[number[compose(element, factor)] for factor in factors] for element in elements], dtype=np.int64)


def parse(group: str) -> list[Permutation]:
    """Generators of a group by its name, or written as cycles.

    Args:
        group: "s5" (symmetric), "a5" (alternating), "z60" (cyclic), "d4" (dihedral, of 2 x 4 elements), or generators as
            products of cycles of 0, 1, ..., separated by semicolons: "(0 1); (0 1 2)(3 4)".

    Raises:
        ValueError: neither.
    """
    named = re.fullmatch(r"([sazd])([1-9]\d*)", group)
    if named:
        return of_name(named[1], int(named[2]))
    texts = [text.strip() for text in group.split(";")]
    if not all(re.fullmatch(r"(\(\s*\d+(\s+\d+)*\s*\)\s*)+", text) for text in texts):
        raise ValueError(f"expected a group, s, a, z or d with a number, or cycles such as '(0 1); (0 1 2)'; got {group!r}")
    read = [[tuple(map(int, cycle.split())) for cycle in re.findall(r"\(([\d\s]+)\)", text)] for text in texts]
    for generator in read:
        places = [place for cycle in generator for place in cycle]
        if len(set(places)) < len(places):
            raise ValueError(f"expected cycles that share no place, got {generator} in {group!r}")
    return cycles(read, 1 + max(place for generator in read for cycle in generator for place in cycle))


def of_name(kind: str, size: int) -> list[Permutation]:
    """Generators of the symmetric, alternating, cyclic or dihedral group of `size` places.

    Raises:
        ValueError: fewer places than the group needs.
    """
    if size < {"s": 2, "a": 3, "z": 1, "d": 3}[kind]:
        raise ValueError(f"expected more places than {size} for the group {kind}{size}: give generators as cycles")
    if kind == "a":
        return cycles([[(0, 1, other)] for other in range(2, size)], size)
    mirror = [(place, size - place) for place in range(1, (size + 1) // 2)]
    return cycles([[tuple(range(size))], *{"s": [[(0, 1)]], "z": [], "d": [mirror]}[kind]], size)


def cycles(generators: list[list[tuple[int, ...]]], size: int) -> list[Permutation]:
    """Permutations of `size` places from their cycles."""
    made = []
    for generator in generators:
        images = list(range(size))
        for cycle in generator:
            for place, image in zip(cycle, cycle[1:] + cycle[:1], strict=True):
                images[place] = image
        made.append(tuple(images))
    return made


def build(
    group: str = "s3", alphabet: str = "elements", label: str = "element", length: int = 40, valid_length: int | None = None,
    longer: tuple[int, ...] = (), longer_size: int = 100, train: int = 100_000, valid: int = 2_000, test: int = 2_000, seed: int = 0,
) -> Task:  # fmt: skip
    """Build the word problem of a group.

    Args:
        group: see `parse`.
        alphabet: whether words are of all "elements", or of the "generators" and the identity.
        label: whether the "element" is asked for, or only the "place" to which it takes place 0: the same automaton seen through
            one of its places. Of the same letters with another thing on place 0 it is where that thing has gone, so that what tracks
            one place tracks, once for each, the element.
        length, valid_length, longer, longer_size, train, valid, test, seed: as of parity.

    Raises:
        ValueError: an option out of range.
    """
    if alphabet not in ALPHABETS:
        raise ValueError(f"expected alphabet to be one of {', '.join(ALPHABETS)}; got {alphabet!r}")
    if label not in LABELS:
        raise ValueError(f"expected label to be one of {', '.join(LABELS)}; got {label!r}")
    generators = parse(group)
    elements = closure(generators)
    letters = elements if alphabet == "elements" else [elements[0], *dict.fromkeys(generators)]
    options = dict(length=length, valid_length=valid_length, longer=longer, longer_size=longer_size,
                   train=train, valid=valid, test=test, seed=seed)  # fmt: skip
    told = {"group": group, "alphabet": alphabet, "label": label, "order": len(elements)}
    table = multiplication(elements, letters)
    labels = np.arange(len(elements)) if label == "element" else np.array([element[0] for element in elements], dtype=np.int64)
    return tracking("word_problem", table, labels, int(labels.max()) + 1, options, told=told)
