"""Figures of time in parallel show what the backends reported, in either theme."""

import pytest

pytest.importorskip("plotly")

import torch
from agreement import drive, make

from cffbook import FlipFlop, figures
from cffbook.recurrence import basins, newton


def reports():
    """Newton's histories of pairs that forget and of a latch that is reset once."""
    forgets, latch = make("scattered", 2, dtype=torch.float32), FlipFlop(2)
    pulse = torch.zeros(1, 100, 2, 2)
    pulse[:, 30, :, 1] = 1
    return {
        "one state": newton.solve(forgets, drive("noise", forgets, 1, 60)).history,
        "latch": newton.solve(latch, pulse, latch.held(1)[None], iterations=15).history,
        "symmetric": newton.solve(latch, torch.zeros(1, 400, 2, 2)).history,
    }


def test_residuals_are_those_reported_and_each_curve_says_how_it_ended():
    histories = reports()
    figure = figures.newton_residuals(histories, 1e-6)
    for trace, history in zip(figure.data, histories.values(), strict=True):
        assert list(trace.y) == [value if value == value and value > 0 else None for value in history]
    ends = [trace.name.split(": ")[1] for trace in figure.data]
    assert ends[0] == "converged" and all(end.startswith(("not in", "no number")) for end in ends[1:])
    assert figure.layout.yaxis.type == "log"


def test_shares_of_slow_pairs_fall_with_the_burn_in_and_are_drawn_as_measured():
    cell, burn_in = make("scattered", 2), (1, 8, 64)
    x = drive("noise", cell, 1, 256)
    runs = [basins.solve(cell, x, chunks=4, burn_in=each, tolerance=1e-6, engine="sequential").reruns / (4 * 2) for each in burn_in]
    (trace,) = figures.rerun_share(burn_in, {"one state": runs}).data
    assert list(trace.y) == runs and list(trace.x) == [1, 8, 64]
    assert runs[0] > runs[2] == 0


def test_they_fix_no_background_width_or_font_colour():
    for figure in (figures.newton_residuals({"a": [1.0, 0.1]}, 1e-6), figures.rerun_share([1, 2], {"a": [1.0, 0.0]})):
        layout = figure.layout
        assert layout.width is None and layout.paper_bgcolor is None and layout.plot_bgcolor is None and layout.font.color is None


def test_regimes_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match="expected 1 to 6 regimes, got 0"):
        figures.newton_residuals({}, 1e-6)
    with pytest.raises(ValueError, match="expected 2 shares, one for each burn-in, got 1 of 'a'"):
        figures.rerun_share([1, 2], {"a": [1.0]})
