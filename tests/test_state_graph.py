"""An automaton read out of trajectories is the one that made them, and states that nothing tells apart are one."""

import copy

import pytest
import torch

from cffbook import FlipFlop, MemoryLayer, wiring
from cffbook.state_graph import isomorphism, read_out, silence

THREE = torch.tensor([[0, 1, 2], [1, 2, 0], [2, 0, 1]])  # a cycle of three, inputs 0, +1, +2


def machine(table, answers, noise=0.3):
    """An automaton whose state is written into the first potential, among others that mean nothing."""
    def advance(potentials, inputs):
        state, told = potentials[:, 0, 0].round().long(), []
        for symbol in inputs.unbind(1):
            state = table[state, symbol]
            told.append(answers[state])
        after = noise * (torch.rand(len(potentials), 3, 2) - 0.5)
        after[:, 0, 0] += state
        return torch.stack(told, 1), after

    return advance


def visited(advance, states, noise=0.3, count=300):
    potentials = noise * (torch.rand(count, 3, 2) - 0.5)
    potentials[:, 0, 0] += torch.arange(count) % states
    return potentials


def test_the_automaton_that_made_the_answers_is_read_out_of_them():
    advance = machine(THREE, torch.arange(3))
    graph = read_out(advance, visited(advance, 3), 3)
    assert graph.table.shape == (3, 3) and graph.certainty == 1.0 and graph.spread <= 0.3
    start = int(graph.centres[:, 0, 0].abs().argmin())
    found = isomorphism(graph.table, THREE, start, 0)
    assert torch.equal(found, graph.centres[:, 0, 0].round().long())


def test_states_that_no_continuation_tells_apart_are_one_and_others_are_not():
    # Six places for three states: the place also tells which of two inputs came last.
    double = torch.tensor([[2 * ((s // 2 + x) % 3) + x % 2 for x in (0, 1, 2)] for s in range(6)])
    advance = machine(double, torch.arange(6) // 2)
    graph = read_out(advance, visited(advance, 6), 3)
    assert len(graph.table) == 3 and graph.spread > 0.4
    assert any(isomorphism(graph.table, THREE, start, 0) is not None for start in range(3))
    # The same answer now, another one two samples later.
    late = machine(torch.tensor([[1], [2], [0]]), torch.tensor([0, 0, 1]))
    assert len(read_out(late, visited(late, 3), 1).table) == 3
    same = machine(torch.tensor([[1], [2], [0]]), torch.tensor([0, 0, 0]))
    assert len(read_out(same, visited(same, 3), 1).table) == 1


def test_a_memory_that_forgets_by_chance_is_not_certain():
    right = machine(THREE, torch.arange(3))

    def sloppy(potentials, inputs):
        answers, after = right(potentials, inputs)
        lost = torch.rand(len(after)) < 0.2
        return answers, after + (lost[:, None, None] & (after[:, :1, :1] < 0.5))

    torch.manual_seed(0)
    assert read_out(sloppy, visited(right, 3), 3).certainty < 0.99
    with pytest.raises(ValueError, match="expected potentials"):
        read_out(right, torch.zeros(2, 3, 4, 2), 3)


def test_another_group_of_the_same_size_is_no_isomorphism():
    four, klein = torch.tensor([[1, 2], [2, 3], [3, 0], [0, 1]]), torch.tensor([[1, 2], [0, 3], [3, 0], [2, 1]])
    assert isomorphism(four, klein, 0, 0) is None and isomorphism(klein, four, 0, 0) is None
    renamed = torch.tensor([2, 0, 3, 1])
    other = torch.empty_like(four)
    other[renamed] = renamed[four]
    assert torch.equal(isomorphism(four, other, 0, 2), renamed)
    assert isomorphism(torch.tensor([[1], [1]]), torch.tensor([[0], [0]]), 0, 0) is None  # two states for one


@pytest.mark.parametrize("readout", ["one", "both"])
def test_a_silenced_flip_flop_is_heard_by_nobody_and_the_rest_is_as_it_was(readout):
    torch.manual_seed(0)
    layer = MemoryLayer(3, FlipFlop(5), wiring.dense(5), readout=readout, strength=1.0).double()
    x, start = torch.randn(2, 9, 3).double(), torch.randn(2, 5, 2).double()
    other = start.clone()
    other[:, 2] += 1.0
    cut = silence(copy.deepcopy(layer), flip_flops=[2])
    assert not torch.allclose(layer(x, start)[0], layer(x, other)[0])
    assert torch.allclose(cut(x, start)[0], cut(x, other)[0], atol=1e-12)
    one = silence(copy.deepcopy(layer), synapses=[3])
    cell, before = one.cell.lateral, layer.cell.lateral
    assert cell.values().conductance[cell.source[3], cell.target[3]].max() < 1e-16
    assert torch.equal(cell.raw_conductance[:3], before.raw_conductance[:3]) and torch.equal(one.output_map.weight, layer.output_map.weight)


def test_independent_flip_flops_have_no_lateral_synapse_to_cut():
    layer = MemoryLayer(3, 4)
    assert bool((silence(layer, [1]).output_map.weight[:, 1] == 0).all())
    with pytest.raises(ValueError, match="no lateral synapses to silence in independent flip-flops"):
        silence(layer, synapses=[0])
