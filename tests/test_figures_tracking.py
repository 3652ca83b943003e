"""Figures of what is tracked show the records' numbers and the graph's edges."""

import pytest

pytest.importorskip("plotly")
pytest.importorskip("accelerate")

import torch

from cffbook import figures
from cffbook.figures.tracking import by_length


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


def test_every_edge_but_loops_is_an_arrow_towards_its_state():
    table = torch.tensor([[0, 1], [1, 2], [-1, 0]])
    figure = figures.graph(table, "abc", ["stay", "step"])
    assert len(figure.layout.annotations) == 3 and [trace.name for trace in figure.data[1:]] == ["stay", "step"]
    places = list(zip(figure.data[0].x, figure.data[0].y, strict=True))
    for arrow, (start, end) in zip(figure.layout.annotations, ((0, 1), (1, 2), (2, 0)), strict=True):
        ends = [min(range(3), key=lambda k: (places[k][0] - x) ** 2 + (places[k][1] - y) ** 2)  # noqa: B023
                for x, y in ((arrow.ax, arrow.ay), (arrow.x, arrow.y))]  # fmt: skip
        assert ends == [start, end]
    with pytest.raises(ValueError, match=r"expected a table \(2, 2\)"):
        figures.graph(table, "ab", ["stay", "step"])


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
