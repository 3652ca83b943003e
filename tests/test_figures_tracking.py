"""Figures of what is tracked show the records' numbers and the graph's edges."""

import pytest

pytest.importorskip("plotly")
pytest.importorskip("accelerate")

import torch

from cffbook import figures
from cffbook.figures.tracking import by_length
from cffbook.tasks import groups


@pytest.fixture(scope="module")
def records(short_runs):
    return short_runs("parity", [20, 60])


def test_accuracy_over_length_is_that_of_the_records_with_the_worst_seed_below(records):
    found = by_length(records)
    assert list(found["lstm"]) == [10, 20, 60] and len(found["lstm"][60]) == 2 and len(found["gru"][60]) == 1
    assert found["lstm"][60][1] == records[1].tests["length 60"]["score"] and found["gru"][10] == [records[2].test_score]
    figure = figures.generalisation(records, floor=0.5)
    lstm = next(trace for trace in figure.data if trace.name == "lstm")
    worst = 100 * min(found["lstm"][20])
    assert list(lstm.x) == [10, 20, 60] and abs(lstm.y[1] - lstm.error_y.arrayminus[1] - worst) < 1e-9
    assert figure.layout.xaxis.type == "log" and figure.layout.shapes[0].y0 == 50
    sizes = [trace.marker.size for trace in figure.data]
    assert sizes == sorted(set(sizes), reverse=True) and all(trace.marker.symbol.endswith("-open") for trace in figure.data)  # none hides another
    names = [figures.generalisation(records, floor=floor).layout.annotations[0].yanchor for floor in (0.5, 0.01)]
    assert names == ["top", "bottom"]  # the name of a low floor stands above it, where no numbers of the axis are


def test_every_edge_but_loops_is_an_arrow_towards_its_state():
    table = torch.tensor([[0, 1], [1, 2], [-1, 0]])
    figure = figures.graph(table, "abc", ["stay", "step"])
    assert len(figure.layout.annotations) == 3 and [trace.name for trace in figure.data[1:]] == ["stay: stays", "step"]
    places = list(zip(figure.data[0].x, figure.data[0].y, strict=True))
    for arrow, (start, end) in zip(figure.layout.annotations, ((0, 1), (1, 2), (2, 0)), strict=True):
        ends = [min(range(3), key=lambda k: (places[k][0] - x) ** 2 + (places[k][1] - y) ** 2)  # noqa: B023
                for x, y in ((arrow.ax, arrow.ay), (arrow.x, arrow.y))]  # fmt: skip
        assert ends == [start, end]
    with pytest.raises(ValueError, match=r"expected a table \(2, 2\)"):
        figures.graph(table, "ab", ["stay", "step"])


def cayley(*generators):
    """The graph of a group: the next element under each generator, and where each of them is drawn."""
    elements = groups.closure(generators)
    number = {tuple(element): k for k, element in enumerate(elements)}
    table = torch.tensor([[number[tuple(element[place] for place in move)] for move in generators] for element in elements])
    figure = figures.graph(table, [str(element) for element in elements], [str(move) for move in generators])
    return table, torch.tensor([figure.data[0].x, figure.data[0].y]).T, figure.layout.annotations


def test_s3_is_drawn_as_two_triangles_one_inside_the_other_that_short_arrows_join():
    table, places, arrows = cayley((1, 2, 0), (1, 0, 2))
    radius = places.norm(dim=1)
    outer = radius > 0.7
    assert outer.sum() == 3 and torch.allclose(radius[outer], radius[outer][0]) and torch.allclose(radius[~outer], radius[~outer][0])
    assert torch.equal(outer[table[:, 0]], outer) and torch.equal(outer[table[:, 1]], ~outer)  # a rotation stays on its ring, a reflection changes it
    joined = torch.nn.functional.cosine_similarity(places, places[table[:, 1]])
    assert torch.allclose(joined, torch.ones(6))  # straight inwards or outwards
    assert len(arrows) == 6 + 3 and sum(arrow.arrowside == "end+start" for arrow in arrows) == 3  # what is its own inverse is one arrow with two tips


def test_the_rings_of_a_larger_group_lie_side_by_side_and_a_single_ring_follows_its_input():
    table, places, _ = cayley((1, 2, 0, 3), (1, 0, 3, 2))  # the even permutations of four: four triangles
    sides = (places - places[table[:, 0]]).norm(dim=1)
    assert torch.allclose(sides, sides[0]) and float(torch.pdist(places).min()) > 0.3
    table, places, _ = cayley((2, 3, 4, 0, 1))
    angle = torch.atan2(places[:, 0], places[:, 1])
    assert torch.allclose(torch.remainder(angle[table[:, 0]] - angle, 2 * torch.pi), torch.tensor(2 * torch.pi / 5))
    merging = figures.graph(torch.tensor([[1], [2], [2], [2]]), "abcd", ["on"]).data[0]  # no round trip: the order of the states
    assert torch.allclose(torch.tensor([merging.x, merging.y]).T, torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]]), atol=1e-6)


def test_a_matrix_is_drawn_row_by_row_under_its_names():
    figure = figures.heat(torch.tensor([[0.0, 1.0], [2.0, 3.0]]), ["r", "s"], ["c", "d"], "potential", "flip-flop", "state", middle=0.0)
    assert list(figure.data[0].z[1]) == [2.0, 3.0] and tuple(figure.data[0].y) == ("r", "s") and figure.data[0].zmid == 0
    with pytest.raises(ValueError, match=r"expected values \(1, 2\)"):
        figures.heat(torch.zeros(2, 2), ["r"], ["c", "d"], "", "", "")
    with pytest.raises(ValueError, match="records of one task"):
        figures.generalisation([*map(fake, "ab")])


def fake(name):
    class Told:
        task, settings, tests = {"name": name}, {"row": "x", "task_options": {"length": 1}}, {}

    return Told
