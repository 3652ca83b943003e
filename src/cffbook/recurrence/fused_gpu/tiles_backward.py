"""The adjoint of `tiles_forward`, one pass back over time; `pairs_backward` has what tiles have in common with it.

With the gates s of the block's outputs, λ h as there and v' the potential after the unfold::

    ∂L/∂W = sᵀ (-λ h v'),  ∂L/∂(W E) = sᵀ (λ h),  ∂L/∂s = (-λ h v') Wᵀ + (λ h) (W E)ᵀ

summed over both neurons in the last one. The potentials of a sample's unfolds lie in memory in between, as products of
matrices leave them with other threads. Source: eq. lateral and eq. ltc-step, differentiated.
"""

from collections import namedtuple

from cffbook.recurrence.fused_gpu.arithmetic import SIZES, derivative, tl, triton
from cffbook.recurrence.fused_gpu.pairs_adjoint import Adjoint, back_one, back_sense, hand_on
from cffbook.recurrence.fused_gpu.pairs_backward import FLUSH, SUMS, add, begin, load_sample, pour, settle, store_pair, store_sample
from cffbook.recurrence.fused_gpu.pairs_forward import load_times, load_values, sense, weigh
from cffbook.recurrence.fused_gpu.tiles_forward import Gates, Matrices, advance_block, load_matrices, open_gates, place_block, product

# What an unfold hands to the one before it: what flip-flops alone do, and sums of gradients of the gates and of the matrices.
Found = namedtuple("Found", ("pairs", "gates", "matrices"))


@triton.jit
def back_block(a, b, gates, matrices, found, v_a, v_b, after_a, after_b, s_a, s_b, h_a, h_b,
               STEERED: tl.constexpr, TIMED: tl.constexpr, FAST: tl.constexpr):  # fmt: skip
    """The adjoint of an unfold of all lanes."""
    s, pairs = open_gates(gates, v_a, FAST), found.pairs
    own_a, cross_b, drive_a, time_a, sums_a, part_a = back_one(
        a, pairs.sums_a, v_a, v_b, after_a, s_a, product(s, matrices.onto_a), product(s, matrices.driven_a), h_a, pairs.v_a,
        STEERED, True, TIMED, FAST,
    )  # fmt: skip
    own_b, cross_a, drive_b, time_b, sums_b, part_b = back_one(
        b, pairs.sums_b, v_b, v_a, after_b, s_b, product(s, matrices.onto_b), product(s, matrices.driven_b), h_b, pairs.v_b,
        STEERED, True, TIMED, FAST,
    )  # fmt: skip
    total_a, total_b, opened = -part_a * after_a, -part_b * after_b, tl.trans(s)
    sums = found.matrices
    sums = Matrices(
        sums.onto_a + product(opened, total_a), sums.onto_b + product(opened, total_b),
        sums.driven_a + product(opened, part_a), sums.driven_b + product(opened, part_b),
    )  # fmt: skip
    g = product(total_a, tl.trans(matrices.onto_a)) + product(total_b, tl.trans(matrices.onto_b))
    g += product(part_a, tl.trans(matrices.driven_a)) + product(part_b, tl.trans(matrices.driven_b))
    away = v_a - gates.half_activation
    dz = g * derivative(gates.slope, away, s)
    back = dz * gates.slope
    ended = hand_on(pairs, own_a + cross_a + back, own_b + cross_b, drive_a, drive_b, time_a, time_b, sums_a, sums_b, TIMED)
    return Found(ended, Gates(found.gates.slope + dz * away, found.gates.half_activation - back), sums)


@triton.jit
def back_unfolds(a, b, gates, matrices, found, sample, after_a, after_b, s_a, s_b, kept, count, stored,
                 UNFOLDS: tl.constexpr, STEERED: tl.constexpr, TIMED: tl.constexpr, FAST: tl.constexpr):  # fmt: skip
    """The adjoint of all unfolds of a sample, which are run again up to the last one, whose potentials are known."""
    h_a, h_b, v_a, v_b = sample.h_a, sample.h_b, sample.v_a, sample.v_b
    weights_a, weights_b = weigh(a, h_a), weigh(b, h_b)
    if UNFOLDS == 1:
        found = back_block(a, b, gates, matrices, found, v_a, v_b, after_a, after_b, s_a, s_b, h_a, h_b, STEERED, TIMED, FAST)
    else:
        tl.debug_barrier()  # all threads have read what is written over now
        for k in range(UNFOLDS - 1):
            tl.store(kept + k * count, v_a, mask=stored)
            tl.store(kept + (UNFOLDS + k) * count, v_b, mask=stored)
            v_a, v_b = advance_block(a, b, gates, matrices, weights_a, weights_b, v_a, v_b, s_a, s_b, h_a, h_b, STEERED, FAST)
        tl.debug_barrier()
        for k in range(UNFOLDS):
            found = back_block(a, b, gates, matrices, found, v_a, v_b, after_a, after_b, s_a, s_b, h_a, h_b, STEERED, TIMED, FAST)
            after_a, after_b, left = v_a, v_b, tl.maximum(UNFOLDS - 2 - k, 0)
            v_a = tl.load(kept + left * count, mask=stored, other=0.0)
            v_b = tl.load(kept + (UNFOLDS + left) * count, mask=stored, other=0.0)
    return found


@triton.jit
def back_sample(a, b, gates, matrices, found, sample, after_a, after_b, real, kept, count, stored,
                UNFOLDS: tl.constexpr, STEERED: tl.constexpr, TIMED: tl.constexpr, FAST: tl.constexpr):  # fmt: skip
    """The adjoint of a sample: what it hands on, and gradients of the input lines. Lanes that are not real take no part."""
    pairs = found.pairs
    none = tl.zeros_like(pairs.v_a)
    v_a, v_b = tl.where(real, pairs.v_a + sample.given_a, none), tl.where(real, pairs.v_b + sample.given_b, none)
    s_a, s_b = sense(a, sample.u_a, FAST), sense(b, sample.u_b, FAST)
    begun = Adjoint(v_a, v_b, none, none, pairs.time_a, pairs.time_b, pairs.sums_a, pairs.sums_b, pairs.sensory_a, pairs.sensory_b)
    found = Found(begun, found.gates, found.matrices)
    found = back_unfolds(
        a, b, gates, matrices, found, sample, after_a, after_b, s_a, s_b, kept, count, stored, UNFOLDS, STEERED, TIMED, FAST
    )
    ended = found.pairs
    g_a, sensory_a = back_sense(a, pairs.sensory_a, sample.u_a, ended.drive_a, FAST)
    g_b, sensory_b = back_sense(b, pairs.sensory_b, sample.u_b, ended.drive_b, FAST)
    v_a, v_b = tl.where(real, ended.v_a, pairs.v_a), tl.where(real, ended.v_b, pairs.v_b)
    ended = Adjoint(v_a, v_b, none, none, ended.time_a, ended.time_b, ended.sums_a, ended.sums_b, sensory_a, sensory_b)
    return Found(ended, found.gates, found.matrices), g_a, g_b


@triton.jit
def begin_block(v_a, v_b, time_a, time_b, matrices):
    """Gradients of both potentials and of the lengths of unfolds, with empty sums."""
    none, empty = tl.zeros_like(v_a), tl.zeros_like(matrices.onto_a)
    return Found(begin(v_a, v_b, time_a, time_b), Gates(none, none), Matrices(empty, empty, empty, empty))


@triton.jit
def pour_block(sums, gate_sums, matrix_sums, at, found, SIZE: tl.constexpr):
    """Add all sums to those in float64."""
    poured, pairs = sums + at.lane.to(tl.int64) * SUMS, found.pairs
    pour(poured, pairs.sums_a, pairs.sensory_a, at.stored)
    pour(poured + 1, pairs.sums_b, pairs.sensory_b, at.stored)
    add(gate_sums + 2 * at.lane, found.gates.slope, at.stored)
    add(gate_sums + 2 * at.lane + 1, found.gates.half_activation, at.stored)
    program = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    square = tl.arange(0, SIZE)[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    for i in tl.static_range(4):
        add(matrix_sums + (4 * program.to(tl.int64) + i) * SIZE * SIZE + square, found.matrices[i], square >= 0)


@triton.jit(do_not_specialize=SIZES)
def backward(lines, values, start, elapsed, lengths, gate_values, matrix_values, own, other, given_own, given_other, g_last,
             g_lines, g_start, g_elapsed, sums, gate_sums, matrix_sums, kept, batch, time, pairs,
             batch_stride, time_stride, pair_stride, side_stride, UNFOLDS: tl.constexpr, STEERED: tl.constexpr, SHARED: tl.constexpr,
             STEADY: tl.constexpr, PADDED: tl.constexpr, BOTH: tl.constexpr, TIMED: tl.constexpr, FAST: tl.constexpr,
             BLOCK: tl.constexpr, ROWS: tl.constexpr, SIZE: tl.constexpr):  # fmt: skip
    """Run the lanes of one program; arguments as in `tiles_forward.forward` and `pairs_backward.backward`, and

    Args:
        gate_sums: (batch, pairs, 2) float64, added to.
        matrix_sums: (programs, 4, SIZE, SIZE) float64, added to.
    """
    at = place_block(lengths, batch, time, pairs, batch_stride, pair_stride, BLOCK, PADDED, ROWS, SIZE)
    a, b = load_values(values, pairs, at.pair, 0), load_values(values, pairs, at.pair, 1)
    gates, matrices = Gates(tl.load(gate_values + at.pair), tl.load(gate_values + pairs + at.pair)), load_matrices(matrix_values, SIZE)
    time_a, time_b = load_times(elapsed, at.when, side_stride)
    start_a, start_b = tl.load(start + 2 * at.lane), tl.load(start + 2 * at.lane + 1)
    t = tl.maximum(at.stop - 1, 0)
    newest = at.first + t.to(tl.int64) * pairs
    after_a, after_b = tl.load(own + newest), tl.load(other + newest)
    coming = load_sample(lines, own, other, given_own, given_other, elapsed, at, time_a, time_b, t, pairs, time_stride, side_stride,
                         SHARED, STEADY, BOTH)  # fmt: skip
    none = tl.zeros_like(after_a)
    found = begin_block(tl.load(g_last + 2 * at.lane), tl.load(g_last + 2 * at.lane + 1), none, none, matrices)
    for chunk in range(tl.cdiv(at.stop, FLUSH)):
        left = at.stop - chunk * FLUSH
        for i in range(tl.minimum(left, FLUSH)):
            t = left - 1 - i
            # The sample before is on its way while this one is computed; that before the first one is the first one.
            sample = settle(coming, start_a, start_b, t, UNFOLDS, SHARED)
            coming = load_sample(lines, own, other, given_own, given_other, elapsed, at, time_a, time_b, tl.maximum(t - 1, 0), pairs,
                                 time_stride, side_stride, SHARED, STEADY, BOTH)  # fmt: skip
            real = at.stored
            if PADDED:
                real = real & (t < at.length)
            found, g_a, g_b = back_sample(
                a, b, gates, matrices, found, sample, after_a, after_b, real, kept + at.lane, batch * pairs, at.stored,
                UNFOLDS, STEERED, TIMED, FAST,
            )  # fmt: skip
            here = at.first + t.to(tl.int64) * pairs
            pairs_found = store_sample(g_lines, g_elapsed, found.pairs, here, g_a, g_b, at.stored, UNFOLDS, SHARED, STEADY, TIMED)
            found = Found(pairs_found, found.gates, found.matrices)
            after_a, after_b = sample.v_a, sample.v_b
        pour_block(sums, gate_sums, matrix_sums, at, found, SIZE)
        found = begin_block(found.pairs.v_a, found.pairs.v_b, found.pairs.time_a, found.pairs.time_b, matrices)
    store_pair(g_start, at.lane, found.pairs.v_a, found.pairs.v_b, at.stored)
    if TIMED and STEADY:
        store_pair(g_elapsed, at.lane, found.pairs.time_a / UNFOLDS, found.pairs.time_b / UNFOLDS, at.stored)
