"""Labels of every sample: what a rule, a constant and a blind model score, in one piece and in many; lengths that grow."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("safetensors")

import torch
from torch import nn

from cffbook import mixers, tasks
from cffbook.mixers import MixerOptions
from cffbook.tasks import Batch
from cffbook.training import Recipe, evaluate, fit, scoring
from cffbook.training.order import drawn_length
from cffbook.training.scoring import judge, mistakes
from cffbook.transformer import Body, CausalLM, Classifier

RECIPE = Recipe(steps=10, batch=4, eval_every=5, shortest=2, checkpoint_seconds=0.0)


class Rule(nn.Module):
    """Knows the automaton of a task; `says` turns states into what it answers. Streams as a recurrent model does."""

    def __init__(self, split, classes, says=lambda labels: labels):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))
        self.table, self.labels = (torch.as_tensor(array) for array in (split.table, split.labels))
        self.start, self.classes, self.says, self.pieces = split.start, classes, says, []

    def stream(self, inputs, states=None, elapsed=1.0, start=0):
        self.pieces.append(inputs.shape[1])
        state, found = torch.full(inputs.shape[:1], self.start) if states is None else states, []
        for symbol in (inputs - 1).unbind(1):
            state = self.table[state, symbol]
            found.append(self.labels[state])
        answers = self.says(torch.stack(found, 1)).clamp(min=0)
        return nn.functional.one_hot(answers, self.classes).float() * 30, state

    def forward(self, inputs, lengths=None):
        return self.stream(inputs)[0]


CASES = [("parity", {}), ("word_problem", {"group": "s3"}), ("modular_arithmetic", {"operators": True})]


@pytest.mark.parametrize("name, options", CASES)
@pytest.mark.parametrize("batch", [1, 7, 512])
def test_a_model_that_knows_the_rule_scores_everything(name, options, batch):
    task = tasks.load(name, length=21, test=40, **options)
    score = evaluate(Rule(task.test, task.classes), task.kind, task.test, batch)
    assert (score.score, score.sequences, score.faultless, score.last_right) == (1, 40, 40, 40)
    assert score.count == int((task.test.batch(range(40)).targets != -100).sum()) and score.loss < 1e-6


@pytest.mark.parametrize("name, options", CASES)
def test_a_model_that_always_says_the_commonest_label_scores_the_floor(name, options):
    task = tasks.load(name, length=21, valid=500, test=500, **options)
    valid = task.valid.batch(range(500)).targets
    common = int(torch.bincount(valid[valid != -100]).argmax())
    score = evaluate(Rule(task.test, task.classes, lambda labels: torch.full_like(labels, common)), task.kind, task.test)
    assert score.score == pytest.approx(task.floors["majority"]) and score.faultless == 0
    last = task.test.batch(range(500)).targets[:, -1]
    assert score.last_right == int((last == common).sum())


def test_mistakes_are_counted_of_samples_and_of_sequences():
    targets = torch.tensor([[0, 1, -100], [-100, 1, 1], [-100, -100, -100], [1, 1, 0]])
    answers = torch.tensor([[0, 1, 1], [0, 1, 0], [0, 0, 0], [0, 1, 0]])
    outputs = nn.functional.one_hot(answers, 2).float()
    assert mistakes("tokens", outputs, targets).tolist() == [[0, 2, 0], [1, 2, 1], [0, 0, 0], [1, 3, 0]]
    model = lambda inputs, lengths: outputs  # noqa: E731
    found = judge(model, "tokens", Batch(torch.ones(4, 3, dtype=torch.int64), torch.full((4,), 3), targets))
    assert found[1:].tolist() == [5, 7, 3, 1, 2]  # right, scored; sequences, faultless, right at the end
    one = judge(lambda inputs, lengths: outputs[:, 0], "classification", Batch(torch.ones(4, 3), torch.full((4,), 3), answers[:, 0]))
    assert one[1:].tolist() == [4, 4, 4, 4, 4]


def test_a_long_sequence_is_read_piece_by_piece_with_the_same_score(monkeypatch):
    task = tasks.load("word_problem", length=50, test=6)
    model = Rule(task.test, task.classes, lambda labels: torch.where(labels == 2, 1, labels))
    whole = evaluate(model, task.kind, task.test)
    monkeypatch.setattr(scoring, "PIECE", 7)
    monkeypatch.setattr(scoring.pieces, "__defaults__", (7,))
    model.pieces.clear()
    assert evaluate(model, task.kind, task.test) == pytest.approx(whole) and model.pieces == [7] * 7 + [1]


@pytest.mark.parametrize("mixer", [name for name in mixers.known() if mixers.can_be_causal(name)])
def test_every_causal_mixer_goes_on_from_piece_to_piece(mixer):
    torch.manual_seed(0)
    options = MixerOptions(causal=True, length=40, flip_flops=4, hidden=8, block=8, window=8, summary=2, features=8, tile=2)
    model = CausalLM(lambda width: mixers.build(mixer, width, options), Body(d_model=8, layers=2, d_ff=8), 3, classes=2).double().eval()
    inputs, states, found = torch.randint(1, 3, (3, 31)), None, []
    with torch.no_grad():
        for start in range(0, 31, 8):
            outputs, states = model.stream(inputs[:, start : start + 8], states, 1.0, start)
            found.append(outputs)
        whole = model(inputs)
    assert whole.shape == (3, 31, 2)
    assert torch.allclose(torch.cat(found, 1), whole, atol=1e-9)  # float64 sums in another order


def test_a_hundred_thousand_samples_need_no_more_memory_than_a_thousand():
    code = """
import json, resource, sys, torch
from cffbook import mixers, tasks
from cffbook.mixers import MixerOptions
from cffbook.training import evaluate
from cffbook.transformer import Body, CausalLM
torch.set_num_threads(1)
task = tasks.load("parity", longer=(5_000, 100_000), longer_size=1)
options = MixerOptions(causal=True, hidden=64)
model = CausalLM(lambda width: mixers.build("gru", width, options), Body(layers=1), 3, classes=2)
peaks = []
for split in task.tests.values():
    count = evaluate(model, "tokens", split).count
    peaks.append((count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)))
print(json.dumps(peaks))
"""
    pytest.importorskip("resource")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
    (few, before), (many, after) = json.loads(done.stdout)
    assert (few, many) == (5_000, 100_000)
    # The stream of 100,000 samples at width 64 alone would be 26 MB, a model has a dozen such; inputs and labels are 1 MB each.
    assert after - before < 25


def test_the_longest_example_grows_with_the_budget_and_lengths_are_even_below_it():
    recipe = replace(RECIPE, steps=100, growth=0.5)
    assert [recipe.lengths(42, step)[-1] for step in (0, 25, 50, 99)] == [2, 22, 42, 42]
    assert replace(recipe, growth=0.0).lengths(42, 0)[-1] == 42 and list(replace(recipe, shortest=None).lengths(42, 0)) == [42]
    assert replace(recipe, minutes=1.0).lengths(42, 0, seconds=15)[-1] == 22
    assert list(recipe.lengths(42, 2)) == [2, 3] and list(replace(recipe, varied=False).lengths(42, 2)) == [3]
    drawn = torch.tensor([drawn_length(3, step, range(2, 7)) for step in range(2000)])
    assert sorted(set(drawn.tolist())) == [2, 3, 4, 5, 6]
    assert (torch.bincount(drawn)[2:].double() / 2000 - 0.2).abs().max() < 4 * (0.16 / 2000) ** 0.5
    assert [drawn_length(3, step, range(2, 601)) for step in range(5)] != [drawn_length(4, step, range(2, 601)) for step in range(5)]


def test_a_geometric_pace_climbs_by_fifths_and_lengths_are_even_among_those_passed():
    recipe = replace(RECIPE, steps=100, growth=0.5, shortest=10, pace="geometric")
    rungs = [10, 12, 14, 16, 19, 22, 26, 30]
    assert recipe.ladder(30) == rungs and recipe.ladder(5) == [5]
    assert [list(recipe.lengths(30, step)) for step in (0, 24, 25, 50, 99)] == [rungs[:1], rungs[:4], rungs[:4], rungs, rungs]
    assert list(replace(recipe, varied=False).lengths(30, 25)) == [16]
    mastered = replace(recipe, pace="linear", mastery=0.9, varied=False)
    assert [mastered.lengths(30, 0, mastered=times)[0] for times in (0, 3, 7, 20)] == [10, 16, 30, 30]
    for wrong in ({"mastery": 0.9}, {"shortest": None}):
        with pytest.raises(ValueError, match="a geometric pace needs shortest and no mastery"):
            replace(recipe, **wrong)


def seen(folder, recipe, mixer="gru"):
    """The inputs of every update of a short run, as (length, digest)."""
    task = tasks.load("parity", length=12, train=64, valid=8, test=8, longer=(30,), longer_size=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CausalLM(lambda width: mixers.build(mixer, width, MixerOptions(causal=True, flip_flops=4)), Body(d_model=8, layers=1), 3, classes=2)
    updates = []
    model.register_forward_pre_hook(lambda module, given: updates.append(given[0]) if module.training else None)
    history = fit(model, task, recipe, folder=folder, tensorboard=False, progress_bar=False)
    return [(update.shape[1], hashlib.sha256(update.numpy().tobytes()).hexdigest()) for update in updates], history


def test_every_model_sees_the_same_growing_examples(tmp_path):
    one, history = seen(tmp_path / "one", RECIPE)
    two, _ = seen(tmp_path / "two", RECIPE, mixer="attention")
    assert one == two and one[0][0] == 2 and max(length for length, _ in one) > 6
    assert list(history.tests) == ["test", "length 30"] and history.tests["test"].score == history.test_score
    assert (history.tests["length 30"].count, history.tests["length 30"].sequences) == (90, 3)


def test_examples_of_the_longest_length_alone_if_told(tmp_path):
    grown, _ = seen(tmp_path, replace(RECIPE, varied=False))
    assert [length for length, _ in grown] == [RECIPE.lengths(12, step)[-1] for step in range(10)] == sorted(length for length, _ in grown)


def test_a_run_stopped_on_the_way_goes_on_with_the_lengths_it_would_have_had(tmp_path):
    whole, history = seen(tmp_path / "whole", RECIPE)
    calls = []

    class Stop(Exception):
        pass

    original = scoring.answer

    def stopping(model, batch):
        calls.append(1)
        if len(calls) == 7:
            raise Stop
        return original(model, batch)

    from cffbook.training import loop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "answer", stopping)
        with pytest.raises(Stop):
            seen(tmp_path / "cut", RECIPE)
    rest, again = seen(tmp_path / "cut", RECIPE)
    assert rest == whole[6:] and again.tests == history.tests


def test_a_task_of_one_length_cannot_grow(tmp_path):
    task = tasks.load("flip_flop_language", length=12, train=8)
    model = CausalLM(lambda width: mixers.build("gru", width, MixerOptions(causal=True)), Body(), 6)
    with pytest.raises(ValueError, match="length to be an integer of at least 3, got 2"):
        fit(model, task, RECIPE, folder=tmp_path)
    with pytest.raises(ValueError, match="any length from 20 on, got flip_flop_language: use shortest=None"):
        fit(model, task, replace(RECIPE, shortest=20), folder=tmp_path)
    with pytest.raises(ValueError, match="growth must lie in"):
        Recipe(steps=1, growth=2.0)


class Timed(nn.Module):
    """Answers the sum of the elapsed times it is told."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, inputs, lengths=None, elapsed=None):
        return elapsed.sum(1, keepdim=True) * self.scale


def test_elapsed_times_reach_the_model_in_training_and_in_evaluation(tmp_path):
    task = tasks.load("adding", length=6, irregular=True, train=32, valid=8, test=8)
    batch = task.test.batch(range(8))
    expected = (batch.elapsed.sum(1) - batch.targets).square().mean().item()
    assert evaluate(Timed(), "regression", task.test).loss == pytest.approx(expected)
    history = fit(Timed(), task, replace(RECIPE, shortest=None, learning_rate=0.1), folder=tmp_path, tensorboard=False)
    assert history.evaluations[-1].train_loss < history.evaluations[0].train_loss


@pytest.mark.parametrize("kind", ["classifier", "causal"])
def test_a_mixer_without_times_gets_them_as_a_feature_and_one_with_times_as_times(kind):
    torch.manual_seed(0)
    inputs, elapsed = torch.randn(3, 5, 2), torch.rand(3, 5) + 0.5

    def build(mixer, timed):
        def make(width):
            return mixers.build(mixer, width, MixerOptions(causal=True, flip_flops=4))

        body = Body(d_model=8, layers=1, d_ff=8)
        return Classifier(make, body, 2, features=2, timed=timed) if kind == "classifier" else CausalLM(make, body, None, 2, None, 2, timed)

    for mixer in ("memory", "lstm", "attention"):
        assert mixers.knows_elapsed(mixer) == (mixer == "memory")
        model = build(mixer, not mixers.knows_elapsed(mixer)).eval()
        once, other = model(inputs, elapsed=elapsed), model(inputs, elapsed=2 * elapsed)
        assert not torch.allclose(once, other, atol=1e-6)
        assert torch.allclose(model(inputs, elapsed=2.0), model(inputs, elapsed=torch.full((3, 5), 2.0)), atol=1e-6)
        assert torch.allclose(model(inputs, elapsed=elapsed[:, 0]), model(inputs, elapsed=elapsed[:, :1].expand(3, 5)), atol=1e-6)
    with pytest.raises(ValueError, match="does not know elapsed times"):
        build("lstm", False)(inputs, elapsed=elapsed)
