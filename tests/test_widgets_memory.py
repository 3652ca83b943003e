"""A memory as plain numbers is the same memory; its widget computes the definition's trajectory from them."""

import itertools
import json

import pytest
import torch

pytest.importorskip("anywidget")

from cffbook import FlipFlop, MemoryLayer, NearCritical, RungeKutta4, SemiImplicitEuler, unroll, wiring
from cffbook.flipflop import SCHEMES, SENSORY
from cffbook.lateral import LATERAL
from cffbook.widgets import MemoryWidget, cell_of, describe

VARIANTS = list(itertools.product(SCHEMES, SENSORY, LATERAL))


def described(scheme, sensory, lateral, polarity=-1):
    """A random layer of six flip-flops that reads three symbols, its head, and the description of both."""
    torch.manual_seed(0)
    cffs = FlipFlop(6, scheme, sensory, polarity, SemiImplicitEuler(2), NearCritical(slowest=4.0))
    layer = MemoryLayer(3, cffs, wiring.random_sparse(6, 0.5), lateral, backend="sequential").double()
    layer.cell.lateral.raw_conductance.data += 2.0
    embedding, head = torch.randn(3, 3, dtype=torch.double), torch.nn.Linear(3, 2).double()
    symbols = dict(zip("xyz", embedding, strict=True))
    return layer, embedding, head, describe(layer, symbols=symbols, answers=(["no", "yes"], head), automaton=(["no", "yes"], [[0, 1, 1], [1, 0, 1]], 0))


@pytest.mark.parametrize(("scheme", "sensory", "lateral"), VARIANTS)
@torch.no_grad()
def test_a_cell_made_from_its_description_runs_alike(scheme, sensory, lateral):
    layer, _, _, description = described(scheme, sensory, lateral)
    back = cell_of(json.loads(json.dumps(description)))
    lines = torch.randn(2, 30, *layer.cell.input_shape, dtype=torch.double)
    ours, theirs = (unroll(cell, lines, backend="sequential")[0] for cell in (layer.cell, back))
    assert float((ours - theirs).abs().max()) < 1e-9  # softplus is the identity above 20, to 2e-9


@torch.no_grad()
def test_the_order_of_synapses_in_a_description_does_not_matter():
    for lateral in LATERAL:
        layer, _, _, description = described("set_reset", "plain", lateral)
        synapses = description["lateral"]
        count = len(synapses["source"])
        for name, values in synapses.items():
            if isinstance(values, list) and len(values) == count:
                synapses[name] = values[::-1]
        lines = torch.randn(1, 20, *layer.cell.input_shape, dtype=torch.double)
        ours, theirs = (unroll(cell, lines, backend="sequential")[0] for cell in (layer.cell, cell_of(description)))
        assert float((ours - theirs).abs().max()) < 1e-9  # softplus is the identity above 20, to 2e-9


@torch.no_grad()
def test_played_symbols_give_what_the_layer_gives():
    layer, embedding, _, description = described("shared", "steered", "presynaptic")
    widget = MemoryWidget(description)
    widget.play(*"xyzzy")
    widget.play("x")
    expected, _ = layer.potentials(embedding[[0, 1, 2, 2, 1, 0]][None])
    assert float((widget.potentials[-6:] - expected[0]).abs().max()) < 1e-9
    assert widget.tape[-6:] == [0, 1, 2, 2, 1, 0] and len(widget.tape) == len(widget.pressed) == 96


@torch.no_grad()
def test_symbols_that_leave_the_window_are_in_the_start_and_in_the_automaton_s_state():
    layer, embedding, _, description = described("set_reset", "plain", "per_synapse")
    widget, symbols = MemoryWidget(description), torch.randint(3, (250,)).tolist()
    for part in (symbols[:20], symbols[20:21], symbols[21:]):  # the last part is longer than the window
        widget.play(*("xyz"[symbol] for symbol in part))
    expected, _ = layer.potentials(embedding[symbols][None])
    assert float((widget.potentials[-1] - expected[0, -1]).abs().max()) < 1e-9
    state = 0
    for symbol in symbols[:-96]:
        state = description["automaton"]["next"][state][symbol]
    assert widget.state == state


def test_the_first_array_holds_the_one_that_was_set_last():
    widget = MemoryWidget()
    for pair in (3, 9, 0):
        widget.press(pair)
        assert widget.bits.nonzero().flatten().tolist() == [pair]
    widget.press(0, "reset")
    assert not widget.bits.any()


def test_an_edited_adjacency_is_that_of_the_cell():
    widget = MemoryWidget()
    lateral = widget.layer["lateral"]
    kept = [s for s, ends in enumerate(zip(lateral["source"], lateral["target"], strict=True)) if 3 not in ends]
    rows = {name: [lateral[name][s] for s in kept] for name in ("source", "target", "polarity", "conductance", "reversal")}
    widget.layer = widget.layer | {"lateral": lateral | rows}
    assert len(widget.cell.lateral.sign) == 16 * 15 - 2 * 15
    for pair, expected in ((3, [3]), (9, [3, 9]), (5, [3, 5])):  # 3 has no rivals any more
        widget.press(pair)
        assert widget.bits.nonzero().flatten().tolist() == expected


@pytest.mark.parametrize(
    ("memory", "options", "message"),
    [
        (MemoryLayer(2, 65), {}, "at most 64 flip-flops, got 65"),
        (MemoryLayer(2, 4, bidirectional=True), {}, "both ways"),
        (FlipFlop(2, solver=RungeKutta4(1)), {}, "SemiImplicitEuler, got RungeKutta4"),
        (FlipFlop(2), {"symbols": {"x": torch.zeros(2)}}, "need the maps of a MemoryLayer, got a FlipFlop"),
        (FlipFlop(2), {"names": ["one"]}, "a name for each of 2 flip-flops, got 1"),
        (MemoryLayer(2, 4), {"answers": (["one"], torch.nn.Linear(2, 3))}, "expected 3 names of answers, got 1"),
    ],
)
def test_what_cannot_be_described_is_refused(memory, options, message):
    with pytest.raises(ValueError, match=message):
        describe(memory, **options)


def test_unknown_symbols_lines_and_formats_are_refused():
    with pytest.raises(ValueError, match="unknown symbol 'q': this memory has none"):
        MemoryWidget().play("q")
    with pytest.raises(ValueError, match="a flip-flop below 16 and a line of set, reset, got 16 and 'set'"):
        MemoryWidget().press(16)
    with pytest.raises(ValueError, match=r"expected the format 'cffbook.memory/1', got None"):
        MemoryWidget({"values": {}})
