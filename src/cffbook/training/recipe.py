"""How a model is trained: one frozen recipe, its learning rate over time and its parameter groups.

    rate(step) = learning_rate * min(1, (step + 1) / warmup) * decay(progress)

Conductances and capacitances set time constants, which have to move over orders of magnitude: they learn at a multiple
of the rate. Weight decay is left to the matrices of the linear maps and the embeddings: a membrane parameter, a bias or
a norm that decays to zero is another neuron, not a simpler one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from cffbook.training.checks import check_fields, check_positive

MEMBRANE = ("capacitance", "conductance")
UNDECAYED = (*MEMBRANE, "raw_", "bias", "norm", "half_activation", "slope", "reversal", "potential")


@dataclass(frozen=True)
class Recipe:
    """Optimiser (AdamW), schedule, budget and bookkeeping of one training run.

    Args:
        steps: updates at most.
        batch: samples an update, over all processes together.
        learning_rate: peak rate.
        conductance_factor: multiple of the rate for conductances and capacitances.
        weight_decay: decoupled decay of matrices that are no membrane parameters.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        warmup: updates of linear warm-up.
        schedule: decay after the warm-up, over the whole budget.
        clip: largest norm of the whole gradient, or None.
        overflows: updates that may be left out because a gradient is not finite though the loss is; the next one stops the run.
        eval_every: updates between evaluations on the validation split.
        eval_batch: samples an evaluation batch, or None for four training batches; fewer where they are very long.
        patience: evaluations without a better validation score before the run stops, or None.
        minutes: wall-clock budget, evaluation included, or None; the schedule then follows the clock.
        bucket: batches drawn together and sorted by length, so that little is padded; 0 keeps the drawn order.
        precision: float32, or bfloat16 under autocast.
        shortest: for tasks made at any length: each update has examples of one length, at most a maximum that grows from this
            one to the task's own length; None trains on the task's own length alone.
        varied: draw that length evenly from `shortest` up to the maximum; else it is the maximum.
        growth: part of the budget that the maximum takes to grow.
        pace: "linear", or "geometric": the maximum then grows by fifths, each after an equal part of the budget, and `varied` draws
            evenly from the maxima so far.
        mastery: score at which the maximum grows by a fifth instead, whenever the running mean of the updates' scores (which
            forgets a tenth an update, and starts from 0 at each growth) exceeds it; None lets it grow with the budget.
        checkpoint_seconds: time between checkpoints.

    Raises:
        TypeError: a value of the wrong type.
        ValueError: a value out of range.
    """

    steps: int
    batch: int = 32
    learning_rate: float = 3e-3
    conductance_factor: float = 3.0
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.98
    warmup: int = 0
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    clip: float | None = 1.0
    eval_every: int = 100
    eval_batch: int | None = None
    patience: int | None = None
    minutes: float | None = None
    bucket: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    shortest: int | None = None
    growth: float = 0.5
    mastery: float | None = None
    checkpoint_seconds: float = 60.0
    varied: bool = True
    pace: Literal["linear", "geometric"] = "linear"
    overflows: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        check_positive(self, ("steps", "batch", "learning_rate", "conductance_factor", "clip", "eval_every",
                              "eval_batch", "patience", "minutes", "shortest", "mastery"))
        for name in ("weight_decay", "warmup", "bucket", "checkpoint_seconds", "overflows"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)!r}")
        if not 0 <= self.growth <= 1:
            raise ValueError(f"growth must lie in [0, 1], got {self.growth!r}")
        if self.mastery is not None and (self.shortest is None or self.mastery >= 1):
            raise ValueError(f"mastery must lie below 1 and needs shortest, got {self.mastery!r} and shortest={self.shortest!r}")
        if self.pace == "geometric" and (self.shortest is None or self.mastery is not None):
            raise ValueError(f"a geometric pace needs shortest and no mastery, got shortest={self.shortest!r} and mastery={self.mastery!r}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)!r}")

    def spent(self, step: int, seconds: float = 0.0) -> float:
        """The part of the budget that is spent before update `step` (from 0), in [0, 1]."""
        clock = 0.0 if self.minutes is None else seconds / (60 * self.minutes)
        return min(max(step / self.steps, clock), 1.0)

    def ladder(self, length: int) -> list[int]:
        """Lengths from `shortest` to that of a task, each a fifth longer than the one before."""
        rungs = [min(self.shortest, length)]
        while rungs[-1] < length:
            rungs.append(min(rungs[-1] + max(1, rungs[-1] // 5), length))
        return rungs

    def lengths(self, length: int, step: int, seconds: float = 0.0, mastered: int = 0) -> Sequence[int]:
        """The lengths, ascending, that examples of update `step` may have of a task of this length.

        Args:
            length: of the task.
            step: number of the update, from 0.
            seconds: that are spent.
            mastered: times that the score has exceeded `mastery`.
        """
        if self.shortest is None:
            return [length]
        grown = min(self.spent(step, seconds) / self.growth, 1.0) if self.growth else 1.0
        if self.pace == "geometric":
            rungs = self.ladder(length)
            found: Sequence[int] = rungs[: 1 + int(grown * (len(rungs) - 1))]
        else:
            longest = min(length, self.shortest + int(grown * (length - self.shortest)))
            if self.mastery is not None:
                rungs = self.ladder(length)
                longest = rungs[min(mastered, len(rungs) - 1)]
            found = range(self.shortest, longest + 1)
        return found if self.varied else found[-1:]

    def rate_factor(self, step: int, seconds: float = 0.0) -> float:
        """Multiple of the peak rate for update `step` (from 0) when `seconds` of the budget are spent."""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        spent = self.spent(step, seconds)
        if self.schedule == "cosine":
            return warm * 0.5 * (1 + math.cos(math.pi * spent))
        return warm * (1 - spent) if self.schedule == "linear" else warm


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict]:
    """Groups for AdamW: membrane parameters, other undecayed parameters, decayed matrices; each with its `peak` rate."""
    groups: dict[str, list[nn.Parameter]] = {"membrane": [], "undecayed": [], "decayed": []}
    norms = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if any(word in name for word in MEMBRANE):
                groups["membrane"].append(parameter)
            elif parameter.ndim < 2 or isinstance(module, norms) or any(word in name for word in UNDECAYED):
                groups["undecayed"].append(parameter)
            else:
                groups["decayed"].append(parameter)
    peaks = {"membrane": recipe.learning_rate * recipe.conductance_factor}
    return [
        {"params": unique(parameters), "peak": peaks.get(name, recipe.learning_rate), "lr": 0.0,
         "weight_decay": recipe.weight_decay if name == "decayed" else 0.0}
        for name, parameters in groups.items() if parameters
    ]


def unique(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """The parameters without repetitions (tied weights), in order."""
    return list({id(parameter): parameter for parameter in parameters}.values())
