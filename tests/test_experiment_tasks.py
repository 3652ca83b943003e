"""Each task of the arena runs from its name to a record at tier smoke, without a network."""

import gzip
import json
import random
from pathlib import Path

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("safetensors")
pytest.importorskip("tensorboard")

import torch

from cffbook import experiment, tasks
from cffbook.experiment.rows import ARENA
from cffbook.results import load_records, read_record
from cffbook.transformer import TwoTower

WORDS = {0: ["dull", "slow", "flat"], 1: ["bright", "quick", "fine"]}


@pytest.fixture(autouse=True)
def given(tmp_path, monkeypatch):
    """A cache of its own, and a folder with a miniature of the reviews and of the rebuilt pairs."""
    monkeypatch.setenv("CFFBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CFFBOOK_DATA", str(tmp_path / "data"))
    drawn, imdb, aan = random.Random(0), tmp_path / "data" / "imdb", tmp_path / "data" / "aan"
    for folder in (imdb, aan):
        folder.mkdir(parents=True)
    for part, count in (("train", 700), ("test", 70)):
        with gzip.open(imdb / f"imdb_{part}.jsonl.gz", "wt", encoding="utf-8") as file:
            for number in range(count):
                text = " ".join(drawn.choices(WORDS[number % 2], k=drawn.randint(2, 20)))
                file.write(json.dumps({"label": number % 2, "text": text}) + "\n")
    with gzip.open(aan / "papers.jsonl.gz", "wt", encoding="utf-8") as file:
        for number in range(20):
            text = " ".join(drawn.choices(WORDS[number % 2], k=drawn.randint(1, 12)))
            file.write(json.dumps({"id": str(number), "text": text}) + "\n")
    for part, count in (("train", 260), ("eval", 64), ("test", 64)):
        chosen = [(drawn.randrange(20), drawn.randrange(20)) for _ in range(count)]
        rows = [f"{int(one % 2 == other % 2)}\t{one}\t{other}\n" for one, other in chosen]
        (aan / f"pairs.{part}.tsv").write_text("".join(rows))


def run(tmp_path, row: str, task: str, **overrides):
    settings = experiment.settings(row, task, "smoke", overrides=overrides)
    record = experiment.run(settings, tmp_path / "results", tmp_path / "runs", cpu=True)
    assert read_record(settings.path(tmp_path / "results")) == record
    assert record.evaluations[-1].train_loss > 0 and set(record.task["floors"]) >= {"majority"}
    return record


@pytest.mark.parametrize("row", ["memory", "attention"])
def test_reviews_run_from_name_to_record_with_the_floor_of_4_grams(tmp_path, row):
    record = run(tmp_path, row, "text", steps=4, eval_every=2)
    assert record.task["name"] == "text" and record.task["sizes"] == {"train": 256, "valid": 64, "test": 64}
    assert record.task["floors"]["4_grams_linear"] == 1.0  # the words of the two classes differ


@pytest.mark.parametrize("row", ["memory", "attention", "lstm"])
def test_pairs_run_in_two_towers_and_the_record_calls_them_rebuilt(tmp_path, row):
    record = run(tmp_path, row, "retrieval", steps=4, eval_every=2)
    assert record.task["name"] == record.task["variant"]["data"] == "AAN-rebuilt"
    text = json.dumps(record.task)
    assert "LRA" not in text and "4_grams_cosine" in record.task["floors"]


def test_padding_of_either_tower_changes_no_score():
    settings = experiment.memory("retrieval", "smoke")
    task = tasks.load("retrieval", **settings.task_options)
    model = experiment.build_model(settings, task).eval()
    assert isinstance(model, TwoTower)
    whole = task.test.batch(range(9))
    with torch.no_grad():
        together = model(whole.inputs, lengths=whole.lengths)
        for index in range(9):
            alone = task.test.batch([index])
            assert torch.allclose(model(alone.inputs, lengths=alone.lengths)[0], together[index], atol=1e-5)  # float32 sums
    assert len({tuple(pair) for pair in whole.lengths.tolist()}) > 5


@pytest.mark.parametrize("row", ["memory", "attention"])
def test_pathfinder_runs_from_name_to_record(tmp_path, row):
    pytest.importorskip("numba")
    record = run(tmp_path, row, "pathfinder", steps=2, eval_every=1, train=20, valid=4, test=4)
    assert record.task["variant"]["difficulty"] == "easy" and record.task["variant"]["resolution"] == 32


def test_every_task_of_the_arena_has_every_tier_and_only_options_that_its_task_knows():
    budgets = experiment.tiers()
    for task in tasks.names():
        for tier in ("smoke", "cpu", "gpu", "full"):
            settings = experiment.memory(task, tier)  # raises for an option the task does not know
            assert settings.recipe.steps == budgets[task, tier][1].steps
    assert experiment.attention("text", "full").recipe.learning_rate == 1e-4
    assert budgets["retrieval", "cpu"][0]["data"] == "AAN-rebuilt" and "data" not in budgets["retrieval", "full"][0]


def test_the_records_of_the_arenas_tables_are_of_the_settings_that_their_rows_have_now():
    folder = Path(__file__).parents[1] / "results"
    told = [(record.name, experiment.Settings.from_dict(record.settings)) for record in load_records(folder) if record.settings["task"] in ARENA]
    assert told and [name for name, each in told if each != experiment.settings(each.row, each.task, each.tier, each.seed)] == []


def test_memory_stays_below_the_mixers_of_attention_and_memory_small_below_half_of_its_transformer():
    counts = {}
    for record in load_records(Path(__file__).parents[1] / "results"):
        row, task, tier = (record.settings[name] for name in ("row", "task", "tier"))
        if task in ARENA:
            counts.setdefault((task, tier), {})[row] = record.parameters
    both = [rows for rows in counts.values() if {"memory", "memory_small", "attention"} <= set(rows)]
    assert len(both) >= 5  # tier cpu
    assert all(rows["memory"]["mixer"] <= rows["attention"]["mixer"] for rows in both)
    assert all(2 * rows["memory_small"]["total"] <= rows["attention"]["total"] for rows in both)
