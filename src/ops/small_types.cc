#include "ops/small_types.h"

#include <array>
#include <cmath>

namespace jaxmps::ops {
namespace {

// All 256 codes as float32.
mx::array decode_table(const ir::FloatFormat& format) {
  std::array<float, 256> values;
  for (uint32_t code = 0; code < 256; ++code) {
    values[code] = ir::decode_float(code, format);
  }
  return mx::array(values.begin(), {256}, mx::float32);
}

// The code of |x|, not yet limited: rounding to nearest, ties to even, on the bits of the float.
mx::array encode_magnitude(const mx::array& x, const ir::FloatFormat& format) {
  const auto magnitude = mx::bitwise_and(mx::view(x, mx::uint32), u32(0x7fffffffu));
  const int drop = 23 - format.mantissa;
  const auto odd = mx::bitwise_and(mx::right_shift(magnitude, u32(drop)), u32(1));
  const auto rounded =
      mx::right_shift(mx::add(mx::add(magnitude, odd), u32((1u << (drop - 1)) - 1)), u32(drop));
  const auto normal =
      mx::subtract(rounded, u32(static_cast<uint32_t>(127 - format.bias) << format.mantissa));
  // Below the smallest normal number codes count units of the smallest subnormal one.
  const auto tiny = mx::less(mx::abs(x), mx::array(std::ldexp(1.0f, 1 - format.bias)));
  const auto units =
      mx::multiply(mx::abs(x), mx::array(std::ldexp(1.0f, format.bias - 1 + format.mantissa)));
  const auto subnormal = mx::astype(mx::round(mx::where(tiny, units, mx::array(0.0f))), mx::uint32);
  return mx::where(tiny, subnormal, normal);
}

mx::array encode(const mx::array& a, const ir::FloatFormat& format) {
  const auto x = mx::astype(a, mx::float32);
  auto code = encode_magnitude(x, format);
  code = mx::where(mx::greater(code, u32(format.largest())), u32(format.overflow()), code);
  const auto negative = mx::greater(mx::view(x, mx::uint32), u32(0x7fffffffu));
  auto with_sign = mx::bitwise_or(code, u32(format.sign_bit()));
  const bool is_uz = format.top == ir::FloatFormat::uz;
  if (is_uz) with_sign = mx::where(mx::equal(code, u32(0)), code, with_sign);
  auto nan = u32(format.nan());
  if (!is_uz && format.top != ir::FloatFormat::finite)
    nan = mx::where(negative, u32(format.nan() | format.sign_bit()), nan);
  return mx::astype(mx::where(mx::isnan(x), nan, mx::where(negative, with_sign, code)), mx::uint8);
}

// f8E8M0FNU: a power of two, ties upwards; everything else that is not positive and finite is NaN.
mx::array encode_exponent(const mx::array& a) {
  const auto x = mx::astype(a, mx::float32);
  const auto bits = mx::view(x, mx::uint32);
  auto code = mx::right_shift(mx::add(bits, u32(0x400000)), u32(23));
  code = mx::where(mx::less(bits, u32(0x600000)), u32(0), code);
  const auto valid = mx::logical_and(mx::greater(x, mx::array(0.0f)), mx::less(code, u32(255)));
  return mx::astype(mx::where(valid, code, u32(255)), mx::uint8);
}

}  // namespace

mx::array widen(const mx::array& a, DType dtype) {
  // Hosts leave the bits above a 2- or 4-bit value as they like.
  if (ir::is_int(dtype) && ir::int_bits(dtype) < 8) return narrow(a, dtype);
  if (!is_small_float(dtype)) return a;
  return mx::take(decode_table(ir::float_format(dtype)), mx::astype(a, mx::uint32));
}

mx::array narrow(const mx::array& a, DType dtype) {
  if (dtype == DType::f8e8m0fnu) return encode_exponent(a);
  if (is_small_float(dtype)) return encode(a, ir::float_format(dtype));
  switch (dtype) {
    case DType::s2:
    case DType::s4: {
      const auto shift = mx::array(8 - ir::int_bits(dtype), mx::int8);
      return mx::right_shift(mx::left_shift(mx::astype(a, mx::int8), shift), shift);
    }
    case DType::u2:
    case DType::u4:
      return mx::bitwise_and(mx::astype(a, mx::uint8),
                             mx::array((1 << ir::int_bits(dtype)) - 1, mx::uint8));
    default:
      return a;
  }
}

std::string refused_types(const OpContext& ctx) {
  auto check = [&](const ir::Type& type) -> std::string {
    if (!type.is_tensor()) return {};
    if (!type.is_static()) return str("the shape of ", ir::brief(type), " is not known");
    if (type.quantization) return str(ir::brief(type), " is quantised");
    if (type.dtype == DType::c128) return "complex128 is not supported for this op";
    return {};
  };
  for (int i = 0; i < ctx.op.operand_count(); ++i) {
    if (auto why = check(ctx.in(i)); !why.empty()) return why;
  }
  for (int i = 0; i < ctx.op.result_count(); ++i) {
    if (auto why = check(ctx.out(i)); !why.empty()) return why;
  }
  return {};
}

}  // namespace jaxmps::ops
