// The integer, comparison, conversion and rounding half of scalar arithmetic; see scalar_math.h.
// Integer ops wrap; division by zero gives -1 (all ones), remainder by zero the dividend; shifts by
// the width or more give 0 or the sign. max and min return NaN if either is NaN and order -0 < +0.
#pragma once

#include "scalar/scalar.h"
#include "scalar/scalar_math.h"

namespace jaxmps::scalar {
namespace {

template <typename T>
using Unsigned = std::make_unsigned_t<T>;

template <typename T>
JAXMPS_INLINE T add_of(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<Unsigned<T>>(a) + static_cast<Unsigned<T>>(b));
  } else {
    return a + b;
  }
}
template <typename T>
JAXMPS_INLINE T sub_of(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<Unsigned<T>>(a) - static_cast<Unsigned<T>>(b));
  } else {
    return a - b;
  }
}
template <typename T>
JAXMPS_INLINE T mul_of(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    // 16-bit factors would be promoted to int, whose overflow is undefined.
    using Wide = std::conditional_t<sizeof(T) < 4, uint32_t, Unsigned<T>>;
    return static_cast<T>(static_cast<Wide>(a) * static_cast<Wide>(b));
  } else {
    return a * b;
  }
}
template <typename T>
JAXMPS_INLINE T div_of(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    if (b == 0) return static_cast<T>(-1);
    if constexpr (std::is_signed_v<T>) {
      if (b == T(-1)) return sub_of<T>(0, a);
    }
    return static_cast<T>(a / b);
  } else {
    return a / b;
  }
}
template <typename T>
JAXMPS_INLINE T rem_of(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    if (b == 0) return a;
    if constexpr (std::is_signed_v<T>) {
      if (b == T(-1)) return 0;
    }
    return static_cast<T>(a % b);
  } else {
    return std::fmod(a, b);
  }
}
// The float with these bits, NaN if a or b is.
template <typename T, typename U>
JAXMPS_INLINE T or_nan(U value, T a, T b) {
  return (a != a || b != b) ? kNan<T> : from_bits(value);
}
// Asked both ways, only zeros of different signs give different bits, which are joined.
template <typename T>
JAXMPS_INLINE T max_of(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return a > b ? a : b;
  } else {
    return or_nan(bits(a > b ? a : b) & bits(b > a ? b : a), a, b);
  }
}
template <typename T>
JAXMPS_INLINE T min_of(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return a < b ? a : b;
  } else {
    return or_nan(bits(a < b ? a : b) | bits(b < a ? b : a), a, b);
  }
}
template <typename T>
JAXMPS_INLINE uint8_t eq_of(T a, T b) {
  return a == b;
}
template <typename T>
JAXMPS_INLINE uint8_t ne_of(T a, T b) {
  return a != b;
}
template <typename T>
JAXMPS_INLINE uint8_t lt_of(T a, T b) {
  return a < b;
}
template <typename T>
JAXMPS_INLINE uint8_t le_of(T a, T b) {
  return a <= b;
}
template <typename T>
requires(std::is_integral_v<T>) JAXMPS_INLINE T bit_and_of(T a, T b) {
  return static_cast<T>(a & b);
}
template <typename T>
requires(std::is_integral_v<T>) JAXMPS_INLINE T bit_or_of(T a, T b) {
  return static_cast<T>(a | b);
}
template <typename T>
requires(std::is_integral_v<T>) JAXMPS_INLINE T bit_xor_of(T a, T b) {
  return static_cast<T>(a ^ b);
}

template <typename T>
JAXMPS_INLINE T shl_of(T a, T b) {
  using U = Unsigned<T>;
  constexpr U width = sizeof(T) * 8;
  const U n = static_cast<U>(b);
  const U r = static_cast<U>(static_cast<U>(a) << (n & (width - 1)));
  return static_cast<T>(n < width ? r : U(0));
}
template <typename T>
JAXMPS_INLINE T shr_l_of(T a, T b) {
  using U = Unsigned<T>;
  constexpr U width = sizeof(T) * 8;
  const U n = static_cast<U>(b);
  const U r = static_cast<U>(static_cast<U>(a) >> (n & (width - 1)));
  return static_cast<T>(n < width ? r : U(0));
}
template <typename T>
JAXMPS_INLINE T shr_a_of(T a, T b) {
  using U = Unsigned<T>;
  using S = std::make_signed_t<T>;
  constexpr U width = sizeof(T) * 8;
  const U n = static_cast<U>(b);
  const U shift = n < width ? n : U(width - 1);
  return static_cast<T>(static_cast<S>(a) >> shift);
}
template <typename T>
JAXMPS_INLINE T rotl_of(T a, T b) {
  using U = Unsigned<T>;
  constexpr U mask = sizeof(T) * 8 - 1;
  const U bits = static_cast<U>(a), n = static_cast<U>(b);
  return static_cast<T>((bits << (n & mask)) | (bits >> ((U(0) - n) & mask)));
}
template <typename T>
JAXMPS_INLINE T neg_of(T a) {
  if constexpr (std::is_integral_v<T>)
    return sub_of<T>(0, a);
  else
    return -a;
}
template <typename T>
JAXMPS_INLINE T abs_of(T a) {
  if constexpr (!std::is_integral_v<T>)
    return absolute(a);
  else if constexpr (std::is_signed_v<T>)
    return a < 0 ? sub_of<T>(0, a) : a;
  else
    return a;
}
template <typename T>
JAXMPS_INLINE T sign_of(T a) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>((a > 0) - (a < 0));
  } else {
    const T r = with_sign(T(1), a);
    return (a == 0 || a != a) ? a : r;
  }
}
template <typename T>
JAXMPS_INLINE T bit_not_of(T a) {
  return static_cast<T>(~a);
}
template <typename T>
JAXMPS_INLINE T popcnt_of(T a) {
  return static_cast<T>(__builtin_popcountll(static_cast<Unsigned<T>>(a)));
}
template <typename T>
JAXMPS_INLINE T clz_of(T a) {
  const uint64_t u = static_cast<Unsigned<T>>(a);
  constexpr int width = sizeof(T) * 8;
  return static_cast<T>(u ? __builtin_clzll(u) - (64 - width) : width);
}
template <typename T>
JAXMPS_INLINE uint8_t is_finite_of(T a) {
  return absolute(a) < kInf<T>;
}

// Out of range: the nearest bound; NaN: 0. The clamped value is exact, so the cast is defined.
template <typename To, typename From>
JAXMPS_INLINE To convert_of(From x) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    constexpr From low = static_cast<From>(std::numeric_limits<To>::min());
    constexpr int digits = std::numeric_limits<To>::digits;
    constexpr From top = static_cast<From>(uint64_t(1) << (digits - 1)) * 2;  // 2^digits
    constexpr int lost = digits - std::numeric_limits<From>::digits;
    constexpr From high =
        lost > 0 ? top - static_cast<From>(uint64_t(1) << (lost > 0 ? lost : 0)) : top - 1;
    From y = x < low ? low : x;
    y = y > high ? (lost > 0 ? high : y) : y;
    y = y >= top ? high : y;
    y = x != x ? From(0) : y;
    const To r = static_cast<To>(y);
    return x >= top ? std::numeric_limits<To>::max() : r;
  } else {
    return static_cast<To>(x);
  }
}

// --- narrow floats: f32 <-> bits ----------------------------------------------------------------

struct FloatFormat {
  int exponent, mantissa, bias;
  // ieee: infinities and NaNs on top; fn: no infinity, all ones is NaN; uz: no infinity, NaN is
  // negative zero; finite: neither.
  enum Top { ieee, fn, uz, finite } top;
  bool has_sign = true;
};

JAXMPS_INLINE constexpr FloatFormat format_of(ir::DType dtype) {
  using ir::DType;
  switch (dtype) {
    case DType::f16:
      return {5, 10, 15, FloatFormat::ieee};
    case DType::bf16:
      return {8, 7, 127, FloatFormat::ieee};
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

JAXMPS_INLINE float round_bf16(float x) {
  const uint32_t u = bits(x);
  const uint32_t r = (u + 0x7fffu + ((u >> 16) & 1u)) & 0xffff0000u;
  return x != x ? from_bits((u & 0xffff0000u) | 0x00400000u) : from_bits(r);
}

// Round to nearest even at f16's precision: adding and subtracting a power of two whose last place
// is the one to keep; exponents below the normal range keep the place of the smallest normal.
JAXMPS_INLINE float round_f16(float x) {
  const float a = absolute(x);
  uint32_t e = bits(a) & 0x7f800000u;
  e = e < 0x38800000u ? 0x38800000u : e;  // 2^-14
  e = e > 0x47800000u ? 0x47800000u : e;
  const float magic = from_bits(e + (13u << 23));
  float r = from_bits(bits(a + magic)) - magic;
  r = a >= 65520.0f ? kInf<float> : r;
  return x != x ? x : with_sign(r, x);
}

JAXMPS_INLINE uint16_t encode_f16(float x) {
  const float r = round_f16(x), a = absolute(r);
  const uint32_t normal = (bits(a) - (112u << 23)) >> 13;
  const uint32_t tiny = bits(a + 0.5f) & 0x3ffu;  // units of 2^-24 in the last places
  uint32_t h = a < 6.103515625e-05f ? tiny : normal;
  h = a == kInf<float> ? 0x7c00u : h;
  h = x != x ? 0x7e00u | ((bits(x) >> 13) & 0x1ffu) : h;
  return static_cast<uint16_t>(h | ((bits(x) >> 16) & 0x8000u));
}

JAXMPS_INLINE float decode_f16(uint16_t h) {
  const uint32_t m = h & 0x7fffu;
  const float normal = from_bits((m << 13) + (112u << 23));
  const float tiny = from_bits(m | 0x3f000000u) - 0.5f;
  // m as units of 2^-24: 0.5 has its last place at 2^-24.
  float r = m < 0x400u ? tiny : normal;
  r = m >= 0x7c00u ? from_bits((m << 13) + (224u << 23)) : r;
  return from_bits(bits(r) | (static_cast<uint32_t>(h & 0x8000u) << 16));
}

// Any format by integer steps; slow, for 8-bit and smaller floats.
inline uint32_t encode_small(float x, FloatFormat f) {
  const uint32_t sign = f.has_sign ? (bits(x) >> 31) << (f.exponent + f.mantissa) : 0;
  const uint32_t ones = (1u << (f.exponent + f.mantissa)) - 1;
  const uint32_t infinity = ((1u << f.exponent) - 1) << f.mantissa;
  const uint32_t sign_bit = f.has_sign ? 1u << (f.exponent + f.mantissa) : 0;
  const uint32_t nan = f.top == FloatFormat::uz   ? sign_bit
                       : f.top == FloatFormat::fn ? sign | ones
                                                  : sign | infinity | (1u << f.mantissa >> 1);
  if (f.top == FloatFormat::finite) {
    if (x != x) return sign_bit;  // no NaN: -0, as XLA has it
  } else if (x != x || (!f.has_sign && !(x > 0 && x < kInf<float>))) {
    return f.has_sign ? nan : 0xffu;
  }
  const double a = absolute(static_cast<double>(x));
  const uint32_t largest = f.top == FloatFormat::ieee ? infinity - 1
                           : f.top == FloatFormat::fn ? ones - 1
                                                      : ones;
  if (a == kInf<double>) {
    return f.top == FloatFormat::ieee     ? sign | infinity
           : f.top == FloatFormat::finite ? sign | largest
                                          : nan;
  }
  int e = 0;
  if (a > 0) std::frexp(a, &e);
  e = e - 1 < 1 - f.bias ? 1 - f.bias : e - 1;
  if (!f.has_sign) e = a > 0 ? std::ilogb(a) : 0;
  const double unit = std::ldexp(1.0, e - f.mantissa);
  double units = std::nearbyint(a / unit);
  uint32_t result;
  if (!f.has_sign) {
    // A power of two only: ties go to the even exponent field.
    const double low = std::ldexp(1.0, e);
    const int up = a > 1.5 * low || (a == 1.5 * low && ((e + f.bias) & 1));
    const int field = e + f.bias + up;
    return field < 0 ? 0 : field >= 255 ? 0xffu : static_cast<uint32_t>(field);
  }
  const double one = std::ldexp(1.0, f.mantissa);
  if (units < one) {
    result = static_cast<uint32_t>(units);  // subnormal; e is the smallest
  } else {
    // A carry out of the mantissa moves on to the next exponent by itself.
    result = (static_cast<uint32_t>(e + f.bias) << f.mantissa) + static_cast<uint32_t>(units - one);
  }
  if (result > largest) {
    return f.top == FloatFormat::ieee     ? sign | infinity
           : f.top == FloatFormat::finite ? sign | largest
                                          : nan;
  }
  return f.top == FloatFormat::uz && result == 0 ? 0 : sign | result;
}

inline float decode_small(uint32_t v, FloatFormat f) {
  const uint32_t ones = (1u << (f.exponent + f.mantissa)) - 1;
  const uint32_t magnitude = v & ones;
  const bool negative = f.has_sign && (v >> (f.exponent + f.mantissa) & 1);
  const uint32_t infinity = ((1u << f.exponent) - 1) << f.mantissa;
  if (!f.has_sign) {
    return v == 0xff ? kNan<float>
                     : static_cast<float>(std::ldexp(1.0, static_cast<int>(v) - f.bias));
  }
  if (f.top == FloatFormat::ieee && magnitude >= infinity) {
    return magnitude > infinity ? kNan<float> : negative ? -kInf<float> : kInf<float>;
  }
  if (f.top == FloatFormat::fn && magnitude == ones) return kNan<float>;
  if (f.top == FloatFormat::uz && negative && magnitude == 0) return kNan<float>;
  const int field = static_cast<int>(magnitude >> f.mantissa);
  const double fraction = magnitude & ((1u << f.mantissa) - 1);
  const double one = std::ldexp(1.0, f.mantissa);
  const double r = field ? std::ldexp(one + fraction, field - f.bias - f.mantissa)
                         : std::ldexp(fraction, 1 - f.bias - f.mantissa);
  return static_cast<float>(negative ? -r : r);
}

// To `e` exponent and `m` mantissa bits: round to nearest even, overflow to infinity, and flush
// what is below the smallest normal to zero of the same sign.
template <typename T>
JAXMPS_INLINE T reduce_precision_of(T x, uint64_t imm) {
  const int e = static_cast<int>(imm >> 8), m = static_cast<int>(imm & 0xff);
  using U = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  constexpr int own = sizeof(T) == 4 ? 23 : 52, bias = sizeof(T) == 4 ? 127 : 1023;
  constexpr int own_e = sizeof(T) == 4 ? 8 : 11;
  U u = bits(absolute(x));
  if (m < own) {
    const int drop = own - m;
    u = u + ((U(1) << (drop - 1)) - 1) + ((u >> drop) & 1);
    u &= ~((U(1) << drop) - 1);
  }
  if (e < own_e) {
    const int b = (1 << (e - 1)) - 1;
    const U largest = (static_cast<U>(b + bias) << own) | ((U(1) << own) - 1);
    const U smallest = static_cast<U>(1 - b + bias) << own;
    u = u > largest ? bits(kInf<T>) : u;
    u = u < smallest ? 0 : u;
  }
  const T r = with_sign(from_bits(u), x);
  return x != x ? x : r;
}

struct ThreefryWords {
  uint32_t x0, x1;
};
// Threefry-2x32, 20 rounds (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2,
// 3", 2011).
JAXMPS_INLINE ThreefryWords threefry_of(uint32_t k0, uint32_t k1, uint32_t x0, uint32_t x1) {
  const uint32_t k2 = k0 ^ k1 ^ 0x1bd11bdau;
#define JAXMPS_ROUND(r)              \
  x0 += x1;                          \
  x1 = (x1 << r) | (x1 >> (32 - r)); \
  x1 ^= x0;
#define JAXMPS_FOUR(a, b, c, d) JAXMPS_ROUND(a) JAXMPS_ROUND(b) JAXMPS_ROUND(c) JAXMPS_ROUND(d)
  x0 += k0, x1 += k1;
  JAXMPS_FOUR(13, 15, 26, 6) x0 += k1, x1 += k2 + 1;
  JAXMPS_FOUR(17, 29, 16, 24) x0 += k2, x1 += k0 + 2;
  JAXMPS_FOUR(13, 15, 26, 6) x0 += k0, x1 += k1 + 3;
  JAXMPS_FOUR(17, 29, 16, 24) x0 += k1, x1 += k2 + 4;
  JAXMPS_FOUR(13, 15, 26, 6) x0 += k2, x1 += k0 + 5;
#undef JAXMPS_FOUR
#undef JAXMPS_ROUND
  return {x0, x1};
}

// Calls g with a value of the C++ type of an integer machine type (a float one, any), to choose a
// function by type; a null or zero for other types.
template <typename G>
auto with_int(DType type, G g) -> decltype(g(uint8_t())) {
  switch (type) {
    case DType::s8:  // NOLINT(bugprone-branch-clone): the calls differ in their types
      return g(int8_t());
    case DType::s16:
      return g(int16_t());
    case DType::s32:
      return g(int32_t());
    case DType::s64:
      return g(int64_t());
    case DType::pred:
    case DType::u8:
      return g(uint8_t());
    case DType::u16:
      return g(uint16_t());
    case DType::u32:
      return g(uint32_t());
    case DType::u64:
      return g(uint64_t());
    default:
      return {};
  }
}
template <typename G>
auto with_float(DType type, G g) -> decltype(g(float())) {
  if (type == DType::f32) return g(float());
  if (type == DType::f64) return g(double());
  return {};
}
template <typename G>
auto with_any(DType type, G g) -> decltype(g(float())) {
  return type == DType::f32 || type == DType::f64 ? with_float(type, g) : with_int(type, g);
}

// The same with an unsigned type of 1, 2, 4 or 8 bytes, for what only moves bits.
template <typename G>
auto with_bits(int size, G g) -> decltype(g(uint8_t())) {
  switch (size) {
    case 1:  // NOLINT(bugprone-branch-clone): the calls differ in their types
      return g(uint8_t());
    case 2:
      return g(uint16_t());
    case 4:
      return g(uint32_t());
    default:
      return g(uint64_t());
  }
}

}  // namespace
}  // namespace jaxmps::scalar
