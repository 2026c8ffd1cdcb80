"""Custom calls that do not keep what their target promises: an error that names the call, nothing else."""

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
