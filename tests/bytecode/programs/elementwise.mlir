// Elementwise ops, comparisons, conversions, accuracy and small types.
module @elementwise {
  func.func public @main(%x: tensor<4xf32>, %y: tensor<4xf32>, %i: tensor<4xi32>, %j: tensor<4xi32>,
                         %u: tensor<4xui32>, %c: tensor<4xcomplex<f32>>, %b: tensor<4xi1>)
      -> (tensor<4xf32>, tensor<4xi32>, tensor<4xi1>, tensor<4xcomplex<f32>>) {
    %abs = stablehlo.abs %x : tensor<4xf32>
    %cbrt = stablehlo.cbrt %abs : tensor<4xf32>
    %ceil = stablehlo.ceil %cbrt : tensor<4xf32>
    %cos = stablehlo.cosine %ceil : tensor<4xf32>
    %exp = stablehlo.exponential %cos : tensor<4xf32>
    %expm1 = stablehlo.exponential_minus_one %exp : tensor<4xf32>
    %floor = stablehlo.floor %expm1 : tensor<4xf32>
    %log = stablehlo.log %floor : tensor<4xf32>
    %log1p = stablehlo.log_plus_one %log : tensor<4xf32>
    %logistic = stablehlo.logistic %log1p : tensor<4xf32>
    %neg = stablehlo.negate %logistic : tensor<4xf32>
    %afz = stablehlo.round_nearest_afz %neg : tensor<4xf32>
    %even = stablehlo.round_nearest_even %afz : tensor<4xf32>
    %rsqrt = stablehlo.rsqrt %even : tensor<4xf32>
    %sign = stablehlo.sign %rsqrt : tensor<4xf32>
    %sin = stablehlo.sine %sign : tensor<4xf32>
    %sqrt = stablehlo.sqrt %sin : tensor<4xf32>
    %tanh = stablehlo.tanh %sqrt : tensor<4xf32>
    %rp = stablehlo.reduce_precision %tanh, format = e5m10 : tensor<4xf32>
    %add = stablehlo.add %rp, %y : tensor<4xf32>
    %atan2 = stablehlo.atan2 %add, %y : tensor<4xf32>
    %div = stablehlo.divide %atan2, %y : tensor<4xf32>
    %max = stablehlo.maximum %div, %y : tensor<4xf32>
    %min = stablehlo.minimum %max, %y : tensor<4xf32>
    %mul = stablehlo.multiply %min, %y : tensor<4xf32>
    %pow = stablehlo.power %mul, %y : tensor<4xf32>
    %rem = stablehlo.remainder %pow, %y : tensor<4xf32>
    %sub = stablehlo.subtract %rem, %y : tensor<4xf32>
    %complex = stablehlo.complex %sub, %y : tensor<4xcomplex<f32>>
    %real = stablehlo.real %complex : (tensor<4xcomplex<f32>>) -> tensor<4xf32>
    %imag = stablehlo.imag %complex : (tensor<4xcomplex<f32>>) -> tensor<4xf32>
    %finite = stablehlo.is_finite %real : (tensor<4xf32>) -> tensor<4xi1>
    %and = stablehlo.and %i, %j : tensor<4xi32>
    %or = stablehlo.or %and, %j : tensor<4xi32>
    %xor = stablehlo.xor %or, %j : tensor<4xi32>
    %not = stablehlo.not %xor : tensor<4xi32>
    %clz = stablehlo.count_leading_zeros %not : tensor<4xi32>
    %pop = stablehlo.popcnt %clz : tensor<4xi32>
    %shl = stablehlo.shift_left %pop, %j : tensor<4xi32>
    %sra = stablehlo.shift_right_arithmetic %shl, %j : tensor<4xi32>
    %srl = stablehlo.shift_right_logical %sra, %j : tensor<4xi32>
    %lt = stablehlo.compare LT, %x, %imag, FLOAT : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xi1>
    %le = stablehlo.compare LE, %x, %y, TOTALORDER : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xi1>
    %eq = stablehlo.compare EQ, %srl, %j, SIGNED : (tensor<4xi32>, tensor<4xi32>) -> tensor<4xi1>
    %ne = stablehlo.compare NE, %u, %u, UNSIGNED : (tensor<4xui32>, tensor<4xui32>) -> tensor<4xi1>
    %gt = stablehlo.compare GT, %x, %y : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xi1>
    %ge = stablehlo.compare GE, %lt, %le : (tensor<4xi1>, tensor<4xi1>) -> tensor<4xi1>
    %p = stablehlo.and %eq, %ne : tensor<4xi1>
    %q = stablehlo.or %gt, %ge : tensor<4xi1>
    %r = stablehlo.xor %p, %q : tensor<4xi1>
    %s = stablehlo.or %r, %finite : tensor<4xi1>
    %select = stablehlo.select %s, %x, %sub : tensor<4xi1>, tensor<4xf32>
    %clamp = stablehlo.clamp %x, %select, %y : tensor<4xf32>
    %f16 = stablehlo.convert %clamp : (tensor<4xf32>) -> tensor<4xf16>
    %bf16 = stablehlo.convert %f16 : (tensor<4xf16>) -> tensor<4xbf16>
    %f8 = stablehlo.convert %bf16 : (tensor<4xbf16>) -> tensor<4xf8E4M3FN>
    %f64 = stablehlo.convert %f8 : (tensor<4xf8E4M3FN>) -> tensor<4xf64>
    %i4 = stablehlo.convert %f64 : (tensor<4xf64>) -> tensor<4xi4>
    %u4 = stablehlo.convert %i4 : (tensor<4xi4>) -> tensor<4xui4>
    %back = stablehlo.convert %u4 : (tensor<4xui4>) -> tensor<4xf32>
    %bits = stablehlo.bitcast_convert %back : (tensor<4xf32>) -> tensor<4xi32>
    %cadd = stablehlo.add %c, %complex : tensor<4xcomplex<f32>>
    %any = stablehlo.or %s, %b : tensor<4xi1>
    return %back, %bits, %any, %cadd : tensor<4xf32>, tensor<4xi32>, tensor<4xi1>, tensor<4xcomplex<f32>>
  }
}
