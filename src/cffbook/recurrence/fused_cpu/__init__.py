"""One pass over time on the CPU, compiled by numba: all unfolds of a sample in vector registers, a backward by hand.

Keeps of a sequence only its potentials, as the outputs are. Runs as many threads as torch does.
"""

import torch
from torch import Tensor

from cffbook.recurrence.forms import Pairs
from cffbook.solver import SemiImplicitEuler


def refusal(cell, inputs: Tensor) -> str | None:
    """Why this backend cannot run the cell on these inputs, or None."""
    if type(cell.solver) is not SemiImplicitEuler:
        return f"has the semi-implicit solver alone, got {type(cell.solver).__name__}: use SemiImplicitEuler or backend='sequential'"
    like = next(cell.parameters())
    if inputs.device.type != "cpu" or like.device.type != "cpu":
        return f"runs on the CPU, got inputs on {inputs.device} and parameters on {like.device}: move both, or use another backend"
    if like.dtype not in (torch.float32, torch.float64):
        return f"computes in float32 or float64, got {like.dtype}: convert the layer, or use backend='sequential'"
    if not (hasattr(cell, "form") and isinstance(cell.form(), Pairs)):
        return f"runs independent flip-flops, got a {type(cell).__name__}: use backend='sequential'"
    return None


def run(cell, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Potentials `(batch, time, *state)` and the last ones; see `unroll`, which checks and prepares the arguments."""
    own, other, last = _pairs(cell, inputs, potential, elapsed, lengths)
    return torch.stack((own, other), -1), last


def run_first(cell, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """As `run`, with the potentials of the first neuron of each pair alone, `(batch, time, pairs)`, which no one need copy."""
    own, _, last = _pairs(cell, inputs, potential, elapsed, lengths)
    return own, last


def _pairs(cell, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    from cffbook.recurrence.fused_cpu import pairs

    return pairs.run(cell.form(), cell.solver.unfolds, inputs, potential, elapsed, lengths)
