"""The playground does what its buttons and sliders say, without a browser."""

import sys

import pytest
import torch

pytest.importorskip("plotly")
pytest.importorskip("ipywidgets")
pytest.importorskip("anywidget")

from cffbook import FlipFlop, analysis
from cffbook.widgets import GROUPS, Playground


@pytest.fixture
def playground():
    return Playground()


def stable_points(playground):
    return next(trace for trace in playground.figure.data if trace.name == "stable")


def test_buttons_set_hold_and_reset_the_bit(playground):
    bits = []
    for command in ("set", "hold", "reset", "hold", "set"):
        playground.buttons[command].click()
        bits.append(playground.bit)
    assert bits == [1, 1, 0, 0, 1]


def test_every_parameter_of_every_variant_has_a_slider_that_reaches_the_circuit(playground):
    playground.sensory.value = "steered"
    assert set(playground.sliders) == set(playground.cell.parameter_names()) == {name for names in GROUPS.values() for name in names}
    for name, slider in playground.sliders.items():
        slider.value = (slider.min + slider.max) / 2
        value = playground.cell.value(name).detach()
        assert float((value.abs() - abs(slider.value)).abs().max()) < 1e-6, name  # float64 softplus and its inverse
        assert bool((value[:, 0] == value[:, 1]).all())


def test_a_moved_slider_redraws_potentials_nullclines_and_fixed_points(playground):
    before = [(tuple(trace.x), tuple(trace.y)) for trace in playground.figure.data]
    playground.sliders["reciprocal_conductance"].value = 7.0
    after = [(tuple(trace.x), tuple(trace.y)) for trace in playground.figure.data]
    names = [trace.name for trace in playground.figure.data]
    changed = {name for name, old, new in zip(names, before, after, strict=True) if old != new}
    assert changed == set(names) - {"u<sub>a</sub>", "u<sub>b</sub>"}


def test_what_is_drawn_is_the_analysis_of_the_pair(playground):
    playground.sliders["self_conductance"].value = 2.0
    found = analysis.fixed_points(analysis.frozen(playground.cell))
    shown = torch.tensor([stable_points(playground).x, stable_points(playground).y]).T
    assert float((shown - found.potential[found.stable]).abs().max()) < 1e-4  # rounded for the page
    last = playground.potentials[-1, 0]
    assert [playground.figure.data[9].x[0], playground.figure.data[9].y[0]] == last.tolist()


def test_the_status_line_says_whether_the_pair_latches(playground):
    assert "the pair latches" in playground.status.value and "2 stable" in playground.status.value
    playground.sliders["self_conductance"].value = 4.0
    assert playground.margin < 0
    assert "does not latch" in playground.status.value and "1 stable" in playground.status.value


def test_neurons_that_differ_have_no_margin(playground):
    playground.imbalance.value = 0.3
    assert playground.margin is None and "needs equal neurons" in playground.status.value
    leak = playground.cell.value("leak_reversal")[0].detach()
    assert float(leak[0] - leak[1]) == pytest.approx(0.3)


def test_only_a_steered_pair_toggles(playground):
    read = {}
    for kind in ("plain", "steered"):
        playground.sensory.value = kind
        read[kind] = []
        for _ in range(4):
            playground.press("both")
            read[kind].append(playground.bit)
    assert read["steered"] in ([1, 0, 1, 0], [0, 1, 0, 1]) and len(set(read["plain"])) == 1


def test_parameters_that_a_variant_has_not_cannot_be_moved(playground):
    assert playground.sliders["steering_slope"].disabled and not playground.sliders["self_slope"].disabled
    playground.polarity.value, playground.sensory.value = 0, "steered"
    assert not playground.sliders["steering_slope"].disabled and playground.sliders["self_slope"].disabled


def test_one_shared_line_sets_and_resets(playground):
    playground.scheme.value = "shared"
    bits = []
    for command in ("set", "hold", "reset", "hold"):
        playground.press(command)
        bits.append(playground.bit)
    assert bits == [1, 1, 0, 0]


def test_commands_that_left_the_view_still_count(playground):
    playground.press("set")
    for _ in range(10):
        playground.press("hold")
    assert "set" not in playground.commands and playground.bit == 1


def test_an_unknown_command_is_refused_with_the_known_ones(playground):
    with pytest.raises(ValueError, match="unknown command 'toggle': choose one of set, reset, both, hold"):
        playground.press("toggle")


def test_without_the_extra_the_error_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r"the playground needs the package 'ipywidgets'.*cffbook\[plots\]"):
        Playground()


def test_the_first_values_are_those_of_a_latching_pair(playground):
    for name in FlipFlop(1).parameter_names():
        assert torch.allclose(playground.cell.value(name), FlipFlop(1).double().value(name), atol=1e-4), name  # sliders round
