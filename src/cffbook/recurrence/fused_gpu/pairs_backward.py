"""The adjoint of `pairs_forward`, one pass back over time: only the potentials were kept, the unfolds are run again.

With λ = (∂L/∂v') / (C + h ΣG) for an unfold v -> v' of length h, every conductance G with reversal potential E has
∂L/∂G = λ h (E - v') and ∂L/∂E = λ h G, and ∂L/∂C = λ (v - v'), ∂L/∂v = λ C + what comes back through the gates.
Gradients of the values are summed in registers over `FLUSH` samples, then added to sums in float64, one for each lane.
Source: eq. ltc-step, differentiated.
"""

from cffbook.recurrence.forms import PAIR_VALUES
from cffbook.recurrence.fused_gpu.arithmetic import SIZES, tl, triton
from cffbook.recurrence.fused_gpu.pairs_adjoint import Adjoint, Sample, SensorySums, Sums, back_sample
from cffbook.recurrence.fused_gpu.pairs_forward import load_line, load_times, load_values, opposite, place_lanes

SUMS = tl.constexpr(2 * len(PAIR_VALUES))  # of a lane
FLUSH = tl.constexpr(64)  # samples after which sums in the kernel's precision go into float64
STAGES = tl.constexpr(4)  # samples under way at a time: a load from memory takes longer than one or two


@triton.jit
def begin(v_a, v_b, time_a, time_b):
    """Gradients of both potentials and of the lengths of unfolds, with empty sums."""
    none = tl.zeros_like(v_a)
    sums = Sums(none, none, none, none, none, none, none, none, none, none, none, none, none, none)
    sensory = SensorySums(none, none, none)
    return Adjoint(v_a, v_b, none, none, time_a, time_b, sums, sums, sensory, sensory)


@triton.jit
def load_sample(lines, own, other, given_own, given_other, elapsed, at, time_a, time_b, t, pairs, time_stride, side_stride,
                SHARED: tl.constexpr, STEADY: tl.constexpr, BOTH: tl.constexpr):  # fmt: skip
    """What `settle` makes sample `t` of; the gradient of neuron b's potential is 0 unless BOTH, elapsed times stay when STEADY."""
    t = t.to(tl.int64)
    here, before = at.first + t * pairs, at.first + tl.maximum(t - 1, 0) * pairs
    line = load_line(lines, elapsed, at, time_a, time_b, t, pairs, time_stride, side_stride, SHARED, STEADY)
    given_a = tl.load(given_own + here)
    given_b = tl.zeros_like(given_a)
    if BOTH:
        given_b = tl.load(given_other + here)
    return Sample(line.u_a, line.u_b, tl.load(own + before), tl.load(other + before), given_a, given_b, line.time_a, line.time_b)


@triton.jit
def settle(loaded, start_a, start_b, t, UNFOLDS: tl.constexpr, SHARED: tl.constexpr):
    """Sample `t` from what was loaded: before the first one are the potentials given, and the length of an unfold is computed."""
    v_a, v_b = tl.where(t > 0, loaded.v_a, start_a), tl.where(t > 0, loaded.v_b, start_b)
    h_a, h_b = loaded.h_a * (1.0 / UNFOLDS), loaded.h_b * (1.0 / UNFOLDS)
    return Sample(loaded.u_a, opposite(loaded.u_b, SHARED), v_a, v_b, loaded.given_a, loaded.given_b, h_a, h_b)


@triton.jit
def store_pair(target, at, a, b, stored):
    """Both neurons into (..., pairs, 2)."""
    tl.store(target + 2 * at, a, mask=stored)
    tl.store(target + 2 * at + 1, b, mask=stored)


@triton.jit
def store_sample(g_lines, g_elapsed, found, at, g_a, g_b, stored,
                 UNFOLDS: tl.constexpr, SHARED: tl.constexpr, STEADY: tl.constexpr, TIMED: tl.constexpr):  # fmt: skip
    """Store the gradients of a sample's input lines and, where they are wanted, of its elapsed times, whose next sum is begun."""
    if SHARED:
        tl.store(g_lines + at, g_a - g_b, mask=stored)
    else:
        store_pair(g_lines, at, g_a, g_b, stored)
    if TIMED and not STEADY:
        store_pair(g_elapsed, at, found.time_a / UNFOLDS, found.time_b / UNFOLDS, stored)
        none = tl.zeros_like(g_a)
        found = Adjoint(found.v_a, found.v_b, none, none, none, none, found.sums_a, found.sums_b, found.sensory_a, found.sensory_b)
    return found


@triton.jit
def add(target, value, stored):
    """Add to numbers in float64 that no other lane has."""
    tl.store(target, tl.load(target, mask=stored, other=0.0) + value.to(tl.float64), mask=stored)


@triton.jit
def pour(target, sums, sensory, stored):
    """Add the sums of one neuron to those in float64, in the order of the values."""
    for i in tl.static_range(11):
        add(target + 2 * i, sums[i], stored)
    for i in tl.static_range(3):
        add(target + 2 * (11 + i), sensory[i], stored)
    for i in tl.static_range(11, 14):
        add(target + 2 * (3 + i), sums[i], stored)


@triton.jit(do_not_specialize=SIZES)
def backward(lines, values, start, elapsed, lengths, own, other, given_own, given_other, g_last, g_lines, g_start, g_elapsed, sums, kept,
             time, pairs, total, batch_stride, time_stride, pair_stride, side_stride, UNFOLDS: tl.constexpr, STEERED: tl.constexpr,
             SHARED: tl.constexpr, STEADY: tl.constexpr, PADDED: tl.constexpr, BOTH: tl.constexpr, TIMED: tl.constexpr,
             FAST: tl.constexpr, LANES: tl.constexpr):  # fmt: skip
    """Run the lanes of one program; arguments as in `forward`, and

    Args:
        given_own, given_other: (batch, time, pairs) gradients of the potentials; the second is read when BOTH.
        g_last: (batch, pairs, 2) gradient of the last ones.
        g_lines, g_start: written, shapes of lines and start; g_lines as far as a lane of the program is real.
        g_elapsed: (batch, time or 1, pairs, 2), written when TIMED, as far as g_lines.
        sums: (total, 17, 2) float64, added to: with all sums of a lane in a row, one address serves them.
        kept: (2, UNFOLDS, total) room for the potentials of a sample, when they are too many for registers.
    """
    at = place_lanes(lengths, time, pairs, total, batch_stride, pair_stride, PADDED, LANES)
    a, b = load_values(values, pairs, at.pair, 0), load_values(values, pairs, at.pair, 1)
    time_a, time_b = load_times(elapsed, at.when, side_stride)
    start_a, start_b = tl.load(start + 2 * at.lane), tl.load(start + 2 * at.lane + 1)
    newest = at.first + tl.maximum(at.stop - 1, 0).to(tl.int64) * pairs
    after_a, after_b = tl.load(own + newest), tl.load(other + newest)
    none = tl.zeros_like(after_a)
    found = begin(tl.load(g_last + 2 * at.lane), tl.load(g_last + 2 * at.lane + 1), none, none)
    for chunk in range(tl.cdiv(at.stop, FLUSH)):
        left = at.stop - chunk * FLUSH
        # Samples to come are on their way into shared memory while this one is computed.
        for i in tl.range(tl.minimum(left, FLUSH), num_stages=STAGES):
            t = left - 1 - i
            sample = load_sample(lines, own, other, given_own, given_other, elapsed, at, time_a, time_b, t, pairs,
                                 time_stride, side_stride, SHARED, STEADY, BOTH)  # fmt: skip
            sample = settle(sample, start_a, start_b, t, UNFOLDS, SHARED)
            found, g_a, g_b = back_sample(
                a, b, found, sample, after_a, after_b, t < at.length, kept + at.lane, total, UNFOLDS, STEERED, PADDED, TIMED, FAST
            )
            here = at.first + t.to(tl.int64) * pairs
            found = store_sample(g_lines, g_elapsed, found, here, g_a, g_b, at.stored, UNFOLDS, SHARED, STEADY, TIMED)
            after_a, after_b = sample.v_a, sample.v_b
        poured = sums + at.lane.to(tl.int64) * SUMS
        pour(poured, found.sums_a, found.sensory_a, at.stored)
        pour(poured + 1, found.sums_b, found.sensory_b, at.stored)
        found = begin(found.v_a, found.v_b, found.time_a, found.time_b)
    store_pair(g_start, at.lane, found.v_a, found.v_b, at.stored)
    if TIMED and STEADY:
        store_pair(g_elapsed, at.lane, found.time_a / UNFOLDS, found.time_b / UNFOLDS, at.stored)
