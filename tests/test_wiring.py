"""Wirings: every claim of the type, the builders and the drawings, against counts, invariants and ncps."""

import copy
import pickle
import sys
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cffbook import wiring
from cffbook.wiring import Wiring, drawing

NCP_SIZES = {"sensory_fanout": 3, "inter_fanout": 2, "recurrent_command_synapses": 7, "motor_fanin": 4}


def every_builder(seed: int = 0) -> list[Wiring]:
    return [
        wiring.independent(7),
        wiring.dense(6, seed=seed),
        wiring.tiles(12, 4, seed=seed),
        wiring.random_sparse(15, 0.3, seed=seed),
        wiring.ring(9, seed=seed),
        wiring.lattice((3, 4, 2), seed=seed),
        wiring.small_world(20, 4, 0.5, seed=seed),
        wiring.ncp(5, 8, 6, 3, **NCP_SIZES, seed=seed),
    ]


def test_every_builder_gives_int8_polarity_without_self_synapses():
    for built in every_builder():
        assert built.polarity.dtype == torch.int8
        assert set(built.polarity.unique().tolist()) <= {-1, 0, 1}
        assert not built.polarity.diagonal().any()
        assert built.synapses == int(built.polarity.abs().sum())


def test_the_same_seed_gives_the_same_wiring_and_another_seed_another_polarity():
    for first, again, other in zip(every_builder(3), every_builder(3), every_builder(4), strict=True):
        assert torch.equal(first.polarity, again.polarity)
        assert first.synapses == 0 or not torch.equal(first.polarity, other.polarity)


def test_building_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    every_builder()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_excitatory_share_is_exact_up_to_rounding(share):
    built = wiring.dense(9, excitatory=share)
    assert int((built.polarity == 1).sum()) == round(share * 72)
    assert int((built.polarity == -1).sum()) == 72 - round(share * 72)


def test_dense_has_every_synapse_and_self_synapses_only_when_asked():
    assert wiring.dense(5).synapses == 20
    asked = wiring.dense(5, self_connections=True)
    assert asked.synapses == 25 and asked.polarity.diagonal().all()
    assert wiring.dense(5).density == asked.density == 1.0


def test_tiles_are_dense_blocks_and_nothing_between_them():
    built = wiring.tiles(12, 4)
    assert [block.tolist() for block in built.blocks()] == [list(range(k, k + 4)) for k in (0, 4, 8)]
    for block in built.blocks():
        assert built.adjacency[block][:, block].sum() == 12
    assert built.synapses == 36
    assert torch.equal(wiring.tiles(4, 4).polarity, wiring.dense(4).polarity)
    assert wiring.tiles(4, 1).synapses == wiring.independent(4).synapses == 0


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 20), density=st.floats(0, 1), own=st.booleans(), seed=st.integers(0, 99))
def test_random_sparse_has_exactly_the_synapses_of_its_density(n, density, own, seed):
    built = wiring.random_sparse(n, density, self_connections=own, seed=seed)
    assert built.synapses == round(density * (n * n if own else n * (n - 1)))
    assert own or not built.polarity.diagonal().any()


def test_a_ring_joins_every_neuron_to_its_neighbours_on_both_sides():
    built = wiring.ring(7, reach=2)
    for neuron in range(7):
        targets = built.adjacency[neuron].nonzero().flatten().tolist()
        assert targets == sorted((neuron + step) % 7 for step in (-2, -1, 1, 2))
    assert torch.equal(wiring.ring(8).adjacency, wiring.lattice((8,), periodic=True).adjacency)


@pytest.mark.parametrize("distance, order", [("manhattan", 1), ("euclidean", 2), ("chebyshev", float("inf"))])
@pytest.mark.parametrize("periodic", [False, True, (True, False, True)])
def test_a_lattice_synapse_spans_at_most_the_reach(distance, order, periodic):
    shape, reach = (4, 5, 3), 2
    built = wiring.lattice(shape, reach, periodic, distance)
    points = torch.cartesian_prod(*(torch.arange(size) for size in shape))
    wraps = torch.tensor([periodic] * 3 if isinstance(periodic, bool) else periodic)
    step = (points[:, None] - points).abs()
    step = torch.where(wraps, torch.minimum(step, torch.tensor(shape) - step), step)
    length = torch.linalg.vector_norm(step.double(), ord=order, dim=-1)
    expected = (length <= reach + 1e-9) & (length > 0)  # square roots are not exact
    assert torch.equal(built.adjacency, expected)
    assert built.shape == shape


@settings(max_examples=25, deadline=None)
@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4), reach=st.integers(1, 3))
def test_a_periodic_lattice_has_the_same_degree_everywhere(shape, reach):
    adjacency = wiring.lattice(shape, reach, periodic=True).adjacency
    assert torch.equal(adjacency, adjacency.T)
    assert len(adjacency.sum(0).unique()) == len(adjacency.sum(1).unique()) == 1


def test_an_open_lattice_has_the_textbook_number_of_edges():
    a, b, c = 8, 8, 4
    edges = (a - 1) * b * c + a * (b - 1) * c + a * b * (c - 1)
    assert wiring.lattice((a, b, c)).synapses == 2 * edges
    assert len(wiring.lattice((a, b, c)).blocks()) == 1


def test_a_lattice_of_1024_neurons_is_built_within_a_second():
    start = time.perf_counter()
    wiring.lattice((16, 16, 4)).blocks()
    assert time.perf_counter() - start < 1.0  # about 0.04 s on one core


@pytest.mark.parametrize("rewiring", [0.0, 0.1, 1.0])
def test_a_small_world_keeps_its_edges_and_runs_both_ways(rewiring):
    built = wiring.small_world(30, 6, rewiring)
    assert built.synapses == 30 * 6
    assert torch.equal(built.adjacency, built.adjacency.T)
    near = wiring.ring(30, reach=3).adjacency
    moved = int((built.adjacency & ~near).sum())
    assert (moved == 0) if rewiring == 0 else moved > 0
    assert rewiring < 1 or moved > 0.6 * built.synapses  # 6 of 29 places are on the ring: most moves leave it


def test_a_small_world_with_no_free_place_stays_complete():
    assert wiring.small_world(5, 4, 1.0).synapses == 20


def test_ncp_has_the_same_layers_and_fans_as_ncps():
    ncps = pytest.importorskip("ncps.wirings")
    theirs = ncps.NCP(8, 6, 3, *NCP_SIZES.values(), seed=1)
    theirs.build(5)
    ours = wiring.ncp(5, 8, 6, 3, **NCP_SIZES, seed=1)
    assert (ours.outputs, ours.layers, ours.size) == (theirs.output_dim, (3, 6, 8), theirs.units)
    reference = wiring.from_graph(theirs.adjacency_matrix, sensory=theirs.sensory_adjacency_matrix, outputs=3)
    motor, command, inter = slice(0, 3), slice(3, 9), slice(9, 17)
    for built in (ours, reference):
        adjacency, sensory = built.adjacency, built.sensory != 0
        assert not sensory[:, :9].any() and sensory.any(0)[inter].all()
        assert (sensory.sum(1) >= 3).all()
        assert (adjacency[inter, command].sum(1) >= 2).all() and adjacency[inter, command].any(0).all()
        assert (adjacency[command, motor].sum(0) >= 4).all() and adjacency[command, motor].any(1).all()
        allowed = torch.zeros(17, 17, dtype=torch.bool)
        allowed[inter, command] = allowed[command, command] = allowed[command, motor] = True
        assert not (adjacency & ~allowed).any()
    assert reference.adjacency[command, command].sum() <= 7  # ncps may draw a place twice
    assert ours.adjacency[command, command].sum() == 7


@settings(max_examples=40, deadline=None)
@given(data=st.data(), seed=st.integers(0, 50))
def test_ncp_fans_are_exact_before_the_forgotten_neurons_are_added(data, seed):
    inputs, inter, command, motor = (data.draw(st.integers(1, 7)) for _ in range(4))
    fans = [data.draw(st.integers(1, size)) for size in (inter, command, command)]
    built = wiring.ncp(
        inputs, inter, command, motor, sensory_fanout=fans[0], inter_fanout=fans[1],
        recurrent_command_synapses=0, motor_fanin=fans[2], seed=seed,
    )  # fmt: skip
    layers = [
        ((built.sensory != 0)[:, motor + command :], fans[0]),
        (built.adjacency[motor + command :, motor : motor + command], fans[1]),
        (built.adjacency[motor : motor + command, :motor].T, fans[2]),
    ]
    for block, fan in layers:
        near, far = block.shape
        mean = min(max(near * fan // far, 1), near)
        assert block.any(0).all() and (block.sum(1) >= fan).all()
        added = int(block.sum()) - near * fan  # whole columns of `mean` synapses
        assert added % mean == 0 and 0 <= added // mean <= far - 1


def test_blocks_partition_the_neurons_into_components_as_networkx_finds_them():
    networkx = pytest.importorskip("networkx")
    for seed in range(20):
        built = wiring.random_sparse(40, 0.02, seed=seed)
        graph = networkx.DiGraph([tuple(edge) for edge in built.adjacency.nonzero().tolist()])
        graph.add_nodes_from(range(40))
        expected = sorted(sorted(part) for part in networkx.weakly_connected_components(graph))
        assert [block.tolist() for block in built.blocks()] == expected
    assert len(wiring.independent(6).blocks()) == 6


def test_repeat_places_copies_with_no_synapse_between_them():
    tile = wiring.from_graph([[0, 1, 0], [0, 0, -1], [0, 0, 0]], sensory=[[1, 0, -1]])
    twice = tile.repeat(2)
    assert torch.equal(twice.polarity[:3, :3], tile.polarity) and torch.equal(twice.polarity[3:, 3:], tile.polarity)
    assert twice.synapses == 2 * tile.synapses and len(twice.blocks()) == 2
    assert twice.sensory.tolist() == [[1, 0, -1, 1, 0, -1]]
    assert wiring.lattice((2, 3)).repeat(4).shape == (4, 2, 3)
    with pytest.raises(ValueError, match="without motor neurons"):
        wiring.ncp(5, 8, 6, 3, **NCP_SIZES).repeat(2)


@pytest.mark.parametrize("source, target", [(1, 4), (4, 1)])
def test_crosses_sees_a_synapse_over_the_cut_in_either_direction(source, target):
    polarity = torch.zeros(6, 6)
    polarity[source, target] = -1
    built = Wiring(polarity)
    assert [built.crosses(cut) for cut in range(7)] == [False, False, True, True, True, False, False]
    assert not wiring.tiles(6, 3).crosses(3)
    with pytest.raises(ValueError, match="between 0 and 6"):
        built.crosses(7)


def test_the_tile_size_is_that_of_the_smallest_equal_blocks_that_hold_all_synapses():
    assert wiring.tiles(12, 4).tile_size() == 4 and wiring.ring(9).tile_size() == 9
    assert wiring.independent(5).tile_size() == wiring.tiles(5, 1).tile_size() == 1
    assert wiring.from_graph([[0, 1, 0], [0, 0, 0], [0, 0, 0]]).repeat(3).tile_size() == 3  # with 2, a block would end between 3 and 4
    polarity = torch.zeros(10, 10)
    polarity[8, 9] = polarity[3, 1] = 1
    assert Wiring(polarity).tile_size() == 4  # the last block has only two neurons


def test_a_wiring_keeps_its_own_copy_of_the_matrix():
    given_matrix = torch.zeros(3, 3, dtype=torch.int8)
    built = Wiring(given_matrix)
    given_matrix[0, 1] = 1
    assert built.synapses == 0


def test_a_wiring_survives_copying_and_pickling():
    built = wiring.ncp(5, 8, 6, 3, **NCP_SIZES)
    for again in (copy.deepcopy(built), pickle.loads(pickle.dumps(built))):
        assert torch.equal(again.polarity, built.polarity) and torch.equal(again.sensory, built.sensory)
        assert (again.name, again.layers, again.outputs) == (built.name, built.layers, built.outputs)


def test_every_name_builds():
    assert wiring.builder("ring")(8).synapses == 16
    assert all(callable(wiring.builder(name)) and hasattr(wiring, name) for name in wiring.names())


def test_a_drawing_shows_every_neuron_and_every_synapse_by_polarity():
    pytest.importorskip("plotly")
    every = [*every_builder(), wiring.dense(4, self_connections=True), wiring.lattice((2,) * 5)]
    for built in every:
        figure = built.draw()
        points = [trace for trace in figure.data if trace.mode == "markers" and trace.name]
        assert sum(len(trace.x) for trace in points if trace.name == "neuron") == built.size
        sensory = torch.zeros(0, built.size) if built.sensory is None else built.sensory
        between = built.polarity.clone().fill_diagonal_(0)
        for name, sign in (("excitatory", 1), ("inhibitory", -1)):
            arcs = [trace for trace in figure.data if trace.name == name]
            assert len(arcs) == 1
            drawn = sum(value is None for value in arcs[0].x)
            assert drawn == int((between == sign).sum() + (sensory == sign).sum())
        assert len({trace.line.color for trace in figure.data if trace.mode == "lines"}) == 2


def test_a_lattice_is_drawn_on_its_grid_and_an_ncp_in_columns():
    grid, _ = drawing.layout(wiring.lattice((2, 3)))
    assert grid[:, :2].tolist() == [[0, 0], [1, 0], [2, 0], [0, -1], [1, -1], [2, -1]]
    folded, _ = drawing.layout(wiring.lattice((2, 3, 2, 2, 2)))
    assert len({tuple(point) for point in folded.tolist()}) == 48
    neurons, inputs = drawing.layout(wiring.ncp(5, 8, 6, 3, **NCP_SIZES))
    assert neurons[:, 0].tolist() == [3.0] * 3 + [2.0] * 6 + [1.0] * 8 and inputs[:, 0].tolist() == [0.0] * 5


def test_the_heat_map_has_sources_as_rows():
    pytest.importorskip("plotly")
    figure = wiring.from_graph([[0, 1], [0, -1]]).heatmap()
    assert [list(row) for row in figure.data[0].z] == [[0, 1], [0, -1]]


def test_a_drawing_that_no_browser_can_show_is_refused():
    pytest.importorskip("plotly")
    with pytest.raises(ValueError, match=r"at most 50 synapses to draw, got 90: use heatmap\(\)"):
        wiring.dense(10).draw(most=50)


def test_drawing_without_plotly_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ImportError, match=r"pip install 'cffbook\[plots\]'"):
        wiring.ring(4).draw()
