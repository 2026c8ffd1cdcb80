// The bits of floats, and float16 and bfloat16 as branch-free inline functions. In an unnamed
// namespace, so that each file keeps code for its own instruction set. Rounding is to nearest even;
// NaN stays NaN. Pure functions.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace jaxmps::scalar {
namespace {

#define JAXMPS_INLINE inline __attribute__((always_inline, unused))

JAXMPS_INLINE uint32_t bits(float x) { return __builtin_bit_cast(uint32_t, x); }
JAXMPS_INLINE uint64_t bits(double x) { return __builtin_bit_cast(uint64_t, x); }
template <typename U>
JAXMPS_INLINE auto from_bits(U x) {
  return __builtin_bit_cast(std::conditional_t<sizeof(U) == 4, float, double>, x);
}
JAXMPS_INLINE float absolute(float x) { return from_bits(bits(x) & 0x7fffffffu); }
JAXMPS_INLINE double absolute(double x) { return from_bits(bits(x) & 0x7fffffffffffffffull); }
JAXMPS_INLINE float with_sign(float x, float s) {
  return from_bits((bits(x) & 0x7fffffffu) | (bits(s) & 0x80000000u));
}
JAXMPS_INLINE double with_sign(double x, double s) {
  return from_bits((bits(x) & 0x7fffffffffffffffull) | (bits(s) & 0x8000000000000000ull));
}

template <typename T>
inline constexpr T kInf = std::numeric_limits<T>::infinity();
template <typename T>
inline constexpr T kNan = std::numeric_limits<T>::quiet_NaN();

JAXMPS_INLINE float round_bf16(float x) {
  const uint32_t u = bits(x);
  const uint32_t r = (u + 0x7fffu + ((u >> 16) & 1u)) & 0xffff0000u;
  return x != x ? from_bits((u & 0xffff0000u) | 0x00400000u) : from_bits(r);
}

JAXMPS_INLINE uint16_t encode_bf16(float x) {
  return static_cast<uint16_t>(bits(round_bf16(x)) >> 16);
}

JAXMPS_INLINE float decode_bf16(uint16_t h) { return from_bits(static_cast<uint32_t>(h) << 16); }

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

}  // namespace
}  // namespace jaxmps::scalar
