"""Slices that are parts of their operand's memory: what may not be overwritten or kept alive by that."""

import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def both(function, *arguments, donate=()):
    """Results on mps and on JAX's CPU backend."""
    results = []
    for platform in ("mps", "cpu"):
        placed = [jax.device_put(np.array(a), jax.devices(platform)[0]) for a in arguments]
        results.append(jax.tree.map(np.asarray, jax.jit(function, donate_argnums=donate)(*placed)))
    return results


def check(function, *arguments, donate=()):
    got, want = both(function, *arguments, donate=donate)
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol=1e-6), got, want)


X = np.arange(48, dtype=np.float32).reshape(8, 6)


def test_a_part_outlives_an_update_of_the_whole():
    def f(x, i):
        x = jnp.sin(x)
        old = lax.dynamic_slice(x, (i, jnp.int32(0)), (1, 6))
        new = lax.dynamic_update_slice(x, old * 2, (i, jnp.int32(0)))
        return new, old.reshape(6) + 1, x.sum()

    check(f, X, np.int32(3))
    check(f, X, np.int32(3), donate=(0,))


def test_a_part_of_a_donated_argument():
    def f(x, y):
        head = x[2:4]
        x = x.at[2:4].set(y[:2])
        return x, head @ head.T

    check(f, X, 2 * X, donate=(0,))


def test_a_part_is_not_overwritten_by_who_computes_with_it():
    def f(x):
        x = x * 2
        return jnp.exp(x[1:3]), x[1:3] + 1, x

    check(f, X * 0.01)


def test_a_part_of_a_part_and_of_other_shapes():
    def f(x):
        x = (x + 1).reshape(4, 12)
        part = x[1:3][1:2]
        return jnp.tanh(part.reshape(3, 4).T).sum(0), x.reshape(48)[5:9] * 2

    check(f, X)


def test_parts_in_loops():
    def f(x, stack):
        def body(i, carry):
            x, stack = carry
            row = lax.dynamic_index_in_dim(x, i, keepdims=False)
            x = lax.dynamic_update_index_in_dim(x, row[::-1] * 0.5, 7 - i, 0)
            return x, stack.at[i].add(row)

        return lax.fori_loop(0, 8, body, (x, stack))

    check(f, X, np.zeros_like(X), donate=(0, 1))


def test_a_part_that_is_a_result_does_not_keep_the_whole(mps):
    f = jax.jit(lambda x: (x * 2)[:1])
    x = jax.device_put(np.ones((1 << 12, 1 << 10), np.float32), mps)
    f(x).block_until_ready()
    before = mps.memory_stats()["bytes_in_use"]
    rows = [f(x) for _ in range(20)]
    rows[-1].block_until_ready()
    deadline = time.monotonic() + 20  # a GPU's driver says when the last program no longer needs its memory
    while mps.memory_stats()["bytes_in_use"] - before >= 4 << 20:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_transforms_of_rows_at_odd_places(mps):
    x = np.sin(np.arange(2 * 3 * 17, dtype=np.float32)).reshape(2, 3, 17)
    placed = jax.device_put(x, mps)
    for got in (jax.jit(lambda x: jnp.fft.rfft(x[1]))(placed), jnp.fft.rfft(placed[1])):
        np.testing.assert_allclose(got, np.fft.rfft(x[1]), rtol=0, atol=1e-5)


def test_complex_parts():
    check(lambda x: jnp.conj((x * 1j)[3:5]) @ (x * 2)[0], X.astype(np.complex64))


def test_numbers_out_of_a_large_array():
    x = np.random.default_rng(4).standard_normal(50_000).astype(np.float32)
    for at in (0, 3, -1):
        check(lambda x: x[at], x)
        check(lambda x: (x[at], x.reshape(50, 1000)[at, 7]), x)
