"""Independent flip-flops, one pass over time: eq. cff advanced by eq. ltc-step, a lane for each CFF of each sequence.

A lane keeps its parameters and both potentials in registers; of a sample it reads the input lines and writes the potentials.
With q the inverse gates, an unfold of one neuron is one division::

    v' = ((C v + n) q1 q2 + w1 E1 q2 + w2 E2 q1) / ((C + w) q1 q2 + w1 q2 + w2 q1)

and the same with a third gate where sensory synapses are steered; w are conductances and n the other currents, both times h.
"""

from collections import namedtuple

from cffbook.recurrence.forms import PAIR_VALUES
from cffbook.recurrence.fused_gpu.arithmetic import SIZES, finite, inverse, odds, tl, triton

MANY = 6  # unfolds up to which they are written out one after another
UNROLLED = tl.constexpr(MANY)
BUSY = tl.constexpr(8)  # unfolds that take longer than a load from memory, which is begun so many before

# Lanes: number; whether it is stored; its pair; where its first sample is in (batch, time, pairs), and its first elapsed time;
# how many samples are real, and the most of them in any lane of the program.
Lanes = namedtuple("Lanes", ("lane", "stored", "pair", "first", "when", "length", "stop"))
# What is read of a sample, for both neurons: input line, elapsed time.
Line = namedtuple("Line", ("u_a", "u_b", "time_a", "time_b"))
# The values of one neuron of the lanes.
Values = namedtuple("Values", PAIR_VALUES)
# Of an unfold of length h: C + h g, h g E_leak, and the conductances of self and reciprocal synapse times h.
Weights = namedtuple("Weights", ("leak", "leak_driven", "own", "cross"))


@triton.jit
def load_values(values, pairs, n, SIDE: tl.constexpr):
    """The values of neuron a (SIDE 0) or b (SIDE 1) of the pairs `n`, from `values` (17, pairs, 2)."""
    at, row = values + 2 * n + SIDE, 2 * pairs
    return Values(
        tl.load(at), tl.load(at + row), tl.load(at + 2 * row),
        tl.load(at + 3 * row), tl.load(at + 4 * row), tl.load(at + 5 * row), tl.load(at + 6 * row),
        tl.load(at + 7 * row), tl.load(at + 8 * row), tl.load(at + 9 * row), tl.load(at + 10 * row),
        tl.load(at + 11 * row), tl.load(at + 12 * row), tl.load(at + 13 * row), tl.load(at + 14 * row),
        tl.load(at + 15 * row), tl.load(at + 16 * row),
    )  # fmt: skip


@triton.jit
def load_lines(lines, at, SHARED: tl.constexpr):
    """The input lines of both neurons at the places `at` of (batch, time, pairs), the same one when SHARED."""
    if SHARED:
        u = tl.load(lines + at)
        return u, u
    else:
        return tl.load(lines + 2 * at), tl.load(lines + 2 * at + 1)


@triton.jit
def load_times(elapsed, at, side_stride):
    """The elapsed times of both neurons."""
    return tl.load(elapsed + at), tl.load(elapsed + at + side_stride)


@triton.jit
def opposite(u, SHARED: tl.constexpr):
    """The input line of neuron b, from what was loaded: a shared one has opposite effect on it."""
    return -u if SHARED else u


@triton.jit
def load_line(lines, elapsed, at, time_a, time_b, t, pairs, time_stride, side_stride, SHARED: tl.constexpr, STEADY: tl.constexpr):
    """Sample `t`, or the last one where there is none; elapsed times stay when STEADY.

    Nothing is computed from what is loaded: the first use of a number waits until it has come.
    """
    t = tl.maximum(tl.minimum(t, at.stop - 1), 0).to(tl.int64)
    u_a, u_b = load_lines(lines, at.first + t * pairs, SHARED)
    if not STEADY:
        time_a, time_b = load_times(elapsed, at.when + t * time_stride, side_stride)
    return Line(u_a, u_b, time_a, time_b)


@triton.jit
def sense(of, u, FAST: tl.constexpr):
    """Sensory conductance of one neuron at its input line."""
    return of.sensory_conductance * inverse(odds(of.sensory_slope, finite(u) - of.sensory_half_activation, FAST), FAST)


@triton.jit
def weigh(of, h):
    """Weights of an unfold of length `h`."""
    leak = h * of.leak_conductance
    return Weights(of.capacitance + leak, leak * of.leak_reversal, h * of.self_conductance, h * of.reciprocal_conductance)


@triton.jit
def advance(of, weights, own, other, sensory, lateral, driven, STEERED: tl.constexpr, COUPLED: tl.constexpr, FAST: tl.constexpr):
    """The potential of one neuron after an unfold.

    All times the unfold's length, `sensory` is its sensory conductance, `lateral` and `driven` are the conductance and current
    of its lateral synapses, used when COUPLED.
    """
    q1 = odds(of.self_slope, own - of.self_half_activation, FAST)
    q2 = odds(of.reciprocal_slope, other - of.reciprocal_half_activation, FAST)
    received = sensory * of.sensory_reversal
    if STEERED:
        q3 = odds(of.steering_slope, other - of.steering_half_activation, FAST)
        q12, q13, q23 = q1 * q2, q1 * q3, q2 * q3
        q = q12 * q3
        above = (of.capacitance * own + weights.leak_driven) * q + received * q12
        below = weights.leak * q + sensory * q12
    else:
        q13, q23, q = q1, q2, q1 * q2
        above = (of.capacitance * own + (weights.leak_driven + received)) * q
        below = (weights.leak + sensory) * q
    w1, w2 = weights.own * q23, weights.cross * q13
    above += w1 * of.self_reversal + w2 * of.reciprocal_reversal
    below += w1 + w2
    if COUPLED:
        above, below = above + driven * q, below + lateral * q
    return above * inverse(below, FAST)  # eq. ltc-step


@triton.jit
def advance_both(a, b, weights_a, weights_b, v_a, v_b, s_a, s_b, STEERED: tl.constexpr, FAST: tl.constexpr):
    """Both potentials after an unfold, each neuron seeing those of before it."""
    after_a = advance(a, weights_a, v_a, v_b, s_a, 0.0, 0.0, STEERED, False, FAST)
    return after_a, advance(b, weights_b, v_b, v_a, s_b, 0.0, 0.0, STEERED, False, FAST)


@triton.jit
def advance_sample(a, b, v_a, v_b, now, UNFOLDS: tl.constexpr, STEERED: tl.constexpr, SHARED: tl.constexpr, FAST: tl.constexpr):
    """Both potentials after the sample `now`."""
    h_a, h_b = now.time_a * (1.0 / UNFOLDS), now.time_b * (1.0 / UNFOLDS)
    weights_a, weights_b = weigh(a, h_a), weigh(b, h_b)
    s_a, s_b = sense(a, now.u_a, FAST) * h_a, sense(b, opposite(now.u_b, SHARED), FAST) * h_b
    if UNFOLDS <= UNROLLED:
        for _ in tl.static_range(UNFOLDS):
            v_a, v_b = advance_both(a, b, weights_a, weights_b, v_a, v_b, s_a, s_b, STEERED, FAST)
    else:
        for _ in range(UNFOLDS):
            v_a, v_b = advance_both(a, b, weights_a, weights_b, v_a, v_b, s_a, s_b, STEERED, FAST)
    return v_a, v_b


@triton.jit
def place_lanes(lengths, time, pairs, total, batch_stride, pair_stride, PADDED: tl.constexpr, LANES: tl.constexpr):
    """Where the lanes of this program lie, and up to which sample any of them is real."""
    place = tl.program_id(0) * LANES + tl.arange(0, LANES)
    lane = tl.minimum(place, total - 1)  # lanes beyond the last one repeat it, and store nothing
    n = lane % pairs
    row = (lane // pairs).to(tl.int64)
    stop, length = time, tl.zeros_like(row) + time
    if PADDED:
        length = tl.load(lengths + row)
        stop = tl.max(length).to(tl.int32)
    return Lanes(lane, place < total, n, row * time * pairs + n, row * batch_stride + n * pair_stride, length, stop)


@triton.jit(do_not_specialize=SIZES)
def forward(lines, values, start, elapsed, lengths, own, other, last, time, pairs, total,
            batch_stride, time_stride, pair_stride, side_stride, UNFOLDS: tl.constexpr, STEERED: tl.constexpr, SHARED: tl.constexpr,
            STEADY: tl.constexpr, PADDED: tl.constexpr, FAST: tl.constexpr, LANES: tl.constexpr):  # fmt: skip
    """Run the lanes of one program.

    Args:
        lines: (batch, time, pairs, 2), or (batch, time, pairs) when SHARED.
        values: (17, pairs, 2).
        start, last: (batch, pairs, 2); `last` is written.
        elapsed: (batch, time, pairs, 2) with the four strides; one sample only when STEADY.
        lengths: (batch,) real samples, read when PADDED.
        own, other: (batch, time, pairs) potentials of neuron a and b, written as far as samples are real.
        total: number of lanes, batch * pairs.
    """
    AHEAD: tl.constexpr = max(BUSY // UNFOLDS, 2)
    at = place_lanes(lengths, time, pairs, total, batch_stride, pair_stride, PADDED, LANES)
    a, b = load_values(values, pairs, at.pair, 0), load_values(values, pairs, at.pair, 1)
    v_a, v_b = tl.load(start + 2 * at.lane), tl.load(start + 2 * at.lane + 1)
    end_a, end_b = v_a, v_b
    time_a, time_b = load_times(elapsed, at.when, side_stride)
    coming = ()
    for k in tl.static_range(AHEAD):
        coming = coming + (load_line(lines, elapsed, at, time_a, time_b, k, pairs, time_stride, side_stride, SHARED, STEADY),)
    for block in range(tl.cdiv(at.stop, AHEAD)):
        for k in tl.static_range(AHEAD):
            t, now = block * AHEAD + k, Line(coming[0][0], coming[0][1], coming[0][2], coming[0][3])  # slices lose the names
            ahead = load_line(lines, elapsed, at, time_a, time_b, t + AHEAD, pairs, time_stride, side_stride, SHARED, STEADY)
            coming = coming[1:] + (ahead,)
            v_a, v_b = advance_sample(a, b, v_a, v_b, now, UNFOLDS, STEERED, SHARED, FAST)
            # Beyond its last sample a lane goes on with others, of which nothing is kept.
            real = t < at.length
            end_a, end_b = tl.where(real, v_a, end_a), tl.where(real, v_b, end_b)
            here = at.first + tl.cast(t, tl.int64) * pairs
            tl.store(own + here, v_a, mask=at.stored & real)
            tl.store(other + here, v_b, mask=at.stored & real)
    tl.store(last + 2 * at.lane, end_a, mask=at.stored)
    tl.store(last + 2 * at.lane + 1, end_b, mask=at.stored)
