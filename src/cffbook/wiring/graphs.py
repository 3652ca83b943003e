"""Wirings from graphs that the user already has: numpy, scipy.sparse, torch, networkx or nested lists."""

from typing import Any

import torch
from torch import Tensor

from cffbook.wiring import checks
from cffbook.wiring.base import Wiring
from cffbook.wiring.builders import random_signs
from cffbook.wiring.devices import on_processor


@on_processor
def from_graph(
    graph: Any,
    polarity: Any = None,
    *,
    sensory: Any = None,
    outputs: int | None = None,
    excitatory: float | None = None,
    seed: int = 0,
    name: str = "given",
) -> Wiring:
    """A wiring from any graph; a weight's sign gives the polarity, zero is no synapse.

    Self synapses of the graph are kept. An undirected networkx graph gives a synapse in either direction.

    Args:
        graph: matrix ``[source, target]`` as a numpy array, scipy.sparse matrix or array, torch tensor (dense or
            sparse) or nested list; or a networkx graph, whose nodes are numbered in their own order and whose edges carry a
            `polarity` (-1, 0, +1, "inhibitory" or "excitatory"), else a `weight`, else count as +1.
        polarity: matrix of -1 and +1 that replaces the signs; read only where the graph has a synapse.
        sensory: matrix ``[input, neuron]`` of weights, in any of the matrix forms, or None.
        outputs: number of motor neurons, which come first, or None.
        excitatory: draw the polarity at random, with this fraction of +1, in place of the signs.
        seed: of the random polarity.
        name: what the wiring is called.

    Raises:
        TypeError: an object that is none of the known forms.
        ValueError: not square, NaN, a polarity of another size or 0 at a synapse, or both `polarity` and `excitatory`.
    """
    signs = checks.square(_signs(graph, "graph"), "graph")
    if polarity is not None and excitatory is not None:
        raise ValueError("expected polarity or excitatory, got both: leave one out")
    if polarity is not None:
        signs = _explicit(signs, _matrix(polarity, "polarity"))
    elif excitatory is not None:
        signs = random_signs(signs != 0, excitatory, torch.Generator().manual_seed(seed))
    inputs = None if sensory is None else _signs(sensory, "sensory")
    return Wiring(signs, sensory=inputs, outputs=outputs, name=name)


def _explicit(signs: Tensor, polarity: Tensor) -> Tensor:
    polarity = checks.polarity_matrix(polarity, "polarity")
    if polarity.shape != signs.shape:
        raise ValueError(
            f"expected polarity of the graph's size {tuple(signs.shape)}, got {tuple(polarity.shape)}: "
            "give every neuron one row and one column"
        )
    polarity = polarity * (signs != 0)
    missing = ((signs != 0) & (polarity == 0)).nonzero()
    if len(missing):
        source, target = missing[0].tolist()
        raise ValueError(
            f"expected polarity -1 or +1 at every synapse of the graph, got 0 at [{source}, {target}]: "
            "set it, or take the synapse out of the graph"
        )
    return polarity


def _signs(graph: Any, name: str) -> Tensor:
    matrix = checks.finite_matrix(_matrix(graph, name), name)
    return (matrix != 0).to(torch.int8) * torch.where(matrix < 0, -1, 1).to(torch.int8)


def _matrix(graph: Any, name: str) -> Tensor:
    """Any known form as a dense tensor on the CPU."""
    if isinstance(graph, Tensor):
        return graph.detach().to_dense().to("cpu")
    if hasattr(graph, "is_directed") and hasattr(graph, "edges"):
        return _from_networkx(graph)
    if hasattr(graph, "tocsr") and hasattr(graph, "toarray"):
        return _from_array(graph.toarray(), name)
    if hasattr(graph, "__array__"):
        return _from_array(graph, name)
    if isinstance(graph, (list, tuple)):
        try:
            return torch.tensor(graph)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"expected {name} as a list of rows of equal length, got no matrix ({error}): check its rows"
            ) from error
    raise TypeError(
        f"expected {name} as a numpy array, scipy.sparse matrix, torch tensor, networkx graph or nested list, "
        f"got {type(graph).__name__}: convert it to one of these"
    )


def _from_array(array: Any, name: str) -> Tensor:
    import numpy

    array = numpy.asarray(array)
    if array.dtype.kind not in "biufc":
        raise ValueError(f"expected numbers in {name}, got an array of {array.dtype}: convert it with astype(float)")
    if array.dtype.kind in "u":  # torch compares no unsigned integers wider than a byte
        array = array != 0
    if array.dtype.kind == "f":
        array = array.astype("float64")  # long double has no torch counterpart; the sign survives
    return torch.from_numpy(numpy.array(array))  # a copy: writable, with forward strides


def _from_networkx(graph: Any) -> Tensor:
    index = {node: number for number, node in enumerate(graph.nodes)}
    matrix = torch.zeros(len(index), len(index), dtype=torch.float64)
    seen = set()
    for source, target, attributes in graph.edges(data=True):
        pair = (source, target)
        if pair in seen:
            raise ValueError(f"expected at most one edge per pair, got several on {pair}: merge parallel edges first")
        seen.add(pair)
        value = _edge_value(pair, attributes)
        matrix[index[source], index[target]] = value
        if not graph.is_directed():
            seen.add((target, source))
            matrix[index[target], index[source]] = value
    return matrix


def _edge_value(pair: tuple, attributes: dict) -> float:
    words = {"excitatory": 1.0, "inhibitory": -1.0}
    value = attributes.get("polarity")
    if value is None:
        return float(attributes.get("weight", 1.0))
    value = words.get(value, value) if isinstance(value, str) else value
    if value not in (-1, 0, 1):
        raise ValueError(
            f"expected the polarity of edge {pair} to be -1, 0, 1, 'inhibitory' or 'excitatory', got {value!r}: "
            "use the attribute weight for other numbers"
        )
    return float(value)
