// Shardy ops and attributes among VHLO, as a client sends them for a mesh.
// target: 1.16.0
// mixed
module @sharded attributes {mhlo.num_partitions = 8 : i32, mhlo.num_replicas = 1 : i32} {
  sdy.mesh @mesh = <["x"=4, "y"=2]>
  sdy.mesh @order = <["x"=2], device_ids=[1, 0]>
  func.func public @main(%a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {?}]>},
                         %b: tensor<8x8xf8E4M3FN> {sdy.sharding = #sdy.sharding<@mesh, [{"x", "y"}, {}]>})
      -> (tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}p1, {"x", ?}p0]>}) {
    %0 = sdy.sharding_constraint %a <@mesh, [{"x"}, {"y"}]> : tensor<8x8xf32>
    %1 = sdy.sharding_constraint %b <@mesh, [{"x":(1)2}, {}], replicated={"y"}> : tensor<8x8xf8E4M3FN>
    %2 = stablehlo.convert %1 : (tensor<8x8xf8E4M3FN>) -> tensor<8x8xf32>
    %3 = sdy.manual_computation(%0, %2) in_shardings=[<@mesh, [{"x"}, {}]>, <@mesh, [{}, {}]>] out_shardings=[<@mesh, [{"x"}, {}]>] manual_axes={"x"} (%l: tensor<2x8xf32>, %r: tensor<8x8xf32>) {
      %5 = stablehlo.slice %r [0:2, 0:8] : (tensor<8x8xf32>) -> tensor<2x8xf32>
      %6 = stablehlo.add %l, %5 : tensor<2x8xf32>
      sdy.return %6 : tensor<2x8xf32>
    } : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
    %4 = sdy.reshard %3 <@mesh, [{"y"}, {"x"}]> : tensor<8x8xf32>
    return %4 : tensor<8x8xf32>
  }
}
