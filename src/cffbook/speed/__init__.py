"""What it costs: time and memory of layers side by side, in one interleaved run, as records.

    cases      what is compared with what, at which sizes
    measure    interleaved clocks, memory of a fresh process, what the machine can do at most
    __main__   ``python -m cffbook.speed --group layers --results results/speed``
"""

from cffbook.speed.cases import Case, build, cases, groups
from cffbook.speed.measure import Comparison, load_comparisons, run

__all__ = ["Case", "Comparison", "build", "cases", "groups", "load_comparisons", "run"]
