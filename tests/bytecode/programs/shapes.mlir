// Ops that move data, contractions, windows, linear algebra.
module @shapes {
  func.func public @main(%x: tensor<4x6xf32>, %y: tensor<6x4xf32>, %img: tensor<2x8x8x3xf32>,
                         %k: tensor<3x3x3x5xf32>, %z: tensor<f32>, %i: tensor<i32>,
                         %ids: tensor<5x1xi32>, %pred: tensor<i1>, %m: tensor<4x4xf32>) -> tensor<4x6xf32> {
    %b = stablehlo.broadcast_in_dim %z, dims = [] : (tensor<f32>) -> tensor<4x6xf32>
    %b2 = "stablehlo.broadcast"(%z) <{broadcast_sizes = array<i64: 4, 6>}> : (tensor<f32>) -> tensor<4x6xf32>
    %cat = stablehlo.concatenate %b, %b2, dim = 1 : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x12xf32>
    %sl = stablehlo.slice %cat [0:4:1, 2:12:2] : (tensor<4x12xf32>) -> tensor<4x5xf32>
    %pad = stablehlo.pad %sl, %z, low = [0, 1], high = [0, 0], interior = [0, 0] : (tensor<4x5xf32>, tensor<f32>) -> tensor<4x6xf32>
    %rev = stablehlo.reverse %pad, dims = [0, 1] : tensor<4x6xf32>
    %t = stablehlo.transpose %rev, dims = [1, 0] : (tensor<4x6xf32>) -> tensor<6x4xf32>
    %r = stablehlo.reshape %t : (tensor<6x4xf32>) -> tensor<24xf32>
    %r2 = stablehlo.reshape %r : (tensor<24xf32>) -> tensor<4x6xf32>
    %ds = stablehlo.dynamic_slice %r2, %i, %i, sizes = [2, 3] : (tensor<4x6xf32>, tensor<i32>, tensor<i32>) -> tensor<2x3xf32>
    %dus = stablehlo.dynamic_update_slice %r2, %ds, %i, %i : (tensor<4x6xf32>, tensor<2x3xf32>, tensor<i32>, tensor<i32>) -> tensor<4x6xf32>
    %iota = stablehlo.iota dim = 1 : tensor<4x6xf32>
    %dot = stablehlo.dot %x, %y, precision = [HIGH, HIGHEST] : (tensor<4x6xf32>, tensor<6x4xf32>) -> tensor<4x4xf32>
    %dg = stablehlo.dot_general %x, %y, contracting_dims = [1] x [0], precision = [DEFAULT, DEFAULT] : (tensor<4x6xf32>, tensor<6x4xf32>) -> tensor<4x4xf32>
    %dg2 = stablehlo.dot_general %x, %x, batching_dims = [0] x [0], contracting_dims = [1] x [1] : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4xf32>
    %conv = stablehlo.convolution(%img, %k) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f],
        window = {stride = [2, 1], pad = [[1, 1], [0, 2]], lhs_dilate = [1, 2], rhs_dilate = [1, 1], reverse = [true, false]}
        {batch_group_count = 1 : i64, feature_group_count = 1 : i64, precision_config = [#stablehlo<precision HIGHEST>, #stablehlo<precision DEFAULT>]}
        : (tensor<2x8x8x3xf32>, tensor<3x3x3x5xf32>) -> tensor<2x4x15x5xf32>
    %g = "stablehlo.gather"(%x, %ids) <{dimension_numbers = #stablehlo.gather<offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 6>, indices_are_sorted = true}> : (tensor<4x6xf32>, tensor<5x1xi32>) -> tensor<5x6xf32>
    %sc = "stablehlo.scatter"(%x, %ids, %g) <{scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>, unique_indices = true}> ({
    ^bb0(%a0: tensor<f32>, %a1: tensor<f32>):
      %s = stablehlo.add %a0, %a1 : tensor<f32>
      stablehlo.return %s : tensor<f32>
    }) : (tensor<4x6xf32>, tensor<5x1xi32>, tensor<5x6xf32>) -> tensor<4x6xf32>
    %red = stablehlo.reduce(%sc init: %z) applies stablehlo.add across dimensions = [1] : (tensor<4x6xf32>, tensor<f32>) -> tensor<4xf32>
    %rw = "stablehlo.reduce_window"(%img, %z) <{window_dimensions = array<i64: 1, 2, 2, 1>, window_strides = array<i64: 1, 2, 2, 1>, padding = dense<[[0, 0], [1, 1], [0, 2], [0, 0]]> : tensor<4x2xi64>}> ({
    ^bb0(%a0: tensor<f32>, %a1: tensor<f32>):
      %s = stablehlo.maximum %a0, %a1 : tensor<f32>
      stablehlo.return %s : tensor<f32>
    }) : (tensor<2x8x8x3xf32>, tensor<f32>) -> tensor<2x5x5x3xf32>
    %sas = "stablehlo.select_and_scatter"(%img, %rw, %z) <{window_dimensions = array<i64: 1, 2, 2, 1>, window_strides = array<i64: 1, 2, 2, 1>, padding = dense<[[0, 0], [1, 1], [0, 2], [0, 0]]> : tensor<4x2xi64>}> ({
    ^bb0(%a0: tensor<f32>, %a1: tensor<f32>):
      %s = stablehlo.compare GE, %a0, %a1 : (tensor<f32>, tensor<f32>) -> tensor<i1>
      stablehlo.return %s : tensor<i1>
    }, {
    ^bb0(%a0: tensor<f32>, %a1: tensor<f32>):
      %s = stablehlo.add %a0, %a1 : tensor<f32>
      stablehlo.return %s : tensor<f32>
    }) : (tensor<2x8x8x3xf32>, tensor<2x5x5x3xf32>, tensor<f32>) -> tensor<2x8x8x3xf32>
    %sorted:2 = "stablehlo.sort"(%x, %iota) <{dimension = 1 : i64, is_stable = true}> ({
    ^bb0(%a0: tensor<f32>, %a1: tensor<f32>, %a2: tensor<f32>, %a3: tensor<f32>):
      %s = stablehlo.compare LT, %a0, %a1, TOTALORDER : (tensor<f32>, tensor<f32>) -> tensor<i1>
      stablehlo.return %s : tensor<i1>
    }) : (tensor<4x6xf32>, tensor<4x6xf32>) -> (tensor<4x6xf32>, tensor<4x6xf32>)
    %mapped = "stablehlo.map"(%x, %iota) <{dimensions = array<i64: 0, 1>}> ({
    ^bb0(%a0: tensor<f32>, %a1: tensor<f32>):
      %s = stablehlo.multiply %a0, %a1 : tensor<f32>
      stablehlo.return %s : tensor<f32>
    }) : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
    %chol = stablehlo.cholesky %m, lower = true : tensor<4x4xf32>
    %tri = "stablehlo.triangular_solve"(%chol, %x) <{left_side = true, lower = true, unit_diagonal = false, transpose_a = #stablehlo<transpose ADJOINT>}> : (tensor<4x4xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
    %fft = stablehlo.fft %x, type = RFFT, length = [6] : (tensor<4x6xf32>) -> tensor<4x4xcomplex<f32>>
    %ifft = stablehlo.fft %fft, type = IRFFT, length = [6] : (tensor<4x4xcomplex<f32>>) -> tensor<4x6xf32>
    %ein = stablehlo.einsum %x, %y, config = "ab,bc->ac" : (tensor<4x6xf32>, tensor<6x4xf32>) -> tensor<4x4xf32>
    %uein = "stablehlo.unary_einsum"(%x) <{einsum_config = "ab->ba"}> : (tensor<4x6xf32>) -> tensor<6x4xf32>
    %tis = "stablehlo.torch_index_select"(%x, %ids) <{dim = 0 : i64, batch_dims = 0 : i64}> : (tensor<4x6xf32>, tensor<5x1xi32>) -> tensor<5x1x6xf32>
    %gds = stablehlo.get_dimension_size %x, dim = 1 : (tensor<4x6xf32>) -> tensor<i32>
    %out = stablehlo.add %dus, %ifft : tensor<4x6xf32>
    return %out : tensor<4x6xf32>
  }
}
