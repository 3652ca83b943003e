"""Any network of neurons, one pass over time: eq. ltc advanced by eq. ltc-step for a block of sequences side by side.

Rows of numbers, one for each sequence of the block, are kept for every input, neuron and gate (rows.row_loop). An unfold goes
from target to target: first the gates that it needs and that are not open yet, then its sums of conductance and current.
"""

from typing import NamedTuple

from cffbook.recurrence.fused_cpu.arithmetic import inverse, kernel, np
from cffbook.recurrence.fused_cpu.lanes import Lanes
from cffbook.recurrence.fused_cpu.rows import row_loop
from cffbook.recurrence.fused_cpu.turns import turn

LINE = 64  # bytes of a line of the cache, on which rows begin
TOGETHER = 64  # gates at least that are opened one after the other
CHUNK = 8  # samples that are turned into rows together
STEER, SHARE, RATE = 0, 1, 2  # what is kept of an unfold: steering gates, 1 / (C + h ΣG), I - ΣG v'
KEPT = 3


class Neurons(NamedTuple):
    """Values of the neurons, an array each."""

    capacitance: object
    leak: object
    reversal: object


class Wires(NamedTuple):
    """Arrays of synapses of one kind: those of forms.Layout, and their values; `steep` is -γ log2 e."""

    sources: object
    gates: object
    first: object
    reach: object
    spent: object
    steep: object
    slope: object
    half: object
    conductance: object
    reversal: object


def _open(source, steep, half, seen, gates) -> None:
    gates.row().store((steep.value() * (seen.row(source).load() - half.value())).opened())


def _carry(gate, conductance, reversal, gates, *_):
    part = conductance.value() * gates.row(gate).load()
    return part, part * reversal.value()


def _sensed(sums, gate, conductance, reversal, gates, sensory, driven) -> None:
    sensory.row().store(sums[0])
    driven.row().store(sums[1])


def _advanced(sums, gate, conductance, reversal, gates, c, g, e, h, before, after, sensory, driven, steer, share, rate) -> None:
    leak, opened, capacitance, now = g.value(), steer.row().load(), c.value(), before.row().load()
    total = leak + opened * sensory.row().load() + sums[0]
    current = leak * e.value() + opened * driven.row().load() + sums[1]
    part = (capacitance + h.row().load() * total).inverse()
    then = (capacitance * now + h.row().load() * current) * part  # eq. ltc-step
    after.row().store(then)
    share.row().store(part)
    rate.row().store(current - total * then)


open_loop, sense_loop, advance_loop = row_loop(_open), row_loop(_carry, 2, _sensed), row_loop(_carry, 2, _advanced)
inputs_in, rows_in, rows_out = turn(False, Lanes.finite), turn(False), turn(True)


@kernel
def rows(count, size, like):
    """So many tables of rows, of `size` numbers of the type of `like`, all 0, one after the other from a line of the cache on."""
    whole = np.zeros(count * size + LINE, like.dtype)
    first = -whole.ctypes.data % LINE // whole.itemsize
    return whole[first : first + count * size].reshape(count, size)


@kernel
def apart(count, size, like):
    """As `rows`, each table longer by some lines, so that the same row of several tables is not in the way of its likes in the cache."""
    line = LINE // like.itemsize
    return rows(count, (size + line - 1) // line * line + 3 * line, like)


@kernel
def fill_times(lanes, begin, count, t, elapsed, share, target):
    """Put the lengths of an unfold into the rows of all neurons."""
    width = len(lanes)
    for lane in range(width):
        times = elapsed[min(begin + min(lane, count - 1), elapsed.shape[0] - 1), min(t, elapsed.shape[1] - 1)]
        for i in range(target.shape[0] // width):
            target[i * width + lane] = times[min(i, times.shape[0] - 1)] * share


@kernel
def sense(lanes, wires, seen, gates, sensory, driven):
    """Sensory conductance and current of one sample, from its inputs."""
    opened, first, reach, count = 0, wires.first, wires.reach, wires.sources.shape[0]
    to_open = (wires.sources, wires.steep, wires.half, seen, gates)
    arrays = (wires.gates, wires.conductance, wires.reversal, gates, sensory, driven)
    for m in range(reach.shape[0]):
        if reach[m] > opened:
            needed = max(reach[m], min(opened + TOGETHER, count))
            open_loop(lanes, to_open, (), opened, needed, 0)
            opened = needed
        sense_loop(lanes, arrays, (), first[m], first[m + 1], m)


@kernel
def unfold(lanes, neurons, wires, steering, part, sensory, driven, before, after, gates, kept):
    """One unfold of all neurons, which see each other's potentials of before it."""
    steer = kept[STEER]
    open_loop(lanes, (steering.sources, steering.steep, steering.half, before, steer), (), 0, steering.sources.shape[0], 0)
    opened, first, reach, count = 0, wires.first, wires.reach, wires.sources.shape[0]
    to_open = (wires.sources, wires.steep, wires.half, before, gates)
    own = (neurons.capacitance, neurons.leak, neurons.reversal, part, before, after, sensory, driven, steer, kept[SHARE], kept[RATE])
    arrays = (wires.gates, wires.conductance, wires.reversal, gates) + own
    for m in range(reach.shape[0]):
        if reach[m] > opened:
            needed = max(reach[m], min(opened + TOGETHER, count))
            open_loop(lanes, to_open, (), opened, needed, 0)
            opened = needed
        advance_loop(lanes, arrays, (), first[m], first[m + 1], m)


@kernel
def forward(first, end, lanes, inputs, neurons, sensory, recurrent, steering, start, elapsed, lengths, unfolds, potentials, last):
    """Run the blocks of `len(lanes)` sequences from `first` up to `end`; where there are too few, the last one stands in for others.

    A sequence that has ended runs on to the end of its block's longest, and nobody looks.

    Args:
        inputs: (batch, time, features).
        neurons: `Neurons`; sensory, recurrent, steering: `Wires`.
        start, last: (batch, neurons); `last` is written.
        elapsed: (batch or 1, time or 1, neurons or 1).
        lengths: (batch,) real samples.
        potentials: (batch, time, neurons), written.
    """
    batch, time, features = inputs.shape
    width, size, like, share = len(lanes), start.shape[1], start, inverse(start.dtype.type(unfolds))
    seen, states = rows(CHUNK, features * width, like), rows(CHUNK + 1, size * width, like)
    between, kept, drive = apart(2, size * width, like), apart(KEPT, size * width, like), apart(3, size * width, like)
    closed, opened = rows(1, sensory.sources.shape[0] * width, like)[0], rows(1, recurrent.sources.shape[0] * width, like)[0]
    sensory_rows, driven, part = drive[0], drive[1], drive[2]
    kept[STEER] = 1
    for block in range(first, end):
        begin = block * width
        count = min(width, batch - begin)
        rows_in(lanes, start, begin * size, size, count, states[0], size)
        fill_times(lanes, begin, count, 0, elapsed, share, part)
        longest = lengths[begin : begin + count].max()
        for t in range(longest):
            s = t % CHUNK
            samples = min(CHUNK, longest - t + s)
            if s == 0:
                inputs_in(lanes, inputs, (begin * time + t) * features, time * features, count, seen, samples * features)
            if elapsed.shape[1] > 1:
                fill_times(lanes, begin, count, t, elapsed, share, part)
            sense(lanes, sensory, seen[s], closed, sensory_rows, driven)
            for k in range(unfolds):
                before = states[s] if k == 0 else between[k % 2]
                after = states[s + 1] if k == unfolds - 1 else between[(k + 1) % 2]
                unfold(lanes, neurons, recurrent, steering, part, sensory_rows, driven, before, after, opened, kept)
            if s == samples - 1:
                rows_out(lanes, potentials, (begin * time + t - s) * size, time * size, count, states[1:], samples * size)
                states[0] = states[samples]
        for b in range(begin, begin + count):
            if lengths[b] > 0:
                last[b] = potentials[b, lengths[b] - 1]
            potentials[b, lengths[b] :] = 0
