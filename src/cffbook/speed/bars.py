"""What was asked of the memory layer's speed, as data, and how far the records reach.

Every bar is asked in float32 of the whole layer with its maps, forward and backward, on two cores or, where it says so, on a GPU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cffbook.results import DASH, Table
from cffbook.speed.cases import ALONE, SIX
from cffbook.speed.measure import Comparison
from cffbook.training.checks import check_known

PROPOSAL = SIX  # the proposal's own flip-flop, held to the same bars beside the layer's default
# Milliseconds for 33.6 million samples of it on an H200, computed: its special functions forward, all its instructions backward.
FLOOR = 0.94
HALF = "memory, half as many flip-flops"  # the size of the evaluation's rows


class Quantity(NamedTuple):
    """A number that is asked for.

    Args:
        unit: what stands after it.
        least: whether it is asked to be at least so much, else at most.
        find: it, from the comparison, the bar, the name of our layer, and all comparisons by name; None where it was not measured.
    """

    unit: str
    least: bool
    find: Callable[[Comparison, "Bar", str, Mapping[str, Comparison]], float | None]


@dataclass(frozen=True)
class Bar:
    """One thing that was asked.

    Args:
        name: in words.
        case: name of the case that measures it.
        layer: of that case: what ours is compared with, or ours itself where it is held to a number of its own.
        quantity: a name of `quantities()`.
        asked: the number.
    """

    name: str
    case: str
    layer: str
    quantity: str
    asked: float

    def __post_init__(self) -> None:
        check_known("quantity", self.quantity, quantities())

    def measured(self, comparisons: Sequence[Comparison], ours: str | None = None) -> float | None:
        """What was measured; None without a record, or where the case does not have the layer.

        Args:
            comparisons: any.
            ours: the layer that is held to the bar; None takes the case's first.
        """
        found = {each.name: each for each in comparisons}
        here = found.get(self.case)
        if here is None or not {self.layer, ours or self.layer} <= set(here.case["layers"]):
            return None
        return quantities()[self.quantity].find(here, self, ours or here.case["layers"][0], found)

    def reach(self, measured: float) -> float:
        """How many times as good as asked: the bar is met from 1 on."""
        return measured / self.asked if quantities()[self.quantity].least else self.asked / measured

    def said(self, number: float | None) -> str:
        """A number of this bar with its unit; an em dash for None."""
        digits = 0 if number is None or number >= 100 else 1 if number >= 10 else 2
        return DASH if number is None else f"{number:,.{digits}f} {quantities()[self.quantity].unit}"

    def verdict(self, measured: float | None) -> str:
        """``met``, ``missed``, or an em dash where nothing was measured."""
        return DASH if measured is None else "met" if self.reach(measured) >= 1 else "missed"


def quantities() -> Mapping[str, Quantity]:
    """What can be asked for, by name."""
    return {
        "time": Quantity("times", True, lambda here, bar, ours, found: here.ratio(bar.layer, ours)),
        "memory": Quantity("times", True, _memory_ratio),
        "cores": Quantity("times", True, _second_core),
        "seconds": Quantity("s", False, lambda here, bar, ours, found: here.median(ours)),
        "milliseconds": Quantity("ms", False, lambda here, bar, ours, found: 1e3 * here.median(bar.layer)),
        "gigabytes": Quantity("GB", False, lambda here, bar, ours, found: _scaled(here.memory[ours], 1e9)),
        "outputs": Quantity("arrays", False, _outputs),
    }


def bars() -> tuple[Bar, ...]:
    """All that was asked."""
    lstm = ((64, 8, 1), (64, 32, 1), (128, 8, 2), (128, 32, 2))
    return (
        Bar("LTC of ncps, equal neurons: time", "ncps-d128-b32-t256-train-2", "ncps LTC", "time", 300),
        Bar("LTC of ncps, equal neurons: memory", "ncps-d128-b32-t256-train-2", "ncps LTC", "memory", 500),
        Bar("LTC of ncps, half the batch: time", "ncps-d128-b16-t256-train-2", "ncps LTC", "time", 300),
        Bar("LTC of ncps, half the batch: memory", "ncps-d128-b16-t256-train-2", "ncps LTC", "memory", 500),
        *(Bar(f"LSTM, d = {d}, B = {batch}, T = {time:,}", f"recurrent-d{d}-b{batch}-t{time}-train-2", "lstm", "time", asked)
          for d, batch, asked in lstm for time in (1024, 4096)),
        Bar("causal attention, T = 4,096", "time-d128-b8-t4096-train-2", "attention", "time", 10),
        Bar("causal attention, T = 16,384", "time-d128-b8-t16384-train-2", "attention", "time", 45),
        Bar("its own definition, one unfold", "definition-d64-b8-t512-train-2", "memory, sequential", "time", 200),
        Bar("its own definition, plain, six unfolds", "definition_six-d64-b8-t512-train-2", f"{PROPOSAL}, sequential", "time", 200),
        Bar("LTC of ncps, accelerated", "accelerate-d64-b32-t256-train-2", "ncps LTC", "time", 12),
        Bar("NCP of ncps, accelerated", "accelerate_ncp-d64-b32-t256-train-2", "ncps NCP", "time", 30),
        Bar("one sequence of 1,000,000: time", "long-d64-b1-t1000000-train-2", "memory", "seconds", 5),
        Bar("one sequence of 1,000,000: memory", "long-d64-b1-t1000000-train-2", "memory", "gigabytes", 2),
        Bar("one core, against two", "threads-d128-b32-t4096-train-2", "memory", "cores", 1.6),
        Bar("memory in output-sized arrays, T = 4,096", "time-d128-b8-t4096-train-2", "memory", "outputs", 3),
        Bar("memory in output-sized arrays, T = 16,384", "time-d128-b8-t16384-train-2", "memory", "outputs", 3),
        Bar("GPU: LSTM, d = 256, B = 32, T = 4,096", "gpu_wide-d256-b32-t4096-train-2", "lstm", "time", 3),
        Bar("GPU: flip-flops alone, plain, six unfolds", "gpu_wide-d256-b32-t4096-train-2", ALONE, "milliseconds", 2 * FLOOR),
        Bar("GPU: attention in bfloat16, T = 8,192", "gpu_wide-d256-b32-t8192-train-2", "attention, bfloat16", "time", 1),
        Bar("GPU: one pass over 1,000,000, against two basins", "gpu_long-d256-b1-t1000000-train-2", "memory", "time", 8),
    )  # fmt: skip


def table(comparisons: Sequence[Comparison]) -> Table:
    """Every bar: asked, measured, whether it is met, and what two other memory layers reach where they were measured beside ours."""
    lines = []
    for bar in bars():
        unit, least, _ = quantities()[bar.quantity]
        ours, proposal, half = (bar.measured(comparisons, layer) for layer in (None, PROPOSAL, HALF))
        asked = f"at {'least' if least else 'most'} {bar.asked:g} {unit}"
        lines.append((bar.name, asked, bar.said(ours), bar.verdict(ours), bar.said(proposal), bar.said(half)))
    return Table(("what", "asked", "measured", "so it is", "plain, six unfolds", "half as many flip-flops"), tuple(lines))


def _scaled(number: float | None, unit: float) -> float | None:
    return None if number is None else number / unit


def _memory_ratio(here: Comparison, bar: Bar, ours: str, found: Mapping[str, Comparison]) -> float | None:
    mine, theirs = here.memory[ours], here.memory[bar.layer]
    return theirs / mine if mine and theirs is not None else None


def _second_core(here: Comparison, bar: Bar, ours: str, found: Mapping[str, Comparison]) -> float | None:
    alone = found.get(here.name.removesuffix("-2") + "-1")
    return None if alone is None else alone.median(ours) / here.median(ours)


def _outputs(here: Comparison, bar: Bar, ours: str, found: Mapping[str, Comparison]) -> float | None:
    size = 4 * here.case["batch"] * here.case["time"] * here.case["d_model"]
    return _scaled(here.memory[ours], size)
