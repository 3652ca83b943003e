"""From settings to a record: build task and model, fit, write the record at the moment it is known."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cffbook import mixers, tasks
from cffbook._optional import require
from cffbook.experiment import facts
from cffbook.experiment.settings import Settings
from cffbook.experiment.weights import FOLDER, keep, put_back
from cffbook.results import Record, read_record
from cffbook.tasks import Task
from cffbook.training.history import History
from cffbook.training.loop import fit
from cffbook.transformer import CausalLM, Classifier, TwoTower

accelerate = require("accelerate", extra="train", purpose="running an experiment")


def build_model(settings: Settings, task: Task) -> nn.Module:
    """The model of some settings for a task, its initial weights drawn from the settings' seed.

    A task with one target a sample gets a causal language model, one of two sequences two towers, else a classifier. Mixers
    that do not know elapsed times get those of an irregularly sampled task as a feature.

    Raises:
        ValueError: a test split is longer than the model has positions.
    """
    length = task.length if settings.positions else None
    example = task.train.batch([0])
    timed = example.elapsed is not None and not mixers.knows_elapsed(settings.mixer)
    longest = max((split.batch([0]).inputs.shape[1] for split in task.tests.values()), default=0)
    if longest > task.length and (settings.positions or mixers.is_bounded(settings.mixer)):
        raise ValueError(f"{settings.row} has learned positions or a parameter for each, up to {task.length}, and cannot be tested at "
                         f"{longest}: use positions=false, another row, or longer=[]")
    options = replace(settings.mixer_options, length=settings.mixer_options.length or task.length)
    options = replace(options, causal=True) if task.kind == "tokens" else options
    body = settings.body

    def make(d_model: int) -> nn.Module:
        return mixers.build(settings.mixer, d_model, options)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        if task.kind == "tokens":
            return CausalLM(make, body, task.vocabulary, task.features, length, task.classes, timed)
        model = Classifier(make, body, task.classes, task.vocabulary, task.features, length, settings.pooling, timed)
        pairs = task.vocabulary is not None and example.inputs.ndim == 3
        return TwoTower(model, body.d_model, task.classes) if pairs else model


def run(settings: Settings, folder: str | Path = "results", runs: str | Path = "runs", *, cpu: bool = False,
        progress_bar: bool | None = None, changed_source: bool = False, fresh: bool = False,
        weights: str | Path | None = None, make: Callable[[Any, Task], nn.Module] = build_model) -> Record:
    """Run an experiment to its record; a record that is there is returned as it is, a run begun before is gone on with.

    Args:
        settings: what to run; settings of another kind come with a builder of their own.
        folder: where records live.
        runs: where checkpoints and logs live, a folder for each run.
        cpu: stay on the CPU where there is a GPU.
        progress_bar: None shows one on a terminal.
        changed_source: go on with a run begun by other source code; the record then names both.
        fresh: throw away what an unfinished run has left.
        weights: folder to keep the weights of the best evaluation in, for `trained`; None keeps none.
        make: builds the model.

    Raises:
        ValueError: the record there is of other settings, or the checkpoint of another run or source.
        FloatingPointError: a loss or gradient is not finite.
    """
    path = settings.path(folder)
    told = json.loads(json.dumps(settings.as_dict()))
    if path.exists():
        record = read_record(path)
        if record.settings != told:
            raise ValueError(f"{path} holds a record of other settings (defaults have changed); remove it to run again")
        return record
    accelerator = accelerate.Accelerator(cpu=cpu)
    place = Path(runs) / settings.name
    with accelerator.main_process_first():  # generates or downloads once
        if fresh and accelerator.is_main_process:
            shutil.rmtree(place, ignore_errors=True)
        task = tasks.load(settings.task, **settings.task_options)
    model = make(settings, task)
    parameters, commit = facts.count_parameters(model), facts.commit()
    history = fit(model, task, settings.recipe, folder=place, seed=settings.seed, identity=json.dumps(told, sort_keys=True),
                  accelerator=accelerator, progress_bar=progress_bar, changed_source=changed_source)
    record = make_record(settings, told, task, parameters, history, facts.machine(accelerator.device), commit)
    if accelerator.is_main_process:
        if weights is not None:
            keep(model, settings, weights)
        record.write(path)
    accelerator.wait_for_everyone()
    return record


def trained(settings: Settings, folder: str | Path = FOLDER) -> nn.Module:
    """The model of some settings with the weights that their run has kept, ready to be used.

    Raises:
        FileNotFoundError: no weights were kept.
    """
    model = build_model(settings, tasks.load(settings.task, **settings.task_options))
    put_back(model, settings, folder)
    return model.eval()


def make_record(settings: Settings, told: Mapping, task: Task, parameters: dict[str, int], history: History,
                machine: dict, commit: dict | None) -> Record:
    """The record of a finished run; `commit` is that of its start, when the code was loaded."""
    described = {
        "name": task.name, "kind": task.kind, "variant": json.loads(json.dumps(task.variant)), "sizes": task.sizes,
        "data_hash": task.data_hash, "floors": dict(task.floors), "score_name": task.score_name,
        "higher_is_better": task.higher_is_better,
    }
    return Record(
        name=settings.name, settings=told, seed=settings.seed, tier=settings.tier, task=described, parameters=parameters,
        evaluations=history.evaluations, best=history.best, valid_score=history.evaluations[history.best].valid_score,
        test_score=history.test_score, test_loss=history.test_loss, steps=history.steps, samples=history.samples,
        stopped=history.stopped, seconds=history.seconds, samples_per_second=history.samples_per_second,
        peak_memory=history.peak_memory, device=history.device, processes=history.processes, machine=machine,
        versions=facts.versions(), git=commit, sources=history.sources, started=history.started,
        processor_seconds=history.processor_seconds, overflows=history.overflows,
        tests={name: asdict(score) for name, score in history.tests.items()})
