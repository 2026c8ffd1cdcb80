"""Lowering rules for primitives that JAX lowers only on platforms it knows by name.

The rules emit custom calls of the plugin (src/ops/custom_call_*.cc), which take and give the very
operands and results of the primitive; options travel as `name=integer` words.
"""

import jax
import jax.numpy as jnp
from jax.interpreters import mlir

from jax_plugins.mps import private


def register(platform: str) -> None:
    """Registers every rule of this file for `platform`."""
    _register_pbroadcast(platform)
    _register_platform_dependent(platform)
    for name, rule in _LINALG.items():
        prim = private.primitive("lax.linalg", name)
        if prim is not None:
            private.register_lowering(prim, rule, platform)
    # Calls SciPy, as on JAX's CPU backend.
    private.register_late("jax.experimental.sparse.linalg", {"spsolve_p": "_spsolve_cpu_lowering"}, platform)
    private.register_late("jax.experimental.sparse._lowerings", _SPARSE_PRODUCTS, platform)


def custom_call_targets() -> list[str]:
    """The custom calls of the rules, for `jax.export`."""
    names = "eig eigh geqp3 hessenberg lu ormqr schur svd tridiagonal tridiagonal_solve"
    return [f"mps.{name}" for name in names.split()]


def _register_pbroadcast(platform: str) -> None:
    # JAX's own rule emits stablehlo.collective_broadcast, but is registered for "gpu" only.
    prim = private.primitive("lax.parallel", "pbroadcast_p")
    rule = private.function("lax.parallel", "_pbroadcast_lowering")
    if prim is not None and rule is not None:
        private.register_lowering(prim, rule, platform)


def _register_platform_dependent(platform: str) -> None:
    """lax.platform_dependent without a branch for us and without a default: ours is the CPU's."""
    def with_us(branches):
        if branches is None or any(names is None or platform in names for names in branches):
            return branches
        return tuple((*names, platform) if "cpu" in names else names for names in branches)

    for name, rule, option in (("platform_index_p", "_platform_index_lowering", "platforms"),
                               ("cond_p", "_cond_lowering", "branches_platforms")):
        prim = private.primitive("lax.control_flow.conditionals", name)
        theirs = private.function("lax.control_flow.conditionals", rule)
        if prim is not None and theirs is not None:
            def lower(ctx, *operands, theirs=theirs, option=option, **options):
                if option in options:
                    options[option] = with_us(options[option])
                return theirs(ctx, *operands, **options)

            private.register_lowering(prim, lower, platform)


def _call(ctx, target: str, *operands, **options):
    """The custom call `target` with the primitive's own result types."""
    config = " ".join(f"{name}={int(value)}" for name, value in options.items())
    rule = jax.ffi.ffi_lowering(f"mps.{target}", backend_config=config, api_version=2)
    return rule(ctx, *operands)


def _whole(subset, sizes, what: str) -> None:
    # Sizes may be symbols, which do not compare.
    if subset is not None and tuple(subset) != (0, min(sizes)):
        raise NotImplementedError(f"{what}: subset_by_index is not supported on mps")


def _eig(ctx, a, *, compute_left_eigenvectors, compute_right_eigenvectors, **_):
    return _call(
        ctx, "eig", a, left=compute_left_eigenvectors, right=compute_right_eigenvectors
    )


def _eigh(ctx, a, *, lower, subset_by_index=None, **_):
    _whole(subset_by_index, ctx.avals_in[0].shape[-1:], "eigh")
    return _call(ctx, "eigh", a, lower=lower)


def _svd(ctx, a, *, full_matrices, compute_uv, subset_by_index=None, **_):
    *_, m, n = ctx.avals_in[0].shape
    _whole(subset_by_index, (m, n), "svd")
    if m == 0 or n == 0:
        empty = private.function("lax.linalg", "_empty_svd")
        rule = mlir.lower_fun(empty, multiple_results=True)
        return rule(ctx, a, full_matrices=full_matrices, compute_uv=compute_uv)
    return _call(ctx, "svd", a, vectors=compute_uv, full=full_matrices)


def _lu(ctx, a, **_):
    return _call(ctx, "lu", a)


def _geqp3(ctx, a, pivots, **_):
    return _call(ctx, "geqp3", a, pivots)


def _ormqr(ctx, a, taus, c, *, left, transpose, **_):
    return _call(ctx, "ormqr", a, taus, c, left=left, transpose=transpose)


def _schur(ctx, a, *, compute_schur_vectors, sort_eig_vals=False, **_):
    if sort_eig_vals:
        raise NotImplementedError("schur: sorted eigenvalues are not supported on mps")
    return _call(ctx, "schur", a, vectors=compute_schur_vectors)


def _hessenberg(ctx, a, **_):
    return _call(ctx, "hessenberg", a)


def _tridiagonal(ctx, a, *, lower, **_):
    return _call(ctx, "tridiagonal", a, lower=lower)


def _tridiagonal_solve(ctx, dl, d, du, b, *, perturb_singular=False, **_):
    return _call(ctx, "tridiagonal_solve", dl, d, du, b, perturb=perturb_singular)


_LINALG = {
    "eig_p": _eig,
    "eigh_p": _eigh,
    "geqp3_p": _geqp3,
    "hessenberg_p": _hessenberg,
    "lu_p": _lu,
    "ormqr_p": _ormqr,
    "schur_p": _schur,
    "svd_p": _svd,
    "tridiagonal_p": _tridiagonal,
    "tridiagonal_solve_p": _tridiagonal_solve,
}


def _coo_product(data, row, col, x, *, transpose, shape):
    """Sparse times dense. Elements whose place is not in the matrix are padding."""
    to, of = (col, row) if transpose else (row, col)
    terms = x.at[of].get(mode="fill", fill_value=0)
    terms = terms * data.reshape(data.shape + (1,) * (x.ndim - 1))
    out = jnp.zeros((shape[1] if transpose else shape[0], *x.shape[1:]), data.dtype)
    return out.at[to].add(terms, mode="drop")


def _csr_product(data, indices, indptr, x, *, transpose, shape):
    ends = jnp.zeros(data.shape, indptr.dtype).at[indptr[1:]].add(1, mode="drop")
    return _coo_product(data, jnp.cumsum(ends), indices, x, transpose=transpose, shape=shape)


_SPARSE_PRODUCTS = {
    f"{layout}_{product}_p": mlir.lower_fun(rule, multiple_results=False)
    for layout, rule in (("coo", _coo_product), ("csr", _csr_product))
    for product in ("spmv", "spmm")
}
