"""What a run is: one frozen dataclass, checked when it is made, with a name that says which run it is."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from cffbook import mixers, tasks
from cffbook.mixers import MixerOptions
from cffbook.training.checks import accepts, check_fields, check_known, spell
from cffbook.training.recipe import Recipe
from cffbook.transformer import POOLING, Body

PARTS = ("body", "mixer_options", "recipe")


@dataclass(frozen=True)
class Settings:
    """All that decides a run.

    Args:
        task: name of the task.
        row: name of the table row the run belongs to.
        mixer: name of the mixer.
        recipe: optimiser, schedule, budget.
        seed: seed of initial weights, data order and dropout; the data has its own among the task's options.
        tier: budget: ``smoke``, ``cpu``, ``gpu`` or ``full``.
        task_options: options of the task that are not its defaults.
        body: sizes of the transformer body.
        mixer_options: options of the mixer.
        pooling: how the classifier pools over time.
        positions: add learned positions.

    Raises:
        ValueError: an unknown name or a value out of range; the known names are listed.
        TypeError: a value of the wrong type.
    """

    task: str
    row: str
    mixer: str
    recipe: Recipe
    seed: int = 0
    tier: str = "cpu"
    task_options: Mapping[str, Any] = field(default_factory=dict)
    body: Body = field(default_factory=Body)
    mixer_options: MixerOptions = field(default_factory=MixerOptions)
    pooling: str = "mean"
    positions: bool = False

    def __post_init__(self) -> None:
        for instance in (self, self.body, self.mixer_options):
            check_fields(instance)
        check_known("task", self.task, tasks.names())
        check_known("pooling", self.pooling, POOLING)
        known = tasks.options(self.task)
        for name, value in self.task_options.items():
            check_known(f"option of the task {self.task}", name, known)
            if known[name] is not None and not accepts(type(known[name]), value):
                raise TypeError(f"{name} must be {spell(type(known[name]))}, got {value!r}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.mixer_options.wiring is not None:
            raise ValueError("settings cannot hold a wiring, which no record could repeat; use tile, or fit a model of your own")
        with torch.random.fork_rng(devices=[]):
            # Raises for values it does not know; the task's length, which None stands for, is not known yet.
            mixers.build(self.mixer, self.body.d_model, replace(self.mixer_options, length=self.mixer_options.length or 1))

    def as_dict(self) -> dict[str, Any]:
        """All settings, nested, ready for JSON."""
        values = asdict(self)
        del values["mixer_options"]["wiring"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Settings":
        """The settings that `as_dict` told, for example those of a record.

        Raises:
            TypeError: an unknown field or a value of the wrong type.
        """
        kinds = {"body": Body, "mixer_options": MixerOptions, "recipe": Recipe}
        return cls(**values | {name: kind(**values[name]) for name, kind in kinds.items()})

    @property
    def variant(self) -> str:
        """The task with the options that fix its data, fit for a folder's name."""
        told = {name: "-".join(map(str, value)) if isinstance(value, (tuple, list)) else value
                for name, value in self.task_options.items()}
        words = [self.task, *(f"{name}-{value}" for name, value in sorted(told.items()))]
        return re.sub(r"[^A-Za-z0-9_.-]", "-", "_".join(words))

    @property
    def name(self) -> str:
        """Readable, and ending in a digest of every setting that differs from its default."""
        told = {name: value for name, value in self.as_dict().items() if name not in PARTS}
        for part in PARTS:
            value = getattr(self, part)
            told[part] = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)
                          if getattr(value, item.name) != item.default}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.task}-{self.row}-{self.tier}-s{self.seed}-{digest}"

    def path(self, folder: str | Path = "results") -> Path:
        """Where the record of these settings belongs below a folder."""
        return Path(folder) / self.variant / f"{self.name}.json"


def parse(text: str) -> Any:
    """A value from a command line: a number, true, false, null, a list or mapping in JSON, or else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def places(settings: Settings) -> dict[str, str]:
    """Every name that can be overridden and the part of the settings it belongs to; nearer names win."""
    found = {name: "task_options" for name in tasks.options(settings.task)}
    for part in PARTS:
        found |= {item.name: part for item in dataclasses.fields(getattr(settings, part)) if item.name != "wiring"}
    own = ("seed", "pooling", "positions")
    return found | {name: "" for name in own}


def override(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with some values changed by name, wherever they belong.

    Args:
        settings: the settings to start from.
        changes: names of `Settings`, `Body`, `MixerOptions`, `Recipe` or options of the task, and their values. A task's
            option that shares its name with a setting is spelled ``task_options.<name>``.

    Raises:
        ValueError: an unknown name; the known ones are listed.
        TypeError: a value of the wrong type.
    """
    if not isinstance(changes, Mapping):
        raise TypeError(f"overrides must be a mapping of names to values, got {changes!r}")
    known = places(settings)
    parts: dict[str, dict] = {}
    for name, value in changes.items():
        place, leaf = ("task_options", name.removeprefix("task_options.")) if name.startswith("task_options.") else (
            known.get(name), name)
        if place is None or (place == "task_options" and leaf not in tasks.options(settings.task)):
            raise ValueError(f"unknown setting {name!r}; known: {', '.join(sorted(known))}")
        parts.setdefault(place, {})[leaf] = value
    whole = parts.pop("", {})
    for part, values in parts.items():
        old = getattr(settings, part)
        whole[part] = {**old, **values} if part == "task_options" else checked(old, values)
    return replace(settings, **whole)


def checked(part, values: Mapping[str, Any]):
    """A part with values changed, its types checked before its own checks compute with them."""
    probe = object.__new__(type(part))
    for item in dataclasses.fields(part):
        object.__setattr__(probe, item.name, values.get(item.name, getattr(part, item.name)))
    check_fields(probe)
    return replace(part, **values)
