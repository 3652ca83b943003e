"""The Python side of the widgets: traits are a flip-flop's values, and what is computed from them is the definition's."""

import json
import re
import sys

import pytest
import torch

pytest.importorskip("anywidget")

from cffbook import FlipFlop, NearCritical, RungeKutta4, SemiImplicitEuler, analysis, unroll
from cffbook.recurrence.forms import PAIR_VALUES
from cffbook.widgets import FlipFlopWidget, assembly


@pytest.fixture
def widget():
    return FlipFlopWidget()


def test_commands_set_hold_and_reset_the_bit(widget):
    bits = []
    for command in ("set", "hold", "reset", "hold", "set"):
        widget.press(command)
        bits.append(widget.bit)
    assert bits == [1, 1, 0, 0, 1]


@pytest.mark.parametrize("scheme", ["set_reset", "shared"])
@pytest.mark.parametrize("sensory", ["plain", "steered"])
@pytest.mark.parametrize("polarity", [-1, 0, 1])
def test_a_widget_has_the_values_of_its_cell_and_gives_them_back(scheme, sensory, polarity):
    torch.manual_seed(0)
    cell = FlipFlop(3, scheme, sensory, polarity, SemiImplicitEuler(2), NearCritical()).double()
    widget = FlipFlopWidget(cell, pair=1)
    back = widget.cell
    assert (back.scheme, back.kind, back.self_polarity, back.solver.unfolds) == (scheme, sensory, polarity, 2)
    for name in cell.parameter_names():
        assert torch.allclose(back.value(name)[0], cell.value(name)[1], rtol=1e-12, atol=1e-300), name
    assert set(widget.values) == set(PAIR_VALUES)


@pytest.mark.parametrize("scheme", ["set_reset", "shared"])
def test_what_is_in_view_is_the_definition_s_trajectory(widget, scheme):
    widget.scheme, widget.elapsed, widget.unfolds = scheme, 0.7, 3
    lines = torch.tensor(widget.inputs, dtype=torch.float64)
    inputs = lines[None, :, None] if scheme == "set_reset" else lines[None, :, :1] - lines[None, :, 1:]
    start = torch.tensor(widget.start, dtype=torch.float64)[None, None]
    cell = widget.cell.requires_grad_(False)
    expected, _ = unroll(cell, inputs, start, 0.7, backend="sequential")
    assert float((widget.potentials - expected[0, :, 0]).abs().max()) < 1e-12


def test_the_window_moves_on_along_the_same_trajectory(widget):
    before = torch.cat((torch.tensor([widget.start], dtype=torch.float64), widget.potentials))
    widget.press("reset", samples=3)
    window = len(before) - 1
    assert len(widget.inputs) == window and torch.equal(torch.tensor(widget.start, dtype=torch.float64), before[17])
    assert torch.allclose(widget.potentials[: window - 17], before[18:], atol=1e-12)


def test_a_new_widget_is_at_rest_before_its_first_command(widget):
    start = torch.tensor(widget.start, dtype=torch.float64)
    rest = analysis.fixed_points(analysis.frozen(widget.cell)).potential[0]
    assert float((start - rest).abs().max()) < 1e-8


def test_the_margin_is_that_of_the_analysis(widget):
    assert widget.margin == float(analysis.latch(analysis.frozen(widget.cell)).margin) > 0
    widget.values = widget.values | {"self_conductance": [4.0, 4.0]}
    assert widget.margin < 0


def test_neurons_that_differ_have_no_margin(widget):
    widget.values = widget.values | {"leak_reversal": [1.0, 0.7]}
    assert widget.margin is None
    assert widget.cell.value("leak_reversal")[0].tolist() == [1.0, 0.7]


def test_a_turned_polarity_turns_the_reversal_of_the_self_synapse(widget):
    for polarity in (1, -1):
        widget.self_polarity = polarity
        assert bool((widget.cell.value("self_reversal") * polarity > 0).all())


def test_only_a_steered_pair_toggles(widget):
    read = {}
    widget.unfolds = 2
    for kind in ("plain", "steered"):
        widget.sensory, read[kind] = kind, []
        for _ in range(4):
            widget.press("both", samples=1)
            read[kind].append(widget.bit)
    assert read["steered"] in ([1, 0, 1, 0], [0, 1, 0, 1]) and len(set(read["plain"])) == 1


def test_an_unknown_command_is_refused_with_the_known_ones(widget):
    with pytest.raises(ValueError, match="unknown command 'toggle': choose one of set, reset, both, hold"):
        widget.press("toggle")


def test_values_that_are_not_complete_are_refused(widget):
    with pytest.raises(ValueError, match=r"values must give \[a, b\] for each of capacitance, .*got leak_reversal"):
        widget.values = {"leak_reversal": [1.0, 1.0]}


def test_a_solver_that_the_browser_has_not_is_refused():
    with pytest.raises(ValueError, match="SemiImplicitEuler, got RungeKutta4"):
        FlipFlopWidget(FlipFlop(1, solver=RungeKutta4(2)))


def test_an_output_carries_what_a_page_without_a_kernel_needs(widget):
    data, _ = widget._repr_mimebundle_()
    assert data[assembly.MIME]["widget"] == "flip_flop"
    assert json.loads(data[assembly.MIME]["traits"]) == widget.traits_of_page() and widget.traits_of_page()["values"] == widget.values
    assert "application/vnd.jupyter.widget-view+json" in data


def test_a_widget_cannot_end_its_script_element():
    html = assembly.holder("flip_flop", {"name": "</script><!--"})
    assert html.count("</script>") == 1 and "<!--" not in html


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown kind of widget 'lamp': choose one of flip_flop"):
        assembly.module("lamp")


@pytest.mark.parametrize("text", [assembly.module("flip_flop"), assembly.script()], ids=["module", "script"])
def test_the_joined_script_is_whole_and_small(text):
    assert not re.search(r"^import |^export (?!default)", text, re.MULTILINE)
    assert len(text) < 100_000
    declared = re.findall(r"^(?:const|function|class|async function) (\w+)", text, re.MULTILINE)
    assert len(declared) == len(set(declared)), "two files declare the same name"


def test_every_front_end_file_is_short_and_says_what_it_is_for():
    for path in assembly.STATIC.glob("*.js"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith("// ") and len(lines) <= 320, path.name


def test_without_the_extra_the_error_says_which(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("cffbook.widgets")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(ImportError, match=r"a widget needs the package 'anywidget'.*cffbook\[plots\]"):
        import cffbook.widgets  # noqa: F401
