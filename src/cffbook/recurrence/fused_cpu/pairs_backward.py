"""The adjoint of `pairs_forward`, one pass back over time: only the potentials were kept, the unfolds are run again.

With λ = (∂L/∂v') / (C + h ΣG) for an unfold v -> v' of length h, every conductance G with reversal potential E has
∂L/∂G = λ h (E - v') and ∂L/∂E = λ h G, and ∂L/∂C = λ (v - v'), ∂L/∂v = λ C + what comes back through the gates.
Source: eq. ltc-step, differentiated.
"""

from cffbook.recurrence.fused_cpu.arithmetic import derivative, gate, inverse, kernel, np, odds
from cffbook.recurrence.fused_cpu.lanes import lane_loop
from cffbook.recurrence.fused_cpu.pairs_forward import (
    C, D, E_IN, E_LEAK, E_REC, E_SELF, G, H, LANES, M_IN, M_REC, M_SELF, M_STEER, OTHER, ROWS, U, V, VALUES, W_IN, W_REC, W_SELF,
    TOGETHER, Y_IN, Y_REC, Y_SELF, Y_STEER, begin_block, end_block, load, load_lines, load_sample, load_times, sense, swap,
)  # fmt: skip

# More rows: gradients of the potential, of the sensory conductance, of an unfold's length, of the input; then of the values.
GV, GD, GH, GU, CROSS = ROWS, ROWS + 2, ROWS + 4, ROWS + 6, ROWS + 8
SUM = ROWS + 10
ALL_ROWS = SUM + VALUES
# What is kept of an unfold: both potentials, the other one's, the gates, 1 / (C + h ΣG), the potential after it.
BEFORE, SEEN, S_SELF, S_REC, S_STEER, SHARE, AFTER = 0, 2, 4, 6, 8, 10, 12
KEPT = 14
FLUSH = 64  # samples after which sums in the kernel's precision go into float64


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
        after = (w[C * LANES + j] * own + h * current) * share
        w[V * LANES + j] = after
        kept[BEFORE * LANES + j], kept[SEEN * LANES + j], kept[AFTER * LANES + j] = own, other, after
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
        after = (w[C * LANES + j] * own + h * current) * share
        w[V * LANES + j] = after
        kept[BEFORE * LANES + j], kept[SEEN * LANES + j], kept[AFTER * LANES + j] = own, other, after
        kept[S_SELF * LANES + j], kept[S_REC * LANES + j], kept[S_STEER * LANES + j] = s1, s2, s3
        kept[SHARE * LANES + j] = share


@kernel
def back(w, kept):
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
        s, conductance, pull = kept[S_STEER * LANES + j], w[D * LANES + j], w[E_IN * LANES + j] - after
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
def back_sense(w):
    """The adjoint of the sensory gates: gradients of their values and of the input lines."""
    for j in range(2 * LANES):
        slope, away = w[Y_IN * LANES + j], w[U * LANES + j] - w[M_IN * LANES + j]
        s = gate(slope * away)
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
def begin_sample(w, waiting, b, t, n, lane, width, lines, shared, elapsed, steady, part, start, lengths, own, other, given_own, given_other):
    """Load what one sample of a segment needs; a padded one takes no part: its gradient waits."""
    pairs = lines.shape[2]
    at = (b * lines.shape[1] + t) * pairs + n
    load_lines(w, lines, shared, at, lane, width)
    if not steady:
        load_times(w, elapsed, part, b, t, n, lane, width)
    if t == 0:
        load(w, V, start, b, n, lane, width)
    else:
        load_sample(w, V, own, other, at - pairs, lane, width)
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
def back_block(w, kept, waiting, block, t, total, pairs, lines, elapsed, part, start, lengths, unfolds, steered, shared, own, other,
               given_own, given_other, g_lines, g_elapsed):
    """The adjoint of one sample of a block."""
    begin, count, steady = block * LANES, min(LANES, total - block * LANES), elapsed.shape[1] == 1
    lane = 0
    while lane < count:
        b, n = (begin + lane) // pairs, (begin + lane) % pairs
        width = min(pairs - n, count - lane)
        begin_sample(w, waiting, b, t, n, lane, width, lines, shared, elapsed, steady, part, start, lengths, own, other, given_own,
                     given_other)
        lane += width
    sense(w)
    for k in range(unfolds):
        if steered:
            again_steered(w, kept[k * KEPT * LANES : (k + 1) * KEPT * LANES])
        else:
            again_plain(w, kept[k * KEPT * LANES : (k + 1) * KEPT * LANES])
    for k in range(unfolds - 1, -1, -1):
        back(w, kept[k * KEPT * LANES : (k + 1) * KEPT * LANES])
    back_sense(w)
    lane = 0
    while lane < count:
        b, n = (begin + lane) // pairs, (begin + lane) % pairs
        width = min(pairs - n, count - lane)
        end_sample(w, waiting, b, t, n, lane, width, shared, lengths, g_lines)
        if g_elapsed.shape[0] > 0 and not steady:
            store_times(w, g_elapsed, part, b, t, n, lane, width)
        lane += width


@kernel
def backward(first, end, lines, values, start, elapsed, lengths, unfolds, steered, shared, own, other, given_own,
             given_other, g_last, g_lines, g_start, g_elapsed, g_values):
    """Run the blocks from `first` up to `end`; arguments as in `forward`, and

    Args:
        given_own, given_other: (batch, time, pairs) gradients of the potentials; the second may be (0, 0, 0) when it is 0.
        g_last: (batch, pairs, 2) gradient of the last ones.
        g_lines, g_start: written, shapes of lines and start.
        g_elapsed: written, (batch, time or 1, pairs, 2) as elapsed, or (0, 0, 0, 0) when it is not wanted.
        g_values: (blocks, 34 * LANES) float64, written: a row of lanes for each value and neuron.
    """
    batch, time, pairs = lines.shape[:3]
    total, part = batch * pairs, inverse(values.dtype.type(unfolds))
    w, waiting = np.empty((TOGETHER, ALL_ROWS * LANES), values.dtype), np.empty(2 * LANES, values.dtype)
    kept = np.ones(unfolds * KEPT * LANES, values.dtype)  # 1: plain steering gates
    for group in range(first, end, TOGETHER):
        blocks = min(TOGETHER, end - group)
        for g in range(blocks):
            begin_block(w[g], group + g, total, pairs, values, GV, g_last, elapsed, part)
        for t in range(time - 1, -1, -1):
            for g in range(blocks):
                back_block(w[g], kept, waiting, group + g, t, total, pairs, lines, elapsed, part, start, lengths, unfolds, steered, shared,
                           own, other, given_own, given_other, g_lines, g_elapsed)
                if t % FLUSH == 0:
                    pour(w[g], g_values[group + g])
        for g in range(blocks):
            end_block(w[g], group + g, total, pairs, GV, g_start)
            if g_elapsed.shape[0] > 0 and elapsed.shape[1] == 1:
                steady_times(w[g], group + g, total, pairs, g_elapsed, part)


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
