"""What a run has learned is kept beside its record, and made into its model again."""

import time

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("safetensors")
pytest.importorskip("tensorboard")

import torch

from cffbook import experiment, tasks
from cffbook.experiment.rows import ARENA
from cffbook.results import load_records, read_record
from cffbook.training import evaluate


def run(tmp_path, **overrides):
    settings = experiment.settings("lstm", "parity", "smoke", overrides={"steps": 8, "eval_every": 2, "learning_rate": 0.1, **overrides})
    return settings, experiment.run(settings, tmp_path / "results", tmp_path / "runs", cpu=True, weights=tmp_path / "results" / "weights")


def test_a_trained_model_scores_on_every_split_what_its_record_says(tmp_path):
    settings, record = run(tmp_path)
    told = experiment.Settings.from_dict(read_record(settings.path(tmp_path / "results")).settings)
    assert told.name == settings.name
    model = experiment.trained(told, tmp_path / "results" / "weights")
    assert not model.training
    task = tasks.load("parity", **settings.task_options)
    for name, split in {"test": task.test, **task.tests}.items():
        found = evaluate(model, task.kind, split)
        assert (found.score, found.faultless) == (record.tests[name]["score"], record.tests[name]["faultless"])
    assert evaluate(model, task.kind, task.valid).score == record.valid_score
    untrained = experiment.build_model(settings, task)
    assert not torch.equal(untrained.head.weight, model.head.weight)


def test_weights_are_those_of_their_settings_alone(tmp_path):
    settings, _ = run(tmp_path)
    other = experiment.override(settings, {"seed": 1})
    with pytest.raises(FileNotFoundError, match=f"{other.name}.safetensors is not there: run these settings with weights="):
        experiment.trained(other, tmp_path / "results" / "weights")


def test_no_weights_are_kept_unless_asked_for(tmp_path):
    settings = experiment.settings("lstm", "parity", "smoke", overrides={"steps": 2, "eval_every": 1})
    experiment.run(settings, tmp_path / "results", tmp_path / "runs", cpu=True)
    assert not list(tmp_path.rglob("weights")) and not list((tmp_path / "results").rglob("*.safetensors"))


def test_time_on_the_processor_is_that_of_training_and_no_more(tmp_path):
    before = time.process_time()
    _, record = run(tmp_path)
    assert 0 < record.processor_seconds <= time.process_time() - before


def test_every_run_that_the_chapters_ask_again_has_left_its_weights(root):
    """The tasks of the arena are not among them: their chapter shows scores of records."""
    every = load_records(root / "results") + load_records(root / "results" / "self_synapse")
    records = [record for record in every if record.settings["task"] not in ARENA and record.tier == "cpu"]
    if not records:
        pytest.skip("no record is committed")
    left = {path.stem for path in (root / "results" / "weights").glob("*.safetensors")}
    assert left == {record.name for record in records}
