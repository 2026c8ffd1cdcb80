"""Tridiagonal systems: pivoting, singular ones, batches, all types, as JAX's CPU backend has them."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

DTYPES = ("float32", "float64", "complex64", "complex128")


def dense(dl, d, du):
    return np.diag(d) + np.diag(dl[1:], -1) + np.diag(du[:-1], 1)


def solve(device, *arguments, **options):
    with jax.default_device(device):
        f = jax.jit(lambda *a: lax.linalg.tridiagonal_solve(*a, **options))
        return np.asarray(f(*(jax.device_put(a, device) for a in arguments)))


SYSTEMS = {
    "zero pivot": ([0, 2, -2, 3], [0, 4, 1, -1], [2, -1, 1, 0]),
    "pivoting inside": ([0, 2, -2, 3], [1, 4, 1, -1], [2, -1, 1, 0]),
    "tiny pivot": ([0, 1], [1e-8, 1], [1, 0]),
    "other scales": ([0, 1e-6, 1e6, 1], [1e-6, 3e-6, 2e6, 4e3], [1e-6, 1e-6, 1e6, 0]),
    "one equation": ([0], [4], [0]),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SYSTEMS)
def test_pivots(mps, name, dtype):
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64(True):
        dl, d, du = (np.array(v, dtype) for v in SYSTEMS[name])
        b = np.arange(1, 1 + 2 * len(d)).reshape(-1, 2).astype(dtype)
        if np.iscomplexobj(b):
            b = b * (1 - 2j)
            d = (d * (1 + 0.5j)).astype(dtype)
        got = solve(mps, dl, d, du, b.astype(dtype))
        wide = np.result_type(dtype, np.float64)
        want = np.linalg.solve(dense(*(v.astype(wide) for v in (dl, d, du))), b.astype(wide))
        np.testing.assert_allclose(got, want, rtol=1e-4 if dtype in ("float32", "complex64") else 1e-9)


def test_batches_with_singular_and_non_finite_systems(mps, cpu):
    rng = np.random.default_rng(0)
    dl, d, du = (rng.normal(size=(5, 3, 9)).astype(np.float32) for _ in range(3))
    b = rng.normal(size=(5, 3, 9, 2)).astype(np.float32)
    dl[1, 1], d[1, 1] = 0, 0  # no pivot at all
    d[2, 0, 4], dl[3, 2, 5] = np.nan, np.inf
    d[4, 0, -1], dl[4, 0, -1] = 0, 0
    got, want = (solve(device, dl, d, du, b) for device in (mps, cpu))
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))
    np.testing.assert_allclose(got, want, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 1)])
def test_empty_and_small(mps, cpu, shape):
    arguments = [np.ones(shape, np.float32)] * 3 + [np.ones((*shape, 2), np.float32)]
    np.testing.assert_array_equal(*(solve(device, *arguments) for device in (mps, cpu)))


def test_gradient_and_vmap(mps, cpu):
    rng = np.random.default_rng(1)
    dl, d, du = (rng.normal(size=(4, 6)).astype(np.float32) for _ in range(3))
    d += 4
    b = rng.normal(size=(4, 6, 2)).astype(np.float32)
    f = jax.vmap(jax.grad(lambda d, dl, du, b: jnp.sin(lax.linalg.tridiagonal_solve(dl, d, du, b)).sum(), argnums=(0, 3)))
    got, want = ([np.asarray(g) for g in jax.jit(f)(*(jax.device_put(a, v) for a in (d, dl, du, b)))] for v in (mps, cpu))
    for g, w in zip(got, want):
        np.testing.assert_allclose(g, w, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif("perturb_singular" not in inspect.signature(lax.linalg.tridiagonal_solve).parameters, reason="this JAX has no perturb_singular")
def test_perturbed_singular_systems_are_finite(mps):
    """Inverse iteration: the solution points along the null vector."""
    n = 8
    d = np.full(n, 2, np.float32)
    d[0] = d[-1] = 1  # the Laplacian of a path: constant vectors are mapped to zero
    off = np.full(n, -1, np.float32)
    b = np.random.default_rng(2).normal(size=(n, 1)).astype(np.float32)
    x = solve(mps, off, d, off, b, perturb_singular=True)[:, 0]
    assert np.isfinite(x).all()
    x = x / np.linalg.norm(x)
    np.testing.assert_allclose(np.abs(x), np.full(n, n**-0.5), rtol=1e-4)
    zero = np.zeros(n, np.float32)
    assert np.isfinite(solve(mps, zero, zero, zero, b, perturb_singular=True)).all()


@pytest.mark.skipif("perturb_singular" not in inspect.signature(lax.linalg.tridiagonal_solve).parameters, reason="this JAX has no perturb_singular")
@pytest.mark.parametrize("scale", [1, 1e-30])
@pytest.mark.parametrize("kind", ["path", "random", "half_zero", "last_zero"])
def test_perturbed_solutions_are_those_of_the_cpu_backend(kind, scale, mps, cpu):
    n, rng = 8, np.random.default_rng(3)
    dl, d, du = rng.normal(size=(3, n))
    if kind == "path":
        dl, d, du = np.full(n, -1), np.full(n, 2), np.full(n, -1)
        d[0] = d[-1] = 1
    elif kind == "half_zero":
        dl, d, du = 0 * dl, np.repeat([1.0, 0.0], n // 2), 0 * du
    elif kind == "last_zero":
        dl, d, du = 0 * dl, np.array([1.0, 2, 3, 4, 5, 7, 7, 0]), 0 * du
    b = rng.normal(size=(n, 1)).astype(np.float32)
    dl, d, du = (np.float32(scale) * v.astype(np.float32) for v in (dl, d, du))
    got, want = (solve(v, dl, d, du, b, perturb_singular=True) for v in (mps, cpu))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6 * np.abs(want).max())


def test_half_precision_is_refused_as_elsewhere(mps):
    a = np.ones(3, np.float16)
    with pytest.raises(Exception, match="float16|f16|Unsupported"):
        solve(mps, a, a, a, np.ones((3, 1), np.float16))
