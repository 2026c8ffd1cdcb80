#include "ir/float_format.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace jaxmps::ir {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// A power of two only; ties go up.
uint32_t encode_power(double a, int bias) {
  if (!(a > 0 && a < kInf)) return 0xff;
  const int e = std::ilogb(a);
  const int field = e + bias + (a >= std::ldexp(1.5, e) ? 1 : 0);
  return field < 0 ? 0 : field >= 255 ? 0xff : static_cast<uint32_t>(field);
}

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

uint32_t encode_float(float x, const FloatFormat& f) {
  if (!f.has_sign) return encode_power(x, f.bias);
  const uint32_t sign = std::signbit(x) ? f.sign_bit() : 0;
  const bool nan_has_sign = f.top == FloatFormat::ieee || f.top == FloatFormat::fn;
  if (std::isnan(x)) return f.nan() | (nan_has_sign ? sign : 0);
  const double a = std::fabs(static_cast<double>(x));
  if (a == kInf) return f.overflow() | sign;
  int e = 0;
  if (a > 0) std::frexp(a, &e);
  e = std::max(e, 2 - f.bias) - 1;
  const double units = std::nearbyint(std::ldexp(a, f.mantissa - e));
  const double one = std::ldexp(1.0, f.mantissa);
  // Subnormal numbers count units; a carry out of the mantissa moves on to the next exponent.
  uint32_t code = static_cast<uint32_t>(units);
  if (units >= one) {
    code = (static_cast<uint32_t>(e + f.bias) << f.mantissa) + static_cast<uint32_t>(units - one);
  }
  if (code > f.largest()) return f.overflow() | sign;
  return f.top == FloatFormat::uz && code == 0 ? 0 : code | sign;
}

float decode_float(uint32_t code, const FloatFormat& f) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  if (!f.has_sign) return code == 0xff ? kNan : std::ldexp(1.0f, static_cast<int>(code) - f.bias);
  const uint32_t magnitude = code & f.ones();
  const bool negative = code & f.sign_bit();
  if (f.top == FloatFormat::uz && negative && magnitude == 0) return kNan;
  float value;
  if (magnitude > f.largest()) {
    const bool is_infinite = f.top == FloatFormat::ieee && magnitude == f.infinity();
    value = is_infinite ? std::numeric_limits<float>::infinity() : kNan;
  } else {
    const auto field = static_cast<int>(magnitude >> f.mantissa);
    const uint32_t one = 1u << f.mantissa, fraction = magnitude & (one - 1);
    value = std::ldexp(static_cast<float>(field ? one + fraction : fraction),
                       (field ? field : 1) - f.bias - f.mantissa);
  }
  return negative ? -value : value;
}

}  // namespace jaxmps::ir
