"""Wirings by pattern: none, dense, tiles, random, ring, lattice, small world.

A random builder draws from its own generator: the same seed gives the same wiring, and torch's global
state stays as it was.
`excitatory` is the fraction of synapses with polarity +1, kept exactly up to rounding; the others have -1.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from cffbook.wiring import checks
from cffbook.wiring.base import Wiring
from cffbook.wiring.devices import on_processor


@on_processor
def random_signs(adjacency: Tensor, excitatory: float, generator: torch.Generator) -> Tensor:
    """Polarity of the shape of `adjacency`: +1 on a random fraction `excitatory` of its synapses, -1 on the others."""
    place = adjacency.flatten().nonzero().squeeze(1)
    order = torch.randperm(len(place), generator=generator)
    polarity = torch.zeros(adjacency.numel(), dtype=torch.int8)
    polarity[place] = -1
    polarity[place[order[: round(checks.fraction(excitatory, "excitatory") * len(place))]]] = 1
    return polarity.view(adjacency.shape)


def _signed(adjacency: Tensor, name: str, excitatory: float, seed: int, shape: tuple[int, ...] | None = None) -> Wiring:
    generator = torch.Generator().manual_seed(seed)
    return Wiring(random_signs(adjacency, excitatory, generator), name=name, shape=shape)


@on_processor
def independent(n: int) -> Wiring:
    """`n` neurons without a synapse between them."""
    n = checks.count(n, "n")
    return Wiring(torch.zeros(n, n, dtype=torch.int8), name=f"independent({n})")


@on_processor
def dense(n: int, self_connections: bool = False, excitatory: float = 0.5, seed: int = 0) -> Wiring:
    """Every neuron on every other one, and on itself if `self_connections` (a fully connected LTC has them)."""
    n = checks.count(n, "n")
    adjacency = torch.ones(n, n, dtype=torch.bool)
    if not self_connections:
        adjacency.fill_diagonal_(False)
    return _signed(adjacency, f"dense({n})", excitatory, seed)


@on_processor
def tiles(n: int, size: int, excitatory: float = 0.5, seed: int = 0) -> Wiring:
    """`n` neurons in dense blocks of `size` along the diagonal: to a memory layer what heads are to attention.

    Raises:
        ValueError: `n` is no multiple of `size`.
    """
    n, size = checks.count(n, "n"), checks.count(size, "size")
    if n % size:
        raise ValueError(f"expected n to be a multiple of the tile size {size}, got {n}: change n or size")
    tile = torch.arange(n) // size
    adjacency = (tile[:, None] == tile).fill_diagonal_(False)
    return _signed(adjacency, f"tiles({n}, {size})", excitatory, seed)


@on_processor
def random_sparse(
    n: int, density: float, self_connections: bool = False, excitatory: float = 0.5, seed: int = 0
) -> Wiring:
    """Exactly ``round(density * possible)`` synapses at random places.

    Args:
        n: number of neurons.
        density: fraction of the possible synapses, which are ``n * (n - 1)``, or ``n * n`` with `self_connections`.
        self_connections: whether a neuron may have a synapse on itself.
        excitatory: fraction of synapses with polarity +1.
        seed: of the places and the polarity.
    """
    n, density = checks.count(n, "n"), checks.fraction(density, "density")
    possible = torch.ones(n, n, dtype=torch.bool)
    if not self_connections:
        possible.fill_diagonal_(False)
    place = possible.flatten().nonzero().squeeze(1)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(place), generator=generator)
    adjacency = torch.zeros(n * n, dtype=torch.bool)
    adjacency[place[order[: round(density * len(place))]]] = True
    return Wiring(
        random_signs(adjacency.view(n, n), excitatory, generator), name=f"random_sparse({n}, {density:g})"
    )


@on_processor
def ring(n: int, reach: int = 1, excitatory: float = 0.5, seed: int = 0) -> Wiring:
    """A closed chain: every neuron on its `reach` next neurons on either side."""
    n, reach = checks.count(n, "n"), checks.count(reach, "reach")
    return _signed(_near((n,), reach, (True,), "manhattan"), f"ring({n}, {reach})", excitatory, seed)


@on_processor
def lattice(
    shape: Sequence[int],
    reach: float = 1,
    periodic: bool | Sequence[bool] = False,
    distance: str = "manhattan",
    excitatory: float = 0.5,
    seed: int = 0,
) -> Wiring:
    """A grid of any dimension: a synapse from every neuron on every other one within `reach`.

    Args:
        shape: neurons along each axis, for example ``(8, 8, 4)``; neurons are numbered with the last axis fastest.
        reach: the largest distance, in steps of the grid, that a synapse spans.
        periodic: whether the ends of an axis meet; one value, or one per axis.
        distance: ``"manhattan"`` (sum of the steps along the axes), ``"euclidean"`` or ``"chebyshev"`` (largest step).
        excitatory: fraction of synapses with polarity +1.
        seed: of the polarity.

    Raises:
        ValueError: an empty shape, a size below 1, a reach that is not positive, `periodic` of another length, an
            unknown distance.
    """
    shape = tuple(checks.count(size, "every size in shape") for size in shape)
    if not shape:
        raise ValueError("expected a shape of at least one axis, got (): pass for example (8, 8)")
    wraps = (periodic,) * len(shape) if isinstance(periodic, bool) else tuple(periodic)
    if len(wraps) != len(shape):
        raise ValueError(f"expected periodic for {len(shape)} axes, got {len(wraps)}: pass one value, or one per axis")
    if not reach > 0:
        raise ValueError(f"expected a positive reach, got {reach!r}: use independent() for no synapses")
    extra = (f", reach {reach:g}" if reach != 1 else "") + (", periodic" if any(wraps) else "")
    return _signed(_near(shape, reach, wraps, distance), f"lattice{shape}{extra}", excitatory, seed, shape)


def _near(shape: tuple[int, ...], reach: float, periodic: tuple[bool, ...], distance: str) -> Tensor:
    """(N, N) bool: which different neurons of a grid are within `reach` of each other."""
    known = ("manhattan", "euclidean", "chebyshev")
    if distance not in known:
        raise ValueError(f"expected the name of a distance, got {distance!r}: choose one of {', '.join(known)}")
    n = prod(shape)
    index = torch.arange(n, dtype=torch.int32)
    total = torch.zeros(n, n, dtype=torch.int32)
    inner = n
    for size, wraps in zip(shape, periodic, strict=True):
        inner //= size
        coordinate = index // inner % size
        step = (coordinate[:, None] - coordinate).abs_()
        if wraps:
            step = torch.minimum(step, size - step)
        if distance == "chebyshev":
            total = torch.maximum(total, step)
        else:
            total += step * step if distance == "euclidean" else step
    limit = reach * reach if distance == "euclidean" else reach
    return (total <= limit).fill_diagonal_(False)


@on_processor
def small_world(n: int, neighbours: int, rewiring: float, excitatory: float = 0.5, seed: int = 0) -> Wiring:
    """Watts and Strogatz's small world, with a synapse in either direction along every edge.

    A ring whose neurons know their `neighbours` nearest neurons; then one end of each edge moves, with probability
    `rewiring`, to a random neuron that is not yet joined. The number of edges stays ``n * neighbours / 2``.
    Source: Watts and Strogatz 1998, Collective dynamics of small-world networks.

    Args:
        n: number of neurons.
        neighbours: even, below `n`: half of them lie on either side.
        rewiring: probability in [0, 1] that an edge is moved; 0 leaves the ring.
        excitatory: fraction of synapses with polarity +1; the two synapses of an edge are drawn apart.
        seed: of the edges and the polarity.
    """
    n, neighbours = checks.count(n, "n"), checks.count(neighbours, "neighbours", least=2)
    rewiring = checks.fraction(rewiring, "rewiring")
    if neighbours % 2 or neighbours >= n:
        raise ValueError(f"expected an even number of neighbours below n = {n}, got {neighbours}: change neighbours")
    generator = torch.Generator().manual_seed(seed)
    joined = _near((n,), neighbours // 2, (True,), "manhattan")
    moves = torch.rand(neighbours // 2, n, generator=generator) < rewiring
    for offset, neuron in moves.nonzero().tolist():
        old = (neuron + offset + 1) % n
        free = ~joined[neuron]
        free[neuron] = False
        choices = free.nonzero().squeeze(1)
        if not len(choices):  # joined to every neuron already: the edge has nowhere to go
            continue
        new = choices[torch.randint(len(choices), (), generator=generator)]
        joined[neuron, old] = joined[old, neuron] = False
        joined[neuron, new] = joined[new, neuron] = True
    return Wiring(random_signs(joined, excitatory, generator), name=f"small_world({n}, {neighbours}, {rewiring:g})")
