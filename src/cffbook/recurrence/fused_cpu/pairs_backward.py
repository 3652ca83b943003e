"""The adjoint of `pairs_forward`, one pass back over time: some potentials were marked, and the unfolds are run again from there.

With λ = (∂L/∂v') / (C + h ΣG) for an unfold v -> v' of length h, every conductance G with reversal potential E has
∂L/∂G = λ h (E - v') and ∂L/∂E = λ h G, and ∂L/∂C = λ (v - v'), ∂L/∂v = λ C + what comes back through the gates.
Source: eq. ltc-step, differentiated.
"""

from cffbook.recurrence.fused_cpu.arithmetic import derivative, gate, inverse, kernel, np, odds
from cffbook.recurrence.fused_cpu.lanes import lane_loop
from cffbook.recurrence.fused_cpu.pairs_forward import (
    C, D, E_IN, E_LEAK, E_REC, E_SELF, G, H, LANES, M_IN, M_REC, M_SELF, M_STEER, OLD, OTHER, ROWS, U, V, VALUES, W_IN, W_REC, W_SELF,
    Y_IN, Y_REC, Y_SELF, Y_STEER, begin_block, chunk_of, end_block, keep, load_block, load_sample, load_times, rows, store_sample, swap,
)  # fmt: skip

# More rows: gradients of the potential, of the sensory conductance, of an unfold's length, of the input; then of the values.
GV, GD, GH, GU, CROSS = ROWS, ROWS + 2, ROWS + 4, ROWS + 6, ROWS + 8
# 16 rows are 4,096 bytes in float32: were a row of sums that far from the row of its value, or from what is kept, the processor
# would take the store of one for that of the other and wait. Odd rows on one side and even ones on the other keep them apart.
SUM = ROWS + 11
ALL_ROWS = SUM + VALUES + 1
# What is kept of an unfold: both potentials, the other one's, the gates, 1 / (C + h ΣG); the next one begins with the potential after it.
BEFORE, SEEN, S_SELF, S_REC, S_STEER, SHARE = 0, 2, 4, 6, 8, 10
KEPT = 12
AFTER = KEPT
FLUSH = 64  # samples after which sums in the kernel's precision go into float64, or a few more


@kernel
def again_plain(w, kept):
    """One unfold as `advance_plain`, with what its adjoint needs."""
    swap(w)
    for j in range(2 * LANES):
        own, other, h = w[V * LANES + j], w[OTHER * LANES + j], w[H * LANES + j]
        q1 = odds(w[Y_SELF * LANES + j] * (own - w[M_SELF * LANES + j]))
        q2 = odds(w[Y_REC * LANES + j] * (other - w[M_REC * LANES + j]))
        r = inverse(q1 * q2)
        s1, s2 = q2 * r, q1 * r
        leak, sensory, w1, w2 = w[G * LANES + j], w[D * LANES + j], w[W_SELF * LANES + j] * s1, w[W_REC * LANES + j] * s2
        current = leak * w[E_LEAK * LANES + j] + sensory * w[E_IN * LANES + j] + w1 * w[E_SELF * LANES + j] + w2 * w[E_REC * LANES + j]
        share = inverse(w[C * LANES + j] + h * (leak + sensory + w1 + w2))
        w[V * LANES + j] = (w[C * LANES + j] * own + h * current) * share
        kept[BEFORE * LANES + j], kept[SEEN * LANES + j] = own, other
        kept[S_SELF * LANES + j], kept[S_REC * LANES + j], kept[SHARE * LANES + j] = s1, s2, share  # S_STEER stays 1


@kernel
def again_steered(w, kept):
    """One unfold as `advance_steered`, with what its adjoint needs."""
    swap(w)
    for j in range(2 * LANES):
        own, other, h = w[V * LANES + j], w[OTHER * LANES + j], w[H * LANES + j]
        q1 = odds(w[Y_SELF * LANES + j] * (own - w[M_SELF * LANES + j]))
        q2 = odds(w[Y_REC * LANES + j] * (other - w[M_REC * LANES + j]))
        q3 = odds(w[Y_STEER * LANES + j] * (other - w[M_STEER * LANES + j]))
        q12 = q1 * q2
        r = inverse(q12 * q3)
        s1, s2, s3 = q2 * q3 * r, q1 * q3 * r, q12 * r
        leak, sensory, w1, w2 = w[G * LANES + j], w[D * LANES + j] * s3, w[W_SELF * LANES + j] * s1, w[W_REC * LANES + j] * s2
        current = leak * w[E_LEAK * LANES + j] + sensory * w[E_IN * LANES + j] + w1 * w[E_SELF * LANES + j] + w2 * w[E_REC * LANES + j]
        share = inverse(w[C * LANES + j] + h * (leak + sensory + w1 + w2))
        w[V * LANES + j] = (w[C * LANES + j] * own + h * current) * share
        kept[BEFORE * LANES + j], kept[SEEN * LANES + j] = own, other
        kept[S_SELF * LANES + j], kept[S_REC * LANES + j], kept[S_STEER * LANES + j] = s1, s2, s3
        kept[SHARE * LANES + j] = share


@kernel
def back(w, kept, gates):
    """The adjoint of one unfold: adds to the gradients of all values, replaces that of the potential."""
    for j in range(2 * LANES):
        own, other, after = kept[BEFORE * LANES + j], kept[SEEN * LANES + j], kept[AFTER * LANES + j]
        h, weight = w[H * LANES + j], w[GV * LANES + j] * kept[SHARE * LANES + j]  # λ
        part = weight * h
        w[(SUM + C) * LANES + j] += weight * (own - after)

        conductance, pull = w[G * LANES + j], w[E_LEAK * LANES + j] - after
        w[(SUM + G) * LANES + j] += part * pull
        w[(SUM + E_LEAK) * LANES + j] += part * conductance
        moved = conductance * pull

        s, conductance, pull = kept[S_SELF * LANES + j], w[W_SELF * LANES + j], w[E_SELF * LANES + j] - after
        slope, away = w[Y_SELF * LANES + j], own - w[M_SELF * LANES + j]
        w[(SUM + W_SELF) * LANES + j] += part * s * pull
        w[(SUM + E_SELF) * LANES + j] += part * s * conductance
        dz = part * conductance * pull * derivative(slope * away, s)
        w[(SUM + Y_SELF) * LANES + j] += dz * away
        w[(SUM + M_SELF) * LANES + j] -= dz * slope
        moved += conductance * s * pull
        w[GV * LANES + j] = weight * w[C * LANES + j] + dz * slope

        s, conductance, pull = kept[S_REC * LANES + j], w[W_REC * LANES + j], w[E_REC * LANES + j] - after
        slope, away = w[Y_REC * LANES + j], other - w[M_REC * LANES + j]
        w[(SUM + W_REC) * LANES + j] += part * s * pull
        w[(SUM + E_REC) * LANES + j] += part * s * conductance
        dz = part * conductance * pull * derivative(slope * away, s)
        w[(SUM + Y_REC) * LANES + j] += dz * away
        w[(SUM + M_REC) * LANES + j] -= dz * slope
        moved += conductance * s * pull
        cross = dz * slope

        # A plain sensory synapse has its steering gate wide open, s = 1, where the gate's derivative is 0.
        s, conductance, pull = kept[S_STEER * LANES + j], w[W_IN * LANES + j] * gates[j], w[E_IN * LANES + j] - after
        slope, away = w[Y_STEER * LANES + j], other - w[M_STEER * LANES + j]
        w[GD * LANES + j] += part * s * pull
        w[(SUM + E_IN) * LANES + j] += part * s * conductance
        dz = part * conductance * pull * derivative(slope * away, s)
        w[(SUM + Y_STEER) * LANES + j] += dz * away
        w[(SUM + M_STEER) * LANES + j] -= dz * slope
        w[GH * LANES + j] += weight * (moved + conductance * s * pull)
        w[CROSS * LANES + j] = cross + dz * slope
    for j in range(LANES):
        w[GV * LANES + j] += w[(CROSS + 1) * LANES + j]
        w[(GV + 1) * LANES + j] += w[CROSS * LANES + j]


@kernel
def sense_again(w, gates):
    """Sensory conductance of both neurons, and their gates."""
    for j in range(2 * LANES):
        s = gate(w[Y_IN * LANES + j] * (w[U * LANES + j] - w[M_IN * LANES + j]))
        gates[j], gates[2 * LANES + j] = s, w[U * LANES + j]
        w[D * LANES + j] = w[W_IN * LANES + j] * s


@kernel
def back_sense(w, gates):
    """The adjoint of the sensory gates: gradients of their values and of the input lines."""
    for j in range(2 * LANES):
        slope, away, s = w[Y_IN * LANES + j], gates[2 * LANES + j] - w[M_IN * LANES + j], gates[j]
        w[(SUM + W_IN) * LANES + j] += w[GD * LANES + j] * s
        dz = w[GD * LANES + j] * w[W_IN * LANES + j] * derivative(slope * away, s)
        w[(SUM + Y_IN) * LANES + j] += dz * away
        w[(SUM + M_IN) * LANES + j] -= dz * slope
        w[GU * LANES + j] = dz * slope
        w[GD * LANES + j] = dz - dz


def _add(places, scalars) -> None:
    source, target = places
    target.add(source.load())


def _two_lines(places, scalars) -> None:
    row_a, row_b, lines = places
    lines.store_two(row_a.load(), row_b.load())


def _difference(places, scalars) -> None:
    row_a, row_b, lines = places
    lines.store(row_a.load() - row_b.load())


add, two_lines, one_line = lane_loop(_add), lane_loop(_two_lines, (1, 1, 2)), lane_loop(_difference)


@kernel
def again_block(w, kept, gates, block, t, total, pairs, lines, elapsed, part, lengths, unfolds, steered, shared, held, other):
    """One sample of a block once more, with what its adjoint needs."""
    load_sample(w, block, t, total, pairs, lines, elapsed, part, lengths, shared)
    sense_again(w, gates)
    for k in range(unfolds):
        if steered:
            again_steered(w, kept[k * KEPT * LANES : (k + 1) * KEPT * LANES])
        else:
            again_plain(w, kept[k * KEPT * LANES : (k + 1) * KEPT * LANES])
    begin, count = block * LANES, min(LANES, total - block * LANES)
    lane = 0
    while lane < count:
        b, n = (begin + lane) // pairs, (begin + lane) % pairs
        width = min(pairs - n, count - lane)
        at = (b * lines.shape[1] + t) * pairs + n
        if t >= lengths[b]:
            keep(w, V, OLD, lane, width)
        if held.shape[0] > 0:
            if t < lengths[b]:
                store_sample(w, V, held, other, at, lane, width)
            else:
                held[b, t, n : n + width] = 0
                other[b, t, n : n + width] = 0
        lane += width


@kernel
def begin_sample(w, waiting, b, t, n, lane, width, lines, shared, elapsed, part, lengths, given_own, given_other):
    """Load what the adjoint of one sample of a segment needs; a padded one takes no part: its gradient waits."""
    at = (b * lines.shape[1] + t) * lines.shape[2] + n
    if elapsed.shape[1] > 1:
        load_times(w, elapsed, part, b, t, n, lane, width)
    if t < lengths[b]:
        add((given_own, w), (at, GV * LANES + lane), width, ())
        if given_other.shape[0] > 0:
            add((given_other, w), (at, (GV + 1) * LANES + lane), width, ())
    else:
        for j in range(width):
            waiting[lane + j] = w[GV * LANES + lane + j]
            waiting[LANES + lane + j] = w[(GV + 1) * LANES + lane + j]
            w[GV * LANES + lane + j] = 0
            w[(GV + 1) * LANES + lane + j] = 0


@kernel
def end_sample(w, waiting, b, t, n, lane, width, shared, lengths, g_lines):
    """Store the gradient of the input lines of a segment; a padded one gets back the gradient that waited."""
    if t >= lengths[b]:
        for j in range(width):
            w[GV * LANES + lane + j] = waiting[lane + j]
            w[(GV + 1) * LANES + lane + j] = waiting[LANES + lane + j]
    at = (b * g_lines.shape[1] + t) * g_lines.shape[2] + n
    if shared:
        one_line((w, w, g_lines), (GU * LANES + lane, (GU + 1) * LANES + lane, at), width, ())
    else:
        two_lines((w, w, g_lines), (GU * LANES + lane, (GU + 1) * LANES + lane, 2 * at), width, ())


@kernel
def pour(w, sums):
    """Move the gradients of the values from the scratch rows into float64."""
    for j in range(VALUES * LANES):
        sums[j] += w[SUM * LANES + j]
        w[SUM * LANES + j] = 0


@kernel
def store_times(w, g_elapsed, part, b, t, n, lane, width):
    """Store the gradient of the elapsed times of a segment, and begin a new sum."""
    for j in range(width):
        g_elapsed[b, t, n + j, 0] = w[GH * LANES + lane + j] * part
        g_elapsed[b, t, n + j, 1] = w[(GH + 1) * LANES + lane + j] * part
        w[GH * LANES + lane + j] = 0
        w[(GH + 1) * LANES + lane + j] = 0


@kernel
def back_block(w, kept, gates, waiting, block, t, total, pairs, lines, elapsed, part, lengths, unfolds, shared, given_own, given_other,
               g_lines, g_elapsed):
    """The adjoint of one sample of a block."""
    begin, count = block * LANES, min(LANES, total - block * LANES)
    lane = 0
    while lane < count:
        b, n = (begin + lane) // pairs, (begin + lane) % pairs
        width = min(pairs - n, count - lane)
        begin_sample(w, waiting, b, t, n, lane, width, lines, shared, elapsed, part, lengths, given_own, given_other)
        lane += width
    for k in range(unfolds - 1, -1, -1):
        back(w, kept[k * KEPT * LANES : ((k + 1) * KEPT + 2) * LANES], gates)
    back_sense(w, gates)
    lane = 0
    while lane < count:
        b, n = (begin + lane) // pairs, (begin + lane) % pairs
        width = min(pairs - n, count - lane)
        end_sample(w, waiting, b, t, n, lane, width, shared, lengths, g_lines)
        if g_elapsed.shape[0] > 0 and elapsed.shape[1] > 1:
            store_times(w, g_elapsed, part, b, t, n, lane, width)
        lane += width


@kernel
def backward(first, end, lines, values, elapsed, lengths, unfolds, steered, shared, turned, marks, sequence, mark, held, other,
             given_own, given_other, g_last, g_lines, g_start, g_elapsed, g_values):
    """Run the blocks from `first` up to `end`; arguments as in `forward`, and

    Args:
        marks, sequence, mark: as `forward` has left them.
        held, other: (batch, time, pairs) potentials, written, or (0, 0, 0) when they are not wanted.
        given_own, given_other: (batch, time, pairs) gradients of the potentials; the second may be (0, 0, 0) when it is 0.
        g_last: (batch, pairs, 2) gradient of the last ones.
        g_lines, g_start: written, shapes of lines and start; they may be lines and g_last themselves.
        g_elapsed: written, (batch, time or 1, pairs, 2) as elapsed, or (0, 0, 0, 0) when it is not wanted.
        g_values: (blocks, 34 * LANES) float64, added to: a row of lanes for each value and neuron.
    """
    batch, time, pairs = lines.shape[:3]
    total, part, chunk = batch * pairs, inverse(values.dtype.type(unfolds)), chunk_of(unfolds)
    sample, waiting = unfolds * KEPT * LANES, rows(2 * LANES, values.dtype)
    room = rows((ALL_ROWS + 2) * LANES + chunk * sample, values.dtype)
    w, kept = room[: ALL_ROWS * LANES], room[ALL_ROWS * LANES :]  # 1: plain steering gates
    gates = rows(chunk * 4 * LANES, values.dtype).reshape(chunk, 4 * LANES)
    for block in range(first, end):
        begin_block(w, block, total, pairs, values, GV, g_last, elapsed, part)
        for c in range((time - 1) // chunk, -1, -1):
            load_block(w, block, total, pairs, V, marks[sequence:, mark + c])
            count = min(chunk, time - c * chunk)
            for i in range(count):
                t = time - 1 - c * chunk - i if turned else c * chunk + i
                again_block(w, kept[i * sample : (i + 1) * sample], gates[i], block, t, total, pairs, lines, elapsed, part, lengths, unfolds,
                            steered, shared, held, other)
            for j in range(2 * LANES):
                kept[count * sample + j] = w[V * LANES + j]
            for i in range(count - 1, -1, -1):
                t = time - 1 - c * chunk - i if turned else c * chunk + i
                back_block(w, kept[i * sample : (i + 1) * sample + 2 * LANES], gates[i], waiting, block, t, total, pairs, lines, elapsed, part,
                           lengths, unfolds, shared, given_own, given_other, g_lines, g_elapsed)
            if c % max(1, FLUSH // chunk) == 0:
                pour(w, g_values[block])
        end_block(w, block, total, pairs, GV, g_start)
        if g_elapsed.shape[0] > 0 and elapsed.shape[1] == 1:
            steady_times(w, block, total, pairs, g_elapsed, part)


@kernel
def steady_times(w, block, total, pairs, g_elapsed, part):
    """Store the gradient of elapsed times that are the same for all samples."""
    begin, count = block * LANES, min(LANES, total - block * LANES)
    lane = 0
    while lane < count:
        b, n = (begin + lane) // pairs, (begin + lane) % pairs
        width = min(pairs - n, count - lane)
        store_times(w, g_elapsed, part, b, 0, n, lane, width)
        lane += width
