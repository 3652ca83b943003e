"""Reading wirings from the user's graphs, and the sentence that each wrong argument is answered with."""

import pytest
import torch

from cffbook import wiring
from cffbook.wiring import Wiring

NCP_SIZES = {"sensory_fanout": 3, "inter_fanout": 2, "recurrent_command_synapses": 7, "motor_fanin": 4}
WEIGHTS = [[0.0, 2.5, 0.0], [0.0, 0.0, -0.5], [-3.0, 0.0, 1.0]]
SIGNS = [[0, 1, 0], [0, 0, -1], [-1, 0, 1]]


def graph_forms() -> list:
    forms = [("list", lambda: WEIGHTS), ("torch", lambda: torch.tensor(WEIGHTS, requires_grad=True))]
    forms += [("sparse torch", lambda: torch.tensor(WEIGHTS).to_sparse())]
    for kind in ("float16", "float32", "longdouble"):
        forms.append((kind, lambda kind=kind: pytest.importorskip("numpy").array(WEIGHTS, dtype=kind)))
    forms.append(("transposed view", lambda: pytest.importorskip("numpy").array(WEIGHTS).T.copy().T))
    for kind in ("csr_matrix", "csc_array", "coo_array", "lil_matrix"):
        forms.append((kind, lambda kind=kind: getattr(pytest.importorskip("scipy.sparse"), kind)(WEIGHTS)))
    return [pytest.param(make, id=name) for name, make in forms]


@pytest.mark.parametrize("make", graph_forms())
def test_every_matrix_form_keeps_signs_and_orientation(make):
    assert wiring.from_graph(make()).polarity.tolist() == SIGNS


def test_a_reversed_or_locked_array_is_read_as_it_stands():
    numpy = pytest.importorskip("numpy")
    locked = numpy.array(SIGNS)
    locked.flags.writeable = False
    assert wiring.from_graph(locked).polarity.tolist() == SIGNS
    assert wiring.from_graph(locked[::-1, ::-1]).polarity.tolist() == [row[::-1] for row in SIGNS[::-1]]


def test_networkx_edges_give_polarity_then_weight_then_plus_one():
    networkx = pytest.importorskip("networkx")
    graph = networkx.DiGraph()
    graph.add_nodes_from("cab")  # the order of the nodes, not of their names
    graph.add_edge("c", "a", polarity="inhibitory", weight=3.0)
    graph.add_edge("a", "b", weight=-2.0)
    graph.add_edge("b", "c")
    graph.add_edge("b", "b", polarity=-1)
    assert wiring.from_graph(graph).polarity.tolist() == [[0, -1, 0], [0, 0, -1], [1, 0, -1]]


def test_an_undirected_graph_gives_a_synapse_in_either_direction():
    networkx = pytest.importorskip("networkx")
    built = wiring.from_graph(networkx.cycle_graph(6))
    assert torch.equal(built.adjacency, wiring.ring(6).adjacency)


@pytest.mark.parametrize(
    "built",
    [wiring.independent(4), wiring.random_sparse(11, 0.3), wiring.dense(5, self_connections=True), wiring.ring(1)],
    ids=lambda built: built.name,
)
def test_a_wiring_goes_through_every_graph_type_and_back(built):
    networkx, numpy = pytest.importorskip("networkx"), pytest.importorskip("numpy")
    array = built.polarity.numpy()
    graph = networkx.from_numpy_array(array, create_using=networkx.DiGraph)
    for form in (array, array.astype(numpy.float64), built.polarity.to_sparse(), graph, array.tolist()):
        assert torch.equal(wiring.from_graph(form).polarity, built.polarity)


def test_unsigned_and_boolean_graphs_are_excitatory_unless_told_otherwise():
    numpy = pytest.importorskip("numpy")
    adjacency = numpy.array([[0, 1], [1, 0]])
    for kind in ("bool", "uint8", "uint64"):
        assert wiring.from_graph(adjacency.astype(kind)).polarity.tolist() == [[0, 1], [1, 0]]
    explicit = wiring.from_graph(adjacency, polarity=[[1, -1], [1, 1]])  # the diagonal is no synapse
    assert explicit.polarity.tolist() == [[0, -1], [1, 0]]
    assert wiring.from_graph(adjacency, excitatory=0.0).polarity.tolist() == [[0, -1], [-1, 0]]


def bad_calls() -> list:
    nan, w = float("nan"), wiring
    calls = [
        ("square", lambda: Wiring(torch.zeros(2, 3))),
        ("square", lambda: Wiring(torch.zeros(0, 0))),
        ("two dimensions", lambda: Wiring(torch.zeros(4))),
        ("-1, 0 or \\+1 in polarity, got 2", lambda: Wiring(torch.tensor([[0, 2], [0, 0]]))),
        ("got 0.5", lambda: Wiring(torch.tensor([[0, 0.5], [0, 0]]))),
        ("NaN", lambda: Wiring(torch.tensor([[0, nan], [0, 0]]))),
        ("NaN", lambda: w.from_graph([[0, float("inf")], [0, 0]])),
        ("real", lambda: Wiring(torch.zeros(2, 2, dtype=torch.complex64))),
        ("\\(inputs, 2\\)", lambda: Wiring(torch.zeros(2, 2), sensory=torch.zeros(2, 3))),
        ("at most 2 outputs", lambda: Wiring(torch.zeros(2, 2), outputs=3)),
        ("make its product 4", lambda: Wiring(torch.zeros(4, 4), shape=(2, 3))),
        ("make their sum 4", lambda: Wiring(torch.zeros(4, 4), layers=(1, 1, 1))),
        ("whole number", lambda: w.dense(0)),
        ("whole number", lambda: w.dense(2.5)),
        ("whole number", lambda: w.dense(True)),
        ("excitatory", lambda: w.dense(3, excitatory=1.5)),
        ("density", lambda: w.random_sparse(3, nan)),
        ("multiple of the tile size", lambda: w.tiles(10, 4)),
        ("at least one axis", lambda: w.lattice(())),
        ("positive reach", lambda: w.lattice((2, 2), reach=0)),
        ("for 2 axes, got 1", lambda: w.lattice((2, 2), periodic=(True,))),
        ("manhattan, euclidean, chebyshev", lambda: w.lattice((2, 2), distance="taxi")),
        ("even number", lambda: w.small_world(10, 3, 0.1)),
        ("below n = 4", lambda: w.small_world(4, 4, 0.1)),
        ("motor_fanin to be at most 6", lambda: w.ncp(5, 8, 6, 3, **NCP_SIZES | {"motor_fanin": 7})),
        ("at most 30 recurrent", lambda: w.ncp(5, 8, 6, 3, **NCP_SIZES | {"recurrent_command_synapses": 31})),
        ("size \\(2, 2\\), got \\(3, 3\\)", lambda: w.from_graph([[0, 1], [1, 0]], [[1] * 3] * 3)),
        ("got 0 at \\[0, 1\\]", lambda: w.from_graph([[0, 1], [1, 0]], [[1, 0], [1, 1]])),
        ("got both", lambda: w.from_graph([[0, 1], [1, 0]], [[1, 1], [1, 1]], excitatory=0.5)),
        ("rows of equal length", lambda: w.from_graph([[0, 1], [1]])),
        ("whole number", lambda: w.ring(5).repeat(0)),
        ("choose one of independent, dense, .*, ncp", lambda: w.builder("latice")),
    ]
    return [pytest.param(call, words, id=f"{number}: {words}") for number, (words, call) in enumerate(calls)]


@pytest.mark.parametrize("call, words", bad_calls())
def test_a_wrong_argument_is_named_in_one_sentence_with_a_remedy(call, words):
    with pytest.raises(ValueError, match=words) as error:
        call()
    message = str(error.value)
    assert "\n" not in message and "got" in message and ":" in message


def test_an_object_that_is_no_graph_is_refused_by_type():
    with pytest.raises(TypeError, match="got str: convert it"):
        wiring.from_graph("dense")
    with pytest.raises(TypeError, match="got list: build the wiring with from_graph"):
        Wiring([[0, 1], [1, 0]])


def test_networkx_graphs_that_are_ambiguous_are_refused():
    networkx = pytest.importorskip("networkx")
    with pytest.raises(ValueError, match="merge parallel edges"):
        wiring.from_graph(networkx.MultiDiGraph([(0, 1), (0, 1)]))
    graph = networkx.DiGraph()
    graph.add_edge(0, 1, polarity="strong")
    with pytest.raises(ValueError, match="got 'strong'"):
        wiring.from_graph(graph)
