"""Lyapunov exponents: how fast trajectories that begin side by side part, or meet, a sample::

    J_t Q_{t-1} = Q_t R_t,   λ_i = 1/T Σ_t ln |R_t,ii|,   J_t = dh_t/dh_{t-1}                          (lyapunov)

Q_t is orthogonal and R_t upper triangular; J_t are the exact Jacobians along a trajectory. A largest exponent below 0 is a
trajectory that attracts its neighbours, and so a gradient that fades like exp(λ_1 d) over the distance d.
Source: Eckmann and Ruelle 1985.
"""

import torch
from torch import Tensor

from cffbook.gradients import Step, step_jacobians, trajectory


def exponents(jacobians: Tensor, skip: int = 0) -> Tensor:
    """Lyapunov exponents `(batch, size)`, per sample, the largest first.

    Args:
        jacobians: `(time, batch, size, size)` in the order of time.
        skip: first samples that do not count, in which the directions turn into their places.

    Raises:
        ValueError: no sample is left to be counted.
    """
    if jacobians.dim() != 4 or not 0 <= skip < len(jacobians):
        raise ValueError(f"expected jacobians (time, batch, size, size) of more than {skip} samples, got {tuple(jacobians.shape)}: skip fewer")
    directions = torch.eye(jacobians.shape[-1], dtype=jacobians.dtype).expand(jacobians.shape[1:])
    total = jacobians.new_zeros(jacobians.shape[1:3])
    for number, jacobian in enumerate(jacobians):
        directions, stretch = torch.linalg.qr(jacobian @ directions)
        if number >= skip:
            total += stretch.diagonal(dim1=-2, dim2=-1).abs().log()  # eq. lyapunov
    return (total / (len(jacobians) - skip)).sort(-1, descending=True).values


def along(step: Step, state: Tensor, inputs: Tensor, skip: int = 0) -> Tensor:
    """Lyapunov exponents `(batch, size)` of a recurrence along the trajectory that some inputs drive it through.

    Args:
        step: one sample of the recurrence, see `cffbook.gradients.step_of`.
        state: `(batch, size)` before the first sample.
        inputs: `(batch, time, feature)`.
        skip: see `exponents`.
    """
    with torch.no_grad():
        states = trajectory(step, state, inputs)
    return exponents(step_jacobians(step, states, inputs), skip)
