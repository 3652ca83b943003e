"""Continuous flip-flops: a memory layer in place of attention.

    wiring       adjacency and polarity of a network
    neuron       the liquid time-constant neuron
    flipflop     two neurons that hold one value
    analysis     fixed points, the latch condition
    recurrence   one door to every way of running over time
    accelerate   models of ncps on the fused backend
    memory       CFFs over an adjacency matrix
    transformer  a body whose mixer is an argument
    mixers       memory, attention, LSTM, ... by name
"""

from cffbook import wiring
from cffbook.acceleration import accelerate
from cffbook.flipflop import FlipFlop, NearCritical
from cffbook.memory import MemoryLayer
from cffbook.neuron import LTC
from cffbook.recurrence import unroll
from cffbook.solver import ExplicitEuler, ExponentialEuler, RungeKutta4, SemiImplicitEuler

__version__ = "0.1.0"

__all__ = [
    "LTC",
    "ExplicitEuler",
    "ExponentialEuler",
    "FlipFlop",
    "MemoryLayer",
    "NearCritical",
    "RungeKutta4",
    "SemiImplicitEuler",
    "accelerate",
    "unroll",
    "wiring",
]
