"""The gate s(z) in plain arithmetic, which the compiler turns into vector instructions::

    1 / s(z) = 1 + 2^x,  x = -z log2 e;    2^x = 2^n 2^(x - n),  n = rint(x),  2^f a polynomial on [-1/2, 1/2]

The library's own `exp` is a call for every single number. Source: Muller et al. 2018, Handbook of Floating-Point
Arithmetic, for the range reduction; the coefficients interpolate 2^f at Chebyshev nodes, with relative errors of 1e-7
(float32, degree 5) and 4e-18 (float64, degree 11).
"""

import math

from cffbook._optional import require

PURPOSE = "the backend 'fused_cpu'"
np = require("numpy", extra="fast", purpose=PURPOSE)
numba = require("numba", extra="fast", purpose=PURPOSE)
llvm = require("llvmlite.ir", extra="fast", purpose=PURPOSE)
extending = require("numba.extending", extra="fast", purpose=PURPOSE)

# Products and sums may be fused; no other licence is taken: NaN and infinity keep their meaning.
OPTIONS = {"error_model": "numpy", "fastmath": {"contract"}}
kernel = numba.njit(nogil=True, cache=True, **OPTIONS)

SINGLE = tuple(map(np.float32, (
    1.000000075454897193, 0.69314718802622878106, 0.24022107485308337545, 0.055503571142190778186, 0.0096760319183220540794,
    0.0013390863364671234381,
)))  # fmt: skip
DOUBLE = (
    0.99999999999999999693, 0.69314718055994530925, 0.24022650695910159567, 0.055504108664821627039, 0.0096181291075872566681,
    0.0013333558146406470697, 0.00015403530463724354209, 0.000015252733841556772589, 1.3215432535912376166e-6,
    1.0178057087733941105e-7, 7.0741942972885210056e-9, 4.455817908336064493e-10,
)  # fmt: skip
LOG2E_SINGLE, LOG2E_DOUBLE = np.float32(math.log2(math.e)), math.log2(math.e)
ONE = np.float32(1)
# Where x is cut off: a gate is then as good as shut or open, and the product of three of the powers is still a number.
LIMIT_SINGLE, LIMIT_DOUBLE = np.float32(30), 300.0
# A gate that is cut off is at most this: 1 / (1 + 2^limit) and its rounding.
SHUT_SINGLE, SHUT_DOUBLE = np.float32(1.0001 / (1 + 2**30)), 1.0001 / (1 + 2.0**300)
# |z| from which on the derivative of the gate is 0.
FLAT_SINGLE, FLAT_DOUBLE = np.float32(30 / math.log2(math.e)), 300 / math.log2(math.e)


@extending.intrinsic
def rint(context, x):
    """The nearest whole number, as a float."""

    def build(context, builder, signature, arguments):
        function = builder.module.declare_intrinsic("llvm.rint", [arguments[0].type])
        return builder.call(function, arguments)

    return x(x), build


@extending.intrinsic
def power_of_two(context, n):
    """2^n of a whole number n given as a float, by its bits."""

    def build(context, builder, signature, arguments):
        (n,) = arguments
        single = n.type == llvm.FloatType()
        whole = builder.fptosi(n, llvm.IntType(32))
        if not single:
            whole = builder.sext(whole, llvm.IntType(64))
        bias, shift = (127, 23) if single else (1023, 52)
        bits = builder.shl(builder.add(whole, whole.type(bias)), whole.type(shift))
        return builder.bitcast(bits, n.type)

    return n(n), build


@kernel
def _odds_single(z):
    x = -z * LOG2E_SINGLE
    x = LIMIT_SINGLE if x > LIMIT_SINGLE else x  # written so that NaN stays NaN
    x = -LIMIT_SINGLE if x < -LIMIT_SINGLE else x
    n = rint(x)
    f = x - n
    p = SINGLE[4] + f * SINGLE[5]
    p = SINGLE[3] + f * p
    p = SINGLE[2] + f * p
    p = SINGLE[1] + f * p
    p = SINGLE[0] + f * p
    return ONE + p * power_of_two(n)


@kernel
def _odds_double(z):
    x = -z * LOG2E_DOUBLE
    x = LIMIT_DOUBLE if x > LIMIT_DOUBLE else x
    x = -LIMIT_DOUBLE if x < -LIMIT_DOUBLE else x
    n = rint(x)
    f = x - n
    p = DOUBLE[10] + f * DOUBLE[11]
    p = DOUBLE[9] + f * p
    p = DOUBLE[8] + f * p
    p = DOUBLE[7] + f * p
    p = DOUBLE[6] + f * p
    p = DOUBLE[5] + f * p
    p = DOUBLE[4] + f * p
    p = DOUBLE[3] + f * p
    p = DOUBLE[2] + f * p
    p = DOUBLE[1] + f * p
    p = DOUBLE[0] + f * p
    return 1.0 + p * power_of_two(n)


@kernel
def _slope_single(z, s):
    return np.float32(0) if s < SHUT_SINGLE else s - s * s


@kernel
def _slope_double(z, s):
    return 0.0 if s < SHUT_DOUBLE else s - s * s


def odds(z):
    """1 / s(z), at most 1 + 2^30 in float32 and 1 + 2^300 in float64."""


def inverse(x):
    """1 / x in the type of x."""


def derivative(z, s):
    """ds/dz of the gate s at z, 0 where it is cut off."""


@extending.overload(odds, jit_options=OPTIONS)
def _odds(z):
    return (lambda z: _odds_single(z)) if z == numba.float32 else (lambda z: _odds_double(z))


@extending.overload(inverse, jit_options=OPTIONS)
def _inverse(x):
    return (lambda x: ONE / x) if x == numba.float32 else (lambda x: 1.0 / x)


@extending.overload(derivative, jit_options=OPTIONS)
def _derivative(z, s):
    return (lambda z, s: _slope_single(z, s)) if z == numba.float32 else (lambda z, s: _slope_double(z, s))


@kernel
def gate(z):
    """s(z)."""
    return inverse(odds(z))
