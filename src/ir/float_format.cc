#include "ir/float_format.h"

#include <bit>
#include <cmath>

#include "ir/float_codec.h"

namespace jaxmps::ir {
namespace {

constexpr uint32_t kNone = ~0u;
constexpr int kBias = 127, kMantissa = 23;  // float32's

// Bits of the float32 2^exponent.
uint32_t power(int exponent) { return std::bit_cast<uint32_t>(std::ldexp(1.0f, exponent)); }

}  // namespace

bool is_small_float(DType dtype) { return is_float(dtype) && byte_size(dtype) == 1; }

FloatFormat float_format(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return {5, 10, 15, FloatFormat::ieee};
    case DType::bf16:
      return {8, 7, 127, FloatFormat::ieee};
    case DType::tf32:
      return {8, 10, 127, FloatFormat::ieee};
    case DType::f8e5m2:
      return {5, 2, 15, FloatFormat::ieee};
    case DType::f8e4m3:
      return {4, 3, 7, FloatFormat::ieee};
    case DType::f8e3m4:
      return {3, 4, 3, FloatFormat::ieee};
    case DType::f8e4m3fn:
      return {4, 3, 7, FloatFormat::fn};
    case DType::f8e4m3b11fnuz:
      return {4, 3, 11, FloatFormat::uz};
    case DType::f8e5m2fnuz:
      return {5, 2, 16, FloatFormat::uz};
    case DType::f8e4m3fnuz:
      return {4, 3, 8, FloatFormat::uz};
    case DType::f8e8m0fnu:
      return {8, 0, 127, FloatFormat::fn, false};
    case DType::f4e2m1fn:
      return {2, 1, 1, FloatFormat::finite};
    case DType::f6e2m3fn:
      return {2, 3, 1, FloatFormat::finite};
    case DType::f6e3m2fn:
      return {3, 2, 3, FloatFormat::finite};
    default:
      return {8, 23, 127, FloatFormat::ieee};
  }
}

FloatCodec codec_of(const FloatFormat& f) {
  const auto shift = static_cast<uint32_t>(kMantissa - f.mantissa);
  return {.ones = f.ones(),
          .sign_bit = f.sign_bit(),
          .zero_sign = f.top == FloatFormat::uz ? 0 : f.sign_bit(),
          .sign_shift = static_cast<uint32_t>(31 - f.exponent - f.mantissa),
          .shift = shift,
          .half = shift == 0 ? 0 : (1u << (shift - 1)) - 1,
          .odd = shift == 0 ? 0 : 1u,
          .rebias = static_cast<uint32_t>(kBias - f.bias) << f.mantissa,
          .fractions = (1u << f.mantissa) - 1,
          .smallest_normal = power(1 - f.bias),
          .magic = power(1 - f.bias - f.mantissa + kMantissa),
          .unit = power(1 - f.bias - f.mantissa),
          .largest = f.largest(),
          .overflow = f.overflow(),
          .nan = f.nan(),
          .infinity = f.top == FloatFormat::ieee ? f.infinity() : kNone,
          .minus_nan = f.top == FloatFormat::uz ? f.sign_bit() : kNone};
}

uint32_t encode_float(float x, const FloatFormat& format) {
  return format.has_sign ? encode_signed(x, codec_of(format)) : encode_power(x);
}

float decode_float(uint32_t code, const FloatFormat& format) {
  return format.has_sign ? decode_signed(code, codec_of(format)) : decode_power(code);
}

}  // namespace jaxmps::ir
