"""Chunks of time side by side: cut, run as rows of a batch or as single pairs on another backend, and joined again."""

from types import ModuleType

import torch
from torch import Tensor

from cffbook.recurrence.choice import find, installed
from cffbook.recurrence.pairs import FrozenPairs, Pairs


def engine_for(name: str, cell, inputs: Tensor) -> tuple[str, ModuleType]:
    """The backend that runs the chunks: the named one, or by "auto" the fused one of the device, else `sequential`.

    Raises:
        ValueError: the named one cannot run this cell, or would itself be parallel in time.
    """
    if name == "auto":
        fused, needs = ("fused_gpu", "triton") if inputs.is_cuda else ("fused_cpu", "numba")
        name = fused if installed(needs) and find(fused).refusal(cell, inputs) is None else "sequential"
    if name in ("basins", "newton"):
        raise ValueError(f"engine must run one sample after another, got {name!r}: choose 'auto', 'sequential' or a fused one")
    reason = find(name).refusal(cell, inputs)
    if reason is not None:
        raise ValueError(f"engine {name!r} {reason}")
    return name, find(name)


def cut(values: Tensor, chunks: int, length: int) -> Tensor:
    """`(batch, time, ...)` as `(chunks, batch, length, ...)`, with zeros after the end; a time of 1 for all stays `(1, batch, 1, ...)`."""
    batch, time = values.shape[:2]
    if time == 1 and chunks * length > 1:
        return values[None]
    missing = values.new_zeros(batch, chunks * length - time, *values.shape[2:])
    return torch.cat((values, missing), 1).unflatten(1, (chunks, length)).transpose(0, 1)


def join(parts: Tensor, time: int) -> Tensor:
    """`(chunks, batch, length, ...)` as `(batch, time, ...)`."""
    return parts.transpose(0, 1).flatten(1, 2)[:, :time]


class Chunks:
    """Runs chunks of time of independent flip-flops.

    Args:
        module: the backend that runs them.
        solver: advances a sample.
        form: values of the pairs.
        inputs: `(chunks, batch, length, pairs[, 2])`.
        elapsed: the same up to broadcasting, with a last axis of neurons.
    """

    def __init__(self, module: ModuleType, solver, form: Pairs, inputs: Tensor, elapsed: Tensor):
        self.module, self.solver, self.form, self.inputs, self.elapsed = module, solver, form, inputs, elapsed

    def all(self, starts: Tensor) -> Tensor:
        """Potentials `(chunks, batch, length, pairs, 2)` of all chunks from starts `(chunks, batch, pairs, 2)`."""
        return self._rows(self.inputs, starts, self.elapsed)[0].unflatten(0, self.inputs.shape[:2])

    def ends(self, starts: Tensor) -> Tensor:
        """Ends `(2, chunks, batch, pairs, 2)` of all chunks from two starts each; the first chunk has one start only."""
        first, rest = starts[0, :1], starts[:, 1:]
        inputs = torch.cat((self.inputs, self.inputs[1:]))
        elapsed = self.elapsed if len(self.elapsed) == 1 else torch.cat((self.elapsed, self.elapsed[1:]))
        ends = self._rows(inputs, torch.cat((first, rest[0], rest[1])), elapsed)[1].unflatten(0, inputs.shape[:2])
        count = len(self.inputs)
        return torch.stack((ends[:count], torch.cat((ends[:1], ends[count:]))))

    def before(self, corners: Tensor, samples: int) -> Tensor:
        """Potentials `(2, chunks - 1, batch, pairs, 2)` after the samples before each chunk but the first, from two corners."""
        count, batch = self.inputs.shape[:2]
        starts = corners[:, None, None].expand(2, count - 1, batch, -1, -1)
        if samples == 0:
            return starts.clone()
        inputs = self._preceding(self.inputs, samples)
        elapsed = self._preceding(self.elapsed, samples) if len(self.elapsed) > 1 else self.elapsed
        inputs = torch.cat((inputs, inputs))
        elapsed = elapsed if len(elapsed) == 1 else torch.cat((elapsed, elapsed))
        return self._rows(inputs, starts.flatten(0, 1), elapsed)[1].unflatten(0, (2, count - 1, batch))

    def some(self, where: tuple[Tensor, Tensor, Tensor], starts: Tensor) -> Tensor:
        """Potentials `(n, length, 2)` of single pairs, where = (chunk, sequence, pair), each `(n,)`, from starts `(n, 2)`."""
        chunk, row, pair = where
        inputs = self.inputs[chunk, row, :, pair].transpose(0, 1)[None]  # (1, L, n[, 2])
        sizes, elapsed = self.elapsed.shape, self.elapsed[0]
        if elapsed.shape[:3] != (1, 1, 1) or len(self.elapsed) > 1:
            at = [index if sizes[axis] > 1 else torch.zeros_like(index) for axis, index in ((0, chunk), (1, row), (3, pair))]
            elapsed = self.elapsed[at[0], at[1], :, at[2]].transpose(0, 1)[None]  # (1, L or 1, n, 2 or 1)
            elapsed = elapsed.expand(1, inputs.shape[1], -1, -1)
        cell = FrozenPairs(self.form._replace(values=self.form.values[:, pair]), self.solver)
        return self.module.run(cell, inputs.contiguous(), starts[None], elapsed, None)[0][0].transpose(0, 1)

    def _preceding(self, parts: Tensor, samples: int) -> Tensor:
        """The samples before each chunk but the first, `(chunks - 1, batch, samples, ...)`; zeros before the beginning: it is a guess."""
        length = parts.shape[2]
        whole = parts.transpose(0, 1).flatten(1, 2)[:, :-length]
        padded = torch.cat((whole.new_zeros(len(whole), samples, *whole.shape[2:]), whole), 1)
        windows = padded[:, length:].unfold(1, samples, length)  # (B, K-1, ..., samples)
        return windows.movedim(-1, 2).transpose(0, 1)

    def _rows(self, inputs: Tensor, starts: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        """All chunks as rows of one batch; a single elapsed time stays one."""
        count, batch = inputs.shape[:2]
        if elapsed.shape[:2] == (1, 1):
            elapsed = elapsed[0]
        else:
            elapsed = elapsed.expand(count, batch, *elapsed.shape[2:]).flatten(0, 1)
        cell = FrozenPairs(self.form, self.solver)
        return self.module.run(cell, inputs.flatten(0, 1), starts.flatten(0, 1), elapsed, None)
