"""An automaton read out of trajectories is the one that made them, and the least one is found by merging states."""

import copy

import pytest
import torch

from cffbook import FlipFlop, MemoryLayer, wiring
from cffbook.state_graph import StateGraph, isomorphism, least, read_out, silence

THREE = torch.tensor([[0, 1, 2], [1, 2, 0], [2, 0, 1]])  # a cycle of three, inputs 0, +1, +2


def walk(table, batch=20, time=60, noise=0.02, seed=0):
    """Trajectories of an automaton with a place of its own in space for each state, each beginning in state 0."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(table.shape[1], (batch, time), generator=generator)
    places = torch.randint(-1, 2, (len(table), 5, 2), generator=generator) + torch.arange(len(table))[:, None, None] % 2 * 3.0
    places[:, 0, 0] = torch.arange(len(table)) * 2.0
    states, now = [], torch.zeros(batch, dtype=torch.int64)
    for symbol in inputs.unbind(1):
        now = table[now, symbol]
        states.append(now)
    states = torch.stack(states, 1)
    return places[states] + noise * torch.rand(batch, time, 5, 2, generator=generator), inputs, states


def test_the_automaton_that_made_the_trajectories_is_read_out_of_them():
    potentials, inputs, states = walk(THREE)
    graph = read_out(potentials, inputs, states)
    assert len(graph.table) == 3 and graph.certainty == 1.0 and graph.spread <= 0.021
    assert graph.visits.sum() == inputs.numel() and graph.centres.shape == (3, 5, 2)
    start = int((graph.answers == 0).nonzero())
    assert isomorphism(graph.table, THREE, start, 0)[start] == 0
    assert torch.equal(isomorphism(graph.table, THREE, start, 0), graph.answers)


def test_states_that_differ_in_nothing_that_can_be_told_are_one():
    # Six places for three states: the place also tells which of two inputs came last.
    double = torch.tensor([[2 * ((s // 2 + x) % 3) + x % 2 for x in (0, 1, 2)] for s in range(6)])
    potentials, inputs, states = walk(double)
    graph = read_out(potentials, inputs, states // 2)
    assert len(graph.table) == 6
    classes, table = least(graph)
    assert len(table) == 3
    start = int(classes[(graph.answers == 0).nonzero()[0, 0]])
    assert isomorphism(table, THREE, start, 0) is not None


def test_states_with_the_same_answer_and_another_future_are_kept_apart():
    table = torch.tensor([[1], [2], [0]])
    answers = torch.tensor([0, 0, 1])
    graph = StateGraph(table, answers, torch.zeros(3, 1, 2), torch.ones(3), 1.0, 0.0)
    assert len(least(graph)[1]) == 3
    alike = graph._replace(answers=torch.tensor([0, 0, 0]))
    assert len(least(alike)[1]) == 1


def test_another_group_of_the_same_size_is_no_isomorphism():
    four, klein = torch.tensor([[1, 2], [2, 3], [3, 0], [0, 1]]), torch.tensor([[1, 2], [0, 3], [3, 0], [2, 1]])
    assert isomorphism(four, klein, 0, 0) is None and isomorphism(klein, four, 0, 0) is None
    renamed = torch.tensor([2, 0, 3, 1])
    other = torch.empty_like(four)
    other[renamed] = renamed[four]
    assert torch.equal(isomorphism(four, other, 0, 2), renamed)
    assert isomorphism(torch.tensor([[1], [1]]), torch.tensor([[0], [0]]), 0, 0) is None  # two states for one


def test_trajectories_without_clusters_and_wrong_shapes_are_refused():
    potentials, inputs, states = walk(THREE, noise=9.0, batch=40)
    with pytest.raises(ValueError, match="at most 1000 states, found more"):
        read_out(potentials, inputs, states, tolerance=1e-6)
    with pytest.raises(ValueError, match="expected potentials"):
        read_out(potentials, inputs[:, 1:], states)


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
