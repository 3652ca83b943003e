"""One pass over time on an NVIDIA GPU, compiled by Triton: a thread for each flip-flop of each sequence, a backward by hand.

Runs independent flip-flops (`pairs`) and those with presynaptic lateral synapses in tiles (`tiles`), and keeps of a sequence
only its potentials, as the outputs are. Held to the definition in Triton's interpreter and on an H100, where all of independent
flip-flops fits into registers for 1 and 2 unfolds; what it takes there is in the records of `cffbook.speed`.
With the environment variable TRITON_INTERPRET=1, set before Triton is imported, it runs on the CPU, for tests alone.
"""

import os

import torch
from torch import Tensor

from cffbook.solver import SemiImplicitEuler

LEAST = (8, 0)  # compute capability that Triton supports
LARGEST = 32  # flip-flops of a tile, of which one program has all


def refusal(cell, inputs: Tensor) -> str | None:
    """Why this backend cannot run the cell on these inputs, or None."""
    if type(cell.solver) is not SemiImplicitEuler:
        return f"has the semi-implicit solver alone, got {type(cell.solver).__name__}: use SemiImplicitEuler or backend='sequential'"
    like = next(cell.parameters())
    if inputs.device != like.device or inputs.device.type not in (("cpu", "cuda") if interpreted() else ("cuda",)):
        return f"runs on a CUDA device, got inputs on {inputs.device} and parameters on {like.device}: move both, or use another backend"
    if inputs.is_cuda and torch.cuda.get_device_capability(inputs.device) < LEAST:
        found = torch.cuda.get_device_capability(inputs.device)
        return f"needs compute capability {LEAST[0]}.{LEAST[1]} or above, got {found[0]}.{found[1]}: use backend='sequential'"
    if like.dtype not in (torch.float32, torch.float64):
        return f"computes in float32 or float64, got {like.dtype}: convert the layer, or use backend='sequential'"
    if torch._C._are_functorch_transforms_active():
        return "has no rule for the transforms of torch.func, which PyTorch does not take for custom operators: use backend='sequential'"
    return _unfit(getattr(cell, "tile_size", None), type(cell).__name__)


def _unfit(tile: int | None, name: str) -> str | None:
    if tile is None:
        return (
            f"expects flip-flops whose lateral synapses, if any, are presynaptic, got {name} with a gate for each synapse: "
            "choose lateral='presynaptic', or use backend='sequential'"
        )
    if tile > LARGEST:
        return (
            f"expects tiles of at most {LARGEST} flip-flops, got lateral synapses that join {tile} neighbours: choose another wiring, "
            "such as wiring.tiles, or use backend='sequential'"
        )
    return None


def interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels, on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def run(cell, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Potentials `(batch, time, *state)` and the last ones; see `unroll`, which checks and prepares the arguments."""
    own, other, last = _run(cell, inputs, potential, elapsed, lengths)
    return torch.stack((own, other), -1), last


def run_first(cell, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """As `run`, with the potentials of the first neuron of each pair alone, `(batch, time, pairs)`, which no one need copy."""
    own, _, last = _run(cell, inputs, potential, elapsed, lengths)
    return own, last


def _run(cell, *arguments) -> tuple[Tensor, Tensor, Tensor]:
    from cffbook.recurrence.fused_gpu import pairs, tiles

    return tiles.run(cell, *arguments) if cell.tile_size else pairs.run(cell.form(), cell.solver.unfolds, *arguments)
