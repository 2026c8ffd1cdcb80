"""Subnormal numbers: arithmetic reads them as zero and makes none, as on JAX's CPU backend.

What moves or takes apart bits keeps them on both; how far an expression is that differs (x + 0 may be
x or a sum), so results are compared with every subnormal number as zero. Two things are the hardware's:
GPUs, and bfloat16 where a processor multiplies it.
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


def flushed(x):
    """Every subnormal number and -0 as 0."""
    x = np.asarray(x)
    if x.dtype.kind not in "fV":
        return x
    return np.where(abs(x.astype(np.float64)) < float(ml_dtypes.finfo(x.dtype).tiny), x.dtype.type(0), x)


def has_subnormals(x):
    return (flushed(x) != np.asarray(x)).any()


def on_both(f, *arguments):
    """Here, and on JAX's CPU backend."""
    got = np.asarray(jax.jit(f)(*arguments))
    with jax.default_device(jax.devices("cpu")[0]):
        want = np.asarray(jax.jit(f)(*arguments))
    assert got.dtype == want.dtype
    return got, want


# Enough copies for whole vectors and an odd rest; the operands are never all zero.
@pytest.mark.parametrize("copies", [1, 5, 999])
@pytest.mark.parametrize("name, f", [
    ("add", lambda x, y: x + y), ("subtract", lambda x, y: x - y), ("halve", lambda x, y: x * 0.5),
    ("double", lambda x, y: x * 2), ("large", lambda x, y: x * 2.0**100), ("small", lambda x, y: x * 2.0**-20),
    ("divide", lambda x, y: x / 3), ("by subnormal", lambda x, y: 1e-20 / y),
    ("square", lambda x, y: (x * 1e18) ** 2), ("negate", lambda x, y: -x), ("abs", lambda x, y: abs(x)),
    ("max", jnp.maximum), ("min", jnp.minimum), ("sqrt", lambda x, y: jnp.sqrt(abs(x))), ("less", lambda x, y: x < y),
    ("equal", lambda x, y: x == 0), ("sign", lambda x, y: jnp.sign(x)), ("floor", lambda x, y: jnp.floor(y)),
    ("where", lambda x, y: jnp.where(x > 0, y, x)), ("next", lambda x, y: jnp.nextafter(x, 0 * y)),
    ("bits", lambda x, y: lax.bitcast_convert_type(x, jnp.int32)),
    ("int", lambda x, y: (x * 2.0**100 * 2.0**49).clip(-999, 999).astype(jnp.int32)),
])
def test_elementwise(name, f, copies):
    got, want = on_both(f, np.tile(X, copies), np.tile(Y, copies))
    np.testing.assert_array_equal(flushed(got), flushed(want))
    if name in ("add", "subtract", "halve", "double", "large", "small", "divide", "square", "max", "min"):
        assert not has_subnormals(got) and not has_subnormals(want)


@pytest.mark.parametrize("name", ["exp", "log", "rsqrt", "exp2", "tanh", "sin", "log1p", "expm1", "cbrt"])
def test_functions(name):
    """Arguments or results are subnormal."""
    x = np.array([1e-38, 1e-40, 1e-44, TINY], np.float32)
    if name in ("exp", "exp2"):
        x = np.array([-88, -95, -100, -103], np.float32) * np.float32(np.log2(np.e) if name == "exp2" else 1)
    got, want = on_both(getattr(lax, name), np.tile(x, 40))
    # JAX's cube root of zero is -6e-16.
    np.testing.assert_allclose(flushed(got), flushed(want), rtol=1e-6, atol=1e-15 if name == "cbrt" else 0)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_conversions(kind):
    """All values of the narrow type, and float32 values around each of their halfway points. Those of
    float16 are no subnormal numbers of the type that it is computed in."""
    dtype = jnp.dtype(kind)
    with np.errstate(all="ignore"):
        narrow = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(dtype)
        narrow = narrow[np.isfinite(narrow.astype(np.float32))]
        wide = narrow[np.abs(narrow.astype(np.float64)) < 1.01 * float(ml_dtypes.finfo(dtype).tiny)].astype(np.float32)
        half = (wide.astype(np.float64) + float(ml_dtypes.finfo(dtype).smallest_subnormal) / 2).astype(np.float32)
        around = np.concatenate([wide, half, np.nextafter(half, np.float32(-1)), np.nextafter(half, np.float32(1)), X, Y])
    seen = (lambda x: x) if kind == "float16" else flushed
    for f, x in [(lambda x: x.astype(jnp.float32), narrow), (lambda x: x.astype(dtype), around),
                 (lambda x: (x.astype(dtype) * dtype.type(0.5)).astype(jnp.float32), wide)]:
        got, want = on_both(f, x)
        np.testing.assert_array_equal(seen(got), seen(want))


def test_reductions():
    x = np.tile(X[:6] * np.array([0.1, 1, 1, 1, 1e-4, 1e-4], np.float32), 500)
    for shape in [(3000,), (3, 1000), (1000, 3)]:
        for axis in [None, 0, len(shape) - 1]:
            for f in (jnp.sum, jnp.max, jnp.argmin):
                got, want = on_both(lambda a: f(a, axis), x.reshape(shape))
                np.testing.assert_array_equal(flushed(got), flushed(want))
    np.testing.assert_array_equal(*map(flushed, on_both(jnp.cumsum, x)))


def test_sorting():
    """By value here; JAX's CPU backend takes them for equal."""
    np.testing.assert_array_equal(jnp.sort(X[:6]), np.sort(X[:6]))


@pytest.mark.parametrize("shape", [(1, 7, 5), (33, 70, 41), (130, 200, 150)])
def test_matrix_products(shape):
    m, k, n = shape
    rng = np.random.default_rng(0)
    a = (rng.integers(-99, 100, (m, k)) * 2.0**-80).astype(np.float32)
    b = (rng.integers(-99, 100, (k, n)) * 2.0**-69).astype(np.float32)
    tiny = (rng.integers(-99, 100, (m, k)) * float(TINY)).astype(np.float32)
    for operands in ((a, b), (tiny, np.full((k, n), 2.0**20, np.float32))):
        got, want = on_both(jnp.matmul, *operands)
        assert not got.any() and not want.any()


def test_constants_are_folded_the_same_way():
    f = jax.jit(lambda x: x * 0 + jnp.float32(1e-40) * jnp.float32(0.5) + lax.full((3,), 1e-41, jnp.float32))
    np.testing.assert_array_equal(f(np.ones(3, np.float32)), np.zeros(3, np.float32))


def test_a_nearly_singular_matrix():
    """In float32 its last row is zero."""
    a = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    assert not np.isfinite(jax.jit(lambda a: jnp.linalg.inv(a.at[-1].mul(1e-40)))(a)).any()


def test_python_keeps_them(mps):
    """The caller's thread, and callbacks on whatever thread they run."""
    kept = []

    def host(a):
        kept.append(a.item() * np.float32(2) > 0 and float("1e-310") / 2 > 0)
        return a

    def f(a):
        return jax.pure_callback(host, jax.ShapeDtypeStruct(a.shape, a.dtype), a) * 2

    small = np.full(1, 1e-40, np.float32)
    for a in (small, jnp.asarray(small)):
        assert jax.jit(f)(a) == 0
        assert small * np.float32(2) > 0
    assert kept == [True, True]


def test_threads_that_flush_or_do_not(mps, cpu):
    """A callback of JAX's CPU backend runs on a thread that flushes, the caller's does not; the device's
    results are the same. The number of elements decides which thread computes."""
    double = jax.jit(lambda x: x * 2)
    seen = []

    def host(a):
        for n in (4, 1 << 18):
            y = double(jax.device_put(np.tile(np.array(a), n // 4), mps))
            assert y.devices() == {mps}
            seen.append(np.asarray(y).any())
        return np.asarray(a)

    f = jax.jit(lambda a: jax.pure_callback(host, jax.ShapeDtypeStruct(a.shape, a.dtype), a))
    host(np.full(4, 1e-40, np.float32))
    np.asarray(f(jax.device_put(np.full(4, 1e-40, np.float32), cpu)))
    assert seen == [False] * 4
