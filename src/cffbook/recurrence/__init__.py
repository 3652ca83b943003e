"""One door to every way of running a circuit over time: `unroll(cell, inputs, ..., backend=)`.

`sequential` is the definition. A backend named explicitly runs or raises; only `auto` chooses.

A *cell* is a module with `state_shape`, `solver` and `circuit()`; a *circuit* holds the physical values of its
parameters as tensors and gives `capacitance`, `sense(inputs)` and `rate(drive, potential)`.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from cffbook.recurrence.checks import blank_padding, check_inputs, prepare, real, without_autocast
from cffbook.recurrence.choice import check_backend, choose, find, names
from cffbook.recurrence.forms import Layout, Network, Pairs, Synaptic
from cffbook.recurrence.mapped import unroll_mapped

__all__ = ["Cell", "Circuit", "Layout", "Network", "Pairs", "Synaptic", "blank_padding", "check_backend", "choose", "names", "real", "unroll",
           "unroll_mapped"]


class Circuit(Protocol):
    """Physical values of a circuit's parameters, frozen for a sequence."""

    capacitance: Tensor

    def sense(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """What the inputs `(batch, time, ...)` do, as far as it does not depend on the state."""

    def rate(self, drive: tuple[Tensor, ...], potential: Tensor) -> tuple[Tensor, Tensor]:
        """(G, I) at `potential` `(batch, *state_shape)` under the drive of one sample."""


class Cell(Protocol):
    """What `unroll` runs: parameters, a state shape and a solver.

    One of flip-flops also has `tile_size`, how many neighbours lateral synapses join at most (0 where there are none, None
    where they have gates of their own), and where there are some `tiles(size)`, the form by blocks of them.
    """

    state_shape: tuple[int, ...]
    input_shape: tuple[int, ...]
    solver: Any

    def circuit(self) -> Circuit:
        """The physical values of the parameters now."""

    def form(self) -> Pairs | Network:
        """The same values as arrays for the fused and parallel backends."""


def unroll(
    cell: Cell,
    inputs: Tensor,
    potential: Tensor | None = None,
    elapsed: Tensor | float = 1.0,
    lengths: Tensor | None = None,
    backend: str = "auto",
    first: bool = False,
) -> tuple[Tensor, Tensor]:
    """Run a cell over a batch of sequences.

    Args:
        cell: an LTC, flip-flop or memory cell.
        inputs: `(batch, time, *cell.input_shape)`.
        potential: `(batch, *cell.state_shape)` at the start, or None for zeros.
        elapsed: time since the last sample, in samples: a number, `(batch,)`, `(batch, time)` or, where parts of the
            state keep times of their own, `(batch, time, *state_shape)` up to broadcasting. The solver cuts each into as
            many unfolds whatever its length: after a gap of many time constants give it more, or a latch may tip over.
        lengths: `(batch,)` number of real samples; later ones are padding, which changes nothing.
        backend: a name of `names()`, or "auto". The fused ones give gradients but not those of gradients: for these, name
            "sequential".
        first: of flip-flops give the potentials of neuron a alone, `(batch, time, pairs)`, which are the CFFs' outputs.

    Returns:
        Potentials `(batch, time, *state_shape)`, zero where padded, and the last real ones `(batch, *state_shape)`.

    Raises:
        ValueError: a shape, a length, an elapsed time or the backend's name does not fit.
    """
    check_inputs(inputs, cell.input_shape)
    module = find(choose(cell, inputs) if backend == "auto" else backend)
    reason = module.refusal(cell, inputs)
    if reason is not None:
        raise ValueError(f"backend {backend!r} {reason}")
    with without_autocast(inputs.device.type):
        arguments = prepare(cell, inputs, potential, elapsed, lengths)
        if first and hasattr(module, "run_first"):
            return module.run_first(cell, *arguments)
        potentials, last = module.run(cell, *arguments)
        return (potentials[..., 0] if first else potentials), last
