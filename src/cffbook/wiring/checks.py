"""Checks that the wiring's files share: each raises one sentence that ends with what to do."""

import operator

import torch
from torch import Tensor


def count(value: int, name: str, least: int = 1) -> int:
    """`value` as an int that is at least `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise ValueError(f"expected {name} to be a whole number of at least {least}, got {value!r}: change {name}")
    return number


def fraction(value: float, name: str) -> float:
    """`value` as a float in [0, 1]."""
    if not 0.0 <= value <= 1.0:  # NaN fails this too
        raise ValueError(f"expected {name} to be between 0 and 1, got {value!r}: change {name}")
    return float(value)


def finite_matrix(matrix: Tensor, name: str) -> Tensor:
    """`matrix`, two-dimensional, real and without NaN or infinity."""
    if matrix.ndim != 2:
        raise ValueError(
            f"expected {name} to be a matrix [source, target], got {matrix.ndim} dimensions of sizes "
            f"{tuple(matrix.shape)}: pass two dimensions"
        )
    if matrix.is_meta:
        raise ValueError(f"expected {name} to have values, got a tensor on the device 'meta': make it before `with torch.device('meta')`")
    if matrix.is_complex():
        raise ValueError(f"expected {name} to be real, got {matrix.dtype}: pass its real part")
    if not torch.isfinite(matrix).all():
        raise ValueError(f"expected finite values in {name}, got NaN or infinity: write 0 where there is no synapse")
    return matrix


def square(matrix: Tensor, name: str) -> Tensor:
    """`matrix` with as many sources as targets, and at least one."""
    if matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(
            f"expected {name} to be a square matrix [source, target] of at least one neuron, got "
            f"{tuple(matrix.shape)}: give every neuron one row and one column"
        )
    return matrix


def polarity_matrix(matrix: Tensor, name: str) -> Tensor:
    """A copy of `matrix` as int8 on the CPU, with values -1, 0 and +1 only."""
    if not isinstance(matrix, Tensor):
        raise TypeError(
            f"expected {name} to be a torch tensor, got {type(matrix).__name__}: build the wiring with from_graph"
        )
    matrix = finite_matrix(matrix.detach(), name).to("cpu")
    wrong = matrix[(matrix != 0) & (matrix.abs() != 1)] if matrix.dtype != torch.bool else matrix[:0]
    if wrong.numel():
        raise ValueError(
            f"expected -1, 0 or +1 in {name}, got {wrong[0].item()}: take the sign, or build the wiring with from_graph"
        )
    return matrix.to(torch.int8, copy=True).contiguous()
