"""One pass over time on the CPU, compiled by numba: all unfolds of a sample in vector registers, a backward by hand.

Keeps of a sequence only its potentials, as the outputs are; of one between two affine maps not even these. Runs as many threads
as torch does.
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
    if torch._C._are_functorch_transforms_active():
        return "has no rule for the transforms of torch.func, which PyTorch does not take for custom operators: use backend='sequential'"
    return None


def run(cell, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Potentials `(batch, time, *state)` and the last ones; see `unroll`, which checks and prepares the arguments."""
    from cffbook.recurrence.fused_cpu import network, pairs

    form, unfolds, batch = cell.form(), cell.solver.unfolds, inputs.shape[0]
    if isinstance(form, Pairs):
        own, other, last = pairs.run(form, unfolds, inputs, potential, elapsed, lengths)
        return torch.stack((own, other), -1), last
    # Neurons in a row: a time of its own for each pair is repeated for both neurons.
    times = elapsed if elapsed.shape[2:].numel() == 1 else elapsed.expand(*elapsed.shape[:2], *cell.state_shape)
    flat = inputs.flatten(2), potential.flatten(1), times.flatten(2), lengths
    potentials, last = network.run(form, unfolds, *flat)
    return potentials.unflatten(2, cell.state_shape), last.reshape(batch, *cell.state_shape)


def run_first(cell, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """As `run`, with the potentials of the first neuron of each pair alone, `(batch, time, pairs)`, which no one need copy."""
    from cffbook.recurrence.fused_cpu import pairs

    form = cell.form()
    if not isinstance(form, Pairs):
        potentials, last = run(cell, inputs, potential, elapsed, lengths)
        return potentials[..., 0], last
    own, _, last = pairs.run(form, cell.solver.unfolds, inputs, potential, elapsed, lengths)
    return own, last


def run_mapped(
    cell, maps: tuple[Tensor, Tensor, Tensor, Tensor], ways: int, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor] | None:
    """Outputs and last potentials of independent flip-flops between two affine maps; see `recurrence.mapped`. None for other cells."""
    from cffbook.recurrence.fused_cpu.layer import fused_layer

    form = cell.form()
    if not isinstance(form, Pairs):
        return None
    if lengths is None:
        lengths = torch.full((inputs.shape[0],), inputs.shape[1])
    outputs, last, _ = fused_layer(
        inputs, form.values, *maps, potential, elapsed, lengths, cell.solver.unfolds, form.steered, form.shared, ways
    )  # fmt: skip
    return outputs, last
