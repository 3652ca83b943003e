"""Every probe runs from its name to a record at tier smoke, tests of other lengths and distributions included."""

import json

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("safetensors")
pytest.importorskip("tensorboard")

import numpy as np
import torch

from cffbook import experiment, tasks
from cffbook.experiment.probes import probes
from cffbook.results import Record, read_record
from cffbook.training import Recipe
from cffbook.transformer import CausalLM, Classifier

NAMES = sorted({name for name, _ in probes({}, Recipe(steps=1))} - {"mnist"})


def run(tmp_path, row, task, **overrides):
    settings = experiment.settings(row, task, "smoke", overrides=overrides)
    record = experiment.run(settings, tmp_path / "results", tmp_path / "runs", cpu=True)
    assert read_record(settings.path(tmp_path / "results")) == record
    return record


@pytest.mark.parametrize("task", NAMES)
@pytest.mark.parametrize("row", ["lstm", "attention"])
def test_every_probe_runs_from_name_to_record(tmp_path, task, row):
    record = run(tmp_path, row, task, steps=4, eval_every=2)
    options = experiment.tiers()[task, "smoke"][0]
    expected = [f"length {length}" for length in options.get("longer", ())]
    expected = ["sparse", "dense", *expected] if task == "flip_flop_language" else expected
    assert list(record.tests) == ["test", *expected] and record.task["floors"]
    assert record.tests["test"]["score"] == record.test_score and record.tests["test"]["loss"] == record.test_loss
    if task != "adding":
        assert all(0 <= found["faultless"] <= found["last_right"] <= found["sequences"] for found in record.tests.values())
        assert record.tests["test"]["sequences"] == 64


def test_the_memory_layer_runs_on_lengths_that_grow_and_tests_that_are_longer(tmp_path):
    pytest.importorskip("numba")
    record = run(tmp_path, "memory", "parity", longer=[30, 60], longer_size=5)
    assert [record.tests[f"length {length}"]["count"] for length in (30, 60)] == [150, 300]
    assert record.settings["recipe"]["shortest"] == 2 and record.settings["task_options"]["longer"] == [30, 60]
    assert "longer-30-60" in experiment.settings("memory", "parity", "smoke", overrides={"longer": [30, 60]}).variant


@pytest.mark.parametrize("row, times", [("memory", False), ("lstm", True), ("attention", True), ("ltc", False)])
@pytest.mark.parametrize("task", ["retention", "adding"])
def test_irregular_samples_reach_every_row_as_times_or_as_a_feature(row, times, task):
    settings = experiment.settings(row, task, "smoke", overrides={"irregular": True})
    loaded = tasks.load(task, **settings.task_options)
    model = experiment.build_model(settings, loaded).eval()
    assert isinstance(model, CausalLM if task == "retention" else Classifier)
    assert (model.embedding.times is not None) == times
    batch = loaded.train.batch(range(3))
    with torch.no_grad():
        once = model(batch.inputs, lengths=batch.lengths, elapsed=batch.elapsed)
        slower = model(batch.inputs, lengths=batch.lengths, elapsed=2 * batch.elapsed)
    assert not torch.allclose(once, slower, atol=1e-6)
    regular = experiment.build_model(experiment.settings(row, task, "smoke"), tasks.load(task, length=20, train=3))
    assert regular.embedding.times is None


@pytest.mark.parametrize("row", ["memory", "lstm", "attention", "ltc"])
def test_the_adding_problem_is_read_forwards_and_at_its_last_sample(row):
    """A mean over time would add the numbers with no memory; a layer that also ran backwards would see each mark twice."""
    settings = experiment.settings(row, "adding", "smoke")
    assert settings.pooling == "last" and settings.mixer_options.causal
    task = tasks.load("adding", **settings.task_options)
    model = experiment.build_model(settings, task).eval()
    inputs = task.train.batch(range(3)).inputs
    changed = torch.cat((inputs[:, :-1], inputs[:, -1:] + 1), 1)
    with torch.no_grad():
        before, after = (model.encoder(model.embedding(each))[0] for each in (inputs, changed))
    assert torch.equal(before[:, :-1], after[:, :-1]) and not torch.allclose(before[:, -1], after[:, -1])


def test_copying_begins_with_eight_symbols_and_its_memory_has_fewer_parameters_than_the_lstm_beside_it():
    rows = {row: experiment.settings(row, "copying") for row in ("memory_both", "lstm", "gru", "norm_preserving", "attention")}
    assert len({(settings.body, settings.recipe.steps, settings.variant) for settings in rows.values()}) == 1
    loaded = tasks.load("copying", **rows["lstm"].task_options)
    shortest = loaded.train.at(rows["lstm"].recipe.shortest).batch([0]).inputs[0].tolist()
    assert len(shortest) == 8 + 8 + 8 and max(shortest[:8]) <= 8 and loaded.train.length == loaded.valid.length == 1_000
    size = {row: sum(weight.numel() for weight in experiment.build_model(settings, loaded).parameters()) for row, settings in rows.items()}
    assert size["memory_both"] <= size["lstm"]


def test_a_row_with_learned_positions_is_not_tested_beyond_them():
    assert experiment.attention("flip_flop_language", "smoke").positions and not experiment.attention("parity", "smoke").positions
    for row, changes in (("attention", {"positions": True}), ("synthesizer_random", {"positions": False})):
        settings = experiment.settings(row, "parity", "smoke", overrides=changes)
        with pytest.raises(ValueError, match="up to 10, and cannot be tested at 20: use positions=false"):
            experiment.build_model(settings, tasks.load("parity", **settings.task_options))


def test_the_head_has_as_many_scores_as_classes_and_not_as_tokens():
    settings = experiment.settings("lstm", "word_problem", "smoke", overrides={"group": "a5", "alphabet": "generators"})
    model = experiment.build_model(settings, tasks.load("word_problem", **settings.task_options))
    assert model.embedding.values.num_embeddings == 1 + 1 + 3 and model.head.out_features == 60


def test_digits_run_from_a_file_to_a_record(tmp_path, monkeypatch):
    monkeypatch.setenv("CFFBOOK_CACHE", str(tmp_path / "cache"))
    source = np.random.default_rng(0)
    arrays = {f"x_{part}": source.integers(0, 256, (count, 28, 28), dtype=np.uint8) for part, count in (("train", 330), ("test", 70))}
    arrays |= {f"y_{part}": (np.arange(count) % 10).astype(np.uint8) for part, count in (("train", 330), ("test", 70))}
    np.savez(tmp_path / "mnist.npz", **arrays)
    record = run(tmp_path, "lstm", "mnist", source=str(tmp_path / "mnist.npz"), permuted=True, train=200, valid=20, steps=2, eval_every=1)
    assert record.task["variant"]["permuted"] and record.task["kind"] == "classification"


def test_a_record_made_before_there_were_several_tests_is_read(tmp_path):
    text = run(tmp_path, "lstm", "parity", steps=2, eval_every=1).to_json()
    old = json.loads(text)
    del old["tests"], old["settings"]["recipe"]["shortest"], old["settings"]["recipe"]["growth"]
    record = Record.from_json(json.dumps(old))
    assert record.tests == {} and record.settings["recipe"]["shortest"] is None and record.settings["recipe"]["growth"] == 0.5
    assert Record.from_json(text).settings["recipe"]["shortest"] == 2


def test_a_list_of_lengths_is_checked_by_name():
    with pytest.raises(TypeError, match="longer must be tuple, got 30"):
        experiment.settings("lstm", "parity", "smoke", overrides={"longer": 30})
