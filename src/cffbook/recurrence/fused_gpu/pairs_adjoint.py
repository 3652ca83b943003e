"""The adjoint of one sample of independent flip-flops, for `pairs_backward`: gates and unfolds, derived there."""

from collections import namedtuple

from cffbook.recurrence.forms import PAIR_VALUES
from cffbook.recurrence.fused_gpu.arithmetic import derivative, finite, inverse, odds, tl, triton
from cffbook.recurrence.fused_gpu.pairs_forward import UNROLLED, advance_both, sense, weigh

SENSORY = PAIR_VALUES[11:14]  # values of the sensory gate, which is computed once a sample

# Sums of gradients of the values of one neuron: of those that all unfolds use, and of those of the sensory gate.
Sums = namedtuple("Sums", [name for name in PAIR_VALUES if name not in SENSORY])
SensorySums = namedtuple("SensorySums", SENSORY)
# What an unfold hands to the one before it, for both neurons: gradients of the potential, of the sensory conductance, of the
# unfold's length, and the sums.
Adjoint = namedtuple("Adjoint", ("v_a", "v_b", "drive_a", "drive_b", "time_a", "time_b", "sums_a", "sums_b", "sensory_a", "sensory_b"))
# What is read of a sample, for both neurons: input line, potential before it, gradient of that after it, length of an unfold.
Sample = namedtuple("Sample", ("u_a", "u_b", "v_a", "v_b", "given_a", "given_b", "h_a", "h_b"))


@triton.jit
def back_one(of, sums, own, other, after, drive, lateral, driven, h, given,
             STEERED: tl.constexpr, COUPLED: tl.constexpr, TIMED: tl.constexpr, FAST: tl.constexpr):  # fmt: skip
    """The adjoint of an unfold of one neuron: gradients of its potential, the other one's, drive and length, the new sums, λ h."""
    away1, away2, away3 = own - of.self_half_activation, other - of.reciprocal_half_activation, other - of.steering_half_activation
    q1, q2 = odds(of.self_slope, away1, FAST), odds(of.reciprocal_slope, away2, FAST)
    q12 = q1 * q2
    if STEERED:
        q3 = odds(of.steering_slope, away3, FAST)
        r = inverse(q12 * q3, FAST)
        s1, s2, s3 = q2 * q3 * r, q1 * q3 * r, q12 * r
        sensory = drive * s3
    else:
        r = inverse(q12, FAST)
        s1, s2, sensory = q2 * r, q1 * r, drive
    g1, g2 = of.self_conductance * s1, of.reciprocal_conductance * s2
    total = of.leak_conductance + sensory + g1 + g2
    if COUPLED:
        total += lateral
    weight = given * inverse(of.capacitance + h * total, FAST)  # λ
    part = weight * h
    pull, pull1 = of.leak_reversal - after, of.self_reversal - after
    pull2, pull3 = of.reciprocal_reversal - after, of.sensory_reversal - after
    length = weight
    if TIMED:
        length = of.leak_conductance * pull + g1 * pull1 + g2 * pull2 + sensory * pull3
        if COUPLED:
            length += driven - lateral * after
        length = weight * length
    pull, pull1, pull2, pull3 = part * pull, part * pull1, part * pull2, part * pull3
    dz1 = pull1 * of.self_conductance * derivative(of.self_slope, away1, s1)
    dz2 = pull2 * of.reciprocal_conductance * derivative(of.reciprocal_slope, away2, s2)
    back1, back2 = dz1 * of.self_slope, dz2 * of.reciprocal_slope
    cross, g_drive, steering_slope, steering_half = back2, pull3, sums.steering_slope, sums.steering_half_activation
    if STEERED:
        dz3 = pull3 * drive * derivative(of.steering_slope, away3, s3)
        back3 = dz3 * of.steering_slope
        cross, g_drive, steering_slope, steering_half = back2 + back3, pull3 * s3, steering_slope + dz3 * away3, steering_half - back3
    return weight * of.capacitance + back1, cross, g_drive, length, Sums(
        sums.capacitance + weight * (own - after), sums.leak_conductance + pull, sums.leak_reversal + part * of.leak_conductance,
        sums.self_conductance + pull1 * s1, sums.self_slope + dz1 * away1, sums.self_half_activation - back1,
        sums.self_reversal + part * g1,
        sums.reciprocal_conductance + pull2 * s2, sums.reciprocal_slope + dz2 * away2, sums.reciprocal_half_activation - back2,
        sums.reciprocal_reversal + part * g2,
        sums.sensory_reversal + part * sensory, steering_slope, steering_half,
    ), part  # fmt: skip


@triton.jit
def hand_on(found, v_a, v_b, drive_a, drive_b, time_a, time_b, sums_a, sums_b, TIMED: tl.constexpr):
    """What an unfold hands on, from what it was handed and its own part."""
    if TIMED:
        time_a, time_b = found.time_a + time_a, found.time_b + time_b
    else:
        time_a, time_b = found.time_a, found.time_b
    drive_a, drive_b = found.drive_a + drive_a, found.drive_b + drive_b
    return Adjoint(v_a, v_b, drive_a, drive_b, time_a, time_b, sums_a, sums_b, found.sensory_a, found.sensory_b)


@triton.jit
def back(a, b, found, v_a, v_b, after_a, after_b, s_a, s_b, h_a, h_b, STEERED: tl.constexpr, TIMED: tl.constexpr, FAST: tl.constexpr):
    """The adjoint of an unfold of both neurons."""
    own_a, cross_b, drive_a, time_a, sums_a, _ = back_one(
        a, found.sums_a, v_a, v_b, after_a, s_a, 0.0, 0.0, h_a, found.v_a, STEERED, False, TIMED, FAST
    )
    own_b, cross_a, drive_b, time_b, sums_b, _ = back_one(
        b, found.sums_b, v_b, v_a, after_b, s_b, 0.0, 0.0, h_b, found.v_b, STEERED, False, TIMED, FAST
    )
    return hand_on(found, own_a + cross_a, own_b + cross_b, drive_a, drive_b, time_a, time_b, sums_a, sums_b, TIMED)


@triton.jit
def back_unfolds(a, b, found, sample, after_a, after_b, s_a, s_b, kept, total,
                 UNFOLDS: tl.constexpr, STEERED: tl.constexpr, TIMED: tl.constexpr, FAST: tl.constexpr):  # fmt: skip
    """The adjoint of all unfolds of a sample, which are run again up to the last one, whose potentials are known."""
    h_a, h_b, v_a, v_b = sample.h_a, sample.h_b, sample.v_a, sample.v_b
    weights_a, weights_b = weigh(a, h_a), weigh(b, h_b)
    if UNFOLDS <= UNROLLED:
        all_a, all_b = (v_a,), (v_b,)
        for _ in tl.static_range(UNFOLDS - 1):
            v_a, v_b = advance_both(a, b, weights_a, weights_b, v_a, v_b, s_a * h_a, s_b * h_b, STEERED, FAST)
            all_a, all_b = all_a + (v_a,), all_b + (v_b,)
        all_a, all_b = all_a + (after_a,), all_b + (after_b,)
        for k in tl.static_range(UNFOLDS - 1, -1, -1):
            found = back(a, b, found, all_a[k], all_b[k], all_a[k + 1], all_b[k + 1], s_a, s_b, h_a, h_b, STEERED, TIMED, FAST)
    else:
        for k in range(UNFOLDS - 1):
            v_a, v_b = advance_both(a, b, weights_a, weights_b, v_a, v_b, s_a * h_a, s_b * h_b, STEERED, FAST)
            tl.store(kept + k * total, v_a)
            tl.store(kept + (UNFOLDS + k) * total, v_b)
        for k in range(UNFOLDS - 1):
            v_a, v_b = tl.load(kept + (UNFOLDS - 2 - k) * total), tl.load(kept + (2 * UNFOLDS - 2 - k) * total)
            found = back(a, b, found, v_a, v_b, after_a, after_b, s_a, s_b, h_a, h_b, STEERED, TIMED, FAST)
            after_a, after_b = v_a, v_b
        found = back(a, b, found, sample.v_a, sample.v_b, after_a, after_b, s_a, s_b, h_a, h_b, STEERED, TIMED, FAST)
    return found


@triton.jit
def back_sense(of, sums, u, given, FAST: tl.constexpr):
    """The adjoint of a sensory gate: the gradient of the input line, and the new sums."""
    away = finite(u) - of.sensory_half_activation
    s = inverse(odds(of.sensory_slope, away, FAST), FAST)
    dz = given * of.sensory_conductance * derivative(of.sensory_slope, away, s)
    back = dz * of.sensory_slope
    slope, half = sums.sensory_slope + dz * away, sums.sensory_half_activation - back
    return back, SensorySums(sums.sensory_conductance + given * s, slope, half)


@triton.jit
def back_sample(a, b, found, sample, after_a, after_b, real, kept, total,
                UNFOLDS: tl.constexpr, STEERED: tl.constexpr, PADDED: tl.constexpr, TIMED: tl.constexpr, FAST: tl.constexpr):  # fmt: skip
    """The adjoint of a sample: what it hands on, and gradients of the input lines. A padded one takes no part."""
    none = tl.zeros_like(found.v_a)
    v_a, v_b = found.v_a + sample.given_a, found.v_b + sample.given_b
    if PADDED:
        v_a, v_b = tl.where(real, v_a, none), tl.where(real, v_b, none)
    s_a, s_b = sense(a, sample.u_a, FAST), sense(b, sample.u_b, FAST)
    begun = Adjoint(v_a, v_b, none, none, found.time_a, found.time_b, found.sums_a, found.sums_b, found.sensory_a, found.sensory_b)
    ended = back_unfolds(a, b, begun, sample, after_a, after_b, s_a, s_b, kept, total, UNFOLDS, STEERED, TIMED, FAST)
    g_a, sensory_a = back_sense(a, found.sensory_a, sample.u_a, ended.drive_a, FAST)
    g_b, sensory_b = back_sense(b, found.sensory_b, sample.u_b, ended.drive_b, FAST)
    v_a, v_b = ended.v_a, ended.v_b
    if PADDED:
        v_a, v_b = tl.where(real, v_a, found.v_a), tl.where(real, v_b, found.v_b)
    return Adjoint(v_a, v_b, none, none, ended.time_a, ended.time_b, ended.sums_a, ended.sums_b, sensory_a, sensory_b), g_a, g_b
