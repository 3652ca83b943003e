"""Widgets that compute in the browser: a flip-flop to play with, in JupyterLab and in pages without a kernel.

    assembly   the front ends of static/ as one module, one script, one holder
    flipflop   one flip-flop under sliders, lines to press and to draw

A widget is an anywidget (extra 'plots'): in a notebook its traits are Python's. In the built book the same front end is filled from the
traits that its output carries, with no kernel and no network.
"""

from cffbook.widgets.flipflop import FlipFlopWidget

__all__ = ["FlipFlopWidget"]
