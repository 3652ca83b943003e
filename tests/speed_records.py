"""Made-up comparisons for the tests of speed: the numbers are chosen, so that what is made of them is known."""

from collections.abc import Mapping
from dataclasses import asdict

from cffbook import speed

LIMITS = {"gates_per_second": 1e9, "operations_per_second": 1e11, "bytes_per_second": 1e10}


def case_named(name: str) -> speed.Case:
    """A real case by its name."""
    return next(case for case in speed.cases() if case.name == name)


def comparison(name: str, seconds: Mapping[str, float] | None = None, memory: Mapping[str, int | None] | None = None) -> speed.Comparison:
    """A comparison of a real case; of layers that are not told, a second and a megabyte."""
    case = case_named(name)
    clocks = {layer: [float((seconds or {}).get(layer, 1.0))] * (1 if layer in case.once else case.rounds) for layer in case.layers}
    taken = {layer: (memory or {}).get(layer, 1_000_000) for layer in case.layers}
    values = asdict(case) | {"layers": list(case.layers), "once": list(case.once)}
    return speed.Comparison(case.name, values, clocks, taken, dict(LIMITS), {"cores": 2}, {"torch": "2"}, None, "2026-01-01T00:00:00+00:00")


def all_of_them() -> list[speed.Comparison]:
    """One of every case but the smallest, all layers alike."""
    return [comparison(case.name) for case in speed.cases() if case.group != "smoke"]
