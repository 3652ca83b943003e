"""Any network of neurons, one pass over time: eq. ltc advanced by eq. ltc-step for a block of sequences side by side.

Rows of numbers, one for each sequence of the block, are kept for every input and neuron (rows.target_loop). An unfold goes from
target to target, and at each through its synapses: those that have a gate for themselves, and those whose gates were opened before.
"""

from typing import NamedTuple

from cffbook.recurrence.fused_cpu.arithmetic import inverse, kernel, np
from cffbook.recurrence.fused_cpu.lanes import Lanes
from cffbook.recurrence.fused_cpu.rows import row_loop, target_loop
from cffbook.recurrence.fused_cpu.turns import turn

LINE = 64  # bytes of a line of the cache, on which rows begin
CHUNK = 8  # samples that are turned into rows together
STEER, SHARE, RATE = 0, 1, 2  # what is kept of an unfold: steering gates, 1 / (C + h ΣG), I - ΣG v'
KEPT = 3


class Neurons(NamedTuple):
    """Values of the neurons, an array each."""

    capacitance: object
    leak: object
    reversal: object


def _open(sources, steep, half, seen, opened) -> None:
    opened.row().store((steep.value() * (seen.row(sources).load() - half.value())).opened())


def _own(sources, steep, half, conductance, reversal, seen, kept=None):
    gate = (steep.value() * (seen.row(sources).load() - half.value())).opened()
    if kept is not None:
        kept.row().store(gate)
    part = conductance.value() * gate
    return part, part * reversal.value()


def _shared(carried, conductance, reversal, opened):
    part = conductance.value() * opened.row(carried).load()
    return part, part * reversal.value()


def _sensed(sums, sensory, driven) -> None:
    sensory.row().store(sums[0])
    driven.row().store(sums[1])


def _advanced(sums, c, g, e, h, before, after, sensory, driven, steer, share, rate) -> None:
    leak, opened, capacitance, now = g.value(), steer.row().load(), c.value(), before.row().load()
    total = leak + opened * sensory.row().load() + sums[0]
    current = leak * e.value() + opened * driven.row().load() + sums[1]
    part = (capacitance + h.row().load() * total).inverse()
    then = (capacitance * now + h.row().load() * current) * part  # eq. ltc-step
    after.row().store(then)
    share.row().store(part)
    rate.row().store(current - total * then)


open_loop, sense_loop, advance_loop = row_loop(_open), target_loop(_own, _shared, 2, _sensed), target_loop(_own, _shared, 2, _advanced)
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
def open_gates(lanes, gates, seen, opened):
    """s(γ (v - μ)) of every gate, from the rows `seen` of its sources."""
    open_loop(lanes, (gates.sources, gates.steep, gates.half, seen, opened), gates.half.shape[0])


@kernel
def sense(lanes, wires, seen, opened, table, sensory, driven):
    """Sensory conductance and current of one sample, from its inputs; `table` is as in `unfold`."""
    gates, own, shared = wires.gates, wires.synapses, wires.shared
    open_gates(lanes, wires.shared_gates, seen, opened)
    owned = (gates.sources, gates.steep, gates.half, own.conductance, own.reversal, seen) + table
    sense_loop(lanes, (), own.first, owned, shared.first, (wires.carried, shared.conductance, shared.reversal, opened), (sensory, driven))


@kernel
def unfold(lanes, neurons, wires, steering, part, sensory, driven, before, after, opened, table, kept):
    """One unfold of all neurons, which see each other's potentials of before it.

    `table` is a tuple of the rows in which gates of one synapse alone are kept, or of none.
    """
    steer, gates, own, shared = kept[STEER], wires.gates, wires.synapses, wires.shared
    open_gates(lanes, steering, before, steer)
    open_gates(lanes, wires.shared_gates, before, opened)
    owned = (gates.sources, gates.steep, gates.half, own.conductance, own.reversal, before) + table
    values = (neurons.capacitance, neurons.leak, neurons.reversal, part, before, after, sensory, driven, steer, kept[SHARE], kept[RATE])
    advance_loop(lanes, (), own.first, owned, shared.first, (wires.carried, shared.conductance, shared.reversal, opened), values)


@kernel
def forward(first, end, lanes, inputs, neurons, sensory, recurrent, steering, start, elapsed, lengths, unfolds, potentials, last):
    """Run the blocks of `len(lanes)` sequences from `first` up to `end`; where there are too few, the last one stands in for others.

    A sequence that has ended runs on to the end of its block's longest, and nobody looks.

    Args:
        inputs: (batch, time, features).
        neurons: `Neurons`; sensory, recurrent: `Wires`; steering: `Gates`.
        start, last: (batch, neurons); `last` is written.
        elapsed: (batch or 1, time or 1, neurons or 1).
        lengths: (batch,) real samples.
        potentials: (batch, time, neurons), written.
    """
    batch, time, features = inputs.shape
    width, size, like, share = len(lanes), start.shape[1], start, inverse(start.dtype.type(unfolds))
    seen, states = rows(CHUNK, features * width, like), rows(CHUNK + 1, size * width, like)
    between, kept, drive = apart(2, size * width, like), apart(KEPT, size * width, like), apart(3, size * width, like)
    sensory_opened, opened = rows(1, sensory.shared_gates.half.shape[0] * width, like)[0], rows(1, recurrent.shared_gates.half.shape[0] * width, like)[0]
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
            sense(lanes, sensory, seen[s], sensory_opened, (), sensory_rows, driven)
            for k in range(unfolds):
                before = states[s] if k == 0 else between[k % 2]
                after = states[s + 1] if k == unfolds - 1 else between[(k + 1) % 2]
                unfold(lanes, neurons, recurrent, steering, part, sensory_rows, driven, before, after, opened, (), kept)
            if s == samples - 1:
                rows_out(lanes, potentials, (begin * time + t - s) * size, time * size, count, states[1:], samples * size)
                states[0] = states[samples]
        for b in range(begin, begin + count):
            if lengths[b] > 0:
                last[b] = potentials[b, lengths[b] - 1]
            potentials[b, lengths[b] :] = 0
