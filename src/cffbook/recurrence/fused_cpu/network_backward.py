"""The adjoint of `network_forward`, one pass back over time: only the potentials were kept, the unfolds are run again.

With λ = (∂L/∂v') / (C + h ΣG) for an unfold v -> v' of length h, every conductance G with reversal potential E has
∂L/∂G = λ h (E - v') and ∂L/∂E = λ h G, and ∂L/∂C = λ (v - v'), ∂L/∂v = λ C + what comes back through the gates.
Source: eq. ltc-step, differentiated.
"""

from cffbook.recurrence.fused_cpu.arithmetic import inverse, kernel
from cffbook.recurrence.fused_cpu.network_forward import (
    CHUNK, KEPT, RATE, SHARE, STEER, apart, fill_times, inputs_in, open_gates, rows, rows_in, rows_out, sense, unfold,
)  # fmt: skip
from cffbook.recurrence.fused_cpu.rows import SUMS, row_loop, target_loop

FLUSH = 64  # samples after which sums in the kernel's precision go into float64
# Gradients: of the potential; of total sensory conductance and current; of an unfold's total conductance and current; of the
# steering gate; of the unfold's length.
POTENTIAL, SENSED, DROVE, TOTAL, CURRENT, STEERED, LENGTH = 0, 1, 2, 3, 4, 5, 6
GRADIENTS = 7


def _add(source, target) -> None:
    target.row().add(source.row().load())


def _neuron(c, e, h, before, after, sensory, driven, steer, share, rate, g_v, g_sensed, g_drove, g_total, g_current, g_steer, g_h, pairs, leak):
    then, opened, own = after.row().load(), steer.row().load(), g_v.row().load() * share.row().load()  # λ
    part = own * h.row().load()
    pulled = part * then * -1.0
    g_total.row().store(pulled)
    g_current.row().store(part)
    pairs.add_two(own * (before.row().load() - then), part * (e.value() - then))
    leak.row().add(part)
    g_sensed.row().add(pulled * opened)
    g_drove.row().add(part * opened)
    g_steer.row().store(part * driven.row().load() + pulled * sensory.row().load())
    g_h.row().add(own * rate.row().load())
    g_v.row().store(own * c.value())


def _own(sources, slope, half, conductance, reversal, seen, opened, g_seen, sums, g_total, g_current) -> None:
    y, away, s = slope.value(), seen.row(sources).load() - half.value(), opened.row().load()
    pulled = g_total + g_current * reversal.value()
    dz = pulled * conductance.value() * (y * away).derivative(s)
    sums.add_four([pulled * s, g_current * s, dz * away, dz])
    g_seen.row(sources).add(dz * y)


def _shared(carried, conductance, reversal, opened, g_opened, pairs, g_total, g_current) -> None:
    s, pulled = opened.row(carried).load(), g_total + g_current * reversal.value()
    g_opened.row(carried).add(pulled * conductance.value())
    pairs.add_two(pulled * s, g_current * s)


def _gate(sources, slope, half, seen, opened, g_opened, g_seen, pairs) -> None:
    y, given, away = slope.value(), g_opened.row(), seen.row(sources).load() - half.value()
    dz = given.load() * (y * away).derivative(opened.row().load())
    pairs.add_two(dz * away, dz)
    g_seen.row(sources).add(dz * y)
    given.store(y.constant(0))


add_loop, neurons_loop, gates_loop, targets_loop = row_loop(_add), row_loop(_neuron), row_loop(_gate), target_loop(_own, _shared)


@kernel
def gates_back(lanes, gates, seen, opened, g_opened, g_seen, pairs):
    """The adjoint of gates: adds to the gradients of sources, and in pairs of slopes and half-activations, these without the factor -γ."""
    gates_loop(lanes, (gates.sources, gates.slope, gates.half, seen, opened, g_opened, g_seen, pairs), gates.half.shape[0])


@kernel
def synapses_back(lanes, wires, seen, opened, own_opened, g_total, g_current, g_opened, g_seen, sums):
    """The adjoint of a kind of synapses, from the gradients of their targets' conductance and current; leaves `g_opened` at 0.

    Adds to the gradients of sources, and in `sums` to those of conductances and reversals, these without the factor w, and of gates as
    in `gates_back`: all four in turn for synapses that have a gate for themselves; two of the other gates; two of the other synapses.
    """
    gates, own, shared = wires.gates, wires.synapses, wires.shared
    owned = (gates.sources, gates.slope, gates.half, own.conductance, own.reversal, seen, own_opened, g_seen, sums[0])
    carried = (wires.carried, shared.conductance, shared.reversal, opened, g_opened, sums[2])
    targets_loop(lanes, (g_total, g_current), own.first, owned, shared.first, carried, ())
    gates_back(lanes, wires.shared_gates, seen, opened, g_opened, g_seen, sums[1])


@kernel
def pour(values, sums):
    """Move sums in the kernel's precision into float64: rows for each item, in which as many quantities as `sums` has take turns."""
    ways, count = sums.shape
    row = values.shape[0] // max(count, 1)
    for i in range(count):
        for way in range(ways):
            total = sums[way, i]
            for k in range(i * row + way, (i + 1) * row, ways):
                total += values[k]
                values[k] = 0
            sums[way, i] = total


@kernel
def blank(width, lane, length, t, source):
    """Let a sequence of `length` take no part in the rows `source` of the samples from `t` on that it has not."""
    samples, size = source.shape
    for s in range(max(length - t, 0), samples):
        for i in range(lane, size, width):
            source[s, i] = 0


@kernel
def take_times(width, lane, source, share, values):
    """Gradients of the elapsed times of one sequence from those of the unfolds' lengths; begins a new sum."""
    for i in range(values.shape[0]):
        values[i] = source[i * width + lane] * share
        source[i * width + lane] = 0


@kernel
def load_chunk(lanes, t, samples, begin, count, inputs, start, potentials, given, lengths, seen, before, g_given):
    """Rows of so many samples from t on: inputs, potentials before each, gradients of those after each."""
    time, size, features = inputs.shape[1], start.shape[1], inputs.shape[2]
    at, step = (begin * time + t) * size, time * size
    inputs_in(lanes, inputs, (begin * time + t) * features, time * features, count, seen, samples * features)
    rows_in(lanes, given, at, step, count, g_given, samples * size)
    if t > 0:
        rows_in(lanes, potentials, at - size, step, count, before, samples * size)
    else:
        rows_in(lanes, start, begin * size, size, count, before, size)
        rows_in(lanes, potentials, at, step, count, before[1:], (samples - 1) * size)
    for lane in range(len(lanes)):
        blank(len(lanes), lane, lengths[begin + lane] if lane < count else 0, t, g_given[:samples])


@kernel
def step_back(lanes, neurons, sensory, recurrent, steering, unfolds, part, seen, drive, states, opened, tables, kept, closed, sensed, g, g_seen, added):
    """The adjoint of one sample, from the potentials before it in `states[0]`; adds to `added`, to `g` and to `g_seen`.

    Gates of one synapse alone are kept in as many `tables` as there are, and those of earlier unfolds opened again.
    """
    conductance, driven, g_potential, g_sensed, g_drove, g_total = drive[0], drive[1], g[POTENTIAL], g[SENSED], g[DROVE], g[TOTAL]
    g_current, g_steer, g_length, g_opened, count = g[CURRENT], g[STEERED], g[LENGTH], opened[unfolds], len(tables)
    sense(lanes, sensory, seen, closed[0], (sensed,), conductance, driven)
    for k in range(unfolds):
        own, table = kept[k * KEPT : (k + 1) * KEPT], tables[k % count]
        unfold(lanes, neurons, recurrent, steering, part, conductance, driven, states[k], states[k + 1], opened[k], (table,), own)
    for k in range(unfolds - 1, -1, -1):
        before, table, steer, share, rate = states[k], tables[k % count], kept[k * KEPT + STEER], kept[k * KEPT + SHARE], kept[k * KEPT + RATE]
        values = (neurons.capacitance, neurons.reversal, part, before, states[k + 1], conductance, driven, steer, share, rate)
        gradients = (g_potential, g_sensed, g_drove, g_total, g_current, g_steer, g_length, added[0], added[1])
        neurons_loop(lanes, values + gradients, neurons.capacitance.shape[0])
        if k < unfolds - count:
            open_gates(lanes, recurrent.gates, before, table)
        synapses_back(lanes, recurrent, before, opened[k], table, g_total, g_current, g_opened, g_potential, added[5:8])
        gates_back(lanes, steering, before, steer, g_steer, g_potential, added[8])
    synapses_back(lanes, sensory, seen, closed[0], sensed, g_sensed, g_drove, closed[1], g_seen, added[2:5])
    g_sensed[:] = 0
    g_drove[:] = 0


@kernel
def sum_rows(width, size, sensory, recurrent, steering, like):
    """Rows of sums: of two quantities for neurons, of one more; three of `synapses_back` for each kind of synapses; of two for steering gates."""
    two = SUMS if width > 1 else 2
    return (
        rows(size, two, like).reshape(-1), rows(size, width, like).reshape(-1), rows(sensory.gates.half.shape[0], width, like).reshape(-1),
        rows(sensory.shared_gates.half.shape[0], two, like).reshape(-1), rows(sensory.shared.reversal.shape[0], two, like).reshape(-1),
        rows(recurrent.gates.half.shape[0], width, like).reshape(-1), rows(recurrent.shared_gates.half.shape[0], two, like).reshape(-1),
        rows(recurrent.shared.reversal.shape[0], two, like).reshape(-1), rows(steering.half.shape[0], two, like).reshape(-1),
    )  # fmt: skip


@kernel
def backward(first, end, lanes, inputs, neurons, sensory, recurrent, steering, start, elapsed, lengths, unfolds, tables, potentials, given, g_last,
             g_inputs, g_start, g_elapsed, sums):
    """Run the blocks from `first` up to `end`; arguments as in `forward`, and

    Args:
        tables: of how many unfolds gates of one synapse alone are kept, at least 1.
        given: (batch, time, neurons) gradient of the potentials.
        g_last: (batch, neurons) gradient of the last ones.
        g_inputs, g_start: written, shapes of inputs and start, where there is a sample.
        g_elapsed: written, (batch, time or 1, neurons), or (0, 0, 0) when it is not wanted.
        sums: nine float64 arrays to add to: gradients of capacitance and leak conductance; of leak reversal, without its factor; three
            of `synapses_back` for sensory synapses, three for those between neurons; those of steering gates.
    """  # fmt: skip
    batch, time, features = inputs.shape
    width, size, like, share = len(lanes), start.shape[1], start, inverse(start.dtype.type(unfolds))
    seen, g_seen, before, g_given = (
        rows(CHUNK, features * width, like), rows(CHUNK, features * width, like), rows(CHUNK, size * width, like), rows(CHUNK, size * width, like)
    )  # fmt: skip
    part, drive, g = rows(size, width, like).reshape(-1), apart(2, size * width, like), apart(GRADIENTS, size * width, like)
    closed = apart(2, sensory.shared_gates.half.shape[0] * width, like)
    opened = apart(unfolds + 1, recurrent.shared_gates.half.shape[0] * width, like)
    sensed, table = rows(1, sensory.gates.half.shape[0] * width, like)[0], apart(tables, recurrent.gates.half.shape[0] * width, like)
    states, kept = apart(unfolds + 1, size * width, like), apart(unfolds * KEPT, size * width, like)
    added = sum_rows(width, size, sensory, recurrent, steering, like)
    kept[:] = 1
    steady, timed = elapsed.shape[1] == 1, g_elapsed.shape[0] > 0
    for block in range(first, end):
        begin = block * width
        count = min(width, batch - begin)
        longest = lengths[begin : begin + count].max()
        g[:] = 0
        fill_times(lanes, begin, count, 0, elapsed, share, part)
        for t in range(longest - 1, -1, -1):
            s = t % CHUNK
            if t == longest - 1 or s == CHUNK - 1:
                load_chunk(lanes, t - s, s + 1, begin, count, inputs, start, potentials, given, lengths, seen, before, g_given)
                g_seen[:] = 0
            if not steady:
                fill_times(lanes, begin, count, t, elapsed, share, part)
            for lane in range(count):
                if t == lengths[begin + lane] - 1:
                    for i in range(size):
                        g[POTENTIAL, i * width + lane] = g_last[begin + lane, i]
            add_loop(lanes, (g_given[s], g[POTENTIAL]), size)
            states[0, : size * width] = before[s]
            step_back(lanes, neurons, sensory, recurrent, steering, unfolds, part, seen[s], drive, states, opened, table, kept, closed, sensed, g, g_seen[s], added)
            if timed and not steady:
                for lane in range(count):
                    take_times(width, lane, g[LENGTH], share, g_elapsed[begin + lane, t])
            if s == 0:
                rows_out(lanes, g_inputs, (begin * time + t) * features, time * features, count, g_seen, min(CHUNK, longest - t) * features)
            if t % FLUSH == 0:
                for i in range(len(added)):
                    pour(added[i], sums[i])
        for lane in range(count):
            if lengths[begin + lane] > 0:
                for i in range(size):
                    g_start[begin + lane, i] = g[POTENTIAL, i * width + lane]
                if timed and steady:
                    take_times(width, lane, g[LENGTH], share, g_elapsed[begin + lane, 0])
