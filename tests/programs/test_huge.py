"""More elements than a 32-bit integer counts: positions and sizes must not wrap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

ROWS, COLUMNS = 33, 1 << 26  # of int8: 2.06 GiB
PLACES = (np.array([32, 0, 31, 32, 31]), np.array([COLUMNS - 1, 5, COLUMNS - 2, 0, 0]))
NEEDED = 8 << 30


def at(i, j):
    """The value there. Rows differ, so a position that has lost its high bits is seen."""
    return ((i * 7 + j) % 256).astype(np.uint8).astype(np.int8)


def make():
    i = lax.broadcasted_iota(jnp.int32, (ROWS, COLUMNS), 0)
    j = lax.broadcasted_iota(jnp.int32, (ROWS, COLUMNS), 1)
    return (i * 7 + j).astype(jnp.int8)


@pytest.mark.not_simulated("it takes many minutes there")
def test_more_than_31_bits_of_elements(mps):
    """One array for everything, because its memory takes seconds to fill."""
    if mps.memory_stats()["bytes_limit"] < NEEDED:
        pytest.skip("needs 8 GiB of memory")
    with jax.default_device(mps):
        x = jax.jit(make)()
        i, j = np.arange(ROWS)[:, None], np.arange(COLUMNS - 7, COLUMNS)[None]

        last, reverse, flat = jax.jit(lambda x: (x[:, -7:], x[::-1, -7:][:, ::-1], x.reshape(-1)[-7:]))(x)
        np.testing.assert_array_equal(last, at(i, j))
        np.testing.assert_array_equal(reverse, at(i, j)[::-1, ::-1])
        np.testing.assert_array_equal(flat, at(i, j)[-1])
        transposed = jax.jit(lambda x: x[30:, 3 :: COLUMNS // 5].T)(x)
        np.testing.assert_array_equal(transposed, at(i[30:], np.arange(3, COLUMNS, COLUMNS // 5)[None]).T)

        np.testing.assert_array_equal(jax.jit(lambda x, i, j: x[i, j])(x, *PLACES), at(*PLACES))
        sliced = jax.jit(lambda x, j: lax.dynamic_slice(x, (32, j), (1, 7)))(x, COLUMNS - 7)
        np.testing.assert_array_equal(sliced, at(i, j)[-1:])

        equal, sums = jax.jit(lambda x: ((x[:1] == x).sum(dtype=jnp.int32), x.sum(1, dtype=jnp.int32)))(x)
        assert int(equal) == COLUMNS  # of the first row, none of another
        np.testing.assert_array_equal(sums, np.full(ROWS, -(COLUMNS // 2)))

        change = jax.jit(lambda x, i, j: (x * 3 + 1).at[i, j].set(77), donate_argnums=0)
        y = change(x, *(p[:2] for p in PLACES))
        assert x.is_deleted()
        got = np.asarray(y)  # the same memory
        want = at(i, j) * np.int8(3) + np.int8(1)
        want[-1, -1] = 77
        np.testing.assert_array_equal(got[:, -7:], want)
        assert got[0, 4:7].tolist() == [13, 77, 19]


@pytest.mark.parametrize("how", ["result", "inside", "argument"])
def test_a_dimension_of_more_than_31_bits_is_refused(mps, how):
    n = (1 << 31) + 8
    with jax.default_device(mps), pytest.raises(Exception, match="2147483647"):
        if how == "result":
            jnp.zeros(n, jnp.int8)
        elif how == "inside":
            jax.jit(lambda: jnp.sort(lax.iota(jnp.int8, n))[0])()
        else:
            jax.device_put(np.broadcast_to(np.int8(1), n), mps).block_until_ready()


def test_a_long_dimension_that_is_never_stored(mps):
    n = (1 << 31) + 8
    with jax.default_device(mps):
        odd = jax.jit(lambda: (lax.iota(jnp.int8, n) & 1).sum(dtype=jnp.int32))()
    assert int(odd) == n // 2
