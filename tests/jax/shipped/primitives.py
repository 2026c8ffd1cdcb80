"""JAX's own cases of every primitive by shape, dtype and parameter, which its tests of exported
programs run and its wheel carries: each here against JAX's CPU backend, with float64 on.

A case that JAX's CPU backend refuses is skipped; the others must give the same dtypes, shapes and
values, within JAX's own tolerance of the dtype.
"""

import numpy as np
import pytest

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)  # before JAX's module is read, which asks for it

harnesses = pytest.importorskip(
    "jax._src.internal_test_util.test_harnesses",
    reason="this JAX carries its cases of primitives elsewhere: they were NOT run",
    exc_type=ImportError,
)
from jax._src import test_util as jtu

# Sums: off by a rounding of the largest numbers added, which a small sum shows as a large part of it.
SUMS = ("dot_general", "conv_general_dilated", "fft", "cumsum", "cumprod", "cumlogsumexp", "reduce", "reduce_window_add")
# Sums of sums, and answers that depend on others: as JAX's tests of linear algebra, which allow 1e-3 and 1e-5 or less.
LINALG = ("cholesky", "eig", "eigh", "hessenberg", "householder_product", "lu", "qr", "schur", "svd",
          "triangular_solve", "tridiagonal", "tridiagonal_solve", "custom_linear_solve", "lu_pivots_to_permutation")
# JAX's CPU backend itself is off by more than its tolerance: of 64 bits by 2e-14 in atanh and log1p, of complex64
# by 3e-6 in these.
ROUGH = (("pow", "c"), ("tan", "c"))


def cases():
    # `enable_xla=False` is an option of another project's converter: the same program once more.
    # In order: some come from sets.
    found = (h for h in harnesses.all_harnesses if h.params.get("enable_xla") is not False)
    return sorted(found, key=lambda case: case.fullname)


def run(case, device):
    with jax.default_device(device):
        arguments = case.dyn_args_maker(np.random.RandomState(0))
        return arguments, jax.tree.map(np.asarray, jax.jit(case.dyn_fun)(*arguments))


def assert_same_place(got, want, operand):
    """Places of the largest: any of equal ones."""
    np.testing.assert_array_equal(*(np.take_along_axis(operand, places, -1) for places in (got, want)))


def in_order(arrays):
    """Of equal keys, which may have come in any order, by what belongs to them."""
    if len(arrays) == 1:
        return arrays
    order = np.lexsort(arrays[::-1])
    return [a[order] for a in arrays]


def tolerance(case, arguments, want):
    """Relative and absolute: JAX's of the roughest type that takes part."""
    types = [np.asarray(a).dtype for a in arguments if not jnp.issubdtype(jax.dtypes.result_type(a), jax.dtypes.prng_key)]
    bound = max(jtu.default_tolerance()[t] for t in (want.dtype, *types) if t in jtu.default_tolerance())
    if case.group_name == "conv_general_dilated" and want.dtype == np.float32:
        bound = 1e-4
    if want.dtype in (np.float64, np.complex128) or (case.group_name, want.dtype.kind) in ROUGH:
        bound *= 20
    if case.group_name not in (*SUMS, *LINALG):
        return bound, bound
    finite = np.abs(want[np.isfinite(want)])
    bound *= 100 if case.group_name in LINALG else 10
    return bound, bound * max(1, float(finite.max(initial=0)))


def assert_same(case, arguments, got, want):
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    if case.group_name == "cholesky":
        got, want = np.tril(got), np.tril(want)  # the rest is not defined
    if want.dtype in jtu.default_tolerance() and np.dtype(want.dtype).kind not in "biu":
        rtol, atol = tolerance(case, arguments, want)
        jtu._assert_numpy_allclose(got, want, rtol=rtol, atol=atol)
    elif case.group_name == "approx_top_k":
        assert_same_place(got, want, np.asarray(arguments[0]))
    else:
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.fullname)
def test_case(case, cpu, mps):
    if not case.filter("cpu"):
        pytest.skip("JAX's CPU backend does not have it")
    try:
        arguments, wants = run(case, cpu)
    except Exception as error:
        pytest.skip(f"JAX's CPU backend refuses it: {type(error).__name__}")
    _, gots = run(case, mps)
    gots, wants = jax.tree.leaves(gots), jax.tree.leaves(wants)
    if case.group_name == "sort" and not case.params["is_stable"]:
        assert len(gots[0].shape) == 1 or len(gots) == 1
        gots, wants = in_order(gots), in_order(wants)
    for got, want in zip(gots, wants, strict=True):
        assert_same(case, arguments, got, want)
