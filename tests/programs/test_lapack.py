"""Programs that JAX exported for its CPU backend call LAPACK kernels by name, those for its CUDA backend
kernels of CUDA's libraries: they run here, too."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax
from jax.scipy import linalg
from stablehlo_text import compile_text, run_text


def adjoint(x):
    return jnp.conj(jnp.swapaxes(x, -1, -2))


def positive(x):
    return x @ adjoint(x) + 4 * jnp.eye(x.shape[-1])


def eigh(x):
    v, w = lax.linalg.eigh(positive(x), lower=False, symmetrize_input=False)
    return v * w[..., None, :] @ adjoint(v), w


def svd(full):
    def run(x):
        u, s, v = jnp.linalg.svd(x[..., :3], full_matrices=full)
        return u[..., :3] * s[..., None, :] @ v, u @ adjoint(u) if full else s

    return run


def eig(x):
    w, left, right = lax.linalg.eig(x)
    return x @ right - right * w[..., None, :], adjoint(x) @ left - left * jnp.conj(w)[..., None, :], jnp.sum(w, -1)


def schur(x):
    t, z = lax.linalg.schur(x)
    return z @ t @ adjoint(z), jnp.tril(t, -2)


def pivoted_qr(x):
    q, r, p = linalg.qr(x[0], pivoting=True)
    return q @ r - x[0][:, p], jnp.abs(jnp.diag(r))


def tridiagonal_solve(x):
    return lax.linalg.tridiagonal_solve(x[..., 0, :].at[..., 0].set(0), x[..., 1, :] + 3, x[..., 2, :].at[..., -1].set(0), x)


def solves(x):
    found = []
    for left in (True, False):
        for how in ({}, {"transpose_a": True}, {"transpose_a": True, "conjugate_a": True}, {"unit_diagonal": True}):
            found.append(lax.linalg.triangular_solve(positive(x), x, left_side=left, lower=left, **how))
    return found


PROGRAMS = {
    "cholesky": lambda x: jnp.linalg.cholesky(positive(x)),
    "cholesky of what has none": lambda x: jnp.linalg.cholesky(positive(x).at[0].multiply(-1)),
    "the upper triangle stays": lambda x: lax.linalg.cholesky(positive(x), symmetrize_input=False),
    "qr": lambda x: [a @ b for a, b in [jnp.linalg.qr(x[..., :3]), jnp.linalg.qr(x, mode="complete")]],
    "pivoted_qr": pivoted_qr,
    "lu": lambda x: lax.linalg.lu(x[..., :3]),
    "solve": lambda x: jnp.linalg.solve(positive(x), x),
    "eigh": eigh,
    "svd": svd(False),
    "full svd": svd(True),
    "singular values": lambda x: jnp.linalg.svd(x, compute_uv=False),
    "eig": eig,
    "eigenvalues": lambda x: jnp.sort_complex(jnp.linalg.eigvals(x)),
    "schur": schur,
    "hessenberg": lambda x: lax.linalg.hessenberg(x),
    "tridiagonal": lambda x: lax.linalg.tridiagonal(positive(x)),
    "tridiagonal_solve": tridiagonal_solve,
    "triangular_solve": solves,
}


def on_both(function, *arguments):
    """The results here and on JAX's CPU backend of what was exported for the latter."""
    checks = [export.DisabledSafetyCheck.platform(), export.DisabledSafetyCheck.custom_call("lapack_sgeqrf_ffi"),
              *(export.DisabledSafetyCheck.custom_call(f"lapack_{t}geqp3_ffi") for t in "sc")]
    program = export.export(jax.jit(function), platforms=["cpu"], disabled_checks=checks)(*arguments)
    assert "lapack_" in program.mlir_module()
    run = jax.jit(program.call)
    with jax.default_device(jax.devices("mps")[0]):
        here = jax.tree.map(np.asarray, run(*arguments))
    with jax.default_device(jax.devices("cpu")[0]):
        return here, jax.tree.map(np.asarray, run(*arguments))


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("name", PROGRAMS)
def test_exported(name, dtype):
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 2))
    x = (x[..., 0] + 1j * x[..., 1]).astype(dtype) if dtype == np.complex64 else x[..., 0].astype(dtype)
    here, there = on_both(PROGRAMS[name], x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), here, there)


# What has a kernel of CUDA's libraries on every JAX.
CUDA = {name: PROGRAMS[name] for name in (
    "cholesky", "cholesky of what has none", "qr", "lu", "solve", "eigh", "svd", "full svd", "singular values",
    "tridiagonal", "tridiagonal_solve")}
KERNELS = [f"cusolver_{name}_ffi" for name in "potrf geqrf orgqr getrf syevd sytrd gesvd gesvdj".split()] + [
    "cusparse_gtsv2_ffi", "cublas_geqrf_batched_ffi", "cublas_getrf_batched_ffi", "cu_lu_pivots_to_permutation"]


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("name", CUDA)
def test_exported_for_cuda(name, dtype):
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 2))
    x = (x[..., 0] + 1j * x[..., 1]).astype(dtype) if dtype == np.complex64 else x[..., 0].astype(dtype)
    checks = [export.DisabledSafetyCheck.platform(), *map(export.DisabledSafetyCheck.custom_call, KERNELS)]
    program = export.export(jax.jit(CUDA[name]), platforms=["cuda"], disabled_checks=checks)(x)
    assert "@cu" in program.mlir_module() or "cholesky" in name  # an op of its own in older versions
    with jax.default_device(jax.devices("mps")[0]):
        here = jax.tree.map(np.asarray, jax.jit(program.call)(x))
    with jax.default_device(jax.devices("cpu")[0]):
        there = jax.tree.map(np.asarray, jax.jit(CUDA[name])(x))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), here, there)


def test_memory_of_rows_is_taken_for_columns():
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    types = [jax.ShapeDtypeStruct(x.shape, x.dtype), jax.ShapeDtypeStruct((2, 3), x.dtype)]
    here, there = on_both(lambda x: jax.ffi.ffi_call("lapack_sgeqrf_ffi", types)(x), x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), here, there)


GETRF = """func.func public @main(%a: tensor<3x3x{dtype}>) -> (tensor<3x3x{dtype}>, tensor<{pivots}xi32>, tensor<i32>) {{
  %0:3 = stablehlo.custom_call @{target}(%a) {{{more}api_version = 4 : i32,
    operand_layouts = [dense<[0, 1]> : tensor<2xindex>],
    result_layouts = [dense<[0, 1]> : tensor<2xindex>, dense<0> : tensor<1xindex>, dense<> : tensor<0xindex>]}}
    : (tensor<3x3x{dtype}>) -> (tensor<3x3x{dtype}>, tensor<{pivots}xi32>, tensor<i32>)
  return %0#0, %0#1, %0#2 : tensor<3x3x{dtype}>, tensor<{pivots}xi32>, tensor<i32>
}}"""


TRSM = """func.func public @main(%a: tensor<4x4xf32>, %b: tensor<4x5xf32>, %s: tensor<f32>) -> tensor<4x5xf32> {
  %0 = stablehlo.custom_call @lapack_strsm_ffi(%a, %b, %s) {api_version = 4 : i32,
    backend_config = {diag = 78 : ui8, side = 76 : ui8, trans_x = 78 : ui8, uplo = 76 : ui8},
    operand_layouts = [dense<[0, 1]> : tensor<2xindex>, dense<[0, 1]> : tensor<2xindex>, dense<> : tensor<0xindex>],
    output_operand_aliases = [#stablehlo.output_operand_alias<output_tuple_indices = [], operand_index = 1, operand_tuple_indices = []>],
    result_layouts = [dense<[0, 1]> : tensor<2xindex>]} : (tensor<4x4xf32>, tensor<4x5xf32>, tensor<f32>) -> tensor<4x5xf32>
  return %0 : tensor<4x5xf32>
}"""


def test_triangular_solve_with_a_scale():
    """As earlier versions of JAX send it."""
    random = np.random.default_rng(0)
    a = (np.tril(random.standard_normal((4, 4))) + 4 * np.eye(4)).astype(np.float32)
    b = random.standard_normal((4, 5)).astype(np.float32)
    np.testing.assert_allclose(a @ run_text(TRSM, a, b, np.float32(2.5))[0], 2.5 * b, rtol=1e-5, atol=1e-5)
    with pytest.raises(Exception, match=r"operand 2 must be f32\[\], is s32\[\]"):
        compile_text(TRSM.replace("%s: tensor<f32>", "%s: tensor<i32>").replace("5xf32>, tensor<f32>)", "5xf32>, tensor<i32>)"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"dtype": "f64"}, "the function is not one for f64"),
        ({"pivots": 4}, "result 1 must be s32[3], is s32[4]"),
        ({"more": "backend_config = {fast = true}, "}, "there is no option fast"),
        ({"target": "lapack_sgetrx_ffi"}, "there is no custom call target"),
        ({"target": "cusolver_getrf_ffi", "pivots": 4}, "result 1 must be s32[3], is s32[4]"),
    ],
)
def test_malformed(change, why):
    with pytest.raises(Exception, match=".") as caught:
        compile_text(GETRF.format(**{"dtype": "f32", "pivots": 3, "more": "", "target": "lapack_sgetrf_ffi", **change}))
    assert why in str(caught.value)


def test_the_library_that_the_user_names_is_taken():
    program = "import jax, numpy; print(jax.numpy.linalg.qr(numpy.eye(3, dtype='float32')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          env={**os.environ, "JAX_PLATFORMS": "mps", "JAX_MPS_BLAS_LIBRARY": "/nowhere.so"})
    assert done.returncode != 0 and "/nowhere.so" in done.stderr
