// The integer, comparison, conversion and rounding half of scalar arithmetic; see scalar_math.h.
// Integer ops wrap; division by zero gives -1 (all ones), remainder by zero the dividend; shifts by
// the width or more give 0 or the sign. max and min return NaN if either is NaN and order -0 < +0.
#pragma once

#include "ir/float_format.h"
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
// Of floats that are no NaN. Asked both ways, only zeros of different signs give different bits,
// which are joined.
template <bool is_max, typename T>
JAXMPS_INLINE auto extremum_bits(T a, T b) {
  if constexpr (is_max) {
    return bits(a > b ? a : b) & bits(b > a ? b : a);
  } else {
    return bits(a < b ? a : b) | bits(b < a ? b : a);
  }
}
template <typename T>
JAXMPS_INLINE T max_of(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return a > b ? a : b;
  } else {
    return or_nan(extremum_bits<true>(a, b), a, b);
  }
}
template <typename T>
JAXMPS_INLINE T min_of(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return a < b ? a : b;
  } else {
    return or_nan(extremum_bits<false>(a, b), a, b);
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

// --- narrow floats of any format, slow: 8-bit and smaller ones ----------------------------------

using ir::decode_float;
using ir::encode_float;
using ir::float_format;
using ir::FloatFormat;

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
      return decltype(g(uint8_t()))();
  }
}
template <typename G>
auto with_float(DType type, G g) -> decltype(g(float())) {
  if (type == DType::f32) return g(float());
  if (type == DType::f64) return g(double());
  return decltype(g(float()))();
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
