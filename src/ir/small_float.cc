#include "ir/small_float.h"

#include <cmath>
#include <limits>

namespace jaxmps::ir {

std::optional<SmallFloat> small_float(DType dtype) {
  switch (dtype) {
    case DType::f8e5m2:
      return SmallFloat{2, 15, 0x80, 0x7b, 0x7c, 0x7e, true, true};
    case DType::f8e4m3fn:
      return SmallFloat{3, 7, 0x80, 0x7e, 0x7f, 0x7f, true, true};
    case DType::f8e4m3b11fnuz:
      return SmallFloat{3, 11, 0x80, 0x7f, 0x80, 0x80, false, false};
    case DType::f8e5m2fnuz:
      return SmallFloat{2, 16, 0x80, 0x7f, 0x80, 0x80, false, false};
    case DType::f8e4m3fnuz:
      return SmallFloat{3, 8, 0x80, 0x7f, 0x80, 0x80, false, false};
    case DType::f8e4m3:
      return SmallFloat{3, 7, 0x80, 0x77, 0x78, 0x7c, true, true};
    case DType::f8e3m4:
      return SmallFloat{4, 3, 0x80, 0x6f, 0x70, 0x78, true, true};
    case DType::f8e8m0fnu:
      return SmallFloat{0, 127, 0, 0xfe, 0xff, 0xff, false, false};
    case DType::f4e2m1fn:
      return SmallFloat{1, 1, 0x08, 0x07, 0x07, 0x08, false, true};
    case DType::f6e2m3fn:
      return SmallFloat{3, 1, 0x20, 0x1f, 0x1f, 0x20, false, true};
    case DType::f6e3m2fn:
      return SmallFloat{2, 3, 0x20, 0x1f, 0x1f, 0x20, false, true};
    default:
      return std::nullopt;
  }
}

float decode_small_float(const SmallFloat& format, uint8_t code) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  if (format.sign_mask == 0) return code == 0xff ? nan : std::ldexp(1.0f, code - format.bias);
  const int magnitude = code & (format.sign_mask - 1);
  const bool negative = code & format.sign_mask;
  if (!format.negative_zero && negative && magnitude == 0) return nan;
  float value;
  if (magnitude > format.max_code) {
    const bool infinity =
        magnitude == format.overflow_code && format.overflow_code != format.nan_code;
    value = infinity ? std::numeric_limits<float>::infinity() : nan;
  } else {
    const int exponent = magnitude >> format.mantissa_bits;
    const int one = 1 << format.mantissa_bits;
    const int fraction = magnitude & (one - 1);
    const int significand = exponent ? one + fraction : fraction;
    value = std::ldexp(static_cast<float>(significand),
                       (exponent ? exponent : 1) - format.bias - format.mantissa_bits);
  }
  return negative ? -value : value;
}

}  // namespace jaxmps::ir
