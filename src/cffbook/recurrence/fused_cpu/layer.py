"""A whole memory layer of independent flip-flops, map, pass over time, map, by pieces of time that stay in the processor's cache.

Input lines, potentials and their gradients are never there for more than a piece: the way back draws the lines and runs the
flip-flops once more, from the potentials before every few samples. Kept are these, a small part of the outputs' size.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cffbook.recurrence.forms import Pairs
from cffbook.recurrence.fused_cpu.arithmetic import np
from cffbook.recurrence.fused_cpu.operators import differentiate, operator, refuse
from cffbook.recurrence.fused_cpu.pairs_backward import backward
from cffbook.recurrence.fused_cpu.pairs_forward import LANES, VALUES, chunk_of, forward
from cffbook.recurrence.fused_cpu.pool import share

ROWS = 512  # samples of all sequences in a piece


class Maps(NamedTuple):
    """Weights and biases of the map from inputs to lines, and of that from potentials to outputs, and which potentials these are.

    Args:
        to_lines, lines_bias: `(lines, d_model)` and `(lines,)`, as in `nn.Linear`.
        to_outputs, outputs_bias: `(d_model, held)` and `(d_model,)`.
        both: the potentials of both neurons, side by side for each pair, are held; else those of the first ones.
    """

    to_lines: Tensor
    lines_bias: Tensor
    to_outputs: Tensor
    outputs_bias: Tensor
    both: bool


def run(form: Pairs, unfolds: int, maps: Maps, ways: int, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None):
    """Outputs `(batch, time, d_model)` and the last potentials; `ways` is 2 where the second half of the pairs runs backwards in time."""
    if lengths is None:
        lengths = torch.full((inputs.shape[0],), inputs.shape[1])
    arguments = inputs, form.values, *maps[:4], potential, elapsed, lengths
    return fused_layer(*arguments, unfolds, form.steered, form.shared, maps.both, ways)[:2]


def roomy(*shape: int, like: Tensor) -> Tensor:
    """An empty tensor in memory that the system hands out by large pages, which numpy asks it for."""
    return torch.from_numpy(np.empty(shape, {torch.float32: np.float32, torch.float64: np.float64}[like.dtype]))


class _Way:
    """One direction of time: its flip-flops, and what maps to and from them."""

    def __init__(self, k: int, ways: int, both: bool, w_in, b_in, values, w_out, potential):
        pairs = values.shape[1]
        self.part = slice(k * pairs // ways, (k + 1) * pairs // ways)
        self.turned, self.pairs, self.lines = k == 1, pairs // ways, w_in.shape[0] // pairs
        rows = slice(self.part.start * self.lines, self.part.stop * self.lines)
        self.rows, self.w_in, self.b_in = rows, w_in[rows], b_in[rows]
        self.values = values[:, self.part].contiguous().numpy()
        self.readers = [each[:, self.part].contiguous() for each in w_out.unflatten(1, (pairs, -1)).unbind(2)]
        self.potential = potential[:, self.part]


class _Pieces:
    """How sequences and samples are cut."""

    def __init__(self, batch: int, time: int, pairs: int, unfolds: int):
        self.batch, self.time, self.chunk = batch, time, chunk_of(unfolds)
        self.together = min(batch, max(1, 2 * LANES // pairs))
        self.samples = max(1, ROWS // self.together // self.chunk) * self.chunk
        self.count = -(-time // self.samples)
        self.marks = self.count * self.samples // self.chunk

    def each(self, turned: bool):
        """Number, first sample and end of every piece."""
        for k in range(self.count):
            first, end = k * self.samples, min(self.time, (k + 1) * self.samples)
            yield k, *((self.time - end, self.time - first) if turned else (first, end))

    def groups(self, first: int, end: int):
        """First sequence and end of every group."""
        for begin in range(first, end, self.together):
            yield begin, min(end, begin + self.together)

    def at(self, marks: Tensor, k: int, first: int, end: int, pairs: int) -> Tensor:
        """The marks `(chunks, sequences, pairs, 2)` of a piece of a group."""
        chunks = self.samples // self.chunk
        size = (end - first) * pairs * 2
        flat = marks.view(-1)[first * self.marks * pairs * 2 :]
        return flat[k * chunks * size : (k + 1) * chunks * size].view(chunks, end - first, pairs, 2)


def _shape(buffer: Tensor, *shape: int) -> Tensor:
    return buffer[: shape[0] * shape[1] * shape[2]].view(shape)


def _serve(pieces: _Pieces, work, size: int) -> None:
    """Call `work(first, end, share)` on sequences, several at a time where that keeps all threads busy."""
    workers = torch.get_num_threads()
    if workers > 1 and -(-pieces.batch // workers) * workers <= 1.25 * pieces.batch:
        share(lambda first, end: work(first, end, _alone), pieces.batch, size)
    else:
        work(0, pieces.batch, share)


def _alone(kernel, parts: int, work: int) -> None:
    kernel(0, parts)


def _forward(
    inputs: Tensor, values: Tensor, w_in: Tensor, b_in: Tensor, w_out: Tensor, b_out: Tensor, potential: Tensor, elapsed: Tensor,
    lengths: Tensor, unfolds: int, steered: bool, shared: bool, both: bool, ways: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Outputs, the last potentials, and marks."""
    inputs, values, w_in, b_in, w_out, b_out, potential, elapsed = (
        each.detach() for each in (inputs.contiguous(), values, w_in, b_in, w_out, b_out, potential, elapsed)
    )
    batch, time, width = inputs.shape
    directions = [_Way(k, ways, both, w_in, b_in, values, w_out, potential) for k in range(ways)]
    pairs = directions[0].pairs
    pieces = _Pieces(batch, time, pairs, unfolds)
    outputs, last = roomy(batch, time, w_out.shape[0], like=inputs), potential.clone(memory_format=torch.contiguous_format)
    marks = inputs.new_empty(ways, batch, pieces.marks, pairs, 2)
    times = elapsed.expand(batch, -1, pairs, 2).numpy()
    lengths = lengths.numpy()

    def work(begin: int, stop: int, share) -> None:
        rows = pieces.together * pieces.samples
        room = [inputs.new_empty(rows * size) for size in (pairs * directions[0].lines, pairs, pairs)]
        for way, marked in zip(directions, marks, strict=True):
            to_lines, readers = way.w_in.t(), [each.t() for each in way.readers]
            for a, b in pieces.groups(begin, stop):
                state = way.potential[a:b].clone(memory_format=torch.contiguous_format)
                for k, s, e in pieces.each(way.turned):
                    n, c = b - a, e - s
                    lines, own, other = (_shape(each, n, c, size) for each, size in zip(room, (pairs * way.lines, pairs, pairs), strict=True))
                    torch.baddbmm(way.b_in, inputs[a:b, s:e], to_lines.expand(n, -1, -1), out=lines)
                    arrays = (
                        lines.view(n, c, pairs, way.lines).numpy(), way.values, state.numpy(), times[a:b, s:e] if times.shape[1] > 1 else times[a:b],
                        np.clip(lengths[a:b] - s, 0, c), unfolds, steered, shared, way.turned, own.numpy(), other.numpy(), state.numpy(),
                        pieces.at(marked, k, a, b, pairs).numpy(),
                    )
                    share(lambda f, g, arrays=arrays: forward(f, g, *arrays), -(-n * pairs // LANES), n * c * pairs * unfolds)
                    target = outputs[a:b, s:e]
                    for held, reader, first in zip((own, other), readers, (not way.turned, False), strict=False):
                        torch.baddbmm(b_out if first else target, held, reader.expand(n, -1, -1), out=target)
                last[a:b, way.part] = state

    _serve(pieces, work, batch * time * pairs * unfolds * ways)
    return outputs, last, marks


def _backward(
    given: Tensor, g_last: Tensor, inputs: Tensor, values: Tensor, w_in: Tensor, b_in: Tensor, w_out: Tensor, elapsed: Tensor,
    lengths: Tensor, marks: Tensor, unfolds: int, steered: bool, shared: bool, both: bool, ways: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of inputs, values, the maps' weights and biases, and the potential."""
    given, g_last, inputs, values, w_in, b_in, w_out, elapsed, marks = (
        each.detach() for each in (given, g_last, inputs.contiguous(), values, w_in, b_in, w_out, elapsed, marks)
    )
    batch, time, width = inputs.shape
    directions = [_Way(k, ways, both, w_in, b_in, values, w_out, g_last) for k in range(ways)]
    pairs = directions[0].pairs
    pieces = _Pieces(batch, time, pairs, unfolds)
    g_inputs, g_start = roomy(batch, time, width, like=inputs), torch.empty_like(g_last, memory_format=torch.contiguous_format)
    times = elapsed.expand(batch, -1, pairs, 2).numpy()
    lengths = lengths.numpy()
    nothing, untimed = inputs.new_empty(0, 0, 0).numpy(), inputs.new_empty(0, 0, 0, 0).numpy()
    results = []

    def work(begin: int, stop: int, share) -> None:
        rows, size = pieces.together * pieces.samples, pairs * directions[0].lines
        room = [inputs.new_empty(rows * each) for each in (size, pairs, pairs, pairs, pairs, w_out.shape[0])]
        g_w_in, g_b_in, g_w_out = torch.zeros_like(w_in), torch.zeros_like(b_in), [torch.zeros(w_out.shape[0], values.shape[1], dtype=w_out.dtype) for _ in range(1 + both)]
        g_b_out = w_out.new_zeros(w_out.shape[0])
        g_values = torch.zeros_like(values)
        ones = inputs.new_ones(rows)
        for way, marked in zip(directions, marks, strict=True):
            to_lines = way.w_in.t()
            for a, b in pieces.groups(begin, stop):
                n = b - a
                blocks = -(-n * pairs // LANES)
                sums = torch.zeros(blocks, VALUES * LANES, dtype=torch.float64)
                state = way.potential[a:b].clone(memory_format=torch.contiguous_format)
                for k, s, e in reversed(list(pieces.each(way.turned))):
                    c = e - s
                    lines, own, other, g_own, g_other, out = (_shape(each, n, c, m) for each, m in zip(room, (size, pairs, pairs, pairs, pairs, w_out.shape[0]), strict=True))
                    x = inputs[a:b, s:e]
                    out.copy_(given[a:b, s:e])
                    torch.baddbmm(way.b_in, x, to_lines.expand(n, -1, -1), out=lines)
                    for g, reader in zip((g_own, g_other), way.readers, strict=False):
                        torch.bmm(out, reader.expand(n, -1, -1), out=g)
                    shaped = lines.view(n, c, pairs, way.lines).numpy()
                    arrays = (
                        shaped, way.values, times[a:b, s:e] if times.shape[1] > 1 else times[a:b], np.clip(lengths[a:b] - s, 0, c),
                        unfolds, steered, shared, way.turned, pieces.at(marked, k, a, b, pairs).numpy(), own.numpy(), other.numpy(),
                        g_own.numpy(), g_other.numpy() if both else nothing, state.numpy(), shaped, state.numpy(), untimed, sums.numpy(),
                    )
                    share(lambda f, g, arrays=arrays: backward(f, g, *arrays), blocks, 3 * n * c * pairs * unfolds)
                    flat, flat_out = lines.view(n * c, size), out.view(n * c, -1)
                    for held, g_w in zip((own, other), g_w_out, strict=False):
                        g_w[:, way.part].addmm_(flat_out.t(), held.view(n * c, pairs))
                    g_b_in[way.rows].addmv_(flat.t(), ones[: n * c])
                    if not way.turned:
                        g_b_out.addmv_(flat_out.t(), ones[: n * c])
                    torch.addbmm(g_w_in[way.rows], lines.transpose(1, 2), x, out=g_w_in[way.rows])
                    target = g_inputs[a:b, s:e]
                    if way.turned:
                        torch.baddbmm(target, lines, way.w_in.expand(n, -1, -1), out=target)
                    else:
                        torch.bmm(lines, way.w_in.expand(n, -1, -1), out=target)
                g_start[a:b, way.part] = state
                lanes = sums.reshape(-1, VALUES, LANES).transpose(0, 1).flatten(1)[:, : n * pairs]
                g_values[:, way.part] += lanes.reshape(-1, 2, n, pairs).sum(2).transpose(1, 2).to(values.dtype)
        results.append((g_values, g_w_in, g_b_in, torch.stack(g_w_out, 2).flatten(1), g_b_out))

    _serve(pieces, work, 3 * batch * time * pairs * unfolds * ways)
    return g_inputs, *(sum(each) for each in zip(*results, strict=True)), g_start


def _like_forward(inputs, values, w_in, b_in, w_out, b_out, potential, elapsed, lengths, unfolds, steered, shared, both, ways):
    pieces = _Pieces(inputs.shape[0], inputs.shape[1], values.shape[1] // ways, unfolds)
    last = torch.empty_like(potential, memory_format=torch.contiguous_format)
    marks = inputs.new_empty(ways, inputs.shape[0], pieces.marks, values.shape[1] // ways, 2)
    return inputs.new_empty(*inputs.shape[:2], w_out.shape[0]), last, marks


def _like_backward(given, g_last, inputs, values, w_in, b_in, w_out, elapsed, lengths, marks, unfolds, steered, shared, both, ways):
    return (*(each.new_empty(each.shape) for each in (inputs, values, w_in, b_in, w_out)), w_out.new_empty(w_out.shape[0]), g_last.new_empty(g_last.shape))


fused_layer = operator("fused_layer", _forward, _like_forward)
fused_layer_backward = operator("fused_layer_backward", _backward, _like_backward)


def _keep(ctx, inputs, output):
    *tensors, ctx.unfolds, ctx.steered, ctx.shared, ctx.both, ctx.ways = inputs
    x, values, w_in, b_in, w_out, _, _, elapsed, lengths = tensors
    ctx.save_for_backward(x, values, w_in, b_in, w_out, elapsed, lengths, output[2])
    ctx.mark_non_differentiable(output[2])


def _differentiate(ctx, given, last, _):
    options = ctx.unfolds, ctx.steered, ctx.shared, ctx.both, ctx.ways
    g_inputs, g_values, g_w_in, g_b_in, g_w_out, g_b_out, g_start = fused_layer_backward(given, last, *ctx.saved_tensors, *options)
    return g_inputs, g_values, g_w_in, g_b_in, g_w_out, g_b_out, g_start, *(None,) * 7


differentiate("fused_layer", _differentiate, _keep)
refuse("fused_layer_backward")
