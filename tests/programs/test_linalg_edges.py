"""Factorisations and solves at the edges, compared with JAX's CPU backend, which calls LAPACK.

Each function runs once per type on a batch of matrices that are singular, indefinite, not finite
or ill-scaled, then on shapes without elements, on single elements and on half types. Values are
those of the CPU backend or, where factors are not unique, give the matrix again.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.scipy import linalg as jsl

N = 4
KINDS = [((N, N), "float32"), ((N, N), "complex128"), ((5, 3), "float32"), ((3, 5), "complex64")]


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64(True):
        yield


def matrices(m, n, dtype):
    """Names and one batch of matrices that are difficult in one way each."""
    rng = np.random.default_rng(m * 10 + n)
    x = rng.normal(size=(m, n))
    if dtype.startswith("complex"):
        x = x + 1j * rng.normal(size=(m, n))
    power = 1e15 if dtype in ("float32", "complex64") else 1e150
    zero_row, nan, nan_below, inf = (x.copy() for _ in range(4))
    zero_row[0] = 0
    nan[m // 2, n // 2], nan_below[-1, 0], inf[m // 2, n // 2] = np.nan, np.nan, np.inf
    square = x @ x.conj().T + np.eye(m) if m == n else x
    table = {
        "general": x,
        "positive": square,
        "negative": -square,
        "indefinite": x + x.conj().T if m == n else x,
        "identity": np.eye(m, n),
        "zero": 0 * x,
        "zero row": zero_row,
        "rank one": np.ones((m, n)),
        "exchange": np.eye(m, n)[::-1],
        "nilpotent": np.eye(m, n, 1),
        "small": square / power,
        "large": square * power,
        "nan": nan,
        "nan below": nan_below,
        "all nan": np.full((m, n), np.nan),
        "inf": inf,
        "all inf": np.full((m, n), np.inf),
    }
    return list(table), np.stack(list(table.values())).astype(dtype)


def run(device, f, *arguments):
    arguments = [jax.device_put(a, device) for a in arguments]
    with jax.default_device(device):
        return [np.asarray(r) for r in jax.tree.leaves(jax.jit(f)(*arguments))]


def each(f):
    return lambda a: jax.vmap(f)(a)


def ones(x):
    return jnp.ones(x.shape[0], x.dtype)


GENERAL = {
    "lu": lax.linalg.lu,
    "qr": jnp.linalg.qr,
    "qr complete": lambda a: jnp.linalg.qr(a, mode="complete"),
    "qr pivoted": each(lambda x: jsl.qr(x, mode="economic", pivoting=True)),
    "householder": lambda a: lax.linalg.householder_product(a[..., : a.shape[-2]], jnp.ones_like(a[:, 0, : a.shape[-2]]) / 4),
    "r": lambda a: jnp.linalg.qr(a, mode="r"),
    "svd": lambda a: jnp.linalg.svd(a, full_matrices=False),
    "svd full": jnp.linalg.svd,
    "singular values": lambda a: jnp.linalg.svd(a, compute_uv=False),
    "pinv": jnp.linalg.pinv,
    "rank": jnp.linalg.matrix_rank,
    "lstsq": each(lambda x: jnp.linalg.lstsq(x, ones(x))[0]),
    "polar": each(lambda x: jsl.polar(x, method="svd")),
}
SQUARE = {
    "cholesky": jnp.linalg.cholesky,
    "cholesky upper": lambda a: jnp.linalg.cholesky(jnp.swapaxes(a, -1, -2)),
    "cholesky one side": lambda a: lax.linalg.cholesky(a, symmetrize_input=False),
    "eigh": jnp.linalg.eigh,
    "eigh upper": lambda a: jnp.linalg.eigh(a, UPLO="U", symmetrize_input=False),
    "eigvalsh": jnp.linalg.eigvalsh,
    "eig": jnp.linalg.eig,
    "eigvals": jnp.linalg.eigvals,
    "schur": lax.linalg.schur,
    "hessenberg": lax.linalg.hessenberg,
    "tridiagonal": lax.linalg.tridiagonal,
    "tridiagonal upper": lambda a: lax.linalg.tridiagonal(a, lower=False),
    "tridiagonal solve": lambda a: lax.linalg.tridiagonal_solve(a[..., 0, :], a[..., 1, :], a[..., 2, :], a[..., 1:]),
    "inv": jnp.linalg.inv,
    "solve": lambda a: jnp.linalg.solve(a, jnp.ones((*a.shape[:-1], 2), a.dtype)),
    "solve one": each(lambda x: jnp.linalg.solve(x, ones(x))),
    "cho_solve": each(lambda x: jsl.cho_solve((x, True), ones(x))),
    "det": jnp.linalg.det,
    "slogdet": jnp.linalg.slogdet,
    "expm": jsl.expm,
    "sqrtm": each(jsl.sqrtm),
    "polar qdwh": each(jsl.polar),
}


def h(x):
    return np.swapaxes(x.conj(), -1, -2)


def eye(x):
    return np.eye(x.shape[-1])


def lower_half(a):
    return np.tril(a) + h(np.tril(a, -1))


# What factors that are not unique give together, with what it has to be.
REBUILD = {
    "qr": lambda a, q, r: [(q @ r, a), (h(q) @ q, eye(q))],
    "svd": lambda a, u, s, v: [
        (u[:, : len(s)] * s @ v[: len(s)], a),
        (h(u) @ u, eye(u)),
        (v @ h(v), eye(h(v))),
    ],
    "eigh": lambda a, w, v: [((v * w) @ h(v), (a + h(a)) / 2), (h(v) @ v, eye(v))],
    "eigh upper": lambda a, w, v: [((v * w) @ h(v), h(lower_half(h(a)))), (h(v) @ v, eye(v))],
    "eig": lambda a, w, v: [(a @ v, v * w), (w.sum(), np.trace(a)), ((w * w).sum(), np.trace(a @ a))],
    "eigvals": lambda a, w: [(w.sum(), np.trace(a)), ((w * w).sum(), np.trace(a @ a))],
    "schur": lambda a, t, z: [(z @ t @ h(z), a), (np.tril(t, -2), 0 * t), (h(z) @ z, eye(z))],
    "sqrtm": lambda a, x: [(x @ x, a)],
    "qr pivoted": lambda a, q, r, p: [(q @ r, a[:, p.real.astype(int)]), (h(q) @ q, eye(q))],
    "polar": lambda a, u, p: [(u @ p, a)],
}
REBUILD |= {"qr complete": REBUILD["qr"], "svd full": REBUILD["svd"], "polar qdwh": REBUILD["polar"]}


# Which result has the unit of the matrix.
SCALED = {"qr": 1, "qr complete": 1, "svd": 1, "svd full": 1, "eigh": 0, "eigh upper": 0, "eig": 0}
SCALED |= {"eigvals": 0, "schur": 0, "sqrtm": 0, "polar": 1, "polar qdwh": 1, "qr pivoted": 1}

# By a singular triangle BLAS gives infinity or NaN, depending on its kernels and the number of columns.
SOLVES = {"triangular", "solve", "solve one", "inv", "cho_solve"}


def near(got, want, tolerance):
    """Finite elements within the tolerance of the largest one; the others the same ones."""
    got, want = np.asarray(got), np.asarray(want)
    finite = np.isfinite(want)
    if not np.array_equal(np.isfinite(got), finite):
        return False
    scale = np.max(np.abs(want[finite]), initial=0) or 1
    error = got[finite].astype(np.complex128) / scale - want[finite].astype(np.complex128) / scale
    return bool(np.all(np.abs(error) <= tolerance))


def right(name, a, got, want):
    """Whether these results of `name` for the matrix `a` are as good as those of LAPACK."""
    if name not in SOLVES and any(not np.array_equal(np.isnan(g), np.isnan(w)) for g, w in zip(got, want)):
        return False
    tolerance = 1e-4 if a.dtype in (np.float32, np.complex64) else 1e-10
    if all(near(g, w, tolerance) for g, w in zip(got, want)):
        return True
    if name not in REBUILD or not all(np.isfinite(g).all() for g in got):
        return False
    scale = np.max(np.abs(a)) or 1
    wide = [g.astype(np.complex128) for g in got]
    if name in SCALED:  # their squares may overflow
        wide[SCALED[name]] /= np.sqrt(scale) if name == "sqrtm" else scale
    return all(near(g, w, 10 * tolerance) for g, w in REBUILD[name](a / scale, *wide))


ROWS = [(name, *kind) for kind in KINDS for name in [*GENERAL, *(SQUARE if kind[0] == (N, N) else ())]]


@pytest.mark.parametrize("name, shape, dtype", ROWS, ids=lambda x: str(x).replace(", ", "x"))
def test_difficult_matrices(mps, cpu, name, shape, dtype):
    f = {**GENERAL, **SQUARE}[name]
    cases, a = matrices(*shape, dtype)
    got, want = (run(device, f, a) for device in (mps, cpu))
    assert [(g.dtype, g.shape) for g in got] == [(w.dtype, w.shape) for w in want]
    wrong = {
        case: [(g[i], w[i]) for g, w in zip(got, want)]
        for i, case in enumerate(cases)
        if not right(name, a[i], [g[i] for g in got], [w[i] for w in want])
    }
    assert not wrong


def outcome(device, f, *arguments):
    try:
        return run(device, f, *arguments)
    except Exception as error:  # noqa: BLE001: whatever refuses, both must
        return type(error).__name__


@pytest.mark.parametrize("name", [*GENERAL, *SQUARE])
def test_shapes_without_elements_and_of_one(mps, cpu, name):
    f = {**GENERAL, **SQUARE}[name]
    shapes = [(1, 0, 0), (0, 3, 3), (2, 1, 1)]
    if name in GENERAL:
        shapes += [(1, 0, 3), (1, 3, 0), (2, 1, 3)]
    for shape in shapes:
        a = np.linspace(1, 2, int(np.prod(shape))).reshape(shape).astype(np.float32)
        got, want = (outcome(device, f, a) for device in (mps, cpu))
        assert isinstance(got, str) == isinstance(want, str), (shape, got, want)
        if isinstance(got, str):
            continue
        assert [(g.dtype, g.shape) for g in got] == [(w.dtype, w.shape) for w in want], shape
        assert all(near(g, w, 1e-5) for g, w in zip(got, want)), (shape, got, want)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["lu", "qr", "svd", "cholesky", "eigh", "eig", "inv", "det", "solve", "expm", "pinv"])
def test_half_types_are_taken_where_they_are_elsewhere(mps, cpu, name, dtype):
    """What is taken here alone has the values of float32."""
    a = (np.eye(3) * 4 + np.arange(9).reshape(3, 3) / 8)[None].astype(jnp.dtype(dtype))
    f = {**GENERAL, **SQUARE}[name]
    got, want = (outcome(device, f, a) for device in (mps, cpu))
    if isinstance(want, str) and not isinstance(got, str):
        assert all(g.dtype == a.dtype for g in got)
        want = outcome(cpu, f, a.astype(np.float32))
    assert isinstance(got, str) == isinstance(want, str), (got, want)
    if not isinstance(got, str):
        assert all(near(g.astype(np.float32), w.astype(np.float32), 0.05) for g, w in zip(got, want))


FLAGS = [(side, low, t, c) for side in (True, False) for low in (True, False) for t, c in ((0, 0), (1, 0), (1, 1))]


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("unit", [False, True])
def test_triangular_solve(mps, cpu, unit, dtype):
    """Every combination of flags; what lies outside of the triangle is never read."""
    cases, a = matrices(N, N, dtype)
    b = np.random.default_rng(0).normal(size=(len(cases), N, N)).astype(dtype)
    b[0] = 0

    def solve(a, b):
        out = []
        for left, lower, transpose, conjugate in FLAGS:
            poison = jnp.triu(jnp.full((N, N), jnp.nan), 0 if unit else 1)
            mine = jnp.where(jnp.isnan(poison if lower else poison.T), jnp.nan, a)
            out.append(lax.linalg.triangular_solve(mine, b, left_side=left, lower=lower, transpose_a=bool(transpose), conjugate_a=bool(conjugate), unit_diagonal=unit))
        return out

    got, want = (run(device, solve, a, b) for device in (mps, cpu))
    for flags, g, w in zip(FLAGS, got, want):
        for i, case in enumerate(cases):
            assert right("triangular", a[i], [g[i]], [w[i]]), (flags, case, g[i], w[i])


@pytest.mark.parametrize("function", [jnp.linalg.svd, lambda a: jnp.linalg.eigh(a @ a.T)], ids=["svd", "eigh"])
def test_sizes_that_are_symbols(mps, function):
    """Whether all singular values are asked for cannot be seen by comparing symbols."""
    from jax import export

    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    with jax.default_device(mps):
        shape = jax.ShapeDtypeStruct(export.symbolic_shape("m, n"), a.dtype)
        exported = export.export(jax.jit(function), platforms=["mps"])(shape)
        for got, want in zip(exported.call(a), jax.jit(function)(a), strict=True):
            np.testing.assert_array_equal(got, want)


def test_spsolve(mps, cpu):
    from jax.experimental import sparse
    from jax.experimental.sparse.linalg import spsolve

    a = np.diag([1.0, 2.0, 4.0])
    a[0, 2] = 3
    answers = []
    for device in (mps, cpu):
        with jax.default_device(device):
            matrix = sparse.BCSR.fromdense(jnp.asarray(a))
            solve = jax.jit(lambda data, b: spsolve(data, matrix.indices, matrix.indptr, b))  # noqa: B023
            b = jnp.arange(1.0, 4.0)
            answers.append([solve(matrix.data, b), *jax.grad(lambda *x: solve(*x).sum(), (0, 1))(matrix.data, b)])  # noqa: B023
    for got, want in zip(*answers, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)
