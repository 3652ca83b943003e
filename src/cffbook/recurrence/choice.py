"""Which backend runs: a named one runs or raises and says why, only `auto` chooses.

A backend is a module with `refusal(cell, inputs) -> str | None`, why it cannot run this cell on these inputs, and
`run(cell, inputs, potential, elapsed, lengths) -> (potentials, last)`, whose arguments `unroll` has checked.
"""

import importlib
from types import ModuleType

from torch import Tensor

from cffbook.recurrence import sequential

MODULES = {  # imported when first asked for: what they need is optional
    "fused_cpu": "cffbook.recurrence.fused_cpu",
    "basins": "cffbook.recurrence.basins",
    "newton": "cffbook.recurrence.newton",
}


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
    """The backend that `auto` takes for this cell, device and length."""
    return "sequential"
