"""Sums over all rows beside those of rows, as the gradient of layer norm has: one kernel on NVIDIA GPUs, whose last blocks
add up what the others have found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

# One block and several teams of blocks, some of them not full; as many rows as columns; rows of several shapes.
SHAPES = [(8, 512), (1, 768), (64, 64), (513, 769), (768, 768), (7, 33), (4, 3, 257, 100), (5000, 64), (300, 8192), (2, 9000)]


def layer_norm(x, scale, shift):
    x = x.astype(jnp.float32)
    mean = x.mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5) * scale + shift


def gradient(x, scale, shift, weights):
    return jax.grad(lambda *args: (layer_norm(*args) * weights).sum(), (0, 1, 2))(x, scale, shift)


def exact(x, scale, shift, weights):
    x, scale, weights = (a.astype(np.float64) for a in (x, scale, weights))
    left = x - x.mean(-1, keepdims=True)
    factor = 1 / np.sqrt((left**2).mean(-1, keepdims=True) + 1e-5)
    normal, scaled = left * factor, weights * scale
    along = normal * (scaled * normal).mean(-1, keepdims=True)
    rows = tuple(range(x.ndim - 1))
    return factor * (scaled - scaled.mean(-1, keepdims=True) - along), (weights * normal).sum(rows), weights.sum(rows)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_of_layer_norm(mps, shape, dtype):
    rng = np.random.default_rng(len(shape) + shape[0])
    args = [rng.standard_normal(s).astype(dtype) for s in (shape, shape[-1:], shape[-1:], shape)]
    with jax.default_device(mps):
        step = jax.jit(gradient)
        first, second = step(*args), step(*args)
    for got, again, want in zip(first, second, exact(*args)):
        got, again = np.asarray(got), np.asarray(again)
        assert got.dtype == dtype and got.tobytes() == again.tobytes()
        error = np.abs(got.astype(np.float64) - want).max() / np.abs(want).max()
        assert error < (1e-2 if dtype == jnp.bfloat16 else 1e-5)


def test_a_step_with_the_gradients_of_scale_and_shift(mps):
    """What is computed of the sums is there too, and the numbers that come along."""
    rng = np.random.default_rng(3)
    x, weights, scale, shift = (rng.standard_normal(s).astype(np.float32) for s in ((700, 96), (700, 96), 96, 96))

    def step(x, scale, shift, weights, rate):
        dx, *gradients = gradient(x, scale, shift, weights)
        rate = rate * 0.5
        return dx, rate, [p - rate * g for p, g in zip((scale, shift), gradients)]

    with jax.default_device(mps):
        dx, rate, updated = jax.jit(step)(x, scale, shift, weights, np.float32(0.25))
    want, *gradients = exact(x, scale, shift, weights)
    assert rate == 0.125
    np.testing.assert_allclose(dx, want, atol=1e-5)
    for p, g, got in zip((scale, shift), gradients, updated):
        np.testing.assert_allclose(got, p - 0.125 * g, atol=1e-4)


@pytest.mark.parametrize("count", [1, 40])
def test_kernels_that_share_counters(mps, count):
    """Several in one program, independent of each other."""
    rng = np.random.default_rng(5)
    args = [[rng.standard_normal(s).astype(np.float32) for s in ((600, 130), 130, 130, (600, 130))] for _ in range(count)]
    with jax.default_device(mps):
        results = jax.jit(lambda all: [gradient(*a) for a in all])(args)
    for a, result in zip(args, results):
        for got, want in zip(result, exact(*a)):
            np.testing.assert_allclose(got, want, atol=1e-4)
