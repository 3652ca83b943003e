"""Neurons in lock-step: a swing of both neurons of a pair together, which long steps of the solver make, not the equations.

A step of length h reads all gates before it moves any potential. At the rest point v* that both neurons share, with G all
conductances there and k_x = w_x γ_x s (1 - s) (v* - E_x), it multiplies what the potentials have in common by::

    (C - h Σ_x k_x) / (C + h G)                                                                        (lock-step)

Below -1 this swing grows, and the pair may lose its bit. Source: eq. ltc-step, linearised.
"""

import math
import warnings

import torch
from torch import Tensor

from cffbook.recurrence.forms import PAIR_VALUES, Pairs


class LockStepWarning(UserWarning):
    """Flip-flops may swing in lock-step at their solver's steps."""


def common_mode(form: Pairs, step: float) -> Tensor:
    """By how much a step multiplies what the two potentials of each pair have in common, `(pairs,)` in float64.

    Inputs are 0. Exact for symmetric pairs; of others the mean of both neurons' values is taken.

    Args:
        form: the pairs.
        step: length of an unfold, in samples.
    """
    value = dict(zip(PAIR_VALUES, form.values.detach().double().mean(-1), strict=True))
    synapses = [("self", value["self_conductance"], "self"), ("reciprocal", value["reciprocal_conductance"], "reciprocal")]
    sensory = value["sensory_conductance"] * torch.sigmoid(-value["sensory_slope"] * value["sensory_half_activation"])

    def at(potential: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        conductance, steepness = value["leak_conductance"], torch.zeros_like(potential)
        current = conductance * value["leak_reversal"]
        for gate, weight, source in (*synapses, ("steering", sensory, "sensory")):
            opened, slope, reversal = torch.ones_like(potential), 0.0, value[f"{source}_reversal"]
            if gate != "steering" or form.steered:
                slope = value[f"{gate}_slope"]
                opened = torch.sigmoid(slope * (potential - value[f"{gate}_half_activation"]))
            conductance, current = conductance + weight * opened, current + weight * opened * reversal
            steepness = steepness + weight * slope * opened * (1 - opened) * (potential - reversal)
        return conductance, current, steepness

    reversals = torch.stack([value[name] for name in PAIR_VALUES if name.endswith("reversal")])
    low, high = reversals.amin(0), reversals.amax(0)
    for _ in range(60):  # bisection down to the last bit
        middle = (low + high) / 2
        conductance, current, _ = at(middle)
        rising = current > conductance * middle
        low, high = torch.where(rising, middle, low), torch.where(rising, high, middle)
    conductance, _, steepness = at((low + high) / 2)
    return (value["capacitance"] - step * steepness) / (value["capacitance"] + step * conductance)  # eq. lock-step


def _far(form: Pairs, step: float) -> bool:
    """Whether bounds of gates and potentials alone already rule a swing out, which is quickly seen."""
    value = dict(zip(PAIR_VALUES, form.values.detach().double(), strict=True))
    reversals = torch.stack([value[name] for name in PAIR_VALUES if name.endswith("reversal")])
    weights = [value["self_conductance"] * value["self_slope"], value["reciprocal_conductance"] * value["reciprocal_slope"]]
    if form.steered:
        weights.append(value["sensory_conductance"] * value["steering_slope"])
    steepness = sum(weight.abs() for weight in weights).amax(-1) / 4 * (reversals.amax((0, 2)) - reversals.amin((0, 2)))
    return bool((step * steepness <= 2 * value["capacitance"].amin(-1)).all())


def enough_unfolds(form: Pairs, unfolds: int) -> int:
    """The least number of unfolds of a sample, `unfolds` or more, at which no pair swings in lock-step."""
    while bool((common_mode(form, 1 / unfolds) < -1).any()):
        unfolds = math.ceil(1.25 * unfolds)
    return unfolds


def swings(form: Pairs, unfolds: int) -> bool:
    """Whether a pair may swing in lock-step at so many unfolds of a sample."""
    return not _far(form, 1 / unfolds) and bool((common_mode(form, 1 / unfolds) < -1).any())


def warn(form: Pairs, unfolds: int) -> None:
    """Warn that pairs may swing in lock-step, with the first of them and the number of unfolds that is enough."""
    swinging = common_mode(form, 1 / unfolds) < -1
    warnings.warn(
        f"{int(swinging.sum())} of {len(swinging)} flip-flops may swing in lock-step at {unfolds} unfolds of a sample (the first is "
        f"{int(swinging.nonzero()[0])}) and lose their bits: give the solver {enough_unfolds(form, unfolds)}, or the pairs a larger capacitance",
        LockStepWarning,
        stacklevel=3,
    )
