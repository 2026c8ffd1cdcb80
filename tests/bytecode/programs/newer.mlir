// What came after 1.0: accuracy, algorithms, composites, batching gathers, several collectives' operands.
// target: 1.10.0
module @newer {
  func.func private @impl(%x: tensor<4xf32>) -> tensor<4xf32> {
    return %x : tensor<4xf32>
  }
  func.func public @main(%x: tensor<4xf32>, %a: tensor<2x4x6xf32>, %b: tensor<2x6x3xf32>, %ids: tensor<2x5x1xi32>) -> tensor<4xf32> {
    %0 = stablehlo.composite "my.op" %x {composite_attributes = {alpha = 1.5 : f32, n = 3 : i64, mode = "fast", flags = [true, false], shape = dense<[1, 2]> : tensor<2xi64>}, decomposition = @impl, version = 2 : i32} : (tensor<4xf32>) -> tensor<4xf32>
    %1 = "stablehlo.exponential"(%0) <{result_accuracy = #stablehlo.result_accuracy<atol = 1.0e-5, rtol = 0.0, ulps = 1, mode = #stablehlo.result_accuracy_mode<TOLERANCE>>}> : (tensor<4xf32>) -> tensor<4xf32>
    %2 = "stablehlo.tan"(%1) <{result_accuracy = #stablehlo.result_accuracy<mode = #stablehlo.result_accuracy_mode<HIGHEST>>}> : (tensor<4xf32>) -> tensor<4xf32>
    %3 = stablehlo.dot_general %a, %b, batching_dims = [0] x [0], contracting_dims = [2] x [1], precision = [DEFAULT, DEFAULT],
      algorithm = <lhs_precision_type = tf32, rhs_precision_type = tf32, accumulation_type = f32, lhs_component_count = 1, rhs_component_count = 1, num_primitive_operations = 1, allow_imprecise_accumulation = false>
      : (tensor<2x4x6xf32>, tensor<2x6x3xf32>) -> tensor<2x4x3xf32>
    %4 = "stablehlo.gather"(%a, %ids) <{dimension_numbers = #stablehlo.gather<offset_dims = [2], collapsed_slice_dims = [1], operand_batching_dims = [0], start_indices_batching_dims = [0], start_index_map = [1], index_vector_dim = 2>, slice_sizes = array<i64: 1, 1, 6>}> : (tensor<2x4x6xf32>, tensor<2x5x1xi32>) -> tensor<2x5x6xf32>
    %5 = "stablehlo.scatter"(%a, %ids, %4) <{scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = [2], inserted_window_dims = [1], input_batching_dims = [0], scatter_indices_batching_dims = [0], scatter_dims_to_operand_dims = [1], index_vector_dim = 2>}> ({
    ^bb0(%l: tensor<f32>, %r: tensor<f32>):
      stablehlo.return %r : tensor<f32>
    }) : (tensor<2x4x6xf32>, tensor<2x5x1xi32>, tensor<2x5x6xf32>) -> tensor<2x4x6xf32>
    %6:2 = "stablehlo.all_gather"(%x, %2) <{all_gather_dim = 0 : i64, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> : (tensor<4xf32>, tensor<4xf32>) -> (tensor<8xf32>, tensor<8xf32>)
    %7 = "stablehlo.collective_broadcast"(%x) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> : (tensor<4xf32>) -> tensor<4xf32>
    %8 = stablehlo.custom_call @ffi(%7) {api_version = 4 : i32, backend_config = {eps = 2.5 : f32, k = -3 : i64, list = [1 : i8, -5 : i8], name = "s", on = true, u = 200 : ui8}} : (tensor<4xf32>) -> tensor<4xf32>
    %9 = stablehlo.constant dense<[1.0, -2.0]> : tensor<2xf8E3M4>
    %10 = stablehlo.constant dense<[1.0, -2.0]> : tensor<2xf8E4M3>
    %11 = stablehlo.constant dense<[1.0, -2.0]> : tensor<2xf4E2M1FN>
    %12 = stablehlo.constant dense<[1.0, -2.0]> : tensor<2xf6E2M3FN>
    %13 = stablehlo.constant dense<[1.0, 2.0]> : tensor<2xf8E8M0FNU>
    %14 = stablehlo.constant dense<[1, -2]> : tensor<2xi2>
    %15 = stablehlo.constant dense<[1, 3]> : tensor<2xui2>
    return %8 : tensor<4xf32>
  }
}
