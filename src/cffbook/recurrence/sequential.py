"""The definition: one sample after another, in plain tensor operations::

    v_t = solver(rate(drive_t, .), C, v_{t-1}, elapsed_t)

Any dtype, any device, differentiable as often as one likes.
"""

import torch
from torch import Tensor

from cffbook.recurrence.checks import blank_padding, real


def refusal(cell, inputs: Tensor) -> None:
    """None: the definition runs every cell."""


def run(cell, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Potentials `(batch, time, *state)` and the last ones; see `unroll`, which checks and prepares the arguments."""
    circuit, solver, time = cell.circuit(), cell.solver, inputs.shape[1]
    mask = None
    if lengths is not None:
        mask = real(lengths, time).reshape(len(lengths), time, *(1 for _ in potential.shape[1:]))
    if time == 0:
        return potential.new_zeros(potential.shape[0], 0, *potential.shape[1:]), potential
    # An infinite input opens or closes a gate wholly, as the largest number does; its gradient is 0 and not inf * 0.
    largest = torch.finfo(inputs.dtype).max
    drives = tuple(zip(*(part.unbind(1) for part in circuit.sense(inputs.clamp(-largest, largest))), strict=True))
    steps = elapsed.expand(-1, time, *elapsed.shape[2:]).unbind(1)
    potentials = []
    for t, drive in enumerate(drives):
        after = solver(lambda now, drive=drive: circuit.rate(drive, now), circuit.capacitance, potential, steps[t])
        potential = after if mask is None else torch.where(mask[:, t], after, potential)
        potentials.append(potential)
    return blank_padding(torch.stack(potentials, 1), lengths), potential
