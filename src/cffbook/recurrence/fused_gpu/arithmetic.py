"""The gate s(z) for Triton, from the two approximations that a GPU has in hardware::

    1 / s(z) = 1 + 2^x,  x = -z log2 e

In float32 on a GPU (`FAST`) the power and the inverse are single instructions, with relative errors of 2e-7 and 1e-7; Triton's
own functions add code for the smallest numbers, which gates do not need. In float64, and in the interpreter, they are
Triton's. Source: NVIDIA, PTX ISA, ex2.approx and rcp.approx.
"""

import math

from cffbook._optional import require

PURPOSE = "the backend 'fused_gpu'"
triton = require("triton", extra="gpu", purpose=PURPOSE)
tl = require("triton.language", extra="gpu", purpose=PURPOSE)

# Arguments of kernels that no new kernel is compiled for when they are 1 or a multiple of 16.
SIZES = ("batch", "time", "pairs", "total", "batch_stride", "time_stride", "pair_stride", "side_stride")
LOG2E = tl.constexpr(math.log2(math.e))
# Where x is cut off: a gate is then as good as shut, and the product of three of the powers is still a number. From |x| of this
# size on, the derivative of the gate is 0.
LIMIT_SINGLE, LIMIT_DOUBLE = tl.constexpr(30.0), tl.constexpr(300.0)
LARGEST_SINGLE, LARGEST_DOUBLE = tl.constexpr((2 - 2.0**-23) * 2.0**127), tl.constexpr((2 - 2.0**-52) * 2.0**1023)


@triton.jit
def power_of_two(x, FAST: tl.constexpr):
    """2^x."""
    if FAST:
        return tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    else:
        return tl.exp2(x)


@triton.jit
def inverse(x, FAST: tl.constexpr):
    """1 / x."""
    if FAST:
        return tl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    else:
        return 1.0 / x


@triton.jit
def odds(slope, away, FAST: tl.constexpr):
    """1 / s(slope * away), at most 1 + 2^30 in float32 and 1 + 2^300 in float64; NaN stays NaN."""
    limit: tl.constexpr = LIMIT_DOUBLE if away.dtype == tl.float64 else LIMIT_SINGLE
    # The slope's factor comes first, so that it is multiplied once and not in every unfold.
    return 1.0 + power_of_two(tl.minimum(slope * -LOG2E * away, limit, propagate_nan=tl.PropagateNan.ALL), FAST)


@triton.jit
def derivative(slope, away, s):
    """ds/dz of the gate s at z = slope * away, 0 where it is cut off."""
    limit: tl.constexpr = LIMIT_DOUBLE if away.dtype == tl.float64 else LIMIT_SINGLE
    return tl.where(tl.abs(slope * -LOG2E * away) > limit, 0.0, s - s * s)


@triton.jit
def finite(u):
    """An infinite input as the largest number; NaN stays NaN."""
    largest: tl.constexpr = LARGEST_DOUBLE if u.dtype == tl.float64 else LARGEST_SINGLE
    return tl.maximum(tl.minimum(u, largest, propagate_nan=tl.PropagateNan.ALL), -largest, propagate_nan=tl.PropagateNan.ALL)
