"""Widgets that compute in the browser: a flip-flop and a memory to play with, in JupyterLab and in pages without a kernel.

    assembly     the front ends of static/ as one module, one script, one holder
    flipflop     one flip-flop under sliders, lines to press and to draw
    description  a memory as plain numbers, the JSON that a page computes it from
    training     a run while it trains, and a button that ends it
    bench        a trained model taken apart: its flip-flops, one under the probe, the score after every change
    memory       an array of flip-flops to press and to wire, or a described layer that reads symbols

A widget is an anywidget (extra 'plots'): in a notebook its traits are Python's. In the built book the same front end is filled from the
traits that its output carries, with no kernel and no network.
"""

from cffbook.widgets.bench import Bench
from cffbook.widgets.description import cell_of, describe
from cffbook.widgets.flipflop import FlipFlopWidget
from cffbook.widgets.memory import MemoryWidget
from cffbook.widgets.training import TrainingWidget

__all__ = ["Bench", "FlipFlopWidget", "MemoryWidget", "TrainingWidget", "cell_of", "describe"]
