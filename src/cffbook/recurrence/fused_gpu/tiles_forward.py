"""Flip-flops with presynaptic lateral synapses in tiles, one pass over time: eq. cff with eq. lateral, advanced by eq. ltc-step.

A program has 16 sequences and one block of the adjacency matrix, which holds whole tiles. In an unfold the gates of the block's
outputs are one matrix, and products with the block's matrices of conductances, and of conductances times reversal potentials,
give what they cause in both neurons of every flip-flop; the rest is `pairs_forward`, a lane for each CFF of each sequence.
"""

from collections import namedtuple

from cffbook.recurrence.fused_gpu.arithmetic import SIZES, inverse, odds, tl, triton
from cffbook.recurrence.fused_gpu.pairs_forward import Lanes, advance, load_line, load_times, load_values, opposite, sense, weigh

# Conductance of lateral synapses onto neuron a and neuron b [source, target], and each times the reversal potential.
Matrices = namedtuple("Matrices", ("onto_a", "onto_b", "driven_a", "driven_b"))
# The gates of the outputs, by source.
Gates = namedtuple("Gates", ("slope", "half_activation"))


@triton.jit
def place_block(lengths, batch, time, pairs, batch_stride, pair_stride, BLOCK: tl.constexpr, PADDED: tl.constexpr,
                ROWS: tl.constexpr, SIZE: tl.constexpr):  # fmt: skip
    """Where the lanes (ROWS, SIZE) of this program lie, and up to which sample any of them is real."""
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None], tl.arange(0, SIZE)[None, :]
    pair = tl.program_id(1) * BLOCK + tl.minimum(column, BLOCK - 1)
    stored = (row < batch) & (column < BLOCK) & (pair < pairs)
    # Lanes beyond the block or the batch repeat others, which they reach by no lateral synapse, and store nothing.
    pair, row = tl.minimum(pair, pairs - 1), tl.broadcast_to(tl.minimum(row, batch - 1), (ROWS, SIZE))
    lane, row = row * pairs + pair, row.to(tl.int64)
    stop, length = time, row
    if PADDED:
        length = tl.load(lengths + row)
        stop = tl.max(length).to(tl.int32)
    return Lanes(lane, stored, pair, row * time * pairs + pair, row * batch_stride + pair * pair_stride, length, stop)


@triton.jit
def load_matrices(matrices, SIZE: tl.constexpr):
    """The matrices of this program's block, from `matrices` (4, blocks, SIZE, SIZE)."""
    whole = tl.num_programs(1) * SIZE * SIZE
    at = matrices + (tl.program_id(1) * SIZE + tl.arange(0, SIZE)[:, None]) * SIZE + tl.arange(0, SIZE)[None, :]
    return Matrices(tl.load(at), tl.load(at + whole), tl.load(at + 2 * whole), tl.load(at + 3 * whole))


@triton.jit
def product(left, right):
    """A matrix product in full precision. Tensor cores would want more numbers for each thread than it has registers."""
    return tl.dot(left, right, input_precision="ieee", out_dtype=left.dtype)


@triton.jit
def open_gates(gates, outputs, FAST: tl.constexpr):
    """Gates of the flip-flops' outputs."""
    return inverse(odds(gates.slope, outputs - gates.half_activation, FAST), FAST)


@triton.jit
def advance_block(a, b, gates, matrices, weights_a, weights_b, v_a, v_b, s_a, s_b, h_a, h_b, STEERED: tl.constexpr, FAST: tl.constexpr):
    """Both potentials after an unfold, each neuron seeing those of before it."""
    s = open_gates(gates, v_a, FAST)
    onto_a, driven_a = h_a * product(s, matrices.onto_a), h_a * product(s, matrices.driven_a)
    onto_b, driven_b = h_b * product(s, matrices.onto_b), h_b * product(s, matrices.driven_b)
    after_a = advance(a, weights_a, v_a, v_b, s_a * h_a, onto_a, driven_a, STEERED, True, FAST)  # eq. lateral
    return after_a, advance(b, weights_b, v_b, v_a, s_b * h_b, onto_b, driven_b, STEERED, True, FAST)


@triton.jit(do_not_specialize=SIZES)
def forward(lines, values, start, elapsed, lengths, gate_values, matrix_values, own, other, last, batch, time, pairs,
            batch_stride, time_stride, pair_stride, side_stride, UNFOLDS: tl.constexpr, STEERED: tl.constexpr, SHARED: tl.constexpr,
            STEADY: tl.constexpr, PADDED: tl.constexpr, FAST: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
            SIZE: tl.constexpr):  # fmt: skip
    """Run the lanes of one program; arguments as in `pairs_forward.forward`, and

    Args:
        gate_values: (2, pairs) slope and half-activation of the lateral gates.
        matrix_values: (4, blocks, SIZE, SIZE), see `Matrices`; 0 beyond the BLOCK flip-flops of each.
    """
    at = place_block(lengths, batch, time, pairs, batch_stride, pair_stride, BLOCK, PADDED, ROWS, SIZE)
    a, b = load_values(values, pairs, at.pair, 0), load_values(values, pairs, at.pair, 1)
    gates, matrices = Gates(tl.load(gate_values + at.pair), tl.load(gate_values + pairs + at.pair)), load_matrices(matrix_values, SIZE)
    v_a, v_b = tl.load(start + 2 * at.lane), tl.load(start + 2 * at.lane + 1)
    time_a, time_b = load_times(elapsed, at.when, side_stride)
    now = load_line(lines, elapsed, at, time_a, time_b, 0, pairs, time_stride, side_stride, SHARED, STEADY)
    for t in range(at.stop):
        # The next sample is on its way while this one is computed.
        ahead = load_line(lines, elapsed, at, time_a, time_b, t + 1, pairs, time_stride, side_stride, SHARED, STEADY)
        h_a, h_b = now.time_a * (1.0 / UNFOLDS), now.time_b * (1.0 / UNFOLDS)
        weights_a, weights_b = weigh(a, h_a), weigh(b, h_b)
        s_a, s_b = sense(a, now.u_a, FAST), sense(b, opposite(now.u_b, SHARED), FAST)
        before_a, before_b = v_a, v_b
        for _ in range(UNFOLDS):
            v_a, v_b = advance_block(a, b, gates, matrices, weights_a, weights_b, v_a, v_b, s_a, s_b, h_a, h_b, STEERED, FAST)
        stored = at.stored
        if PADDED:
            stored = stored & (t < at.length)
            v_a, v_b = tl.where(t < at.length, v_a, before_a), tl.where(t < at.length, v_b, before_b)
        here = at.first + tl.cast(t, tl.int64) * pairs
        tl.store(own + here, v_a, mask=stored)
        tl.store(other + here, v_b, mask=stored)
        now = ahead
    tl.store(last + 2 * at.lane, v_a, mask=at.stored)
    tl.store(last + 2 * at.lane + 1, v_b, mask=at.stored)
