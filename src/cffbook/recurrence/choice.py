"""Which backend runs: a named one runs or raises and says why, only `auto` chooses.

A backend is a module with `refusal(cell, inputs) -> str | None`, why it cannot run this cell on these inputs, and
`run(cell, inputs, potential, elapsed, lengths) -> (potentials, last)`, whose arguments `unroll` has checked. Where it is
cheaper it has `run_first` too, for the potentials of the first neuron of each pair alone.
"""

import functools
import importlib
import importlib.util
import logging
from types import ModuleType

from torch import Tensor

from cffbook.recurrence import sequential

MODULES = {  # imported when first asked for: what they need is optional
    "fused_cpu": "cffbook.recurrence.fused_cpu",
    "fused_gpu": "cffbook.recurrence.fused_gpu",
    "basins": "cffbook.recurrence.basins",
    "newton": "cffbook.recurrence.newton",
}


NEEDS = {"fused_cpu": "numba", "fused_gpu": "triton"}
FUSED = tuple(NEEDS)
logger = logging.getLogger("cffbook.recurrence")


def names() -> tuple[str, ...]:
    """Names of the backends."""
    return ("sequential", *MODULES)


def find(name: str) -> ModuleType:
    """The module of a backend.

    Raises:
        ValueError: the name is unknown; the known ones are listed.
        ImportError: what the backend needs is not installed; the extra that brings it is named.
    """
    if name == "sequential":
        return sequential
    if name not in MODULES:
        raise ValueError(f"unknown backend {name!r}: choose 'auto' or one of {', '.join(sorted(names()))}")
    return importlib.import_module(MODULES[name])


def choose(cell, inputs: Tensor) -> str:
    """The backend that `auto` takes for this cell and device: a fused one wherever it runs, else the definition.

    On the CPU one pass is faster than all others from a single sample on (the benchmarks show by how much); on a GPU nothing
    has been measured. What was taken is logged at level DEBUG under "cffbook.recurrence".
    """
    name = next((name for name in FUSED if _runs(name, cell, inputs)), "sequential")
    logger.debug("auto takes %s for %s with inputs %s on %s", name, type(cell).__name__, tuple(inputs.shape), inputs.device)
    return name


def _runs(name: str, cell, inputs: Tensor) -> bool:
    return _installed(NEEDS[name]) and find(name).refusal(cell, inputs) is None


@functools.cache
def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
