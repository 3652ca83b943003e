"""Which backend runs: a named one runs or raises and says why, only `auto` chooses, from a small measured table.

A backend is a module with `refusal(cell, inputs) -> str | None`, why it cannot run this cell on these inputs, and
`run(cell, inputs, potential, elapsed, lengths) -> (potentials, last)`, whose arguments `unroll` has checked. Where it is
cheaper it has `run_first` too, for the potentials of the first neuron of each pair alone, and `run_mapped`, see `mapped`.
"""

import importlib.util
import logging
import math
import sys
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from cffbook.recurrence import sequential

NAMES = ("sequential", "fused_cpu", "fused_gpu", "basins", "newton")
NEEDS = {"fused_cpu": "numba", "fused_gpu": "triton"}
RUN_BY = {("basins", "cpu"): "fused_cpu", ("basins", "cuda"): "fused_gpu"}  # whose pass over time runs the chunks where `auto` takes it
logger = logging.getLogger("cffbook.recurrence")


class Fastest(NamedTuple):
    """A row of the table that `auto` reads: the backend that was fastest on a device, for so few lanes and so many samples.

    A lane is one flip-flop, or network, of one sequence.
    """

    device: str
    most_lanes: float
    least_samples: int
    backend: str


# Forward and backward on two cores with AVX-512, 1 and 6 unfolds: at 4 lanes and 16,384 samples the two basins take 84 and 26 % of
# the time of the fused pass, at 8 lanes 104 and 57 %, at 8,192 samples 97 and 47 %; one vector holds 16 lanes. The rows of a GPU are
# those of the records of the groups "gpu_auto" and "gpu_long" of `cffbook.speed`; two basins need up to three times the memory there.
TABLE = (
    Fastest("cpu", 4, 16_384, "basins"),
    Fastest("cpu", math.inf, 1, "fused_cpu"),
    Fastest("cuda", 64, 131_072, "basins"),
    Fastest("cuda", 256, 1_000_000, "basins"),
    Fastest("cuda", math.inf, 1, "fused_gpu"),
)


def names() -> tuple[str, ...]:
    """Names of the backends."""
    return NAMES


def check_backend(name: str) -> None:
    """Raise a ValueError that lists the known ones unless `name` is "auto" or that of a backend."""
    if name not in ("auto", *NAMES):
        raise ValueError(_unknown(name))


def _unknown(name: str) -> str:
    return f"unknown backend {name!r}: choose 'auto' or one of {', '.join(sorted(NAMES))}"


def find(name: str) -> ModuleType:
    """The module of a backend.

    Raises:
        ValueError: the name is unknown; the known ones are listed.
        ImportError: what the backend needs is not installed; the extra that brings it is named.
    """
    match name:  # imported when first asked for, as what they need is optional; by statements, which torch.compile can follow
        case "fused_cpu":
            from cffbook.recurrence import fused_cpu as module
        case "fused_gpu":
            from cffbook.recurrence import fused_gpu as module
        case "basins":
            from cffbook.recurrence import basins as module
        case "newton":
            from cffbook.recurrence import newton as module
        case "sequential":
            module = sequential
        case _:
            raise ValueError(_unknown(name))
    return module


def choose(cell, inputs: Tensor) -> str:
    """The backend that `auto` takes for this cell, device and size by `TABLE`: a row's backend where it runs, else the definition.

    What was taken is logged at level DEBUG under "cffbook.recurrence".
    """
    lanes, samples = inputs.shape[0] * (cell.state_shape[0] if len(cell.state_shape) > 1 else 1), inputs.shape[1]
    fitting = (row for row in TABLE if row.device == inputs.device.type and lanes <= row.most_lanes and samples >= row.least_samples)
    name = next((row.backend for row in fitting if _runs(row.backend, cell, inputs)), "sequential")
    if not torch.compiler.is_compiling():  # a logger breaks a compiled graph
        logger.debug("auto takes %s for %s with inputs %s on %s", name, type(cell).__name__, tuple(inputs.shape), inputs.device)
    return name


def _runs(name: str, cell, inputs: Tensor) -> bool:
    parts = {name, RUN_BY.get((name, inputs.device.type), name)}
    return all(installed(NEEDS[part]) for part in parts if part in NEEDS) and all(find(part).refusal(cell, inputs) is None for part in parts)


def installed(package: str) -> bool:
    """Whether a package can be imported; one that is None among the loaded modules is kept from it."""
    return sys.modules.get(package) is not None or importlib.util.find_spec(package) is not None
