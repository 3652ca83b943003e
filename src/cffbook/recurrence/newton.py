"""Parallel in time by Newton's method on the whole trajectory, for pairs that forget.

With F the map of one sample, A_t its 2x2 Jacobian and r_t = F(v_{t-1}) - v_t what is wrong with a trajectory, the correction is::

    d_t = A_t d_{t-1} + r_t                                                                      (newton)

one associative scan an iteration, projected onto the hull of reversal and start potentials, which no trajectory leaves. It converges where the
products of the A_t shrink everywhere near the path, as with one stable state. A latch that holds has A_t near 0: a wrong basin is
put right only a sample or two an iteration, and at its symmetric state the products grow without bound. Use `basins` there.
Source: Lim et al. 2024 (DEER), without its replacement of NaN and its clipping.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cffbook.recurrence import pairs
from cffbook.recurrence.checks import prepare
from cffbook.recurrence.scan import affine, affine_reverse, apply

ITERATIONS = 60


class NotConverged(RuntimeError):
    """Newton's method on a trajectory did not converge."""


class Newton(NamedTuple):
    """A run and how it went.

    Args:
        potentials: `(batch, time, pairs, 2)`, zero where padded.
        last: `(batch, pairs, 2)`, the last real ones.
        iterations: number of corrections made.
        residual: largest correction of the last iteration after projection, which the potentials were wrong by before it; NaN where products
            of Jacobians grew beyond all numbers. Converged if it is at most the tolerance.
        history: the residual of each iteration.
    """

    potentials: Tensor
    last: Tensor
    iterations: int
    residual: float
    history: tuple[float, ...]


def refusal(cell, inputs: Tensor) -> str | None:
    """Why this backend cannot run a cell: it needs independent flip-flops and the semi-implicit solver."""
    return pairs.refusal(cell)


def run(cell, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Potentials `(batch, time, pairs, 2)` and the last ones; see `unroll`, which checks and prepares the arguments.

    Raises:
        NotConverged: the residual is above the tolerance after the last iteration.
    """
    tolerance = default_tolerance(inputs.dtype)
    found = _solve(cell, inputs, potential, elapsed, lengths, ITERATIONS, tolerance)
    if not found.residual <= tolerance:
        raise NotConverged(
            f"backend 'newton' expected a residual of at most {tolerance:.1e} within {ITERATIONS} iterations, got {found.residual:.1e} after "
            f"{found.iterations}: it converges for pairs that forget and not for latches, for which use backend='basins'"
        )
    return found.potentials, found.last


def solve(
    cell,
    inputs: Tensor,
    potential: Tensor | None = None,
    elapsed: Tensor | float = 1.0,
    lengths: Tensor | None = None,
    iterations: int = ITERATIONS,
    tolerance: float | None = None,
) -> Newton:
    """Run independent flip-flops over all samples at once, and say how it went; it does not raise when it has not converged.

    Args:
        cell, inputs, potential, elapsed, lengths: as for `unroll`.
        iterations: at most so many.
        tolerance: largest correction at which it counts as converged; None is 1e-6 in float32 and 1e-13 in float64.

    Raises:
        ValueError: an argument does not fit, or the cell is not of independent flip-flops.
    """
    reason = refusal(cell, inputs)
    if reason is not None:
        raise ValueError(f"backend 'newton' {reason}")
    if iterations < 1 or (tolerance is not None and not tolerance > 0):
        raise ValueError(f"iterations must be at least 1 and tolerance positive, got {iterations} and {tolerance}: leave them at their defaults")
    with torch.autocast(inputs.device.type, enabled=False):
        arguments = prepare(cell, inputs, potential, elapsed, lengths)
        return _solve(cell, *arguments, iterations, default_tolerance(arguments[0].dtype) if tolerance is None else tolerance)


def default_tolerance(dtype: torch.dtype) -> float:
    """About eight units of rounding in float32; in float64 somewhat more, as slow pairs add them up."""
    return 1e-13 if dtype == torch.float64 else 1e-6


def _solve(cell, inputs, potential, elapsed, lengths, iterations, tolerance) -> Newton:
    form, unfolds = cell.form(), cell.solver.unfolds
    batch, time, count = *inputs.shape[:2], form.values.shape[1]
    if batch == 0 or time == 0:
        return Newton(potential.new_zeros(batch, time, count, 2), potential, 0, 0.0, ())
    circuit = pairs.PairCircuit(form)
    # An infinite input opens or closes a gate wholly, as the largest number does; see `sequential`.
    largest = torch.finfo(inputs.dtype).max
    drive = circuit.sense(inputs.clamp(-largest, largest))
    if lengths is not None:
        # No time passes in padding: the map is the identity there, and nothing has to converge.
        past = torch.arange(time, device=inputs.device) >= lengths[:, None]
        elapsed = elapsed.masked_fill(past[..., None, None], 0)
    with torch.no_grad():
        found, history = _iterate(circuit, drive, potential, elapsed, unfolds, iterations, tolerance)
    before = torch.cat((potential[:, None], found[:, :-1]), 1)
    after, jacobian = circuit.sample(drive, before, elapsed, unfolds)
    potentials = Linked.apply(jacobian.detach(), after)
    potentials, last = pairs.finish(potentials, potential, lengths)
    return Newton(potentials, last, len(history), history[-1], tuple(history))


def _iterate(circuit, drive, start: Tensor, elapsed: Tensor, unfolds: int, iterations: int, tolerance: float) -> tuple[Tensor, list[float]]:
    """Trajectory `(batch, time, pairs, 2)` and the residual of each iteration."""
    values = torch.stack([getattr(circuit, pairs.PAIR_VALUES[row]) for row in pairs.REVERSALS])
    low = torch.minimum(values.amin((0, 2)).unsqueeze(-1), start.amin(-1, keepdim=True)).unsqueeze(1)  # (B, 1, P, 1)
    high = torch.maximum(values.amax((0, 2)).unsqueeze(-1), start.amax(-1, keepdim=True)).unsqueeze(1)
    guess = start[:, None].expand(-1, drive[0].shape[1], -1, -1)
    history = []
    for _ in range(iterations):
        before = torch.cat((start[:, None], guess[:, :-1]), 1)
        after, jacobian = circuit.sample(drive, before, elapsed, unfolds)
        correction = affine(jacobian, after - guess)  # eq. newton
        better = torch.minimum(torch.maximum(guess + correction, low), high)
        history.append(float((better - guess).abs().amax()))
        guess = better
        if not tolerance < history[-1] < torch.inf:
            break  # converged, or a product of Jacobians has left the numbers
    return guess, history


class Linked(torch.autograd.Function):
    """Samples F(v_{t-1}) linked into a trajectory: their gradient is that of all samples after, by the implicit function theorem."""

    @staticmethod
    def forward(ctx, jacobian, after):
        ctx.save_for_backward(jacobian)
        return after.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return None, affine_reverse(ctx.saved_tensors[0], gradient)
