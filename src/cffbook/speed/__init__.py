"""What it costs: time and memory of layers side by side, in one interleaved run, as records.

    cases      what is compared with what, at which sizes
    machine    the device, how much memory was taken at most, what the machine can do at most
    measure    interleaved clocks, memory of a pass
    bars       what was asked, and how far the records reach
    work       what a memory layer has to do at least, and the time for it at the machine's limits
    __main__   ``python -m cffbook.speed --group recurrent --results results/speed``
"""

from cffbook.speed.bars import Bar, bars, table
from cffbook.speed.cases import Case, build, cases, groups
from cffbook.speed.measure import Comparison, load_comparisons, run
from cffbook.speed.work import Work, work

__all__ = ["Bar", "Case", "Comparison", "Work", "bars", "build", "cases", "groups", "load_comparisons", "run", "table", "work"]
