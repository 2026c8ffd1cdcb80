// Dynamic shapes and bounds.
module @dynamic {
  func.func public @main(%x: tensor<?x4xf32>, %n: tensor<i32>, %shape: tensor<2xi32>, %z: tensor<f32>,
                         %ix: tensor<2xi32>, %b: tensor<?x4xf32, #stablehlo.bounds<8, ?>>,
                         %ids: tensor<?x1xi32>, %img: tensor<2x8x8x3xf32>, %k: tensor<3x3x3x5xf32>) -> tensor<?x?xf32> {
    %0 = stablehlo.dynamic_reshape %x, %shape : (tensor<?x4xf32>, tensor<2xi32>) -> tensor<?x?xf32>
    %1 = stablehlo.dynamic_iota %shape, dim = 0 : (tensor<2xi32>) -> tensor<?x?xi32>
    %2 = "stablehlo.dynamic_broadcast_in_dim"(%z, %shape) <{broadcast_dimensions = array<i64>}> : (tensor<f32>, tensor<2xi32>) -> tensor<?x?xf32>
    %3 = "stablehlo.dynamic_broadcast_in_dim"(%x, %shape) <{broadcast_dimensions = array<i64: 0, 1>, known_expanding_dimensions = array<i64: 0>, known_nonexpanding_dimensions = array<i64: 1>}> : (tensor<?x4xf32>, tensor<2xi32>) -> tensor<?x?xf32>
    %4 = stablehlo.dynamic_pad %0, %z, %ix, %ix, %ix : (tensor<?x?xf32>, tensor<f32>, tensor<2xi32>, tensor<2xi32>, tensor<2xi32>) -> tensor<?x?xf32>
    %5 = stablehlo.real_dynamic_slice %4, %ix, %shape, %ix : (tensor<?x?xf32>, tensor<2xi32>, tensor<2xi32>, tensor<2xi32>) -> tensor<?x?xf32>
    %6 = "stablehlo.dynamic_gather"(%x, %ids, %ix) <{dimension_numbers = #stablehlo.gather<offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, indices_are_sorted = false}> : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<2xi32>) -> tensor<?x?xf32>
    %7 = stablehlo.get_dimension_size %b, dim = 0 : (tensor<?x4xf32, #stablehlo.bounds<8, ?>>) -> tensor<i32>
    %8 = stablehlo.set_dimension_size %b, %7, dim = 0 : (tensor<?x4xf32, #stablehlo.bounds<8, ?>>, tensor<i32>) -> tensor<?x4xf32, #stablehlo.bounds<8, ?>>
    %9 = stablehlo.constant dense<[[1, 1], [0, 2]]> : tensor<2x2xi64>
    %10 = "stablehlo.dynamic_conv"(%img, %k, %9) <{batch_group_count = 1 : i64, feature_group_count = 1 : i64, window_strides = array<i64: 2, 1>, dimension_numbers = #stablehlo.conv<[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]>}> : (tensor<2x8x8x3xf32>, tensor<3x3x3x5xf32>, tensor<2x2xi64>) -> tensor<2x?x?x5xf32>
    return %5 : tensor<?x?xf32>
  }
}
