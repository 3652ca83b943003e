"""Independent flip-flops, one pass over time: eq. cff advanced by eq. ltc-step for a block of lanes at once.

A lane is one CFF of one sequence. All that a lane needs, parameters, potentials, drive, lies in rows of one scratch array,
a row of `LANES` numbers each, so that every loop over lanes becomes vector instructions. A *segment* is the part of a
block that belongs to one sequence.
"""

from cffbook.recurrence.fused_cpu.arithmetic import gate, inverse, kernel, np, odds
from cffbook.recurrence.fused_cpu.lanes import lane_loop

LANES = 64
CHUNK = 64  # unfolds after which the potentials are marked, so that their adjoint begins there with what it needs in the processor's cache

# Rows of the scratch array. The first 34 are the values of forms.PAIR_VALUES, neuron a and b each.
C, G, E_LEAK = 0, 2, 4
W_SELF, Y_SELF, M_SELF, E_SELF = 6, 8, 10, 12
W_REC, Y_REC, M_REC, E_REC = 14, 16, 18, 20
W_IN, Y_IN, M_IN, E_IN = 22, 24, 26, 28
Y_STEER, M_STEER = 30, 32
VALUES = 34
V, U, D, H = 34, 36, 38, 40  # potential, input, sensory conductance, length of an unfold
OTHER, OLD = 42, 44  # the other neuron's potential; the potential at the start of the sample
ROWS = 46


@kernel
def rows(count, kind):
    """Ones in memory that begins where a line of the processor's cache does, so that no vector lies across two."""
    room = np.ones(count + 16, kind)
    begin = (-room.ctypes.data % 64) // room.itemsize
    return room[begin : begin + count]


@kernel
def fill(w, values, first, total, pairs):
    """The parameters of the lanes from `first` on; lanes beyond `total` rest at 0."""
    for lane in range(LANES):
        if first + lane < total:
            pair = (first + lane) % pairs
            for row in range(VALUES):
                w[row * LANES + lane] = values[row // 2, pair, row % 2]
        else:
            for row in range(VALUES):
                w[row * LANES + lane] = values[0, 0, 0] if row < 2 else values[0, 0, 0] - values[0, 0, 0]


@kernel
def load(w, row, source, b, n, lane, count):
    """Both neurons of a segment from `source` (batch, pairs, 2)."""
    for j in range(count):
        w[row * LANES + lane + j] = source[b, n + j, 0]
        w[(row + 1) * LANES + lane + j] = source[b, n + j, 1]


@kernel
def store(w, row, target, b, n, lane, count):
    """Both neurons of a segment into `target` (batch, pairs, 2)."""
    for j in range(count):
        target[b, n + j, 0] = w[row * LANES + lane + j]
        target[b, n + j, 1] = w[(row + 1) * LANES + lane + j]


def _copy(places, scalars) -> None:
    source, target = places
    target.store(source.load())


def _lines(places, scalars) -> None:
    lines, row_a, row_b = places
    a, b = lines.load_two()
    row_a.store(a.finite())
    row_b.store(b.finite())


def _shared_line(places, scalars) -> None:
    lines, row_a, row_b = places
    line = lines.load().finite()
    row_a.store(line)
    row_b.store(line * -1.0)


copy, set_reset, one_line = lane_loop(_copy), lane_loop(_lines, (2, 1, 1)), lane_loop(_shared_line)


@kernel
def store_sample(w, row, own, other, at, lane, count):
    """Both neurons of a segment into one sample, which begins at index `at` of `own` and `other`."""
    copy((w, own), (row * LANES + lane, at), count, ())
    copy((w, other), ((row + 1) * LANES + lane, at), count, ())


@kernel
def load_lines(w, lines, shared, at, lane, count):
    """The input lines of a segment, which begins at the flip-flop with index `at`; infinite ones act as the largest number."""
    if shared:
        one_line((lines, w, w), (at, U * LANES + lane, (U + 1) * LANES + lane), count, ())
    else:
        set_reset((lines, w, w), (2 * at, U * LANES + lane, (U + 1) * LANES + lane), count, ())


@kernel
def load_times(w, elapsed, part, b, t, n, lane, count):
    """The length of an unfold for a segment: its elapsed time times `part`, one over the number of unfolds."""
    for j in range(count):
        w[H * LANES + lane + j] = elapsed[b, t, n + j, 0] * part
        w[(H + 1) * LANES + lane + j] = elapsed[b, t, n + j, 1] * part


@kernel
def sense(w):
    """Sensory conductance of both neurons."""
    for j in range(2 * LANES):
        w[D * LANES + j] = w[W_IN * LANES + j] * gate(w[Y_IN * LANES + j] * (w[U * LANES + j] - w[M_IN * LANES + j]))


@kernel
def swap(w):
    """Each neuron's view of the other one."""
    for j in range(LANES):
        w[OTHER * LANES + j] = w[(V + 1) * LANES + j]
        w[(OTHER + 1) * LANES + j] = w[V * LANES + j]


@kernel
def advance_plain(w):
    """One unfold of both neurons with plain sensory synapses; one division for each neuron."""
    swap(w)
    for j in range(2 * LANES):
        own, other, h = w[V * LANES + j], w[OTHER * LANES + j], w[H * LANES + j]
        q1 = odds(w[Y_SELF * LANES + j] * (own - w[M_SELF * LANES + j]))
        q2 = odds(w[Y_REC * LANES + j] * (other - w[M_REC * LANES + j]))
        q = q1 * q2
        leak, sensory = w[G * LANES + j] * q, w[D * LANES + j] * q
        w1, w2 = w[W_SELF * LANES + j] * q2, w[W_REC * LANES + j] * q1
        current = leak * w[E_LEAK * LANES + j] + sensory * w[E_IN * LANES + j] + w1 * w[E_SELF * LANES + j] + w2 * w[E_REC * LANES + j]
        kept = w[C * LANES + j] * q
        w[V * LANES + j] = (kept * own + h * current) / (kept + h * (leak + sensory + w1 + w2))  # eq. ltc-step


@kernel
def advance_steered(w):
    """One unfold of both neurons with steered sensory synapses; one division for each neuron."""
    swap(w)
    for j in range(2 * LANES):
        own, other, h = w[V * LANES + j], w[OTHER * LANES + j], w[H * LANES + j]
        q1 = odds(w[Y_SELF * LANES + j] * (own - w[M_SELF * LANES + j]))
        q2 = odds(w[Y_REC * LANES + j] * (other - w[M_REC * LANES + j]))
        q3 = odds(w[Y_STEER * LANES + j] * (other - w[M_STEER * LANES + j]))
        q12 = q1 * q2
        q = q12 * q3
        leak, sensory = w[G * LANES + j] * q, w[D * LANES + j] * q12
        w1, w2 = w[W_SELF * LANES + j] * (q2 * q3), w[W_REC * LANES + j] * (q1 * q3)
        current = leak * w[E_LEAK * LANES + j] + sensory * w[E_IN * LANES + j] + w1 * w[E_SELF * LANES + j] + w2 * w[E_REC * LANES + j]
        kept = w[C * LANES + j] * q
        w[V * LANES + j] = (kept * own + h * current) / (kept + h * (leak + sensory + w1 + w2))  # eq. ltc-step


@kernel
def keep(w, to, row, lane, count):
    """Copy both neurons of a segment from one row to another."""
    for j in range(count):
        w[to * LANES + lane + j] = w[row * LANES + lane + j]
        w[(to + 1) * LANES + lane + j] = w[(row + 1) * LANES + lane + j]


@kernel
def begin_block(w, block, total, pairs, values, row, source, elapsed, part):
    """Fill the scratch rows of a block, with `source` (batch, pairs, 2) in the row of the potential or of its gradient."""
    begin, count = block * LANES, min(LANES, total - block * LANES)
    w[:] = 0
    fill(w, values, begin, total, pairs)
    lane = 0
    while lane < count:
        b, n = (begin + lane) // pairs, (begin + lane) % pairs
        width = min(pairs - n, count - lane)
        load(w, row, source, b, n, lane, width)
        load_times(w, elapsed, part, b, 0, n, lane, width)
        lane += width


@kernel
def load_block(w, block, total, pairs, row, source):
    """Load the potential of a block from `source` (batch, pairs, 2)."""
    begin, count = block * LANES, min(LANES, total - block * LANES)
    lane = 0
    while lane < count:
        b, n = (begin + lane) // pairs, (begin + lane) % pairs
        width = min(pairs - n, count - lane)
        load(w, row, source, b, n, lane, width)
        lane += width


@kernel
def end_block(w, block, total, pairs, row, target):
    """Store the potential, or its gradient, of a block into `target` (batch, pairs, 2)."""
    begin, count = block * LANES, min(LANES, total - block * LANES)
    lane = 0
    while lane < count:
        b, n = (begin + lane) // pairs, (begin + lane) % pairs
        width = min(pairs - n, count - lane)
        store(w, row, target, b, n, lane, width)
        lane += width


@kernel
def load_sample(w, block, t, total, pairs, lines, elapsed, part, lengths, shared):
    """Load the input lines and times of one sample of a block; what lies after a sequence's end keeps its potential."""
    begin, count = block * LANES, min(LANES, total - block * LANES)
    lane = 0
    while lane < count:
        b, n = (begin + lane) // pairs, (begin + lane) % pairs
        width = min(pairs - n, count - lane)
        load_lines(w, lines, shared, (b * lines.shape[1] + t) * pairs + n, lane, width)
        if elapsed.shape[1] > 1:
            load_times(w, elapsed, part, b, t, n, lane, width)
        if t >= lengths[b]:
            keep(w, OLD, V, lane, width)
        lane += width


@kernel
def step_block(w, block, t, total, pairs, lines, elapsed, part, lengths, unfolds, steered, shared, own, other):
    """One sample of a block."""
    load_sample(w, block, t, total, pairs, lines, elapsed, part, lengths, shared)
    sense(w)
    for _ in range(unfolds):
        if steered:
            advance_steered(w)
        else:
            advance_plain(w)
    begin, count = block * LANES, min(LANES, total - block * LANES)
    lane = 0
    while lane < count:
        b, n = (begin + lane) // pairs, (begin + lane) % pairs
        width = min(pairs - n, count - lane)
        if t < lengths[b]:
            store_sample(w, V, own, other, (b * lines.shape[1] + t) * pairs + n, lane, width)
        else:
            keep(w, V, OLD, lane, width)
            own[b, t, n : n + width] = 0
            other[b, t, n : n + width] = 0
        lane += width


@kernel
def chunk_of(unfolds):
    """Samples between two marks, a power of two."""
    samples = CHUNK
    while samples > 8 and samples * unfolds > CHUNK:
        samples //= 2
    return samples


@kernel
def forward(first, end, lines, values, start, elapsed, lengths, unfolds, steered, shared, turned, own, other, last, marks, sequence, mark):
    """Run the blocks from `first` up to `end`.

    Args:
        lines: (batch, time, pairs, 2), or (batch, time, pairs, 1) when `shared`.
        values: (17, pairs, 2).
        start, last: (batch, pairs, 2); `last` is written.
        elapsed: (batch, time, pairs, 2), any strides; one sample only when it is the same for all.
        lengths: (batch,) real samples.
        turned: from the last sample to the first.
        own, other: (batch, time, pairs) potentials of neuron a and b, written.
        marks: (all sequences, all chunks, pairs, 2) potentials before every so many samples, written from sequence `sequence` and
            mark `mark` on, or (0, 0, 0, 0) when they are not wanted.
    """
    batch, time, pairs = lines.shape[:3]
    total, part, chunk = batch * pairs, inverse(values.dtype.type(unfolds)), chunk_of(unfolds)
    w = rows(ROWS * LANES, values.dtype)
    for block in range(first, end):
        begin_block(w, block, total, pairs, values, V, start, elapsed, part)
        for i in range(time):
            if i % chunk == 0 and marks.shape[0] > 0:
                end_block(w, block, total, pairs, V, marks[sequence:, mark + i // chunk])
            t = time - 1 - i if turned else i
            step_block(w, block, t, total, pairs, lines, elapsed, part, lengths, unfolds, steered, shared, own, other)
        end_block(w, block, total, pairs, V, last)
