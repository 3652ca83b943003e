"""Parallel in time by the two basins of a flip-flop: every chunk of time is run from both held states, then the true one is selected.

Before each chunk, W samples are run from the corners (low, high) and (high, low) of the hull: two candidate starts s, and
by a run of the chunk two candidate ends e. The true start of a chunk is the end of the chunk before, so that::

    m_k(i) = argmin_j |e_{k-1,i} - s_{k,j}|          true candidate of chunk k: (m_k o ... o m_1)(0)              (select)

a scan over maps of a finite set, as one runs a finite automaton in parallel. All chunks are then run from the ends so selected,
and those whose start is not the end of the chunk before are run again, with their runs as further candidates, until all fit.
Source: Ladner and Fischer 1980, who run a finite automaton so; the way back is in `basins_adjoint`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cffbook.recurrence import pairs
from cffbook.recurrence.basins_adjoint import Along
from cffbook.recurrence.basins_chunks import Chunks, cut, engine_for, join
from cffbook.recurrence.checks import prepare
from cffbook.recurrence.scan import compose

LANES = 131_072  # chunks are not made smaller once they give this many flip-flops to run side by side


class Basins(NamedTuple):
    """A run and how it went.

    Args:
        potentials: `(batch, time, pairs, 2)`, zero where padded.
        last: `(batch, pairs, 2)`, the last real ones.
        chunks: number of chunks.
        reruns: (chunk, sequence, pair) whose true start was farther than the tolerance from every run made of it till then, each time it was.
        distance: largest distance between a true start and the nearer of its two candidates, when first selected.
        gap: largest distance left between the start of a chunk and the end of the one before.
        engine: name of the backend that ran the chunks.
    """

    potentials: Tensor
    last: Tensor
    chunks: int
    reruns: int
    distance: float
    gap: float
    engine: str


def refusal(cell, inputs: Tensor) -> str | None:
    """Why this backend cannot run a cell: it needs independent flip-flops and the semi-implicit solver."""
    return pairs.refusal(cell)


def run(cell, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Potentials `(batch, time, pairs, 2)` and the last ones; see `unroll`, which checks and prepares the arguments."""
    found = _solve(cell, inputs, potential, elapsed, lengths, None, 256, None, "auto")
    return found.potentials, found.last


def solve(
    cell,
    inputs: Tensor,
    potential: Tensor | None = None,
    elapsed: Tensor | float = 1.0,
    lengths: Tensor | None = None,
    chunks: int | None = None,
    burn_in: int = 256,
    tolerance: float | None = None,
    engine: str = "auto",
) -> Basins:
    """Run independent flip-flops in chunks of time side by side, exactly, and say how it went.

    Args:
        cell, inputs, potential, elapsed, lengths: as for `unroll`.
        chunks: how many; None gives each at least twice the burn-in.
        burn_in: samples before a chunk from which its candidates come.
        tolerance: distance at which a start counts as one of the candidates; None is 8 units of rounding, 1e-6 in float32. The starts of
            the result fit eight times better, since a pair that is switching amplifies what is left.
        engine: the backend that runs the chunks; "auto" takes the fused one of the device if it is there, else `sequential`.

    Raises:
        ValueError: an argument does not fit, or the cell is not of independent flip-flops.
    """
    reason = refusal(cell, inputs)
    if reason is not None:
        raise ValueError(f"backend 'basins' {reason}")
    if (chunks is not None and chunks < 1) or burn_in < 0 or (tolerance is not None and not tolerance > 0):
        raise ValueError(
            f"chunks must be at least 1, burn_in at least 0 and tolerance positive, got {chunks}, {burn_in} and {tolerance}: "
            "leave them at their defaults"
        )
    with torch.autocast(inputs.device.type, enabled=False):
        return _solve(cell, *prepare(cell, inputs, potential, elapsed, lengths), chunks, burn_in, tolerance, engine)


def _solve(cell, inputs, potential, elapsed, lengths, chunks, burn_in, tolerance, engine) -> Basins:
    form = cell.form()
    batch, time, count = *inputs.shape[:2], form.values.shape[1]
    name, module = engine_for(engine, cell, inputs)
    if batch == 0 or time == 0:
        return Basins(potential.new_zeros(batch, time, count, 2), potential, 0, 0, 0.0, 0.0, name)
    if chunks is None:
        chunks = max(1, min(time // max(2 * burn_in, 1), LANES // (batch * count)))
    length = -(-time // min(chunks, time))
    chunks = -(-time // length)  # with a whole number of samples in each, fewer may do
    if tolerance is None:
        tolerance = 8 * torch.finfo(inputs.dtype).eps
    first = torch.arange(chunks, device=inputs.device)[:, None] * length
    alive = (first < (time if lengths is None else lengths)).expand(-1, batch)  # a chunk of padding alone starts anywhere
    plan = Search(module, cell.solver, form.steered, form.shared, burn_in, tolerance, alive)
    parts = cut(inputs, chunks, length), cut(elapsed, chunks, length)
    found, reruns, distance, gap = Along.apply(plan, form.values, parts[0], potential, parts[1])
    potentials, last = pairs.finish(join(found, time), potential, lengths)
    return Basins(potentials, last, chunks, int(reruns), float(distance), float(gap), name)


class Search:
    """Finds the true start of every chunk; what it holds is the same for the way back."""

    def __init__(self, module, solver, steered: bool, shared: bool, burn_in: int, tolerance: float, alive: Tensor):
        self.module, self.solver, self.steered, self.shared = module, solver, steered, shared
        self.burn_in, self.tolerance, self.alive = burn_in, tolerance, alive

    def chunks(self, values: Tensor, inputs: Tensor, elapsed: Tensor) -> Chunks:
        """The runner of chunks of these values and inputs."""
        return Chunks(self.module, self.solver, pairs.Pairs(values, self.steered, self.shared), inputs, elapsed)

    def __call__(self, values: Tensor, inputs: Tensor, start: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor, int, float, float]:
        """Starts `(chunks, batch, pairs, 2)`, potentials `(chunks, batch, length, pairs, 2)`, re-runs, first distance and last gap."""
        runner, count = self.chunks(values, inputs, elapsed), len(inputs)
        if count == 1:
            return start[None], runner.all(start[None]), 0, 0.0, 0.0
        starts, ends = self._candidates(runner, start)
        true, distance = _select(starts, ends, start)
        alive = self.alive[..., None]  # (K, B, 1) against pairs
        far = (distance > self.tolerance) & alive
        reruns, first = int(far.sum()), float(torch.where(alive, distance, 0).amax())
        potentials = runner.all(true)  # the confirming sweep; it also runs those that are far from their candidates
        starts, ends = torch.cat((true[None], starts)), torch.cat((potentials[:, :, -1][None], ends))
        while True:
            true, _ = _select(starts, ends, start)
            gap = torch.where(alive, _apart(true, starts[0]), 0)
            far = gap > self.tolerance / 8
            if not far.any():
                return starts[0], potentials, reruns, first, float(gap.amax())
            # All that do not fit are run side by side; once that was the work of two whole runs, the first of each pair, which then is
            # exact for good: never more than about one run of the whole on top.
            if reruns > 2 * far.numel():
                far = far & (far.cumsum(0) == 1)
            where = far.nonzero(as_tuple=True)
            again = runner.some(where, true[where])
            potentials[where[0], where[1], :, where[2]] = again
            starts[0][where], ends[0][where] = true[where], again[:, -1]
            reruns += len(where[0])

    def _candidates(self, runner: Chunks, start: Tensor) -> tuple[Tensor, Tensor]:
        """Two starts and two ends of every chunk, `(2, chunks, batch, pairs, 2)`; the first chunk's are the true ones."""
        low, high = pairs.hull(runner.form.values)
        corners = torch.stack((torch.cat((low, high), -1), torch.cat((high, low), -1)))  # (2, P, 2)
        burnt = runner.before(corners, self.burn_in)  # (2, K-1, B, P, 2)
        starts = torch.cat((start[None, None].expand(2, 1, -1, -1, -1), burnt), 1)
        return starts, runner.ends(starts)


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """Largest distance of the two neurons; NaN is NaN's equal, and infinitely far from a number."""
    distance = torch.where((one == other) | (one.isnan() & other.isnan()), 0, (one - other).abs())
    return distance.nan_to_num(nan=torch.inf).amax(-1)


def _select(starts: Tensor, ends: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """True start of every chunk and its distance to the nearest candidate; candidates `(n, chunks, batch, pairs, 2)`."""
    apart = _apart(ends[:, None, :-1], starts[None, :, 1:])  # (from, to, K-1, B, P)
    nearest = apart.argmin(1).transpose(0, 1)  # (K-1, from, B, P)  # eq. select
    chosen = compose(nearest)[:, :1]  # all candidates of the first chunk are the same
    chosen = torch.cat((torch.zeros_like(chosen[:1]), chosen)).transpose(0, 1)  # (1, K, B, P)
    true = ends[:, :-1].gather(0, chosen[:, :-1, ..., None].expand(-1, -1, -1, -1, 2))[0]
    reach = apart.amin(1).gather(0, chosen[:, :-1])[0]
    return torch.cat((start[None], true)), torch.cat((torch.zeros_like(reach[:1]), reach))
