"""Maximum and minimum, in every op that takes them: -0 is less than +0, and NaN wins.

The model: floats as integers of the same order, on which JAX's CPU backend does the same, twice: NaN
above everything for what is a maximum, below for a minimum.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

PLACES = np.array([0, 1, 0, 2, 1, 2, 3, 3], np.int32)
VALUES = np.array(
    [
        [-0.0, 0.0, -0.0],
        [0.0, -0.0, -0.0],
        [-0.0, -0.0, -0.0],
        [0.0, 0.0, 0.0],
        [-0.0, -1.0, 0.0],
        [1.0, -0.0, 0.0],
        [np.nan, 0.0, -0.0],
        [-0.0, np.nan, 1.0],
    ],
    np.float32,
)


def lowest(dtype):
    return -np.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).min


def highest(dtype):
    return np.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).max


def windows(x, sizes):
    low, high = x.dtype.type(lowest(x.dtype)), x.dtype.type(highest(x.dtype))
    return [
        lax.reduce_window(x, low, lax.max, sizes, (1, 1), "SAME"),
        lax.reduce_window(x, high, lax.min, sizes, (1, 1), "SAME"),
    ]


# Of values, the values in another order, and the zeros -0 and +0.
CASES = {
    "elementwise": lambda x, y, low, high: (jnp.maximum(x, y), jnp.minimum(x, y), jnp.maximum(x, high)),
    "clamp": lambda x, y, low, high: [lax.clamp(a, x[:6], b) for a, b in ((low, high), (high, high), (low, low))],
    "rows": lambda x, y, low, high: (x.max(1), x.min(1)),
    "columns": lambda x, y, low, high: (x.max(0), x.min(0)),
    "all": lambda x, y, low, high: (x[:6].max(), x[:6].min()),
    "windows": lambda x, y, low, high: windows(x, (1, 2)) + windows(x, (3, 1)) + windows(x, (2, 2)),
    "scans": lambda x, y, low, high: [f(x, axis, r) for f in (lax.cummax, lax.cummin) for axis in (0, 1) for r in (False, True)],
    "scatter": lambda x, y, low, high: [
        f(jnp.full((4, 3), init, x.dtype).at[PLACES]) for init in (low, high) for f in (lambda a: a.max(x), lambda a: a.min(x))
    ],
    "loop": lambda x, y, low, high: lax.fori_loop(0, 8, lambda i, v: (jnp.maximum(v[0], x[i]), jnp.minimum(v[1], x[i])), (x[0], x[0])),
}
MACHINE_INTS = {2: np.int16, 4: np.int32}


def keys(x, maximum):
    """Integers in the order of the floats, NaN above or below all others."""
    ints = MACHINE_INTS[x.dtype.itemsize]
    bits = x.view(ints)
    order = np.where(bits < 0, bits ^ np.iinfo(ints).max, bits)
    return np.where(np.isnan(x.astype(np.float32)), np.iinfo(ints).max if maximum else np.iinfo(ints).min, order).astype(ints)


@pytest.mark.parametrize("dtype", ("float32", "bfloat16", "float16"))
@pytest.mark.parametrize("name", CASES)
def test_zeros(mps, cpu, name, dtype):
    arguments = [a.astype(jnp.dtype(dtype)) for a in (VALUES, VALUES[::-1], np.float32(-0.0), np.float32(0.0))]
    f = jax.jit(CASES[name])
    got = [np.asarray(a) for a in jax.tree.leaves(f(*(jax.device_put(a, mps) for a in arguments)))]
    above, below = (jax.tree.leaves(f(*(jax.device_put(keys(a, m), cpu) for a in arguments))) for m in (True, False))
    for i, (g, a, b) in enumerate(zip(got, above, below, strict=True)):
        a, b, limits = np.asarray(a), np.asarray(b), np.iinfo(a.dtype)
        nan = np.isnan(g.astype(np.float32))
        np.testing.assert_array_equal(nan, (a == limits.max) | (b == limits.min), f"NaN in result {i}")
        np.testing.assert_array_equal(keys(g, True)[~nan], a[~nan], f"result {i}")


def test_a_long_sum_of_negative_zeros_begins_with_zero():
    got = np.asarray(jax.jit(jnp.cumsum)(np.full(70_000, -0.0, np.float32)))
    assert not np.signbit(got).any()
