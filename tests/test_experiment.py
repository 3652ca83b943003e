"""Settings say what a run is, wrong ones fail at once, and a run ends in one record whatever happens on the way."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("safetensors")
pytest.importorskip("tensorboard")

import torch

from cffbook import experiment, tasks
from cffbook.experiment.facts import count_parameters
from cffbook.results import APART, read_record
from cffbook.training import Recipe, fit
from cffbook.transformer import TwoTower
from mixer_cases import skipped


def command(folder, *arguments, launcher=()):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    places = ["--results", str(folder / "results"), "--runs", str(folder / "runs"), "--cpu"]
    return subprocess.Popen([sys.executable, *launcher, "-m", "cffbook.experiment", *arguments, *places],
                            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("row", [skipped(row) for row in experiment.rows()])
def test_every_row_trains_and_leaves_one_record_which_is_then_returned(tmp_path, row):
    settings = experiment.settings(row, "listops", "smoke", overrides={"steps": 2, "eval_every": 1})
    record = experiment.run(settings, tmp_path / "results", tmp_path / "runs", cpu=True)
    path = settings.path(tmp_path / "results")
    assert read_record(path) == record and record.name == settings.name == path.stem and record.stopped == "steps"
    assert record.parameters["mixer"] < record.parameters["without_embeddings"] < record.parameters["total"]
    written = path.stat().st_mtime_ns
    assert experiment.run(settings, tmp_path / "results", tmp_path / "elsewhere") == record
    assert path.stat().st_mtime_ns == written and not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("task", ["adding", "copying"])
def test_the_probes_run_with_the_same_settings(tmp_path, task):
    record = experiment.run(experiment.memory(task, "smoke"), tmp_path / "results", tmp_path / "runs", cpu=True)
    assert record.task["kind"] == {"adding": "regression", "copying": "tokens"}[task]
    losses = [evaluation.train_loss for evaluation in record.evaluations]
    assert losses[-1] < losses[0]


def test_the_same_settings_give_the_same_outcome_and_another_seed_another(tmp_path):
    def outcome(folder, seed=0):
        settings = experiment.attention("listops", "smoke", seed)
        return experiment.run(settings, tmp_path / folder, tmp_path / folder / "runs", cpu=True).outcome()

    first, again, other = outcome("a"), outcome("b"), outcome("c", seed=1)
    assert first == again
    assert first["evaluations"] != other["evaluations"] and first["task"] == other["task"]


@pytest.mark.slow
def test_a_run_killed_in_the_middle_ends_with_the_record_of_one_that_was_not(tmp_path):
    arguments = ["--task", "listops", "--mixer", "memory", "--tier", "smoke", "--set", "steps=20",
                 "--set", "checkpoint_seconds=0"]
    whole = command(tmp_path / "whole", *arguments)
    killed = command(tmp_path / "killed", *arguments)
    while not list((tmp_path / "killed").glob("runs/*/checkpoint.safetensors")) and killed.poll() is None:
        time.sleep(0.01)
    time.sleep(0.3)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL and not list((tmp_path / "killed").glob("results/*/*.json"))
    again = command(tmp_path / "killed", *arguments)
    assert again.wait() == 0 and whole.wait() == 0
    records = [read_record(next((tmp_path / name).glob("results/*/*.json"))) for name in ("whole", "killed")]
    assert records[0].outcome() == records[1].outcome()  # bit for bit


@pytest.mark.slow
def test_two_processes_write_one_record(tmp_path):
    launcher = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
                "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0")
    done = command(tmp_path, "--task", "listops", "--mixer", "memory_tiles", "--tier", "smoke", launcher=launcher)
    output, errors = done.communicate()
    assert done.returncode == 0, errors
    record = read_record(next(tmp_path.glob("results/*/*.json")))
    assert record.processes == 2 and record.samples == 12 * 16 and output.count("accuracy") == 1


@pytest.mark.parametrize("changes, error", [
    ({"lerning_rate": 1e-3}, "unknown setting 'lerning_rate'; known: .*learning_rate"),
    ({"learning_rate": "fast"}, "learning_rate must be float, got 'fast'"),
    ({"batch": 0}, "batch must be above 0"), ({"flip_flops": 8.5}, "flip_flops must be int, got 8.5"),
    ({"scheme": "toggle"}, "toggle"), ({"layers": 0}, "positive"), ({"d_model": "64"}, "d_model must be int"),
    ({"maximum": "long"}, "maximum must be int, got 'long'"), ({"pooling": "sum"}, "unknown pooling 'sum'; known: .*mean"),
    ({"task_options.size": 1}, "unknown setting 'task_options.size'"), ({"flip_flops": 7}, "even number"),
    ({"task_options": {}}, "unknown setting 'task_options'"), ([("batch", 1)], "overrides must be a mapping")])
def test_wrong_settings_fail_at_once_and_list_the_known_ones(changes, error):
    with pytest.raises((ValueError, TypeError), match=error):
        experiment.settings("memory", "listops", "smoke", overrides=changes)


@pytest.mark.parametrize("arguments, error", [
    (("memory", "listop"), "unknown task 'listop'; known: adding"), (("mamba", "listops"), "unknown row 'mamba'; known: alone_coupled"),
    (("memory", "listops", "huge"), "unknown tier 'huge'; known: cpu"), (("memory", "listops", "cpu", -1), "negative"),
    (("memory", "listops", "cpu", "0"), "seed must be int")])
def test_wrong_names_of_a_run_fail_at_once(arguments, error):
    with pytest.raises((ValueError, TypeError), match=error):
        experiment.settings(*arguments)


def test_an_override_reaches_its_part_and_the_name_and_nothing_else():
    plain = experiment.memory("listops", "smoke")
    changes = {"flip_flops": 8, "learning_rate": 1, "d_ff": 32, "maximum": 50, "task_options.seed": 3, "positions": True}
    changed = experiment.override(plain, changes)
    assert changed.mixer_options.flip_flops == 8 and changed.body.d_ff == 32 and changed.positions
    assert changed.recipe.learning_rate == 1.0 and isinstance(changed.recipe.learning_rate, float)
    assert changed.task_options == {**plain.task_options, "maximum": 50, "seed": 3} and changed.seed == 0
    names = {experiment.override(plain, {name: value}).name for name, value in changes.items()} | {plain.name}
    assert len(names) == len(changes) + 1
    assert experiment.override(plain, {"flip_flops": plain.mixer_options.flip_flops}).name == plain.name


def test_a_name_is_the_same_in_every_process():
    settings = experiment.memory("listops", "smoke", 2)
    code = "from cffbook import experiment; import sys; sys.stdout.write(experiment.memory('listops', 'smoke', 2).name)"
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stdout == settings.name


def test_all_mixers_of_a_tier_share_data_and_budget():
    installed = [row for row in experiment.rows() if not skipped(row).marks[0].args[0]]
    for task, tier in experiment.tiers():
        shared, layers = set(), set()
        for row in installed:
            settings = experiment.settings(row, task, tier)
            recipe = dataclasses.asdict(settings.recipe) | {"learning_rate": None}
            shared.add(json.dumps([recipe, dict(settings.task_options)]))
            if settings.body.block == "residual":  # a layer alone is another body
                layers.add(settings.body.layers)
        assert len(shared) == len(layers) == 1, (task, tier)


def test_every_flip_flop_of_the_wide_row_hears_all_others():
    settings = experiment.alone_wide("word_problem", "smoke")
    model = experiment.build_model(settings, tasks.load("word_problem", **settings.task_options))
    lateral = model.encoder.blocks[0].mixer.cell.lateral
    heard = torch.zeros(64, 64, dtype=torch.bool)
    heard[lateral.source, lateral.target] = True
    assert torch.equal(heard, ~torch.eye(64, dtype=torch.bool))


def test_parameters_are_counted_by_hand():
    settings = experiment.attention("listops", "smoke")
    task = tasks.load("listops", **settings.task_options)
    counts = count_parameters(experiment.build_model(settings, task))
    mixer = 2 * (64 * 192 + 192 + 64 * 64 + 64)
    block = 4 * 64 + 64 * 128 + 128 + 128 * 64 + 64  # two norms and the MLP
    assert counts["mixer"] == mixer
    assert counts["without_embeddings"] == mixer + 2 * block + 2 * 64 + 64 * 10 + 10  # last norm and head
    assert counts["total"] == counts["without_embeddings"] + (task.vocabulary + task.length) * 64


def test_a_task_of_pairs_gets_two_towers_and_trains(tmp_path):
    class Pairs(tasks.Split):
        def __len__(self):
            return 12

        def _batch(self, indices):
            rows = torch.from_numpy(indices)[:, None, None] % 3 + torch.ones(1, 2, 5, dtype=torch.int64)
            return tasks.Batch(rows, torch.tensor([[5, 3]]).expand(len(indices), 2), torch.from_numpy(indices) % 2)

        def _contents(self):
            yield "pairs"

    task = tasks.Task("pairs", "classification", 5, None, 2, 5, Pairs(), Pairs(), Pairs(), variant={})
    model = experiment.build_model(experiment.memory("listops", "smoke"), task)
    assert isinstance(model, TwoTower)
    history = fit(model, task, Recipe(steps=4, batch=4, eval_every=2, bucket=2), folder=tmp_path)
    assert history.evaluations[-1].train_loss < history.evaluations[0].train_loss


def test_initial_weights_follow_the_seed_and_leave_the_global_generator_alone():
    settings = experiment.memory("listops", "smoke")
    task = tasks.load("listops", **settings.task_options)
    before = torch.get_rng_state()
    one, two = [experiment.build_model(settings, task).state_dict() for _ in range(2)]
    assert all(torch.equal(one[name], two[name]) for name in one) and torch.equal(before, torch.get_rng_state())
    other = experiment.build_model(experiment.memory("listops", "smoke", seed=1), task).state_dict()
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_a_checkpoint_of_other_source_code_is_refused_unless_asked_for(tmp_path, monkeypatch):
    settings = experiment.memory("listops", "smoke")
    folders = (tmp_path / "results", tmp_path / "runs")
    first = experiment.run(settings, *folders, cpu=True)
    settings.path(folders[0]).unlink()
    monkeypatch.setattr("cffbook.training.checkpoint.source_digest", lambda: "another")
    with pytest.raises(ValueError, match="other source code .*, now another"):
        experiment.run(settings, *folders, cpu=True)
    again = experiment.run(settings, *folders, cpu=True, changed_source=True)
    assert again.sources == (*first.sources, "another") and again.test_score == first.test_score
    settings.path(folders[0]).unlink()
    assert experiment.run(settings, *folders, cpu=True, fresh=True).sources == ("another",)


def test_the_record_of_changed_defaults_is_not_taken_for_done(tmp_path):
    settings = experiment.memory("listops", "smoke")
    experiment.run(settings, tmp_path / "results", tmp_path / "runs", cpu=True)
    path = settings.path(tmp_path / "results")
    path.write_text(path.read_text().replace('"dropout": 0.1', '"dropout": 0.2'))
    with pytest.raises(ValueError, match="other settings"):
        experiment.run(settings, tmp_path / "results", tmp_path / "runs")


def test_the_committed_records_are_still_those_of_their_settings(root, tmp_path):
    paths = [path for path in sorted((root / "results").rglob("*.json")) if not {*path.parts} & {*APART}]
    if not paths:
        pytest.skip("no record is committed")
    for path in paths:
        record = read_record(path)
        settings = experiment.Settings.from_dict(record.settings)
        folder = root / "results" / "search" if "search" in path.parts else root / "results"
        assert settings.path(folder) == path and settings.name == record.name
        assert experiment.run(settings, folder, tmp_path / "none") == record and not (tmp_path / "none").exists()


def test_a_record_older_than_an_option_is_read_with_its_default_and_one_that_told_it_keeps_what_it_told(tmp_path):
    settings = experiment.memory("listops", "smoke")
    record = experiment.run(settings, tmp_path / "results", tmp_path / "runs", cpu=True)
    path = settings.path(tmp_path / "results")
    values = json.loads(path.read_text())
    del values["settings"]["mixer_options"]["window"]
    path.write_text(json.dumps(values))
    assert read_record(path) == record == experiment.run(settings, tmp_path / "results", tmp_path / "runs")
    values["settings"]["mixer_options"]["block"] = 49
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="other settings"):
        experiment.run(settings, tmp_path / "results", tmp_path / "runs")


def test_the_length_of_a_mixer_with_positions_is_that_of_the_task_unless_told():
    task = sized("listops", 40)
    plain = experiment.linformer("listops", "smoke")
    model = experiment.build_model(plain, task)
    assert model.encoder.blocks[0].mixer.sums.shape == (40, 16) and plain.mixer_options.length is None
    longer = experiment.build_model(experiment.override(plain, {"length": 90}), task)
    assert longer.encoder.blocks[0].mixer.sums.shape == (90, 16)


def sized(name, length, vocabulary=17):
    """A task of this size with one sample."""
    class One(tasks.Split):
        def __len__(self):
            return 1

        def _batch(self, indices):
            return tasks.Batch(torch.ones(len(indices), 2, dtype=torch.int64), torch.tensor([2]), torch.zeros(1, dtype=torch.int64))

        def _contents(self):
            yield name

    return tasks.Task(name, "classification", vocabulary, None, 10, length, One(), One(), One(), variant={})


@pytest.mark.parametrize("tier", ["cpu", "gpu"])
@pytest.mark.parametrize(("task", "length", "vocabulary"), [("listops", 500, 17), ("listops", 2000, 17), ("image", 256, 256), ("image", 1024, 256)])
def test_the_memory_is_as_small_as_its_row_promises(task, length, vocabulary, tier):
    def counts(row):
        return count_parameters(experiment.build_model(experiment.settings(row, task, tier), sized(task, length, vocabulary)))

    transformer, whole, small = counts("attention"), counts("memory"), counts("memory_small")
    assert small["total"] <= transformer["total"] / 2 and whole["mixer"] <= transformer["mixer"]
    assert small["without_embeddings"] <= transformer["without_embeddings"] / 2  # nor is it the table of positions alone
