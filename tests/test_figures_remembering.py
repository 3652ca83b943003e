"""Figures of what is remembered show the records' losses, the measured norms and the computed times."""

import pytest

pytest.importorskip("plotly")
pytest.importorskip("accelerate")

import torch

from cffbook import experiment, figures
from cffbook.figures.remembering import losses
from cffbook.gradients import Measurement


@pytest.fixture(scope="module")
def records(short_runs):
    return short_runs("copying", [20, 30])


def test_losses_are_those_of_the_records_with_the_worst_seed_above(records):
    found = losses(records)
    assert list(found["lstm"]) == [10, 20, 30] and found["gru"][10] == [records[2].test_loss]
    assert found["lstm"][30] == [record.tests["length 30"]["loss"] for record in records[:2]]
    figure = figures.loss_over_length(records, 2.0, "blanks", "loss", bar=0.2)
    lstm = next(trace for trace in figure.data if trace.name == "lstm")
    assert abs(lstm.y[1] + lstm.error_y.array[1] - max(found["lstm"][20])) < 1e-9
    assert [shape.y0 for shape in figure.layout.shapes] == [2.0, 0.2]
    assert [round(10**note.y, 9) for note in figure.layout.annotations] == [2.0, 0.2]  # each beside its line


def test_records_of_one_row_that_differ_in_their_updates_are_not_averaged(records, tmp_path):
    settings = experiment.settings("lstm", "copying", "smoke", 2, {"steps": 3, "eval_every": 3, "longer": [20, 30]})
    found = losses([*records, experiment.run(settings, tmp_path / "results", tmp_path / "runs", cpu=True)])
    assert {name: len(lengths[20]) for name, lengths in found.items()} == {"lstm, 2 updates": 2, "gru": 1, "lstm, 3 updates": 1}


def test_losses_of_several_tasks_are_not_drawn_together(records):
    class Told:
        task, settings, tests = {"name": "adding"}, {"row": "x", "task_options": {"length": 1}}, {}

    with pytest.raises(ValueError, match="records of one task, got adding, copying"):
        figures.loss_over_length([records[0], Told()], 1.0, "", "")


def test_a_model_has_one_colour_before_and_after():
    norms = {name: Measurement(torch.full((12, 2), value)) for name, value in (("plain RNN", 0.5), ("LSTM", 0.25))}
    figure = figures.before_and_after({"before": norms, "after": norms})
    assert [trace.name for trace in figure.data] == ["plain RNN", "LSTM"] * 2 and figure.data[3].y[0] == 0.25
    assert figure.data[0].line.color == figure.data[2].line.color != figure.data[1].line.color
    assert [trace.showlegend for trace in figure.data] == [True, True, False, False]


def test_bits_that_stay_for_ever_have_no_point():
    figure = figures.dilemma(torch.tensor([-1.0, 1.0]), {"C = 1": (torch.tensor([3.0, torch.inf]), torch.tensor([3.0, 2.0]))})
    assert list(figure.data[0].y) == [3.0, None] and list(figure.data[1].y) == [3.0, 2.0]
    assert figure.data[0].line.color == figure.data[1].line.color and figure.data[1].line.dash == "dash"
