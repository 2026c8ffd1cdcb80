"""Linear algebra. Factors are compared where they are unique, otherwise what they must satisfy."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from rows import normal, row

F = ("float32", "float64", "complex64", "complex128")


def error_of(dtype):
    return 1e-4 if dtype in (np.float32, np.complex64) else 1e-10


def close(a, b):
    a, b = np.asarray(a), np.asarray(b)
    scale = max(1.0, float(np.max(np.abs(b), initial=0)))
    np.testing.assert_allclose(a, b, rtol=0, atol=error_of(a.dtype if a.dtype.kind == "c" else a.dtype) * scale)


def same(got, want, arguments):
    for g, w in zip(got, want):
        close(g, w.astype(g.dtype))


def h(x):
    return np.swapaxes(np.conj(x), -1, -2)


def positive(x):
    return x @ jnp.swapaxes(x.conj(), -1, -2) + 4 * jnp.eye(x.shape[-1], dtype=x.dtype)


def symmetric(x):
    return x + jnp.swapaxes(x.conj(), -1, -2)


S = normal(2, 6, 6)
row("stablehlo.cholesky", lambda x: jnp.linalg.cholesky(positive(x)), [S], F, check=same, vmap=False)
row("stablehlo.cholesky", lambda x: jnp.linalg.cholesky(positive(x)), [S], "float32", "cholesky-gradient", ulps=512, floor=1.0, grad=True, grad_ulps=4096)
row("stablehlo.cholesky", lambda x: jnp.linalg.cholesky(-positive(x)), [S], F, "cholesky-indefinite", check=lambda got, want, _: np.testing.assert_array_equal(np.isnan(got[0]), np.isnan(want[0])), vmap=False)
for left in (True, False):
    for lower in (True, False):
        for transpose in (True, False):
            for conjugate, unit in ((False, False), (True, True)):
                def solve(a, b, l=left, w=lower, t=transpose, c=conjugate, u=unit):
                    a = a + 5 * jnp.eye(6, dtype=a.dtype)
                    return lax.linalg.triangular_solve(a, b, left_side=l, lower=w, transpose_a=t, conjugate_a=c, unit_diagonal=u)

                shape = (2, 6, 3) if left else (2, 3, 6)
                row("stablehlo.triangular_solve", solve, [normal(2, 6, 6, scale=0.3), normal(*shape)], F, f"triangular-solve-{left:d}{lower:d}{transpose:d}{conjugate:d}", check=same, vmap=False)
row("stablehlo.triangular_solve", lambda a, b: lax.linalg.triangular_solve(a, b, left_side=True), [normal(0, 0), normal(0, 3)], "float32", "triangular-solve-empty", vmap=False)


def check_qr(got, want, arguments):
    x = arguments[0].astype(np.complex128)
    q, r = got
    close((q.astype(np.complex128) @ r).astype(np.complex64), x.astype(np.complex64))
    close(h(q) @ q, np.broadcast_to(np.eye(q.shape[-1], dtype=q.dtype), (*q.shape[:-2], q.shape[-1], q.shape[-1])))
    np.testing.assert_array_equal(np.tril(r, -1), 0 * r)


for shape in ((2, 6, 4), (4, 6), (5, 5)):
    for mode in ("reduced", "complete"):
        row("Qr", lambda x, m=mode: tuple(jnp.linalg.qr(x, mode=m)), [normal(*shape)], F, f"qr-{'x'.join(map(str, shape))}-{mode}", check=check_qr, vmap=False, covers=("stablehlo.custom_call",))

for shape in ((2, 6, 6), (7, 4), (4, 7)):
    row("mps.lu", lambda x: lax.linalg.lu(x), [normal(*shape)], F, f"lu-{'x'.join(map(str, shape))}", check=same, vmap=False, covers=("stablehlo.custom_call",))
row("mps.lu", lambda x, y: jnp.linalg.solve(x + 5 * jnp.eye(6, dtype=x.dtype), y), [S, normal(2, 6, 2)], F, "solve", check=same, vmap=False, covers=("stablehlo.custom_call",))
row("mps.lu", lambda x: jnp.linalg.inv(x + 5 * jnp.eye(6, dtype=x.dtype)), [S], F, "inverse", check=same, vmap=False, covers=("stablehlo.custom_call",))
row("mps.lu", lambda x: jnp.linalg.slogdet(x), [S], F[:3], "slogdet", check=same, vmap=False, covers=("stablehlo.custom_call",))


def check_eigh(got, want, arguments):
    values, vectors = got
    x = np.asarray(arguments[0])
    a = x + h(x)
    close(values, want[0].astype(values.dtype))
    close(a @ vectors, vectors * values[..., None, :])
    close(h(vectors) @ vectors, np.broadcast_to(np.eye(6, dtype=vectors.dtype), vectors.shape))


row("mps.eigh", lambda x: tuple(jnp.linalg.eigh(symmetric(x))), [S], F, "eigh", check=check_eigh, vmap=False, covers=("stablehlo.custom_call",))
row("mps.eigh", lambda x: jnp.linalg.eigvalsh(symmetric(x)), [S], F, "eigvalsh", check=same, vmap=False, covers=("stablehlo.custom_call",))


def check_svd(got, want, arguments):
    u, s, v = got
    x = np.asarray(arguments[0])
    k = s.shape[-1]
    close(s, want[1].astype(s.dtype))
    close((u[..., :k] * s[..., None, :]) @ v[..., :k, :], x)
    close(h(u) @ u, np.broadcast_to(np.eye(u.shape[-1], dtype=u.dtype), (*u.shape[:-2], u.shape[-1], u.shape[-1])))
    close(v @ h(v), np.broadcast_to(np.eye(v.shape[-2], dtype=v.dtype), (*v.shape[:-2], v.shape[-2], v.shape[-2])))


for shape in ((2, 6, 4), (4, 6), (5, 5)):
    for full in (True, False):
        row("mps.svd", lambda x, f=full: tuple(jnp.linalg.svd(x, full_matrices=f)), [normal(*shape)], F, f"svd-{'x'.join(map(str, shape))}-{full:d}", check=check_svd, vmap=False, covers=("stablehlo.custom_call",))
row("mps.svd", lambda x: jnp.linalg.svd(x, compute_uv=False), [S], F, "singular-values", check=same, vmap=False, covers=("stablehlo.custom_call",))
row("mps.svd", lambda x: jnp.linalg.pinv(x), [normal(6, 4)], F, "pinv", check=same, vmap=False, covers=("stablehlo.custom_call",))
row("stablehlo", lambda x: tuple(jnp.linalg.svd(x)), [normal(0, 4)], "float32", "svd-empty", vmap=False, covers=("stablehlo.custom_call",))


def check_eig(got, want, arguments):
    values, vectors = got
    x = np.asarray(arguments[0])
    order = lambda w: np.sort_complex(np.round(w.astype(np.complex128), 4))
    np.testing.assert_allclose(order(values), order(want[0]), atol=1e-3)
    close(x.astype(vectors.dtype) @ vectors, vectors * values[..., None, :])


row("mps.eig", lambda x: tuple(jnp.linalg.eig(x)), [normal(6, 6)], F, "eig", check=check_eig, vmap=False, covers=("stablehlo.custom_call",))


def check_schur(got, want, arguments):
    t, z = got
    close(z @ t @ h(z), np.asarray(arguments[0]))


row("mps.schur", lambda x: tuple(lax.linalg.schur(x)), [normal(6, 6)], F, "schur", check=check_schur, vmap=False, covers=("stablehlo.custom_call",))
row("mps.hessenberg", lambda x: tuple(lax.linalg.hessenberg(x)), [S], F, "hessenberg", check=same, vmap=False, covers=("stablehlo.custom_call",))
row("mps.tridiagonal_solve", lambda dl, d, du, b: lax.linalg.tridiagonal_solve(dl, d, du, b), [normal(7), normal(7), normal(7), normal(7, 3)], F, "tridiagonal-solve", check=same, vmap=False, covers=("stablehlo.custom_call",))
row("mps.tridiagonal", lambda x: tuple(lax.linalg.tridiagonal(symmetric(x)))[1:3], [S], F, "tridiagonal", check=same, vmap=False, covers=("stablehlo.custom_call",))
