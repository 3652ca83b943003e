"""Solvers of the membrane equation, as objects: how a potential moves across one sample.

Every circuit of this package has, with gates frozen at the present potential, the linear form::

    C dv/dt = I(v) - G(v) v        G = g + Σ w s,   I = g E_leak + Σ w s E

and a solver advances it by `elapsed` in `unfolds` equal parts of length h.
Source: Hasani et al. 2021 (the semi-implicit solver, there called fused); Hairer et al. 1993 (the others).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Rate = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Solver:
    """Advances potentials by `elapsed` in `unfolds` equal parts.

    Args:
        unfolds: solver steps per sample, at least 1.

    Raises:
        ValueError: `unfolds` is not a positive integer.
    """

    unfolds: int = 6

    def __post_init__(self) -> None:
        if not isinstance(self.unfolds, int) or self.unfolds < 1:
            raise ValueError(f"unfolds must be a positive integer, got {self.unfolds!r}: 6 is the usual choice")

    def __call__(self, rate: Rate, capacitance: Tensor, potential: Tensor, elapsed: Tensor | float) -> Tensor:
        """The potential `elapsed` later; shapes as `potential`, with `elapsed` broadcast against it.

        Args:
            rate: gives (G, I), total conductance and driving current, at a potential.
            capacitance: C, broadcast against `potential`.
            potential: v at the start.
            elapsed: time to advance by; 0 leaves the potential as it is.
        """
        part = elapsed / self.unfolds
        for _ in range(self.unfolds):
            potential = self.step(rate, capacitance, potential, part)
        return potential

    def step(self, rate: Rate, capacitance: Tensor, potential: Tensor, part: Tensor | float) -> Tensor:
        """One unfold of length `part`."""
        raise NotImplementedError(f"{type(self).__name__} has no step: use SemiImplicitEuler or another solver")


class SemiImplicitEuler(Solver):
    """The definition: gates explicit, the potential implicit; order 1, never leaves the hull of the reversals."""

    def step(self, rate, capacitance, potential, part):
        conductance, current = rate(potential)
        # Both sides multiplied by h, so that elapsed = 0 is exact.
        return (capacitance * potential + part * current) / (capacitance + part * conductance)  # eq. ltc-step


class ExplicitEuler(Solver):
    """The simplest solver; order 1, unstable once h (g + Σ w s) exceeds 2 C."""

    def step(self, rate, capacitance, potential, part):
        return potential + part * _slope(rate, capacitance, potential)


class RungeKutta4(Solver):
    """The classical Runge-Kutta method; order 4, explicit."""

    def step(self, rate, capacitance, potential, part):
        first = _slope(rate, capacitance, potential)
        second = _slope(rate, capacitance, potential + part / 2 * first)
        third = _slope(rate, capacitance, potential + part / 2 * second)
        fourth = _slope(rate, capacitance, potential + part * third)
        return potential + part / 6 * (first + 2 * second + 2 * third + fourth)


class ExponentialEuler(Solver):
    """Exact for frozen gates; order 1, never leaves the hull of the reversals. Needs a leak: G must be positive."""

    def step(self, rate, capacitance, potential, part):
        conductance, current = rate(potential)
        target = current / conductance
        return target + (potential - target) * torch.exp(-part * conductance / capacitance)


def _slope(rate: Rate, capacitance: Tensor, potential: Tensor) -> Tensor:
    conductance, current = rate(potential)
    return (current - conductance * potential) / capacitance  # eq. ltc
