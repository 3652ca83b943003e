"""The training loop: selects on validation, touches the test split once, goes on after a kill as if never stopped.

Runs in one process or, under ``accelerate launch``, in many: every process draws the same batch and takes its share, so
that all together see the data of one process; clocks and stops are agreed between them.
"""

import hashlib
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

from cffbook._optional import require
from cffbook.training import checkpoint
from cffbook.training.checkpoint import Progress
from cffbook.training.history import Evaluation, History, best_index
from cffbook.training.order import Order, drawn_length, sample_lengths
from cffbook.training.recipe import Recipe, parameter_groups
from cffbook.training.scoring import Score, answer, evaluate, sums

accelerate = require("accelerate", extra="train", purpose="training")


def fit(model: nn.Module, task, recipe: Recipe, *, folder: str | Path, seed: int = 0, identity: str = "",
        accelerator=None, progress_bar: bool | None = None, tensorboard: bool = True,
        changed_source: bool = False, watch: Callable[[nn.Module, Evaluation], bool] | None = None) -> History:
    """Train a model on a task and leave the weights with the best validation score in it.

    Args:
        model: called as ``model(inputs, lengths=lengths)``, and with ``elapsed`` where batches have it.
        task: kind, train, valid and test splits, further `tests`, `higher_is_better`, `data_hash`.
        recipe: optimiser, schedule and budget.
        folder: place of the checkpoint and the TensorBoard logs; a checkpoint found there is gone on from.
        seed: seed of data order and dropout.
        identity: what else identifies the run (its settings); a checkpoint of another one is refused.
        accelerator: Hugging Face Accelerator; made here if None.
        progress_bar: None shows one on a terminal.
        tensorboard: write TensorBoard logs into ``folder/tensorboard``.
        changed_source: go on from a checkpoint that other source code has written; the history then names both.
        watch: called with the model after each evaluation; the run ends if it says so. With several processes all have to say the same.

    Returns:
        History with the test score at the best validation score.

    Raises:
        FloatingPointError: a loss is not finite, or a gradient in one update more than `recipe.overflows`; the step and the
            first such parameter are named.
        ValueError: the folder holds the checkpoint of another run or source, or a batch is smaller than the number of processes,
            or the recipe asks for shorter examples of a task that has none.
    """
    accelerator = accelerator or accelerate.Accelerator()
    if min(recipe.batch, len(task.train)) < accelerator.num_processes:
        raise ValueError(f"a batch of {min(recipe.batch, len(task.train))} cannot be shared by "
                         f"{accelerator.num_processes} processes; give each at least one sample")
    devices = [accelerator.device] if accelerator.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed + 1_000_003 * accelerator.process_index)
        trainer = Trainer(model, task, recipe, Path(folder), seed, identity, accelerator, watch)
        trainer.resume(changed_source)
        stopped = trainer.train(progress_bar, tensorboard)
        return trainer.finish(stopped)


class Trainer:
    """One run of `fit`: model, optimizer and progress, and the steps between them."""

    def __init__(self, model: nn.Module, task, recipe: Recipe, folder: Path, seed: int, identity: str, accelerator,
                 watch: Callable[[nn.Module, Evaluation], bool] | None = None):
        self.task, self.recipe, self.accelerator = task, recipe, accelerator
        self.path = folder / checkpoint.FILE
        optimizer = torch.optim.AdamW(parameter_groups(model, recipe), betas=(recipe.beta1, recipe.beta2))
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.plain = accelerator.unwrap_model(self.model)
        lengths = sample_lengths(task.train) if recipe.bucket > 1 else None
        self.seed = seed
        if recipe.shortest is not None:
            if not hasattr(task.train, "at") or task.train.length < recipe.shortest:
                raise ValueError(f"expected a task made at any length from {recipe.shortest} on, got {task.name}: use shortest=None")
            task.train.at(recipe.shortest)  # raises where the task cannot be so short
        self.order = Order(len(task.train), recipe.batch, seed, lengths, recipe.bucket)
        facts = json.dumps([identity, asdict(recipe), seed, task.data_hash], sort_keys=True)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        self.progress = Progress(hashlib.sha256(facts.encode()).hexdigest(), [checkpoint.source_digest()], started)
        self.valid_lengths = sample_lengths(task.valid)
        self.watch, self.called_off = watch, False
        self.started = self.saved = self.before = 0.0  # before: seconds of earlier starts of this run
        self.idle = 0.0  # seconds on the processor before those that count
        if accelerator.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(accelerator.device)

    def resume(self, changed_source: bool) -> None:
        """Go on from the checkpoint, if there is one, and start the clock."""
        if self.path.exists():
            share, shares = self.accelerator.process_index, self.accelerator.num_processes
            source = None if changed_source else self.progress.sources[-1]
            tensors, facts = checkpoint.read(self.path, self.progress.identity, shares, source)
            states = checkpoint.restore(tensors, facts, self.plain, self.optimizer.optimizer, share, self.progress)
            torch.set_rng_state(states["cpu"])
            if "cuda" in states:
                torch.cuda.set_rng_state(states["cuda"], self.accelerator.device)
        self.before = self.saved = self.progress.seconds
        self.started, self.idle = time.perf_counter(), time.process_time() - self.progress.processor_seconds

    def train(self, progress_bar: bool | None, tensorboard: bool) -> str:
        """Update until the budget or the patience is spent; returns which."""
        bar, log = self.open_bar(progress_bar), self.open_log(tensorboard)
        stopped = self.stopped()
        while not stopped:
            self.update()
            stopped = self.stopped()
            if stopped or self.progress.step % self.recipe.eval_every == 0:
                evaluation = self.look(log)
                bar.set_postfix(valid=f"{evaluation.valid_score:.4f}", loss=f"{evaluation.train_loss:.4f}")
                stopped = stopped or self.stopped()
            bar.update()
            if stopped or self.progress.seconds - self.saved >= self.recipe.checkpoint_seconds:
                self.save()
        bar.close()
        if log:
            log.close()
        return stopped

    def update(self) -> None:
        """One update of the weights."""
        progress, recipe = self.progress, self.recipe
        factor = recipe.rate_factor(progress.step, progress.seconds)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        share, shares = self.accelerator.process_index, self.accelerator.num_processes
        indices = self.order[progress.step]
        batch = self.split().batch(indices[share::shares]).to(self.accelerator.device)
        with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            outputs = answer(self.model, batch)
        loss, score, count = sums(self.task.kind, outputs, batch.targets)
        total = count.detach().clone()
        if shares > 1:
            total = self.accelerator.reduce(total, reduction="sum")
        self.optimizer.zero_grad()
        self.accelerator.backward(loss / total.clamp(min=1) * shares)  # processes average their gradients
        gradients = [parameter.grad for parameter in self.plain.parameters() if parameter.grad is not None]
        norm = total_norm(gradients)
        values = torch.stack([loss.detach(), score, count, norm.to(loss.device, loss.dtype)]).tolist()
        if self.agree(finite=all(map(math.isfinite, values[:3])), overflow=not math.isfinite(values[3])):
            progress.overflows += 1  # the weights and their moments stay as they are
        else:
            if recipe.clip is not None:
                torch.nn.utils.clip_grads_with_norm_(self.plain.parameters(), recipe.clip, norm)
            self.optimizer.step()
        progress.step += 1
        progress.samples += len(indices)
        progress.running = [kept + value for kept, value in zip(progress.running, values[:3], strict=True)]
        if recipe.mastery is not None:
            self.grade(*values[1:3])

    def grade(self, score: float, count: float) -> None:
        """Let the examples grow if the scores of the last updates say that these are mastered."""
        if self.accelerator.num_processes > 1:
            mine = torch.tensor([score, count], dtype=torch.float64, device=self.accelerator.device)
            score, count = self.accelerator.reduce(mine, reduction="sum").tolist()
        progress = self.progress
        progress.grade += 0.1 * (score / max(count, 1) - progress.grade)
        if progress.grade > self.recipe.mastery:
            progress.mastered, progress.grade = progress.mastered + 1, 0.0

    def split(self):
        """The training split at the length of this update."""
        train, recipe, progress = self.task.train, self.recipe, self.progress
        if recipe.shortest is None:
            return train
        lengths = recipe.lengths(train.length, progress.step, progress.seconds, progress.mastered)
        return train.at(drawn_length(self.seed, progress.step, lengths))

    def agree(self, finite: bool = True, overflow: bool = False) -> bool:
        """Take the first process's clock; say whether a gradient of one is not finite, and stop all if that may not be left out, or a loss is not."""
        seconds = self.before + time.perf_counter() - self.started
        if self.accelerator.num_processes > 1:
            mine = [float(not finite), float(overflow), seconds if self.accelerator.is_main_process else 0.0]
            shared = torch.tensor(mine, dtype=torch.float64, device=self.accelerator.device)
            failures, overflows, seconds = self.accelerator.reduce(shared, reduction="sum").tolist()
            finite, overflow = failures == 0, overflows > 0
        self.progress.seconds, self.progress.processor_seconds = seconds, time.process_time() - self.idle
        if not finite or (overflow and self.progress.overflows >= self.recipe.overflows):
            left_out = f", after {self.progress.overflows} left out" if self.progress.overflows else ""
            raise FloatingPointError(f"training stopped at step {self.progress.step + 1} (counted from 1{left_out}): {offender(self.plain)}; lower "
                                     "learning_rate or clip, give flip-flops more unfolds, allow more overflows, or look at the data")
        return overflow

    def look(self, log) -> Evaluation:
        """Evaluate on the validation split, keep the weights if they are the best so far, and log."""
        progress = self.progress
        valid = self.score(self.task.valid, self.valid_lengths)
        if not math.isfinite(valid.loss):
            raise FloatingPointError(f"training stopped at step {progress.step}: the validation loss is {valid.loss}; "
                                     "lower learning_rate or clip, give flip-flops more unfolds, or look at the data")
        running = torch.tensor(progress.running, dtype=torch.float64, device=self.accelerator.device)
        if self.accelerator.num_processes > 1:
            running = self.accelerator.reduce(running, reduction="sum")
        loss, score, count = running.tolist()
        self.agree()
        evaluation = Evaluation(
            step=progress.step, epoch=progress.step / self.order.batches, train_loss=loss / max(count, 1),
            train_score=score / max(count, 1), valid_loss=valid.loss, valid_score=valid.score,
            learning_rate=self.optimizer.param_groups[-1]["lr"], seconds=progress.seconds)
        progress.running = [0.0, 0.0, 0.0]
        progress.evaluations.append(evaluation)
        if self.best == len(progress.evaluations) - 1:
            progress.best = checkpoint.weights(self.plain)
        if self.watch is not None and self.watch(self.plain, evaluation):
            self.called_off = True
        if log:
            for name, value in asdict(evaluation).items():
                log.add_scalar(name.replace("_", "/", 1), value, progress.step)
            log.flush()
        return evaluation

    def score(self, split, lengths: torch.Tensor) -> Score:
        """Loss and score of the current weights on a split."""
        batch = self.recipe.eval_batch or 4 * self.recipe.batch
        return evaluate(self.plain, self.task.kind, split, batch, self.accelerator, lengths, self.recipe.precision)

    @property
    def best(self) -> int:
        """Index of the best evaluation so far."""
        return best_index(self.progress.evaluations, self.task.higher_is_better)

    def stopped(self) -> str:
        """Why the run ends now, or an empty string."""
        progress, recipe = self.progress, self.recipe
        if self.called_off:
            return "watch"
        if recipe.minutes is not None and progress.seconds >= 60 * recipe.minutes:
            return "minutes"
        if recipe.patience and progress.evaluations and len(progress.evaluations) - 1 - self.best >= recipe.patience:
            return "patience"
        return "steps" if progress.step >= recipe.steps else ""

    def save(self) -> None:
        """Write a checkpoint of all processes."""
        generators = {"cpu": torch.get_rng_state()}
        if self.accelerator.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.accelerator.device)
        mine = [{"running": self.progress.running, "generators": generators}]
        processes = accelerate.utils.gather_object(mine) if self.accelerator.num_processes > 1 else mine
        if self.accelerator.is_main_process:
            checkpoint.save(self.path, self.plain, self.optimizer.optimizer, self.progress, processes)
        self.saved = self.progress.seconds

    def finish(self, stopped: str) -> History:
        """Load the best weights and touch the test splits."""
        progress = self.progress
        self.plain.load_state_dict(progress.best)
        splits = {"test": self.task.test, **self.task.tests}
        tests = {name: self.score(split, sample_lengths(split)) for name, split in splits.items()}
        test = tests["test"]
        return History(
            evaluations=tuple(progress.evaluations), best=self.best, test_loss=test.loss, test_score=test.score,
            steps=progress.step, samples=progress.samples, seconds=progress.seconds,
            peak_memory=peak_memory(self.accelerator.device), stopped=stopped, device=self.accelerator.device.type,
            processes=self.accelerator.num_processes, sources=tuple(progress.sources),
            started=progress.started, processor_seconds=progress.processor_seconds, tests=tests,
            overflows=progress.overflows)

    def open_bar(self, shown: bool | None):
        """A progress bar over the updates, on a terminal's first process only unless told otherwise."""
        tqdm = require("tqdm", extra="train", purpose="a progress bar").tqdm
        shown = sys.stderr.isatty() if shown is None else shown
        return tqdm(total=self.recipe.steps, initial=self.progress.step, unit="step",
                    disable=not (shown and self.accelerator.is_main_process))

    def open_log(self, wanted: bool):
        """A TensorBoard writer of the first process, or None."""
        if not (wanted and self.accelerator.is_main_process):
            return None
        require("tensorboard", extra="train", purpose="tensorboard logging")
        writer = require("torch.utils.tensorboard", extra="train", purpose="tensorboard logging").SummaryWriter
        return writer(str(self.path.parent / "tensorboard"), purge_step=self.progress.step + 1)


def total_norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    """Norm of all gradients together; where squares of finite ones exceed the largest number, from their ratios to the largest."""
    norm = torch.nn.utils.get_total_norm(gradients)
    if norm.isfinite():
        return norm
    largest = torch.stack([gradient.abs().max() for gradient in gradients]).max()
    return largest * torch.nn.utils.get_total_norm([gradient / largest for gradient in gradients])


def offender(model: nn.Module) -> str:
    """The first parameter that is not finite, or whose gradient is not, in words."""
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return f"the parameter {name} is not finite"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return f"the gradient of the parameter {name} is not finite"
    return "the loss is not finite, though every gradient is"


def peak_memory(device: torch.device) -> int | None:
    """Peak bytes allocated on a GPU, else resident in this process; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
