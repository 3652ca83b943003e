"""Training: what it computes, what it survives and how it stops. Run as a script, this file is the run that gets killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("safetensors")
pytest.importorskip("tensorboard")

import torch
from accelerate import Accelerator
from torch import nn

from cffbook.tasks import Batch
from cffbook.training import Recipe, evaluate, fit, parameter_groups
from cffbook.training.order import Order
from cffbook.training.scoring import sums


class Rows:
    """A split of ragged token rows; the class is the parity of the number of ones, or any other `label`."""

    def __init__(self, size, seed, label):
        generator = torch.Generator().manual_seed(seed)
        self.lengths = torch.randint(3, 12, (size,), generator=generator)
        self.rows = [torch.randint(1, 4, (int(length),), generator=generator) for length in self.lengths]
        self.targets = torch.stack([label(row) for row in self.rows])
        self.hash = f"rows-{size}-{seed}"

    def __len__(self):
        return len(self.rows)

    def batch(self, indices):
        indices = [int(index) for index in indices]
        rows = nn.utils.rnn.pad_sequence([self.rows[index] for index in indices], batch_first=True)
        return Batch(rows, self.lengths[indices], self.targets[indices])


@dataclass(frozen=True)
class Example:
    train: Rows
    valid: Rows
    test: Rows
    kind: str = "classification"
    higher_is_better: bool = True
    data_hash: str = "example"
    name: str = "example"
    tests: dict = field(default_factory=dict)


def example(label=lambda row: (row == 1).sum() % 2, train=64, **facts):
    return Example(Rows(train, 0, label), Rows(37, 1, label), Rows(41, 2, label), **facts)


class Reader(nn.Module):
    """Embedding, GRU, mean over the real samples, dropout, head."""

    def __init__(self, classes=2):
        super().__init__()
        self.embedding = nn.Embedding(4, 8, padding_idx=0)
        self.recurrence = nn.GRU(8, 8, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.raw_conductance = nn.Parameter(torch.ones(8))
        self.head = nn.Linear(8, classes)

    def forward(self, inputs, lengths=None):
        outputs, _ = self.recurrence(self.embedding(inputs))
        real = (torch.arange(inputs.shape[1]) < lengths[:, None]).unsqueeze(-1)
        return self.head(self.dropout((outputs * real).sum(1) / lengths[:, None] * self.raw_conductance))


def reader(classes=2, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Reader(classes)


RECIPE = Recipe(steps=60, batch=8, eval_every=7, warmup=5, bucket=2, checkpoint_seconds=0.0)


def run_example(folder, recipe=RECIPE, slow=0.0):
    """One run; writes its outcome without clocks, and every weight, into ``folder/outcome.json``."""
    model = reader()
    if slow:
        model.register_forward_hook(lambda *_: time.sleep(slow))
    cpu, rows = Accelerator(cpu=True), []
    model.register_forward_pre_hook(lambda module, given: rows.append(len(given[0]) if module.training else 0))
    history = fit(model, example(), recipe, folder=folder, accelerator=cpu, tensorboard=False, progress_bar=False)
    outcome = asdict(history) | {"seconds": 0, "processor_seconds": 0, "peak_memory": 0, "started": ""}
    for evaluation in outcome["evaluations"]:
        evaluation["seconds"] = 0
    outcome["rows"] = sum(rows)
    outcome["weights"] = {name: tensor.flatten().tolist() for name, tensor in model.state_dict().items()}
    if history.processes == 1 or int(os.environ["RANK"]) == 0:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "outcome.json").write_text(json.dumps(outcome))
    return outcome


def start(folder, *arguments, launcher=()):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *launcher, __file__, str(folder), *arguments], env=environment)


def test_a_run_killed_at_random_moments_ends_with_the_same_weights_and_history(tmp_path):
    whole, kills = start(tmp_path / "whole"), 0
    for attempt in range(20):
        process = start(tmp_path / "killed", "0.02")
        checkpoint = tmp_path / "killed" / "checkpoint.safetensors"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.01)
        if attempt < 2:
            time.sleep(random.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
            kills += 1
        if process.wait() == 0:
            break
    assert whole.wait() == 0 and kills == 2
    killed, whole = [json.loads((tmp_path / name / "outcome.json").read_text()) for name in ("killed", "whole")]
    assert killed.pop("rows") < whole.pop("rows")  # it did go on, and did not begin again
    assert killed == whole  # bit for bit: JSON prints every float exactly


def test_a_finished_run_started_again_gives_its_result_without_training(tmp_path):
    first = run_example(tmp_path)
    calls = []
    model = reader(seed=3)
    model.register_forward_hook(lambda module, *_: calls.append(module.training))
    again = fit(model, example(), RECIPE, folder=tmp_path, tensorboard=False)
    assert again.test_score == first["test_score"] and not any(calls)


def test_two_processes_see_the_data_of_one_and_count_every_sample_once(tmp_path):
    recipe = ["0", "two"]
    alone = start(tmp_path / "alone", *recipe)
    launcher = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
                "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0")
    together = start(tmp_path / "together", *recipe, launcher=launcher)
    assert alone.wait() == 0 and together.wait() == 0
    alone, together = [json.loads((tmp_path / name / "outcome.json").read_text()) for name in ("alone", "together")]
    assert (alone["processes"], together["processes"]) == (1, 2)
    assert (alone["rows"], together["rows"]) == (20 * 9, 20 * 5)  # the first process has the larger share
    assert together["samples"] == alone["samples"] and together["steps"] == alone["steps"]
    for one, two in zip(alone["evaluations"], together["evaluations"], strict=True):
        # the same sums in another order: float32 rounding through 20 updates
        assert two["valid_loss"] == pytest.approx(one["valid_loss"], rel=1e-4)
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)
    assert together["test_loss"] == pytest.approx(alone["test_loss"], rel=1e-4)
    # an accuracy is a whole number of samples over all of the 41
    assert together["test_score"] * 41 == pytest.approx(round(together["test_score"] * 41), abs=1e-9)


def test_the_best_validation_weights_are_kept_and_tested(tmp_path):
    model, task = reader(), example(label=lambda row: (row[0] == 1).long())
    updates = []

    def forget(module, *_):  # late in training
        updates.append(module.training)
        if module.training and sum(updates) > 45:
            module.head.weight.data.zero_()

    hook = model.register_forward_pre_hook(forget)
    history = fit(model, task, replace(RECIPE, learning_rate=0.1), folder=tmp_path)
    hook.remove()
    scores = [evaluation.valid_score for evaluation in history.evaluations]
    assert scores[history.best] == max(scores) > scores[-1]
    assert evaluate(model, task.kind, task.valid).score == pytest.approx(max(scores))
    assert evaluate(model, task.kind, task.test).score == pytest.approx(history.test_score)


def test_a_learnable_task_is_learned(tmp_path):
    task = example(label=lambda row: (row[0] == 1).long(), train=256)
    history = fit(reader(), task, replace(RECIPE, steps=300, learning_rate=0.02, eval_every=50), folder=tmp_path)
    assert history.test_score > 0.9  # the larger class has about 0.65
    assert history.evaluations[-1].train_loss < 0.5 * history.evaluations[0].train_loss


def test_patience_stops_a_run_that_no_longer_improves(tmp_path):
    history = fit(reader(), example(), replace(RECIPE, learning_rate=1e-9, patience=3), folder=tmp_path)
    assert history.stopped == "patience" and len(history.evaluations) == history.best + 4


def test_who_looks_on_can_end_a_run(tmp_path):
    seen = []

    def watch(model, evaluation):
        seen.append(evaluation.step)
        return len(seen) == 2

    history = fit(reader(), example(), replace(RECIPE, eval_every=3), folder=tmp_path, watch=watch)
    assert history.stopped == "watch" and history.steps == 6 and seen == [3, 6]


def test_the_clock_stops_a_run_and_its_schedule_ends_with_it(tmp_path):
    recipe = replace(RECIPE, steps=10**6, minutes=1 / 60, eval_every=10**6, warmup=0)
    history = fit(reader(), example(), recipe, folder=tmp_path)
    assert history.stopped == "minutes" and 1.0 <= history.seconds < 3.0
    assert history.evaluations[-1].learning_rate < 0.01 * recipe.learning_rate


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    run_example(tmp_path)
    with pytest.raises(ValueError, match="other settings or data"):
        fit(reader(), example(), replace(RECIPE, learning_rate=1.0), folder=tmp_path)


def test_every_sample_comes_once_an_epoch_and_buckets_hold_like_lengths():
    lengths = torch.arange(100).flip(0)
    order = Order(100, 10, seed=1, lengths=lengths, bucket=5)
    first, second = (torch.cat([order[step] for step in range(start, start + 10)]) for start in (0, 10))
    assert first.sort().values.tolist() == list(range(100)) and first.tolist() != second.tolist()
    waste = sum(int((lengths[order[step]].max() - lengths[order[step]]).sum()) for step in range(10))
    plain = Order(100, 10, seed=1)
    unsorted = sum(int((lengths[plain[step]].max() - lengths[plain[step]]).sum()) for step in range(10))
    assert waste < unsorted / 2
    assert Order(100, 10, seed=1)[13].tolist() == plain[13].tolist() != Order(100, 10, seed=2)[13].tolist()


def test_membrane_parameters_learn_faster_and_only_matrices_decay():
    model, recipe = reader(), Recipe(steps=1, weight_decay=0.1, conductance_factor=3.0, learning_rate=1e-2)
    facts = {id(parameter): (group["peak"], group["weight_decay"])
             for group in parameter_groups(model, recipe) for parameter in group["params"]}
    found = {name: facts.pop(id(parameter)) for name, parameter in model.named_parameters()}
    assert not facts and found["raw_conductance"] == (0.03, 0.0)
    assert found["head.weight"] == (0.01, 0.1) and found["head.bias"] == found["recurrence.bias_ih_l0"] == (0.01, 0.0)


def test_the_schedule_warms_up_and_decays_to_zero():
    recipe = Recipe(steps=100, warmup=10, schedule="linear")
    assert recipe.rate_factor(0) == pytest.approx(0.1) and recipe.rate_factor(50) == pytest.approx(0.5)
    assert recipe.rate_factor(100) == 0 and Recipe(steps=100).rate_factor(50) == pytest.approx(0.5)
    assert Recipe(steps=100, minutes=1, schedule="linear").rate_factor(0, seconds=45) == pytest.approx(0.25)


def test_scores_are_what_they_are_called():
    outputs, targets = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]]), torch.tensor([0, 1, 1])
    loss, correct, count = sums("classification", outputs, targets).tolist()
    assert (correct, count) == (2, 3)
    assert loss == pytest.approx(float(nn.functional.cross_entropy(outputs, targets)) * 3)
    assert sums("regression", torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0])).tolist() == [5, 5, 2]
    ignored = sums("tokens", outputs[None], torch.tensor([[0, -100, 1]]))
    assert ignored[1:].tolist() == [1, 2]


@pytest.mark.parametrize("wrong, error", [
    ({"steps": 0}, "steps must be above 0"), ({"schedule": "step"}, "schedule must be 'cosine' or"),
    ({"batch": 2.5}, "batch must be int, got 2.5"), ({"clip": float("nan")}, "clip must be"),
    ({"warmup": True}, "warmup must be int, got True"), ({"beta2": 1.0}, r"beta2 must lie in \[0, 1\)")])
def test_a_wrong_recipe_fails_at_once(wrong, error):
    with pytest.raises((TypeError, ValueError), match=error):
        Recipe(**({"steps": 1} | wrong))


def test_logs_are_readable_by_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = fit(reader(), example(), RECIPE, folder=tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    logged = [event.value for event in events.Scalars("valid/score")]
    assert logged == pytest.approx([evaluation.valid_score for evaluation in history.evaluations])


@pytest.mark.parametrize("package", ["accelerate", "safetensors"])
def test_without_the_extra_the_import_says_in_one_sentence_what_to_install(package):
    code = f"import sys; sys.modules[{package!r}] = None; import cffbook.training"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1] == (
        f"ImportError: training needs the package '{package}', which is not installed: pip install 'cffbook[train]'")


if __name__ == "__main__":
    # Adam does not see the scale of all gradients, clipping at the middle of their norms does
    two = replace(RECIPE, steps=20, batch=9, bucket=0, clip=0.2) if "two" in sys.argv else RECIPE
    if "two" in sys.argv:
        nn.Dropout = lambda rate: nn.Identity()  # every process draws its own dropout
    run_example(sys.argv[1], two, slow=float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
