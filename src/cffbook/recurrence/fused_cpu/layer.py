"""A whole memory layer of independent flip-flops: map, pass over time, map, by pieces of time that stay in the processor's cache.

Input lines, potentials and their gradients are never there for more than a piece: the way back makes the lines once more and runs
the flip-flops again from potentials that were marked every few samples. Kept are these marks, a small part of the outputs' size.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from cffbook.recurrence.fused_cpu.arithmetic import np
from cffbook.recurrence.fused_cpu.operators import differentiate, operator, refuse
from cffbook.recurrence.fused_cpu.pairs import roomy, sum_lanes
from cffbook.recurrence.fused_cpu.pairs_backward import backward
from cffbook.recurrence.fused_cpu.pairs_forward import LANES, VALUES, chunk_of, forward
from cffbook.recurrence.fused_cpu.pool import alone, share

ROWS = 1024  # samples of all sequences in a piece, whose arrays then fill a core's second cache in float32 at 128 flip-flops


class Way:
    """One direction of time: its flip-flops, what maps to and from them, and how sequences and samples are cut.

    Args:
        k: 0 for time as it runs, 1 for backwards in time; all else are the operator's arguments, detached.
    """

    def __init__(self, k: int, inputs, values, w_in, b_in, w_out, elapsed, lengths, unfolds, steered, shared, ways):
        self.inputs, self.turned, self.pairs = inputs, k == 1, values.shape[1] // ways
        self.part, lines = slice(k * self.pairs, (k + 1) * self.pairs), w_in.shape[0] // values.shape[1]
        self.rows = slice(self.part.start * lines, self.part.stop * lines)
        self.w_in, self.b_in, self.size = w_in[self.rows], b_in[self.rows], self.pairs * lines
        self.readers = [each[:, self.part].contiguous() for each in w_out.unflatten(1, (values.shape[1], -1)).unbind(2)]
        self.values, self.lengths = values[:, self.part].contiguous().numpy(), lengths.numpy()
        self.times = elapsed.expand(inputs.shape[0], -1, self.pairs, 2).numpy()
        self.options = unfolds, steered, shared, self.turned
        self.chunks, self.samples, self.together = cut(*inputs.shape[:2], self.pairs, unfolds)

    def groups(self, first: int, end: int) -> Iterator[slice]:
        """Sequences from `first` up to `end`, so many together that they fill the lanes and a piece."""
        for begin in range(first, end, self.together):
            yield slice(begin, min(end, begin + self.together))

    def pieces(self) -> list[slice]:
        """Samples of every piece, in the order in which time runs here."""
        time = self.inputs.shape[1]
        found = [slice(begin, min(time, begin + self.samples)) for begin in range(0, time, self.samples)]
        return [slice(time - each.stop, time - each.start) for each in found] if self.turned else found

    def room(self, *sizes: int) -> list[Tensor]:
        """Memory for arrays of a piece with so many numbers a sample."""
        return [self.inputs.new_empty(self.together * self.samples, size) for size in sizes]

    def lines(self, group: slice, piece: slice, target: Tensor) -> None:
        """The input lines of a piece."""
        inputs = self.inputs[group, piece]
        torch.baddbmm(self.b_in, inputs, self.w_in.t().expand(len(inputs), -1, -1), out=target)

    def arrays(self, group: slice, piece: slice, lines: Tensor) -> tuple:
        """What both kernels need: lines `(sequences, samples, pairs, lines)`, times and lengths of a piece."""
        times = self.times[group, piece] if self.times.shape[1] > 1 else self.times[group]
        lengths = np.clip(self.lengths[group] - piece.start, 0, piece.stop - piece.start)
        return lines.unflatten(2, (self.pairs, -1)).numpy(), times, lengths

    def marks(self, marks: Tensor, group: slice, i: int) -> tuple:
        """Where the kernels find the marks of piece `i`."""
        return marks.numpy(), group.start, i * self.chunks


def cut(batch: int, time: int, pairs: int, unfolds: int) -> tuple[int, int, int]:
    """Chunks between marks in a piece, its samples, and how many sequences go together."""
    together = max(1, min(batch, max(2 * LANES // pairs, ROWS // max(1, time))))
    chunks = max(1, ROWS // together // chunk_of(unfolds))
    return chunks, chunks * chunk_of(unfolds), together


def _marked(batch: int, time: int, pairs: int, unfolds: int, ways: int) -> tuple[int, ...]:
    """The shape of all marks."""
    chunks, samples, _ = cut(batch, time, pairs, unfolds)
    return ways, batch, -(-time // samples) * chunks, pairs, 2


def _of(room: list[Tensor], group: slice, piece: slice) -> list[Tensor]:
    """Arrays `(sequences, samples, numbers)` of a piece, which may be smaller than the largest."""
    sequences, samples = group.stop - group.start, piece.stop - piece.start
    return [each[: sequences * samples].view(sequences, samples, -1) for each in room]


def _serve(work: Callable, batch: int, size: int) -> None:
    """Call `work(first, end, share)` on sequences, as many at a time as there are threads where that keeps all of them busy."""
    threads, inference = torch.get_num_threads(), torch.is_inference_mode_enabled()

    def body(first: int, end: int) -> None:
        with torch.inference_mode(inference):  # other threads do not know
            work(first, end, alone)

    if threads > 1 and -(-batch // threads) * threads <= 1.25 * batch:
        share(body, batch, size)
    else:
        work(0, batch, share)


def _forward(
    inputs: Tensor, values: Tensor, w_in: Tensor, b_in: Tensor, w_out: Tensor, b_out: Tensor, potential: Tensor, elapsed: Tensor,
    lengths: Tensor, unfolds: int, steered: bool, shared: bool, ways: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Outputs `(batch, time, d_model)`, the last potentials, and marks."""
    inputs, *rest = _detached(inputs, values, w_in, b_in, w_out, elapsed, lengths)
    b_out, potential = _detached(b_out, potential)
    batch, time, _ = inputs.shape
    outputs, last = roomy(batch, time, w_out.shape[0], like=inputs), torch.empty_like(potential, memory_format=torch.contiguous_format)
    marks = inputs.new_zeros(_marked(batch, time, values.shape[1] // ways, unfolds, ways))

    def work(first: int, end: int, share: Callable) -> None:
        for k in range(ways):
            way = Way(k, inputs, *rest, unfolds, steered, shared, ways)
            room = way.room(way.size, way.pairs, way.pairs)
            for group in way.groups(first, end):
                state = potential[group, way.part].clone(memory_format=torch.contiguous_format)
                for i, piece in enumerate(way.pieces()):
                    lines, *held = _of(room, group, piece)
                    way.lines(group, piece, lines)
                    shaped, times, real = way.arrays(group, piece, lines)
                    kept = (*(each.numpy() for each in held), state.numpy(), *way.marks(marks[k], group, i))
                    arrays = shaped, way.values, state.numpy(), times, real, *way.options, *kept
                    share(_part(forward, arrays), _blocks(shaped), lines.numel() * unfolds)
                    target = outputs[group, piece]
                    for j, (each, reader) in enumerate(zip(held, way.readers, strict=False)):
                        torch.baddbmm(b_out if k == j == 0 else target, each, reader.t().expand(len(each), -1, -1), out=target)
                last[group, way.part] = state

    _serve(work, batch, batch * time * values.shape[1] * unfolds)
    return outputs, last, marks


def _backward(
    given: Tensor, g_last: Tensor, inputs: Tensor, values: Tensor, w_in: Tensor, b_in: Tensor, w_out: Tensor, elapsed: Tensor,
    lengths: Tensor, marks: Tensor, unfolds: int, steered: bool, shared: bool, ways: int, to_inputs: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of inputs, empty where they are not wanted, of values, both maps' weights and biases, and potential."""
    inputs, *rest = _detached(inputs, values, w_in, b_in, w_out, elapsed, lengths)
    g_last, marks = _detached(g_last, marks)
    given, (batch, time, width) = given.detach(), inputs.shape  # one number for all outputs is not written out
    g_inputs, g_start = roomy(batch, time, width, like=inputs) if to_inputs else inputs.new_empty(0), g_last.clone(memory_format=torch.contiguous_format)
    found: list[dict[int, tuple[Tensor, ...]]] = [{} for _ in range(ways)]

    def work(first: int, end: int, share: Callable) -> None:
        for k in range(ways):
            way = Way(k, inputs, *rest, unfolds, steered, shared, ways)
            found[k][first] = _back(way, first, end, share, given, marks[k], g_inputs, g_start)

    _serve(work, batch, 3 * batch * time * values.shape[1] * unfolds)
    summed = [[sum(each) for each in zip(*(one[first] for first in sorted(one)), strict=True)] for one in found]
    g_values, g_w_in, g_b_in, g_w_out = (torch.cat([one[i] for one in summed], d) for i, d in enumerate((1, 0, 0, 1)))
    return g_inputs, g_values, g_w_in, g_b_in, g_w_out.flatten(1), summed[0][4], g_start


def _back(way: Way, first: int, end: int, share: Callable, given: Tensor, marks: Tensor, g_inputs: Tensor, g_start: Tensor) -> tuple[Tensor, ...]:
    """One direction back over some sequences: gradients of values, weights and biases; those of inputs and potentials are written."""
    g_w_in, g_b_in, g_b_out = torch.zeros_like(way.w_in), torch.zeros_like(way.b_in), given.new_zeros(given.shape[2])
    g_readers, g_values = [torch.zeros_like(each) for each in way.readers], torch.zeros(way.values.shape, dtype=given.dtype)
    room, ones = way.room(way.size, given.shape[2], *(way.pairs,) * 4), given.new_ones(way.samples * way.together)
    none, untimed = given.new_empty(0, 0, 0).numpy(), given.new_empty(0, 0, 0, 0).numpy()
    for group in way.groups(first, end):
        state = g_start[group, way.part].contiguous()
        several = len(state)
        sums = torch.zeros(-(-several * way.pairs // LANES), VALUES * LANES, dtype=torch.float64)
        for i, piece in reversed(list(enumerate(way.pieces()))):
            lines, out, *held, g_own, g_other = _of(room, group, piece)
            inputs, flat = way.inputs[group, piece], slice(several * (piece.stop - piece.start))
            way.lines(group, piece, lines)
            out.copy_(given[group, piece])
            for each, reader in zip((g_own, g_other), way.readers, strict=False):
                torch.bmm(out, reader.expand(several, -1, -1), out=each)
            shaped, times, real = way.arrays(group, piece, lines)
            potentials = (*(each.numpy() for each in held), g_own.numpy(), g_other.numpy() if len(way.readers) > 1 else none)
            written = state.numpy(), shaped, state.numpy(), untimed, sums.numpy()
            arrays = shaped, way.values, times, real, *way.options, *way.marks(marks, group, i), *potentials, *written
            share(_part(backward, arrays), len(sums), 3 * lines.numel() * way.options[0])
            for each, g in zip(held, g_readers, strict=False):
                g.addmm_(out.flatten(0, 1).t(), each.flatten(0, 1))
            g_b_out.addmv_(out.flatten(0, 1).t(), ones[flat])
            g_b_in.addmv_(lines.flatten(0, 1).t(), ones[flat])
            torch.addbmm(g_w_in, lines.transpose(1, 2), inputs, out=g_w_in)
            if g_inputs.numel():
                target = g_inputs[group, piece]
                torch.baddbmm(target, lines, way.w_in.expand(several, -1, -1), beta=float(way.turned), out=target)
        g_start[group, way.part] = state
        g_values += sum_lanes(sums, several, way.pairs, given.dtype)
    return g_values, g_w_in, g_b_in, torch.stack(g_readers, 2), g_b_out


def _detached(*tensors: Tensor) -> list[Tensor]:
    """Arrays that autograd does not follow, in rows; nothing is copied that is so already."""
    return [each.detach().contiguous() for each in tensors]


def _part(kernel: Callable, arrays: tuple) -> Callable[[int, int], None]:
    return lambda first, end: kernel(first, end, *arrays)


def _blocks(lines: np.ndarray) -> int:
    return -(-lines.shape[0] * lines.shape[2] // LANES)


def _like_forward(inputs, values, w_in, b_in, w_out, b_out, potential, elapsed, lengths, unfolds, steered, shared, ways):
    marks = inputs.new_empty(_marked(*inputs.shape[:2], values.shape[1] // ways, unfolds, ways))
    return inputs.new_empty(*inputs.shape[:2], w_out.shape[0]), potential.new_empty(potential.shape), marks


def _like_backward(given, g_last, inputs, values, w_in, b_in, w_out, elapsed, lengths, marks, unfolds, steered, shared, ways, to_inputs):
    like = values, w_in, b_in, w_out, w_out[:, 0], g_last
    return inputs.new_empty(inputs.shape if to_inputs else 0), *(each.new_empty(each.shape) for each in like)


fused_layer = operator("fused_layer", _forward, _like_forward)
fused_layer_backward = operator("fused_layer_backward", _backward, _like_backward)


def _keep(ctx, inputs, output):
    values_and_maps, elapsed, lengths, ctx.options = inputs[:5], inputs[7], inputs[8], inputs[9:]
    ctx.save_for_backward(*values_and_maps, elapsed, lengths, output[2])
    ctx.mark_non_differentiable(output[2])


def _differentiate(ctx, given, last, _):
    to_inputs = ctx.needs_input_grad[0]
    first, *gradients = fused_layer_backward(given, last, *ctx.saved_tensors, *ctx.options, to_inputs)
    return first if to_inputs else None, *gradients, *(None,) * 6


differentiate("fused_layer", _differentiate, _keep)
refuse("fused_layer_backward")
