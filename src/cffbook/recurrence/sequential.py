"""The definition: one sample after another, in plain tensor operations::

    v_t = solver(rate(drive_t, .), C, v_{t-1}, elapsed_t)

Any dtype, any device, differentiable as often as one likes.
"""

import torch
from torch import Tensor

from cffbook.recurrence.checks import blank_padding, real


def run(circuit, solver, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Potentials `(batch, time, *state)` and the last ones; see `unroll`, which checks and prepares the arguments."""
    time = inputs.shape[1]
    mask = None
    if lengths is not None:
        mask = real(lengths, time).reshape(len(lengths), time, *(1 for _ in potential.shape[1:]))
    if time == 0:
        return potential.new_zeros(potential.shape[0], 0, *potential.shape[1:]), potential
    drives = tuple(zip(*(part.unbind(1) for part in circuit.sense(inputs)), strict=True))
    steps = elapsed.expand(-1, time, *elapsed.shape[2:]).unbind(1)
    potentials = []
    for t, drive in enumerate(drives):
        after = solver(lambda now, drive=drive: circuit.rate(drive, now), circuit.capacitance, potential, steps[t])
        potential = after if mask is None else torch.where(mask[:, t], after, potential)
        potentials.append(potential)
    return blank_padding(torch.stack(potentials, 1), lengths), potential
