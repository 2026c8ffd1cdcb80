"""Elementwise ops, conversions, comparison and selection."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.mlir.dialects import chlo, stablehlo
from rows import (
    ALL,
    BOOL,
    COMPLEX,
    FLOATS,
    INTS,
    NUMBERS,
    SIGNED,
    SMALL_FLOATS,
    SMALL_INTS,
    UNSIGNED,
    WIDE_FLOATS,
    emit,
    full_range,
    normal,
    row,
    special,
    uniform,
    values,
)

A, B = normal(7, 33), normal(7, 33)
S, T = special(16, 19), special(16, 19)
R, Q = full_range(9, 31), full_range(9, 31)
EXACT = WIDE_FLOATS + INTS

# Arithmetic.
row("stablehlo.add", lax.add, [A, B], EXACT + COMPLEX, grad=True)
row("stablehlo.add", lax.add, [R, Q], INTS + SMALL_INTS, "add-wraps")
row("stablehlo.add", lax.add, [S, T], FLOATS, "add-special")
row("stablehlo.subtract", lax.sub, [A, B], EXACT + COMPLEX)
row("stablehlo.subtract", lax.sub, [R, Q], INTS + SMALL_INTS, "subtract-wraps")
row("stablehlo.multiply", lax.mul, [A, B], EXACT)
row("stablehlo.multiply", lax.mul, [A, B], COMPLEX, "multiply-complex", ulps=2, grad=True)
row("stablehlo.multiply", lax.mul, [R, Q], INTS + SMALL_INTS, "multiply-wraps")
row("stablehlo.divide", lax.div, [A, B], WIDE_FLOATS, ulps=0.51)
row("stablehlo.divide", lax.div, [A, B], COMPLEX, "divide-complex", ulps=4, grad=True, grad_ulps=64)
row("stablehlo.divide", lax.div, [S, T], FLOATS, "divide-special")
row("stablehlo.divide", lax.div, [S, T], INTS + SMALL_INTS, "divide-ints-special")
row("stablehlo.divide", lax.div, [R, normal(9, 31)], INTS, "divide-ints")
row("stablehlo.remainder", lax.rem, [normal(7, 33, scale=9), B], WIDE_FLOATS)
row("stablehlo.remainder", lax.rem, [S, T], FLOATS, "remainder-special")
row("stablehlo.remainder", lax.rem, [S, T], INTS + SMALL_INTS, "remainder-ints-special")
row("stablehlo.remainder", lax.rem, [R, normal(9, 31)], INTS, "remainder-ints")
row("stablehlo.maximum", lax.max, [A, B], EXACT + BOOL, grad=True)
row("stablehlo.maximum", lax.max, [S, T], FLOATS, "maximum-special", oracle="float64", ulps=0.5)
row("stablehlo.maximum", lax.max, [R, Q], INTS + SMALL_INTS, "maximum-range")
row("stablehlo.minimum", lax.min, [A, B], EXACT + BOOL)
row("stablehlo.minimum", lax.min, [S, T], FLOATS, "minimum-special", oracle="float64", ulps=0.5)
row("stablehlo.abs", lax.abs, [A], WIDE_FLOATS + SIGNED)
row("stablehlo.abs", lax.abs, [S], FLOATS + SIGNED, "abs-special")
row("stablehlo.abs", lax.abs, [A], COMPLEX, "abs-complex", ulps=2)
row("stablehlo.negate", lax.neg, [S], FLOATS + INTS + SMALL_INTS)
row("stablehlo.sign", lax.sign, [S], FLOATS + SIGNED)
row("stablehlo.sign", lax.sign, [A], COMPLEX, "sign-complex", ulps=4)
row("stablehlo.power", lax.pow, [uniform(0.1, 5, 7, 33), B], WIDE_FLOATS, ulps=2, grad=True, grad_ulps=64)
row("stablehlo.power", lax.pow, [S, T], FLOATS, "power-special")
row("stablehlo.power", lax.pow, [A, normal(7, 33)], COMPLEX, "power-complex", ulps=64)
row("stablehlo.multiply", lambda a: a**5, [R], SIGNED, "integer-power")
BASES = values([[-3, -2, -1, 0, 1, 2, 3, 7]] * 8)
EXPONENTS = values(np.array([[-3, -2, -1, 0, 1, 2, 5, 7]] * 8).T)
row("stablehlo.power", lax.pow, [BASES, EXPONENTS], FLOATS, "power-whole")

# Bits.
row("stablehlo.and", lax.bitwise_and, [R, Q], INTS + BOOL + SMALL_INTS)
row("stablehlo.or", lax.bitwise_or, [R, Q], INTS + BOOL + SMALL_INTS)
row("stablehlo.xor", lax.bitwise_xor, [R, Q], INTS + BOOL + SMALL_INTS)
row("stablehlo.not", lax.bitwise_not, [R], INTS + BOOL + SMALL_INTS)
SHIFTS = values(np.arange(-2, 70).reshape(8, 9))
for op, function in (
    ("shift_left", lax.shift_left),
    ("shift_right_logical", lax.shift_right_logical),
    ("shift_right_arithmetic", lax.shift_right_arithmetic),
):
    row(f"stablehlo.{op}", function, [full_range(8, 9), SHIFTS], INTS + SMALL_INTS)
row("stablehlo.popcnt", lax.population_count, [R], INTS)
row("stablehlo.count_leading_zeros", lax.clz, [R], INTS)
row("stablehlo.count_leading_zeros", lax.clz, [special(99)], INTS, "clz-special")

# Comparison and selection.
for name, function in (
    ("eq", lax.eq),
    ("ne", lax.ne),
    ("ge", lax.ge),
    ("gt", lax.gt),
    ("le", lax.le),
    ("lt", lax.lt),
):
    row("stablehlo.compare", function, [S, T], FLOATS + ("float64",) + INTS + BOOL + SMALL_INTS, f"compare-{name}")
row("stablehlo.compare", lax.eq, [S, S], COMPLEX, "compare-complex")
row("stablehlo.compare", lambda a, b: lax.sort([a, b], num_keys=1)[1], [special(40), normal(40)], FLOATS, "compare-total-order")
row("stablehlo.select", lax.select, [normal(7, 33).of("bool"), A, B], ALL + SMALL_INTS + SMALL_FLOATS[:2], grad=True)
row(
    "stablehlo.select",
    lambda p, a, b: lax.select(p, a, b),
    [normal().of("bool"), A, B],
    ("float32", "int8"),
    "select-scalar",
)
row("stablehlo.clamp", lax.clamp, [normal(7, 33, shift=-1), A, normal(7, 33, shift=1)], EXACT)
row("stablehlo.clamp", lambda x: lax.clamp(x.dtype.type(0), x, x.dtype.type(1)), [S], FLOATS + SIGNED, "clamp-scalar")

# Rounding.
HALVES = values(np.array([*np.arange(-4, 4.5, 0.5), 0.49999997, -0.49999997, 8388609.0, -0.0, np.inf, np.nan]))
row("stablehlo.ceil", lax.ceil, [S], WIDE_FLOATS)
row("stablehlo.floor", lax.floor, [S], WIDE_FLOATS)
row("stablehlo.round_nearest_afz", lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO), [HALVES], WIDE_FLOATS)
row("stablehlo.round_nearest_even", lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN), [HALVES], WIDE_FLOATS)
row("stablehlo.is_finite", lax.is_finite, [S], WIDE_FLOATS)

# Functions. The tolerance is twice the largest error measured.
ANY, POSITIVE, UNIT = normal(17, 33, scale=3), uniform(0.01, 50, 17, 33), uniform(-1, 1, 17, 33)
for op, function, arg, ulps, types in (
    ("exponential", lax.exp, ANY, 4, WIDE_FLOATS + COMPLEX),
    ("exponential_minus_one", lax.expm1, ANY, 4, WIDE_FLOATS + COMPLEX),
    ("log", lax.log, POSITIVE, 4, WIDE_FLOATS + COMPLEX),
    ("log_plus_one", lax.log1p, POSITIVE, 4, WIDE_FLOATS + COMPLEX),
    ("tanh", lax.tanh, ANY, 6, WIDE_FLOATS + COMPLEX),
    ("sine", lax.sin, ANY, 4, WIDE_FLOATS + COMPLEX),
    ("cosine", lax.cos, ANY, 4, WIDE_FLOATS + COMPLEX),
    ("tan", lax.tan, ANY, 8, WIDE_FLOATS + COMPLEX),
    ("sqrt", lax.sqrt, POSITIVE, 2, WIDE_FLOATS + COMPLEX),
    ("rsqrt", lax.rsqrt, POSITIVE, 3, WIDE_FLOATS + COMPLEX),
    ("cbrt", lax.cbrt, ANY, 3, WIDE_FLOATS),
):
    row(f"stablehlo.{op}", function, [arg], types, ulps=ulps, grad=True, grad_ulps=64, floor=1e-3)
    row(f"stablehlo.{op}", function, [special(99)], FLOATS, f"{op}-special", ulps=8, floor=1e-3)
# JAX writes its logistic with exp and a division, other front ends as one op.
row("stablehlo.divide", lax.logistic, [ANY], WIDE_FLOATS + COMPLEX, "sigmoid", ulps=8, grad=True, grad_ulps=64, floor=1e-3)
row("stablehlo.divide", lax.logistic, [special(99)], FLOATS, "sigmoid-special", ulps=8, floor=1e-3)
row("stablehlo.logistic", emit(stablehlo.logistic), [ANY], WIDE_FLOATS + COMPLEX, ulps=4, floor=1e-3, vmap=False)
row("stablehlo.logistic", emit(stablehlo.logistic), [special(99)], FLOATS, "logistic-special", ulps=8, floor=1e-3, vmap=False)
row("stablehlo.atan2", lax.atan2, [A, B], WIDE_FLOATS, ulps=4, grad=True, grad_ulps=64)
row("stablehlo.atan2", lax.atan2, [S, T], ("float32",), "atan2-special", ulps=4)
# JAX 0.12 writes the asin of a real number with atan2.
ASIN = "stablehlo.atan2" if jax.__version_info__ >= (0, 12) else "chlo.asin"
for op, function, arg, ulps in (
    ("erf", lax.erf, ANY, 8),
    ("erfc", lax.erfc, normal(17, 33, scale=2), 16),
    ("erf_inv", lax.erf_inv, UNIT, 32),
    ("acos", lax.acos, UNIT, 8),
    ("acosh", lax.acosh, uniform(1.01, 50, 17, 33), 8),
    ("asin", lax.asin, UNIT, 8),
    ("asinh", lax.asinh, ANY, 8),
    ("atan", lax.atan, ANY, 8),
    ("atanh", lax.atanh, UNIT, 16),
    ("cosh", lax.cosh, ANY, 8),
    ("sinh", lax.sinh, ANY, 8),
):
    row(
        ASIN if op == "asin" else f"chlo.{op}",
        function,
        [arg],
        FLOATS if op == "atanh" else WIDE_FLOATS,
        ulps=ulps,
        grad=True,
        # 1 - x * x cancels near one; XLA's CPU backend happens to fuse it.
        grad_ulps=1024 if op in ("acos", "asin") else 256,
        floor=1e-3,
        name=op,
        covers=(f"mps.{op}",),
    )
row("chlo.asin", emit(chlo.asin), [UNIT], WIDE_FLOATS, "asin-op", ulps=8, floor=1e-3, vmap=False, covers=("mps.asin",))
# The oracle is XLA's own float64 form, whose log1p is off by 120 ulps near -0.41.
row("chlo.atanh", lax.atanh, [UNIT], "float64", "atanh-float64", ulps=128, vmap=False, covers=("mps.atanh",))

# Complex numbers.
row("stablehlo.real", lax.real, [A], COMPLEX, grad=True)
row("stablehlo.imag", lax.imag, [A], COMPLEX, grad=True)
row("stablehlo.complex", lax.complex, [S, T], "float32")

# Conversions.
WIDE_RANGE = values(
    np.array([0, -0.0, 1, -1, 0.5, 1.5, 2.5, -2.5, 127, 128, 129, 255, 256, 300, -128, -129, 3e4, 7e4, 2e9, 3e9,
              -3e9, 5e18, 1e19, 2e19, -1e19, 1e30, np.inf, -np.inf, np.nan, 1e-8, 3.1e-5, 6e-6])
)
for to in (*ALL, *SMALL_INTS):
    row(
        "stablehlo.convert",
        lambda x, to=to: lax.convert_element_type(x, to),
        [WIDE_RANGE],
        FLOATS + (("float64",) if to != "complex64" else ()),
        f"convert-floats-to-{to}",
        vmap=False,
    )
    row(
        "stablehlo.convert",
        lambda x, to=to: lax.convert_element_type(x, to),
        [full_range(8, 9)],
        tuple(t for t in INTS + BOOL + SMALL_INTS if t != to),
        f"convert-ints-to-{to}",
        vmap=False,
    )
EIGHTHS = values(np.concatenate([np.arange(-20, 20.25, 0.125), [448, 464, 480, 57344, 61440, 1e6, np.inf, -np.inf, np.nan, 2e-3, 1e-4, 0.0, -0.0]]))
for to in SMALL_FLOATS:
    row("stablehlo.convert", lambda x, to=to: lax.convert_element_type(x, to), [EIGHTHS], FLOATS, f"convert-to-{to}", vmap=False)
    row("stablehlo.convert", lambda x: lax.convert_element_type(x, "float32"), [EIGHTHS], to, f"convert-from-{to}", vmap=False)
    row("stablehlo.add", lax.add, [EIGHTHS, EIGHTHS], to, f"add-{to}", vmap=False)
row("stablehlo.bitcast_convert", lambda x: lax.bitcast_convert_type(x, jnp.int32), [S], "float32")
row("stablehlo.bitcast_convert", lambda x: lax.bitcast_convert_type(x, jnp.uint8), [S], ("float32", "bfloat16", "int64"), "bitcast-narrower")
row("stablehlo.bitcast_convert", lambda x: lax.bitcast_convert_type(x, jnp.float32), [full_range(3, 5, 4)], "uint8", "bitcast-wider",
    check=lambda got, want, arguments: np.testing.assert_array_equal(got[0].view(np.uint32), want[0].view(np.uint32)))
row("stablehlo.bitcast_convert", lambda x: lax.bitcast_convert_type(x, jnp.uint4), [R], ("uint8", "int16"), "bitcast-to-4-bits", vmap=False)
row("stablehlo.bitcast_convert", lambda x: lax.bitcast_convert_type(x, jnp.int8), [full_range(3, 2)], "int4", "bitcast-from-4-bits", vmap=False)
for exponent, mantissa in ((5, 10), (8, 7), (4, 3), (5, 2), (8, 23), (2, 0), (8, 256)):
    row(
        "stablehlo.reduce_precision",
        lambda x, e=exponent, m=mantissa: lax.reduce_precision(x, e, m),
        [full_range(9, 31)],
        ("float32", "bfloat16", "float16", "float64") if mantissa else ("float32",),
        f"reduce_precision-{exponent}-{mantissa}",
    )
row("stablehlo.reduce_precision", lambda x: lax.reduce_precision(x, 5, 10), [S], "float32", "reduce_precision-special")

# Together, as programs write them.
row("stablehlo.tanh", lambda x: x * jax.nn.sigmoid(x) + jnp.tanh(x), [ANY], FLOATS, "chain", ulps=8, grad=True, grad_ulps=64, floor=0.05)
