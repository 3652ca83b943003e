"""Wirings: which neuron has a synapse on which, and whether it excites or inhibits.

A wiring is a matrix ``polarity[source, target]`` of -1 (inhibitory), 0 (no synapse) and +1 (excitatory).
``base`` holds the type, ``builders`` and ``layered`` make wirings, ``graphs`` reads them, ``drawing`` shows them,
``devices`` keeps them on the processor.
"""

from collections.abc import Callable

from cffbook.wiring.base import Wiring
from cffbook.wiring.builders import dense, independent, lattice, random_sparse, ring, small_world, tiles
from cffbook.wiring.graphs import from_graph
from cffbook.wiring.layered import ncp

__all__ = [
    "Wiring",
    "builder",
    "dense",
    "from_graph",
    "independent",
    "lattice",
    "names",
    "ncp",
    "random_sparse",
    "ring",
    "small_world",
    "tiles",
]


def names() -> tuple[str, ...]:
    """The names that `builder` knows."""
    return ("independent", "dense", "tiles", "random_sparse", "ring", "lattice", "small_world", "ncp")


def builder(name: str) -> Callable[..., Wiring]:
    """The builder of this name, for settings and notebooks: ``builder("ring")(8)`` is ``ring(8)``.

    Raises:
        ValueError: the name is unknown.
    """
    functions = (independent, dense, tiles, random_sparse, ring, lattice, small_world, ncp)
    known = dict(zip(names(), functions, strict=True))
    if name not in known:
        raise ValueError(f"expected the name of a wiring, got {name!r}: choose one of {', '.join(known)}")
    return known[name]
