"""The adding problem and copying memory: generated examples and their floors."""

import math

import pytest

pytest.importorskip("numpy")
import numpy as np
import torch

from cffbook import tasks
from cffbook.tasks.copying import memoryless_loss
from cffbook.tasks.generated import below, mix

PROBES = {"adding": {"length": 21}, "copying": {"blanks": 5}}


def test_numbers_are_splitmix64():
    # The first outputs of the reference generator with seed 1234567 (Vigna, splitmix64.c).
    states = np.uint64(1234567) + np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert mix(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_bounded_numbers_cover_their_range_evenly():
    numbers = mix(np.arange(1, 70_001, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    counts = np.bincount(below(numbers, 7), minlength=7)
    assert len(counts) == 7
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 22.5  # chi-square, 6 degrees, exceeded with probability 0.001


@pytest.mark.parametrize("name", PROBES)
def test_an_example_depends_on_seed_split_and_index_alone(name):
    task, again = (tasks.load(name, **PROBES[name], train=300) for _ in range(2))
    whole = task.train.batch(range(300))
    assert torch.equal(again.train.batch([299, 7]).inputs, whole.inputs[[299, 7]])
    assert torch.equal(again.train.batch([299, 7]).targets, whole.targets[[299, 7]])
    larger = tasks.load(name, **PROBES[name], train=400)
    assert torch.equal(larger.train.batch(range(300)).inputs, whole.inputs)
    assert task.data_hash == again.data_hash != larger.data_hash


@pytest.mark.parametrize("name", PROBES)
def test_seeds_splits_and_examples_differ(name):
    task, other = (tasks.load(name, **PROBES[name], seed=seed) for seed in (0, 1))
    split = task.train.batch(range(2000)).inputs
    assert len(torch.unique(split.flatten(1), dim=0)) == 2000
    assert len({task.train.hash, task.valid.hash, task.test.hash, other.train.hash}) == 4


@pytest.mark.parametrize("length", [2, 3, 100, 101])
def test_the_target_is_the_sum_of_two_marked_numbers_one_in_each_half(length):
    batch = tasks.load("adding", length=length).train.batch(range(500))
    values, markers = batch.inputs.unbind(-1)
    assert ((markers == 0) | (markers == 1)).all()
    half = length // 2
    assert (markers[:, :half].sum(1) == 1).all() and (markers[:, half:].sum(1) == 1).all()
    assert torch.equal((values * markers).sum(1), batch.targets)  # two terms and zeros: exact
    assert values.min() >= 0 and values.max() < 1
    assert batch.lengths.tolist() == [length] * 500
    assert (batch.inputs.dtype, batch.targets.dtype) == (torch.float32, torch.float32)


def test_added_numbers_are_uniform_and_marks_reach_every_place():
    batch = tasks.load("adding", length=11).train.batch(range(5000))
    values = np.sort(batch.inputs[..., 0].numpy().ravel())
    gap = np.abs(values - (np.arange(len(values)) + 0.5) / len(values)).max()
    assert gap < 1.95 / len(values) ** 0.5  # Kolmogorov-Smirnov, exceeded with probability 0.001
    counts = batch.inputs[..., 1].sum(0)
    expected = torch.tensor([5000 / 5] * 5 + [5000 / 6] * 6)
    assert (counts - expected).abs().max() < 4 * (5000 * 0.2 * 0.8) ** 0.5


def test_always_answering_one_costs_a_sixth():
    task = tasks.load("adding", length=20, test=20_000)
    targets = task.test.batch(range(20_000)).targets.double()
    assert task.floors["predict_one"] == pytest.approx(((targets - 1) ** 2).mean().item(), rel=1e-12)
    # The squared error has variance 7/180 (fourth moment 1/15 less 1/36); four standard errors of its mean.
    assert task.floors["predict_one"] == pytest.approx(1 / 6, abs=4 * (7 / 180 / 20_000) ** 0.5)
    assert (task.kind, task.features, task.classes, task.score_name) == ("regression", 2, 1, "mean squared error")


def test_the_symbols_are_said_and_recalled_after_the_delimiter():
    task = tasks.load("copying", blanks=7)
    batch = task.test.batch(range(400))
    said, length = batch.inputs[:, :10], 7 + 20
    assert batch.inputs.shape == (400, length) and task.length == length
    assert sorted(said.unique().tolist()) == list(range(1, 9))
    assert (batch.inputs[:, 10:16] == 9).all() and (batch.inputs[:, 16] == 10).all() and (batch.inputs[:, 17:] == 9).all()
    assert torch.equal(batch.targets[:, -10:], said) and (batch.targets[:, :-10] == 9).all()
    assert (task.vocabulary, task.classes, task.kind) == (11, 11, "tokens")


def test_only_the_recall_is_scored_when_asked():
    task = tasks.load("copying", blanks=4, symbols=3, scored="recall")
    batch = task.test.batch(range(5))
    assert (batch.targets[:, :-3] == -100).all() and torch.equal(batch.targets[:, -3:], batch.inputs[:, :3])
    assert task.floors == {"memoryless": 1 / 8}


@pytest.mark.parametrize(("blanks", "symbols"), [(1, 1), (4, 4), (9, 9), (10, 10), (31, 10)])
def test_a_shorter_example_has_no_more_symbols_than_blanks(blanks, symbols):
    batch = tasks.load("copying", blanks=20, scored="recall").train.at(blanks).batch(range(3))
    assert batch.inputs.shape == (3, blanks + 2 * symbols)
    assert (batch.inputs == 10).nonzero()[:, 1].tolist() == [symbols + blanks - 1] * 3
    assert torch.equal(batch.targets[:, -symbols:], batch.inputs[:, :symbols]) and (batch.targets[:, :-symbols] == -100).all()
    assert ((batch.inputs >= 1) & (batch.inputs <= 8)).sum().item() == 3 * symbols


def test_copying_is_validated_at_a_number_of_blanks_of_its_own():
    task = tasks.load("copying", blanks=12, valid_blanks=40)
    assert [split.batch([0]).inputs.shape[1] for split in (task.train, task.valid, task.test)] == [32, 60, 32]
    assert task.length == 60 and task.floors == tasks.load("copying", blanks=12).floors
    assert torch.equal(task.valid.batch([3]).inputs, tasks.load("copying", blanks=40).valid.batch([3]).inputs)


def test_a_copying_task_of_few_blanks_keeps_all_its_symbols():
    task = tasks.load("copying", blanks=4)
    assert [int((split.batch([0]).inputs <= 8).sum()) for split in (task.train, task.valid, task.test)] == [10, 10, 10]


def test_the_best_predictor_without_memory_reaches_the_floor():
    task = tasks.load("copying", blanks=30)
    targets = task.test.batch(range(500)).targets
    logits = torch.full((*targets.shape, 11), -1e4, dtype=torch.float64)
    logits[:, :-10, 9] = 0
    logits[:, -10:, 1:9] = 0
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()
    assert loss == pytest.approx(memoryless_loss(30), rel=1e-9)
    assert loss == pytest.approx(10 * math.log(8) / 50, rel=1e-9)
    answer = torch.full_like(targets, 9)
    answer[:, -10:] = 3
    accuracy = (answer == targets).double().mean().item()
    # 5,000 guesses at 1/8, in 10 of 50 positions: four standard errors
    assert task.floors["memoryless"] == pytest.approx(accuracy, abs=4 * 0.2 * (7 / 64 / 5000) ** 0.5)


def test_the_memoryless_loss_at_a_thousand_blanks_is_the_published_one():
    assert memoryless_loss(1000) == pytest.approx(0.0204, abs=5e-5)
