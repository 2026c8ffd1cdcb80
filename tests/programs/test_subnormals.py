"""Subnormal numbers: kept, as NumPy and IEEE 754 have them.

JAX's CPU backend flushes them to zero, inputs and results of float32 and bfloat16 arithmetic alike
(test_what_jax_does_on_the_cpu), so NumPy is the oracle here. Two things differ by hardware and are not
promised: bfloat16 products on processors with AVX512-BF16, whose instruction flushes, and GPUs.
"""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import lax

TINY = np.float32(2.0**-149)
X = np.array([1e-40, -3e-42, TINY, -TINY, 1e-38, -1.1e-38, 2.0**-126, 0.0, -0.0, 1.0, -2.0], np.float32)
Y = np.array([2e-41, 3e-42, TINY, 5 * TINY, -1.05e-38, 1e-38, -(2.0**-127), -1e-44, TINY, TINY, 1e-40],
             np.float32)


@pytest.fixture(autouse=True)
def on_cpu(mps):
    if mps.device_kind != "cpu":
        pytest.skip("what a GPU flushes is up to MLX's kernels")
    with jax.default_device(mps):
        yield


def bits(x):
    x = np.asarray(x)
    return x.view({2: np.uint16, 4: np.uint32, 8: np.uint64}[x.dtype.itemsize])


# Enough copies for whole vectors and an odd rest; the operands are never all zero.
@pytest.mark.parametrize("copies", [1, 5, 999])
@pytest.mark.parametrize("name, f", [
    ("add", lambda n, x, y: x + y), ("subtract", lambda n, x, y: x - y),
    ("halve", lambda n, x, y: x * n.float32(0.5)), ("double", lambda n, x, y: x * n.float32(2)),
    ("large", lambda n, x, y: x * n.float32(2.0**100)), ("small", lambda n, x, y: x * n.float32(2.0**-20)),
    ("divide", lambda n, x, y: x / n.float32(3)), ("by subnormal", lambda n, x, y: n.float32(1e-20) / y),
    ("square", lambda n, x, y: (x * n.float32(1e18)) ** 2), ("negate", lambda n, x, y: -x),
    ("abs", lambda n, x, y: abs(x)), ("max", lambda n, x, y: n.maximum(x, y)),
    ("min", lambda n, x, y: n.minimum(x, y)), ("sqrt", lambda n, x, y: n.sqrt(abs(x))),
    ("less", lambda n, x, y: x < y), ("equal", lambda n, x, y: x == n.float32(0)), ("sign", lambda n, x, y: n.sign(x)),
    ("where", lambda n, x, y: n.where(x > 0, y, x)), ("floor", lambda n, x, y: n.floor(y)),
    ("int", lambda n, x, y: (x * n.float32(2.0**100) * n.float32(2.0**49)).clip(-999, 999).astype(n.int32)),
])
def test_elementwise(name, f, copies):
    x, y = np.tile(X, copies), np.tile(Y, copies)
    with np.errstate(all="ignore"):
        want = np.asarray(f(np, x, y))
    got = np.asarray(jax.jit(lambda x, y: f(jnp, x, y))(x, y))
    if name in ("max", "min", "sign"):  # which zero is not said, or StableHLO differs from NumPy
        want, got = want + 0, got + 0
    assert got.dtype == want.dtype and got.tobytes() == want.tobytes()


@pytest.mark.parametrize("f, name", [(jnp.exp, "exp"), (jnp.log, "log"), (lax.rsqrt, "rsqrt"), (jnp.exp2, "exp2"),
                                     (jnp.tanh, "tanh"), (jnp.sin, "sin"), (jnp.log1p, "log1p"),
                                     (jnp.expm1, "expm1"), (jnp.cbrt, "cbrt")])
def test_functions(f, name):
    """Arguments or results are subnormal. (exp2 is exp of a rounded product.)"""
    x = np.array([1e-38, 1e-40, 1e-44, TINY], np.float32)
    if name in ("exp", "exp2"):
        x = np.array([-88, -95, -100, -103], np.float32) * np.float32(np.log2(np.e) if name == "exp2" else 1)
    exact = (lambda x: 1 / np.sqrt(x)) if name == "rsqrt" else getattr(np, name)
    want = exact(x.astype(np.float64))
    got = np.asarray(jax.jit(f)(np.tile(x, 40)), np.float64).reshape(40, 4)
    np.testing.assert_allclose(got, np.tile(want, (40, 1)), rtol=1e-5 if name == "exp2" else 1e-6, atol=1.5 * float(TINY))
    assert (got != 0).all()


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_conversions(kind):
    """All values of the narrow type, and float32 values around each of their halfway points."""
    dtype = jnp.dtype(kind)
    with np.errstate(all="ignore"):
        narrow = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(dtype)
        narrow = narrow[np.isfinite(narrow.astype(np.float32))]
        subnormal = narrow[np.abs(narrow.astype(np.float64)) < 1.01 * float(ml_dtypes.finfo(dtype).tiny)]
        wide = subnormal.astype(np.float32)
        up = jax.jit(lambda x: x.astype(jnp.float32))(narrow)
        np.testing.assert_array_equal(bits(up), bits(narrow.astype(np.float32)))
        half = (wide.astype(np.float64) + float(ml_dtypes.finfo(dtype).smallest_subnormal) / 2).astype(np.float32)
        around = np.concatenate([wide, half, np.nextafter(half, np.float32(-1)), np.nextafter(half, np.float32(1)), X, Y])
        down = jax.jit(lambda x: x.astype(dtype))(around)
        np.testing.assert_array_equal(bits(down), bits(around.astype(dtype)))
        halved = jax.jit(lambda x: (x.astype(dtype) * dtype.type(0.5)).astype(jnp.float32))(wide)
        np.testing.assert_array_equal(bits(halved), bits((wide.astype(dtype) * dtype.type(0.5)).astype(np.float32)))


def test_reductions():
    x = np.tile(X[:6] * np.array([0.1, 1, 1, 1, 1e-4, 1e-4], np.float32), 500)
    exact = lambda a, **k: a.astype(np.float64).sum(**k)
    for shape in [(3000,), (3, 1000), (1000, 3)]:
        a = x.reshape(shape)
        for axis in [None, 0, len(shape) - 1]:
            got = np.asarray(jax.jit(lambda a, axis=axis: a.sum(axis))(a))
            # Subnormal sums are exact: all terms are multiples of the smallest number.
            np.testing.assert_array_equal(got, exact(a, axis=axis).astype(np.float32))
            np.testing.assert_array_equal(jax.jit(lambda a, axis=axis: a.max(axis))(a), a.max(axis))
            np.testing.assert_array_equal(jax.jit(lambda a, axis=axis: a.argmin(axis))(a), a.argmin(axis))
    np.testing.assert_array_equal(jnp.cumsum(x), np.cumsum(x.astype(np.float64)).astype(np.float32))
    np.testing.assert_array_equal(jnp.sort(X[:6]), np.sort(X[:6]))


@pytest.mark.parametrize("shape", [(1, 7, 5), (33, 70, 41), (130, 200, 150)])
def test_matrix_products(shape):
    m, k, n = shape
    rng = np.random.default_rng(0)
    a = (rng.integers(-99, 100, (m, k)) * 2.0**-80).astype(np.float32)
    b = (rng.integers(-99, 100, (k, n)) * 2.0**-69).astype(np.float32)
    want = (a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32)
    assert 0 < np.abs(want).max() < 2.0**-126
    np.testing.assert_array_equal(jax.jit(jnp.matmul)(a, b), want)
    tiny = (rng.integers(-99, 100, (m, k)) * float(TINY)).astype(np.float32)
    ones = np.full((k, n), 2.0**20, np.float32)
    np.testing.assert_array_equal(jax.jit(jnp.matmul)(tiny, ones), (tiny.astype(np.float64) @ ones).astype(np.float32))


def test_constants_are_folded_the_same_way():
    f = jax.jit(lambda x: x * 0 + jnp.float32(1e-40) * jnp.float32(0.5) + lax.full((3,), 1e-41, jnp.float32))
    want = np.float32(1e-40) * np.float32(0.5) + np.float32(1e-41)
    np.testing.assert_array_equal(f(np.ones(3, np.float32)), np.full(3, want))


def test_threads_that_flush(mps, cpu):
    """A callback of JAX's CPU backend runs on a thread that flushes; the device's results stay the same.

    The number of elements decides whether the caller's thread, the device's or the workers compute."""
    double = jax.jit(lambda x: x * 2)
    seen = []

    def host(a):
        for n in (4, 1 << 18):
            y = double(jax.device_put(np.tile(np.array(a), n // 4), mps))
            assert y.devices() == {mps}
            seen.append(set(bits(y).tolist()))
        return np.asarray(a)

    f = jax.jit(lambda a: jax.pure_callback(host, jax.ShapeDtypeStruct(a.shape, a.dtype), a))
    np.asarray(f(jax.device_put(np.full(4, 1e-40, np.float32), cpu)))
    assert seen == [{int(bits(np.float32(1e-40) * np.float32(2)))}] * 2


def test_what_jax_does_on_the_cpu(cpu):
    """If this fails, JAX's CPU backend can be the oracle above."""
    x = jax.device_put(X[:3], cpu)
    assert not np.any(np.asarray(jax.jit(lambda x: x * 2)(x)))
    assert np.all(np.asarray(jax.jit(lambda x: x == 0)(x)))
