"""NaN: what kernels hand on keeps its sign and first bits, which total orders see; in each order all NaN of
a sorted search are one."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import lax

QUIET = {  # NaN of either sign, with bits behind the first one
    np.float16: np.array([0x7E00, 0xFE00, 0x7E05, 0xFFFF], np.uint16),
    ml_dtypes.bfloat16: np.array([0x7FC0, 0xFFC0, 0x7FC3, 0xFFFF], np.uint16),
    np.float32: np.array([0x7FC00000, 0xFFC00000, 0x7FC00005, 0xFFFFFFFF], np.uint32),
}


@pytest.mark.parametrize("dtype", QUIET, ids=lambda d: np.dtype(d).name)
def test_a_fusion_keeps_the_bits(mps, dtype):
    bits = QUIET[dtype]
    x = jnp.asarray(np.concatenate([bits.view(dtype), np.array([1, -2, 3, np.inf], dtype)]), device=mps)

    @jax.jit
    def f(x):
        wide = jnp.where(x == x, x + 1, x)
        return wide, lax.bitcast_convert_type(wide, bits.dtype)

    wide, seen = f(x)
    expected = np.concatenate([bits, np.array([2, -1, 4, np.inf], dtype).view(bits.dtype)])
    np.testing.assert_array_equal(np.asarray(seen), expected)
    np.testing.assert_array_equal(np.asarray(lax.bitcast_convert_type(wide, bits.dtype)), expected)


@pytest.mark.parametrize("method", ["sort", "scan", "compare_all"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("dtype", QUIET, ids=lambda d: np.dtype(d).name)
def test_searches(mps, dtype, side, method):
    """On a GPU a NaN that was stored was above one that is a constant, in 16 bits."""
    sorted_ = np.array([-np.inf, -1, 0, -0.0, 1, np.inf, np.nan, -np.nan], dtype)
    ranks = np.array([0, 1, 2, 2, 3, 4, 5, 5])
    search = jax.jit(lambda a, v: jnp.searchsorted(a, v, side=side, method=method))
    x = jnp.asarray(sorted_, device=mps)
    expected = np.searchsorted(ranks, ranks, side)
    np.testing.assert_array_equal(np.asarray(search(x, x)), expected)
    with jax.default_device(mps):  # op by op
        np.testing.assert_array_equal(np.asarray(jnp.searchsorted(x, x, side=side, method=method)), expected)
