"""A run that is watched and ended, and a trained model taken apart: the widgets of the playground that need a kernel."""

import signal
import threading

import pytest
import torch
from torch import nn

pytest.importorskip("anywidget")
pytest.importorskip("accelerate")

from cffbook import experiment, tasks
from cffbook.training import Recipe
from cffbook.training.scoring import answer
from cffbook.widgets import Bench, TrainingWidget, assembly
from cffbook.widgets.training import CURVES, held, memory_of
from widget_pages import visit, write_page  # noqa: F401

RECIPE = Recipe(steps=6, batch=8, eval_every=2, warmup=1)
QUICK = {"steps": 6, "train": 64, "valid": 8, "test": 8, "longer": (), "length": 10, "valid_length": 10}


@pytest.fixture
def settings():
    return experiment.override(experiment.alone_coupled("parity"), QUICK)


@pytest.fixture
def task(settings):
    return tasks.load(settings.task, **settings.task_options)


@pytest.fixture
def model(settings, task):
    return experiment.build_model(settings, task)


def test_a_run_shows_its_curves_and_what_is_held_and_ends(model, task):
    run = TrainingWidget(model, task, RECIPE)
    assert run.state == "new"
    history = run.start().wait()
    assert run.state == "done" and run.curves["step"] == [2, 4, 6]
    assert run.curves["valid_score"] == [each.valid_score for each in history.evaluations]
    shown = torch.tensor(run.held)
    assert shown.shape == (10, 24) and float(shown.abs().max()) == 1.0
    with pytest.raises(RuntimeError, match="expected a new run"):
        run.start()


def test_the_button_ends_a_run(model, task):
    run = TrainingWidget(model, task, Recipe(steps=10**6, batch=8, eval_every=1, warmup=1))
    run.observe(lambda change: setattr(run, "stop", True), names="curves")  # as the button does, after the first evaluation
    assert run.start().wait().stopped == "watch"
    assert run.state == "stopped" and len(run.curves["step"]) == 1


def test_an_interrupt_of_the_cell_that_waits_ends_a_run(model, task):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as a kernel has it; a job in the background ignores it
    run = TrainingWidget(model, task, Recipe(steps=300, batch=8, eval_every=1, warmup=1))
    run.observe(lambda change: len(run.curves["step"]) == 2 and signal.pthread_kill(threading.main_thread().ident, signal.SIGINT), names="curves")
    try:
        assert run.start().wait().stopped == "watch" and run.state == "stopped" and run.stop
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_goes_wrong_in_a_run_is_said(model, task):
    run = TrainingWidget(model, task, Recipe(steps=6, batch=8, eval_every=2, warmup=1))
    memory_of(model).input_map.weight.data.fill_(float("nan"))
    run.start()
    with pytest.raises(RuntimeError, match="failed: training stopped at step 1"):
        run.wait()
    with pytest.raises(RuntimeError, match="call start"):
        TrainingWidget(model, task, RECIPE).wait()
    with pytest.raises(ValueError, match="expected a model with a MemoryLayer"):
        memory_of(nn.Linear(2, 2))


def test_what_is_held_are_the_layers_own_potentials(model, task):
    batch, layer = task.valid.batch([0]), memory_of(model)
    with torch.no_grad():
        potentials, _ = layer.potentials(model.embedding(batch.inputs))
    apart = potentials[0, :, :, 0] - potentials[0, :, :, 1]
    assert torch.allclose(held(model, layer, batch), apart / apart.abs().max(), atol=1e-6)


def test_what_is_moved_on_the_bench_is_moved_in_the_model_and_scored(model, task):
    bench = Bench(model, task.kind, task.test)
    flip_flops = memory_of(model).cell.flip_flops
    trained = {name: flip_flops.value(name).clone() for name in flip_flops.parameter_names()}
    with torch.no_grad():
        before = answer(model, bench.batch)
    probe = bench.pick(3)
    assert torch.allclose(torch.tensor(probe.values["capacitance"]), trained["capacitance"][3])
    probe.values = probe.values | {"capacitance": [5.0, 6.0]}
    now = flip_flops.value("capacitance").detach()
    assert torch.allclose(now[3], torch.tensor([5.0, 6.0])) and torch.allclose(now[:3], trained["capacitance"][:3])
    with torch.no_grad():
        after = answer(model, bench.batch)
    assert not torch.allclose(before, after)
    right = (after.argmax(-1) == bench.batch.targets).float().mean()
    assert abs(bench.score - float(right)) < 1e-6
    bench.restore()
    assert all(torch.allclose(flip_flops.value(name), value, atol=1e-5) for name, value in trained.items())
    assert probe.values["capacitance"] == pytest.approx(trained["capacitance"][3].tolist(), abs=1e-5)
    with pytest.raises(ValueError, match="below 24"):
        bench.pick(24)


def test_a_bench_and_a_run_stand_in_a_page_too(model, task):
    bench, run = Bench(model, task.kind, task.test), TrainingWidget(model, task, RECIPE)
    for widget, kind in ((bench, "flip_flop"), (run, "training")):
        data, _ = widget._repr_mimebundle_()
        assert data[assembly.MIME]["widget"] == kind


@pytest.mark.browser
def test_the_page_draws_a_run_and_its_button_asks_for_the_end(visit, tmp_path):
    curves = {"step": [20, 40], **{name: [1.0, 0.5] for name in CURVES}}
    traits = {"curves": curves, "held": [[1.0, -1.0], [0.4, 0.2]], "state": "running", "stop": False, "score_name": "accuracy"}
    page = visit.open(write_page(tmp_path, assembly.holder("training", traits)))
    assert "running: step 40, validation loss 0.500, accuracy 0.5000" in page.locator("[role=status]").inner_text()
    assert page.locator(".cff-run-line").count() == 3 and page.locator(".cff-raster path").count() > 1
    page.get_by_role("button", name="Stop").click()
    assert visit.trait("stop") is True
    page.wait_for_function("() => document.querySelector('.cff button').disabled")
    visit.give("curves", {name: [*values, values[-1]] for name, values in curves.items()} | {"step": [20, 40, 60]})
    visit.give("state", "stopped")
    page.wait_for_function("() => document.querySelector('[role=status]').textContent.startsWith('stopped: step 60')")
