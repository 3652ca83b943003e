"""How well flip-flops hold under noise: bit errors against noise on the input lines and against faults in their parameters.

    u_t = σ ξ_t,  ξ_t ~ N(0, 1) independent for every sample and line;    p -> p (1 + ε r),  r ~ U(-1, 1)      (noise)
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cffbook.flipflop import FlipFlop
from cffbook.recurrence import unroll

PIECE = 1_024  # samples that are run at once


@torch.no_grad()
def bit_errors(cell: FlipFlop, deviation: Tensor | float, holds: Sequence[int], bits: Tensor | int = 1, seed: int = 0) -> Tensor:
    """Whether each pair has lost its bit at each hold time, `(holds, pairs)` bool; the lines carry nothing but noise.

    Without noise a step depends on the potential alone: where every pair has come back to a potential at which it was, to the
    last bit, what follows is repetition and is not run again.

    Args:
        cell: the pairs, with set and reset lines.
        deviation: standard deviation of the noise on their lines, one for all or `(pairs,)`.
        holds: samples for which the bit is to be held, in rising order.
        bits: what they hold at the start, one for all or `(pairs,)`.
        seed: of the noise.

    Raises:
        ValueError: hold times that do not rise, or another input scheme.
    """
    if list(holds) != sorted(set(holds)) or holds[0] < 1 or cell.scheme != "set_reset":
        raise ValueError(f"expected rising hold times and pairs with set and reset lines, got {list(holds)} and {cell.scheme!r}")
    generator = torch.Generator().manual_seed(seed)
    scale = torch.as_tensor(deviation, dtype=cell.leak_reversal.dtype).expand(cell.pairs)[:, None]
    quiet = not scale.any()
    bits = torch.as_tensor(bits).bool().expand(cell.pairs)
    potential, done, wrong = cell.held(bits)[None], 0, []
    for hold in holds:
        while done < hold:
            count = min(PIECE, hold - done)
            lines = scale * torch.randn(1, count, cell.pairs, 2, generator=generator, dtype=scale.dtype)  # eq. noise
            path, potential = unroll(cell, lines, potential)
            done += count
            if quiet and done < hold and (period := _period(path[0])).all():
                index = count - 1 - period + (hold - done) % period
                potential, done = path[:, index, torch.arange(cell.pairs)], hold
        wrong.append(cell.read(potential)[0] != bits)
    return torch.stack(wrong)


def _period(path: Tensor) -> Tensor:
    """Samples since each pair of `(time, pairs, 2)` was last where it is at the end, `(pairs,)`; 0 if it never was."""
    there = (path[:-1] == path[-1]).all(-1).flip(0)
    return torch.where(there.any(0), 1 + there.int().argmax(0), 0)


@torch.no_grad()
def faulty(cell: FlipFlop, share: float, seed: int = 0) -> FlipFlop:
    """The cell itself, every physical parameter of every neuron multiplied by 1 + `share` times a number drawn evenly from [-1, 1].

    Raises:
        ValueError: a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"expected a share in [0, 1), so that no parameter changes its sign, got {share}")
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for name in cell.parameter_names():
        value = cell.value(name)
        values[name] = value * (1 + share * (2 * torch.rand(value.shape, generator=generator, dtype=value.dtype) - 1))
    return cell.assign(values)
