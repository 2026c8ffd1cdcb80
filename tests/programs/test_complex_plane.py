"""Complex functions over the whole plane, and of pairs of its points, agree with JAX's CPU backend or are right.

Where both answers are numbers they may differ by rounding; where the CPU backend's is infinite, zero or no number
because a step of its computation was out of range, the right one is as good: that of a wider type.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

FUNCTIONS = {
    **{
        name: getattr(jnp, name)
        for name in (
            "expm1 log1p tan tanh sin cos sinh cosh exp log sqrt arcsin arccos arctan arcsinh "
            "arccosh arctanh sign square sinc reciprocal abs"
        ).split()
    },
    "rsqrt": lax.rsqrt,
    "logistic": lax.logistic,
}
PAIRS = {"multiply": lax.mul, "divide": lax.div, "power": lax.pow}
TYPES = [np.complex64, np.complex128]
POSITIVE = {
    np.complex64: [0.0, 1e-30, 1e-5, 0.3, 1, 1.6, 2, 30, 89, 1e4, 1e20, 3e38, np.inf],
    np.complex128: [0.0, 1e-250, 1e-5, 0.3, 1, 1.6, 2, 30, 709, 1e4, 1e160, 1.7e308, np.inf],
}


def wide(dtype):
    """A context in which there are arrays of the type."""
    if dtype == np.complex64:
        return contextlib.nullcontext()
    return jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64()


def plane(dtype, every=1):
    positive = POSITIVE[dtype][::every]
    parts = np.array(positive + [-x for x in positive] + [np.nan], dtype().real.dtype)
    z = np.empty((parts.size, parts.size), dtype)
    z.real, z.imag = parts[:, None], parts
    return z.ravel()


def routes(function, *operands):
    """Op by op, compiled, inside of a fusion, and one by one in a loop."""

    def together(yes, *z):
        return function(*z), jnp.where(yes, function(*z), 0)

    def one_by_one(*z):
        return lax.scan(lambda n, z: (n + 1, function(*z)), 0, z)[1]

    def on(device):
        *z, yes = (jax.device_put(v, device) for v in (*operands, np.ones(operands[0].shape, bool)))
        with jax.default_device(device):
            compiled, fused = jax.jit(together)(yes, *z)
            if device.device_kind != "cpu":  # a lone op of a GPU is MLX's
                return [np.asarray(compiled), np.asarray(fused)]
            loop = jax.jit(one_by_one)(*(v[:: max(1, v.size // 2000)] for v in z))
            return [np.asarray(v) for v in (function(*z), compiled, fused, loop)]

    got = on(jax.devices("mps")[0])
    return np.asarray(jax.jit(function)(*(jax.device_put(v, jax.devices("cpu")[0]) for v in operands))), got


def on_gpu():
    return jax.devices("mps")[0].device_kind != "cpu"


def expect(operands, got, want, *also, least=0):
    """Each part is that of `want`, or of one of `also`, within rounding of a number of this size, or at least that."""
    real = got.real.dtype
    alike = np.zeros((2, got.size), bool)
    with np.errstate(all="ignore"):
        for other in (want, *also):
            size = np.maximum(np.abs(other.astype(np.clongdouble)), least)
            for k, part in enumerate(("real", "imag")):
                a, b = getattr(got, part), getattr(other, part)
                scale = np.where(np.isfinite(size), size, np.where(np.isfinite(b), np.abs(b), 0))
                # Subnormal numbers are zeros on either side.
                tolerance = 2e5 * np.finfo(real).eps / 1024 * scale + np.finfo(real).tiny
                alike[k] |= (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= tolerance)
    bad = ~alike.all(0)
    shown = [list(v[bad][:: 1 + bad.sum() // 6]) for v in (*operands, got, want)]
    assert not bad.any(), f"{bad.sum()} of {bad.size}: operands, result, expected:\n" + "\n".join(map(str, zip(*shown)))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_whole_plane(name, dtype):
    z = plane(dtype)
    if name == "abs":
        # The CPU backend's |inf + nan i| is NaN; hypot's, as IEEE 754 has it, is infinite.
        z = z[~(np.isinf(z) & (np.isnan(z.real) | np.isnan(z.imag)))]
    with wide(dtype):
        want, got = routes(FUNCTIONS[name], z)
        for result in got:
            step = 1 if result.size == z.size else max(1, z.size // 2000)
            # JAX writes sinh as a difference of exponentials, which GPUs round in their way.
            expect([z[::step]], result, want[::step], least=1 if name == "sinh" and on_gpu() else 0)


def by_the_book(name, x, y):
    """As the definition has it, each step rounded: the CPU backend rounds once after a product and a sum."""
    if name == "multiply":
        result = np.empty_like(x)
        result.real = x.real * y.real - x.imag * y.imag
        result.imag = x.real * y.imag + x.imag * y.real
        return result
    a, b = x.astype(np.clongdouble), y.astype(np.clongdouble)
    return (a / b if name == "divide" else a**b).astype(x.dtype)


def known_angle(x, y):
    """Of a power: what is turned around often has no digits left, nor has what is infinite on the way."""
    exponent = y.astype(np.clongdouble) * np.log(x.astype(np.clongdouble))
    overflows = np.exp(exponent.real) > np.finfo(x.real.dtype).max / 2
    return ~np.isfinite(x) | ~np.isfinite(y) | (x == 0) | ((np.abs(exponent) < 100) & ~overflows)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name, dtype):
    z = plane(dtype, every=2)
    x, y = np.repeat(z, z.size), np.tile(z, z.size)
    with wide(dtype), np.errstate(all="ignore"):
        if name == "power":
            known = known_angle(x, y)
            x, y = x[known], y[known]
        want, got = routes(PAIRS[name], x, y)
        right = by_the_book(name, x, y)
        for result in got:
            step = 1 if result.size == x.size else max(1, x.size // 2000)
            expect([x[::step], y[::step]], result, want[::step], right[::step])


@pytest.mark.parametrize("dtype", TYPES)
def test_arctangent_of_pairs(dtype):
    """-i log((x + iy) / sqrt(x^2 + y^2)), which means something off its cuts and where squares are numbers."""
    rng = np.random.default_rng(0)
    y, x = ((rng.normal(size=2000) + 1j * rng.normal(size=2000)).astype(dtype) for _ in range(2))
    with wide(dtype):
        want, got = routes(lax.atan2, y, x)
        for result in got:
            expect([y, x], result, want, least=1)
