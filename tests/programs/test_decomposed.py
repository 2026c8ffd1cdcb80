"""Ops that programs of JAX do not hold, and that become others: each against NumPy."""

import numpy as np
import pytest
from stablehlo_text import run_text

A = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
AT = np.array([[2, 0], [1, 1]], np.int32)

ROWS = {
    "torch_index_select": (
        """func.func public @main(%a: tensor<2x3x4xf32>, %i: tensor<2x2xi32>) -> tensor<2x2x4xf32> {
  %0 = "stablehlo.torch_index_select"(%a, %i) {dim = 1 : i64, batch_dims = 1 : i64} : (tensor<2x3x4xf32>, tensor<2x2xi32>) -> tensor<2x2x4xf32>
  return %0 : tensor<2x2x4xf32> }""",
        (A, AT),
        np.stack([A[b][AT[b]] for b in range(2)]),
    ),
    "dynamic_gather": (
        """func.func public @main(%a: tensor<2x3x4xf32>, %i: tensor<2x2xi32>) -> tensor<2x2x2x4xf32> {
  %s = stablehlo.constant dense<[2, 1, 4]> : tensor<3xi32>
  %0 = "stablehlo.dynamic_gather"(%a, %i, %s) {dimension_numbers = #stablehlo.gather<offset_dims = [2, 3],
    collapsed_slice_dims = [1], start_index_map = [1], index_vector_dim = 2>} : (tensor<2x3x4xf32>, tensor<2x2xi32>, tensor<3xi32>) -> tensor<2x2x2x4xf32>
  return %0 : tensor<2x2x2x4xf32> }""",
        (A, AT),
        np.moveaxis(A[:, AT], 0, 2),
    ),
    "dynamic_conv": (
        """func.func public @main(%a: tensor<1x1x4xf32>, %k: tensor<1x1x2xf32>) -> tensor<1x1x5xf32> {
  %p = stablehlo.constant dense<[[2, 0]]> : tensor<1x2xi32>
  %0 = "stablehlo.dynamic_conv"(%a, %k, %p) {batch_group_count = 1 : i64, feature_group_count = 1 : i64,
    dimension_numbers = #stablehlo.conv<[b, f, 0]x[o, i, 0]->[b, f, 0]>} : (tensor<1x1x4xf32>, tensor<1x1x2xf32>, tensor<1x2xi32>) -> tensor<1x1x5xf32>
  return %0 : tensor<1x1x5xf32> }""",
        (A[:1, :1], np.array([[[1, 10]]], np.float32)),
        np.array([[[0, 0, 10, 21, 32]]], np.float32),
    ),
    "real_dynamic_slice": (
        """func.func public @main(%a: tensor<2x3x4xf32>, %b: tensor<3xi32>) -> tensor<1x2x4xf32> {
  %n = stablehlo.constant dense<[1, 2, 4]> : tensor<3xi32>
  %o = stablehlo.constant dense<1> : tensor<3xi32>
  %e = stablehlo.add %b, %n : tensor<3xi32>
  %0 = stablehlo.real_dynamic_slice %a, %b, %e, %o : (tensor<2x3x4xf32>, tensor<3xi32>, tensor<3xi32>, tensor<3xi32>) -> tensor<1x2x4xf32>
  return %0 : tensor<1x2x4xf32> }""",
        (A, np.array([1, 1, 0], np.int32)),
        A[1:, 1:],
    ),
    "dynamic_broadcast_in_dim": (
        """func.func public @main(%a: tensor<3xf32>) -> tensor<2x3xf32> {
  %s = stablehlo.constant dense<[2, 3]> : tensor<2xi32>
  %0 = stablehlo.dynamic_broadcast_in_dim %a, %s, dims = [1] : (tensor<3xf32>, tensor<2xi32>) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32> }""",
        (A[0, :, 1],),
        np.broadcast_to(A[0, :, 1], (2, 3)),
    ),
    "tuple": (
        """func.func public @main(%a: tensor<3xf32>, %b: tensor<2xi32>) -> tensor<2xi32> {
  %0 = stablehlo.tuple %a, %b : tuple<tensor<3xf32>, tensor<2xi32>>
  %1 = stablehlo.get_tuple_element %0[1] : (tuple<tensor<3xf32>, tensor<2xi32>>) -> tensor<2xi32>
  return %1 : tensor<2xi32> }""",
        (A[0, :, 1], AT[0]),
        AT[0],
    ),
    "get_dimension_size": (
        """func.func public @main(%a: tensor<2x3x4xf32>) -> tensor<i32> {
  %0 = stablehlo.get_dimension_size %a, dim = 1 : (tensor<2x3x4xf32>) -> tensor<i32>
  return %0 : tensor<i32> }""",
        (A,),
        np.array(3, np.int32),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_op_becomes_others(name):
    text, arguments, want = ROWS[name]
    np.testing.assert_array_equal(run_text(text, *arguments)[0], want)
