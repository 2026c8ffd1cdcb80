"""Custom calls that do not keep what their target promises: an error that names the call, nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stablehlo_text import compile_text, run_text

APPROX_TOP_K = """func.func private @better(%a: tensor<f32>, %b: tensor<f32>, %p: tensor<i32>, %q: tensor<i32>) -> tensor<i1> {{
  %0 = stablehlo.compare {how}, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>
  return %0 : tensor<i1>
}}
func.func public @main(%a: tensor<{n}xf32>, %i: tensor<{n}xi32>) -> (tensor<{k}x{result}>, tensor<{k}xi32>) {{
  %z = stablehlo.constant {init} : {init_type}
  %m = stablehlo.constant dense<-1> : tensor<i32>
  %0:2 = stablehlo.custom_call @ApproxTopK(%a, %i, %z, %m) {{
    mhlo.backend_config = {{reduction_dim = 0 : i64, top_k = {k} : i64, recall_target = 0.9 : f32,
      aggregate_to_topk = true, reduction_input_size_override = -1 : i64{options}}},
    api_version = 1 : i32, called_computations = [@better]}}
    : (tensor<{n}xf32>, tensor<{n}xi32>, {init_type}, tensor<i32>) -> (tensor<{k}x{result}>, tensor<{k}xi32>)
  return %0#0, %0#1 : tensor<{k}x{result}>, tensor<{k}xi32>
}}"""


def approx_top_k(how="GT", n=100, k=3, result="f32", init="dense<0.0>", init_type="tensor<f32>", options=""):
    return APPROX_TOP_K.format(**locals())


MALFORMED = {
    "narrower result": (approx_top_k(result="i8", n=2_000_000, k=2_000_000), "result 0 must be f32"),
    "wider result": (approx_top_k(result="f64"), "result 0 must be f32"),
    "empty initial value": (approx_top_k(init="dense<>", init_type="tensor<0xf32>"), "operand 2 must be f32"),
    "unknown option": (approx_top_k(options=", fast = true"), "there is no option fast"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name):
    text, why = MALFORMED[name]
    with pytest.raises(Exception) as caught:
        compile_text(text)
    assert why in str(caught.value) and "@ApproxTopK" in str(caught.value)


@pytest.mark.parametrize("how", ["GT", "LT"])
@pytest.mark.parametrize("init", [-5.0, 5.0])
def test_the_comparator_says_what_is_better(how, init):
    x = np.array([3, -1, 7, 7, 0, -4], np.float32)
    text = approx_top_k(how, n=6, init=f"dense<{init}>")
    values, indices = run_text(text, x, np.arange(6, dtype=np.int32))
    np.testing.assert_array_equal(values, [7, 7, 3] if how == "GT" else [-4, -1, 0])
    np.testing.assert_array_equal(indices, [2, 3, 0] if how == "GT" else [5, 1, 4])


TRIPS = """func.func public @main(%x: tensor<i32>) -> tensor<i32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %0:2 = stablehlo.while(%i = %zero, %s = %x) : tensor<i32>, tensor<i32> attributes {mps.trip_count = 1 : i64}
   cond {
    %c = stablehlo.compare LT, %s, %i : (tensor<i32>, tensor<i32>) -> tensor<i1>
    %n = stablehlo.not %c : tensor<i1>
    stablehlo.return %n : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1> : tensor<i32>
    %j = stablehlo.add %i, %one : tensor<i32>
    stablehlo.return %j, %s : tensor<i32>, tensor<i32>
  }
  return %0#0 : tensor<i32>
}"""


def test_a_client_cannot_say_how_often_a_loop_runs():
    assert run_text(TRIPS, np.int32(7))[0] == 8


HALVES = """func.func private @sum(%a: tensor<f32>, %b: tensor<f32>) -> tensor<f32> {{
  %0 = stablehlo.add %a, %b : tensor<f32>
  return %0 : tensor<f32>
}}
func.func public @main(%x: tensor<4xf32>) -> tensor<4xf32> {{
  %0 = stablehlo.custom_call @"{what}-start"(%x) {{api_version = 1 : i32{more}}} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = stablehlo.custom_call @"{what}-done"(%0) {{api_version = 1 : i32}} : (tensor<4xf32>) -> tensor<{size}xf32>
  stablehlo.custom_call @control_dep(%0, %1) {{api_version = 4 : i32, has_side_effect = true}} : (tensor<4xf32>, tensor<{size}xf32>) -> ()
  return %1 : tensor<4xf32>
}}"""
SENT = ', mhlo.frontend_attributes = {{async_collective_config = "{{\\22permutation\\22: {}}}"}}'


@pytest.mark.parametrize(
    ("what", "more", "factor"),
    [
        ("all-gather", "", 1),
        ("all-reduce", ", called_computations = [@sum]", 1),
        ("reduce-scatter", ", called_computations = [@sum]", 1),
        ("all-to-all", "", 1),
        ("collective-permute", SENT.format("[[0, 0]]"), 1),
        ("collective-permute", SENT.format("[]"), 0),
    ],
)
def test_collectives_in_two_halves(what, more, factor):
    x = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(run_text(HALVES.format(what=what, more=more, size=4), x)[0], factor * x)


def test_a_half_for_two_devices():
    with pytest.raises(Exception, match="it splits data over several devices, which is not supported"):
        compile_text(HALVES.format(what="all-gather", more="", size=8).replace("tensor<4xf32> {", "tensor<8xf32> {").replace("%1 : tensor<4xf32>", "%1 : tensor<8xf32>"))


SOLVE = """func.func public @main(%a: tensor<4x4x{t}>, %b: tensor<4x2x{t}>) -> (tensor<4x4x{t}>, tensor<4x2x{t}>) {{
  %0 = stablehlo.cholesky %a, lower = true : tensor<4x4x{t}>
  %1 = "stablehlo.triangular_solve"(%0, %b) {{left_side = true, lower = true, unit_diagonal = false,
    transpose_a = #stablehlo<transpose NO_TRANSPOSE>}} : (tensor<4x4x{t}>, tensor<4x2x{t}>) -> tensor<4x2x{t}>
  return %0, %1 : tensor<4x4x{t}>, tensor<4x2x{t}>
}}"""


@pytest.mark.parametrize(("name", "dtype"), [("f16", "float16"), ("bf16", "bfloat16")])
def test_halves_are_factored_in_float32(name, dtype):
    r = np.random.default_rng(0)
    dtype = jnp.dtype(dtype)
    a = r.standard_normal((4, 4)).astype(np.float32)
    a, b = (a @ a.T + 4 * np.eye(4)).astype(dtype), r.standard_normal((4, 2)).astype(dtype)
    lower, x = run_text(SOLVE.format(t=name), a, b)
    want = np.linalg.cholesky(a.astype(np.float32)).astype(dtype)
    np.testing.assert_array_equal(lower, want)
    np.testing.assert_array_equal(x, np.linalg.solve(want.astype(np.float64), b.astype(np.float64)).astype(np.float32).astype(dtype))


def test_a_broadcast_among_one_device(mps):
    mesh = jax.sharding.Mesh(np.array([mps]), "i")
    spec = jax.sharding.PartitionSpec("i")
    send = lambda x: jax.lax.pbroadcast(x, "i", 0)
    if hasattr(jax, "shard_map"):
        run = jax.jit(jax.shard_map(send, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False))
    else:
        from jax.experimental.shard_map import shard_map

        run = jax.jit(shard_map(send, mesh=mesh, in_specs=spec, out_specs=spec, check_rep=False))
    np.testing.assert_array_equal(run(np.arange(3.0)), np.arange(3.0))


def test_programs_with_branches_for_other_platforms_alone(mps):
    with jax.default_device(mps):
        f = jax.jit(lambda x: jax.lax.platform_dependent(x, cpu=lambda x: x + 1, cuda=lambda x: x + 2))
        assert f(1.0) == 2.0
        with pytest.raises(NotImplementedError, match="not found for platform mps"):
            jax.jit(lambda x: jax.lax.platform_dependent(x, cuda=lambda x: x, tpu=lambda x: -x))(1.0)


@pytest.mark.parametrize("columns", [(), (3,)])
@pytest.mark.parametrize("transpose", [False, True])
def test_products_with_sparse_matrices(columns, transpose, mps):
    """Two elements in one place, one beyond the matrix, empty rows."""
    from jax.experimental.sparse import _lowerings

    data = np.array([1, 2, 3, 4, 5], np.float32)
    row, col = np.array([1, 1, 1, 3, 9], np.int32), np.array([0, 2, 2, 1, 9], np.int32)
    dense = np.zeros((5, 4), np.float32)
    np.add.at(dense, (row[:4], col[:4]), data[:4])
    x = np.random.default_rng(0).normal(size=(5 if transpose else 4, *columns)).astype(np.float32)
    want = (dense.T if transpose else dense) @ x
    indptr = np.array([0, 0, 3, 3, 4, 4], np.int32)
    kind, options = ("spmm_p" if columns else "spmv_p"), dict(transpose=transpose, shape=(5, 4))
    with jax.default_device(mps):
        for layout, places in (("coo", (row, col)), ("csr", (np.minimum(col, 4), indptr))):
            product = getattr(_lowerings, f"{layout}_{kind}")
            values = data if layout == "coo" else data * (row < 9)
            got = jax.jit(lambda *a: product.bind(*a, **options))(values, *places, x)
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
