"""Products of what is no number: where an operand has a NaN, whatever its bits, there is one in the result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

# The usual one, that of NVIDIA's GPUs, and the ends of both signs.
NANS = np.array([0x7FC00000, 0x7FFFFFFF, 0x7F800001, 0xFFC00000, 0xFFFFFFFF, 0xFF800001], np.uint32).view(np.float32)


@pytest.mark.parametrize("precision", ["default", "high", "highest"])
@pytest.mark.parametrize("complex_", [False, True])
def test_every_nan_is_seen(mps, precision, complex_):
    a = np.tile(np.arange(16, dtype=np.float32).reshape(4, 4) - 5, (2, 2))
    product = jax.jit(lambda x, y: jnp.matmul(x, y, precision=lax.Precision(precision)))
    for nan in NANS:
        b = np.ones((8, 3), np.complex64 if complex_ else np.float32)
        (b.view(np.float32) if complex_ else b)[2, 1] = nan
        column = np.isnan(b).any(0)
        for x, y, place in ((a, b, np.s_[:, column]), (b.T.copy(), a, np.s_[column, :])):
            got = np.isnan(np.asarray(product(*(jax.device_put(v.astype(b.dtype), mps) for v in (x, y)))))
            want = np.zeros_like(got)
            want[place] = True
            np.testing.assert_array_equal(got, want, hex(nan.view(np.uint32)))


@pytest.mark.parametrize("f", [lambda a, b: a @ b + b @ a, lambda a, b: (a @ b).T + a @ b.T, lambda a, b: a @ b + (b @ a + a)])
def test_sums_of_products(mps, f):
    rng = np.random.default_rng(2)
    a, b = (rng.integers(-8, 8, (5, 5)).astype(np.float32) for _ in range(2))
    got = jax.jit(f)(*(jax.device_put(x, mps) for x in (a, b)))
    np.testing.assert_array_equal(got, f(a, b))
