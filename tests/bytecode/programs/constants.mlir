// Constants of every plain element type: elements, splats, bit patterns, bools in packed form.
module @constants {
  func.func public @main() -> tensor<i32> {
    %0 = stablehlo.constant dense<[true, false, true]> : tensor<3xi1>
    %1 = stablehlo.constant dense<[true, false, true, true, false, false, true, false]> : tensor<8xi1>
    %2 = stablehlo.constant dense<[true, false, true, true, false, false, true, false, true]> : tensor<9xi1>
    %3 = stablehlo.constant dense<true> : tensor<64xi1>
    %4 = stablehlo.constant dense<false> : tensor<5xi1>
    %5 = stablehlo.constant dense<true> : tensor<i1>
    %6 = stablehlo.constant dense<false> : tensor<i1>
    %7 = stablehlo.constant dense<> : tensor<0xi1>
    %8 = stablehlo.constant dense<[[1, -2], [3, -8]]> : tensor<2x2xi4>
    %9 = stablehlo.constant dense<[1, 15]> : tensor<2xui4>
    %10 = stablehlo.constant dense<[-128, 127]> : tensor<2xi8>
    %11 = stablehlo.constant dense<[0, 255]> : tensor<2xui8>
    %12 = stablehlo.constant dense<[-32768, 32767]> : tensor<2xi16>
    %13 = stablehlo.constant dense<[0, 65535]> : tensor<2xui16>
    %14 = stablehlo.constant dense<[-2147483648, 2147483647]> : tensor<2xi32>
    %15 = stablehlo.constant dense<[0, 4294967295]> : tensor<2xui32>
    %16 = stablehlo.constant dense<[-9223372036854775808, 9223372036854775807]> : tensor<2xi64>
    %17 = stablehlo.constant dense<[0, 18446744073709551615]> : tensor<2xui64>
    %18 = stablehlo.constant dense<[1.5, -0.0, 0x7E01]> : tensor<3xf16>
    %19 = stablehlo.constant dense<[1.5, -0.0, 0x7FC1]> : tensor<3xbf16>
    %20 = stablehlo.constant dense<[1.5, -0.0, 0x7FC00001, 0xFF800000]> : tensor<4xf32>
    %21 = stablehlo.constant dense<[1.5, -0.0, 0x7FF8000000000001]> : tensor<3xf64>
    %22 = stablehlo.constant dense<[(1.0, 2.0), (-3.0, 0.5)]> : tensor<2xcomplex<f32>>
    %23 = stablehlo.constant dense<(1.0, -2.0)> : tensor<3xcomplex<f64>>
    %24 = stablehlo.constant dense<[1.0, -2.0]> : tensor<2xf8E4M3FN>
    %25 = stablehlo.constant dense<[1.0, -2.0]> : tensor<2xf8E5M2>
    %26 = stablehlo.constant dense<1.0> : tensor<1000x1000x1000xf32>
    %27 = stablehlo.constant dense<0> : tensor<2x0x3xi32>
    %28 = stablehlo.constant dense<-3> : tensor<7xi4>
    %30 = stablehlo.constant dense<true> : tensor<0xi1>
    %31 = stablehlo.constant dense<true> : tensor<8xi1>
    %29 = stablehlo.constant dense<7> : tensor<i32>
    return %29 : tensor<i32>
  }
}
