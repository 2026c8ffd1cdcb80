// float16 as branch-free inline functions: GPUs convert it in hardware. Rounding is to nearest
// even; NaN stays NaN. Pure functions, internal to each file; any thread.
#pragma once

#include "scalar/portable.h"

namespace jaxmps::scalar {
namespace {

// Round to nearest even at f16's precision: adding and subtracting a power of two whose last place
// is the one to keep; exponents below the normal range keep the place of the smallest normal.
JAXMPS_INLINE float round_f16(float x) {
  const float a = absolute(x);
  uint32_t e = bits_of(a) & 0x7f800000u;
  e = e < 0x38800000u ? 0x38800000u : e;  // 2^-14
  e = e > 0x47800000u ? 0x47800000u : e;
  const float magic = from_bits(e + (13u << 23));
  float r = from_bits(bits_of(a + magic)) - magic;
  r = a >= 65520.0f ? infinity() : r;
  return x != x ? x : with_sign(r, x);
}

JAXMPS_INLINE uint16_t encode_f16(float x) {
  const float r = round_f16(x), a = absolute(r);
  const uint32_t normal = (bits_of(a) - (112u << 23)) >> 13;
  const uint32_t tiny = bits_of(a + 0.5f) & 0x3ffu;  // units of 2^-24 in the last places
  uint32_t h = a < 6.103515625e-05f ? tiny : normal;
  h = a == infinity() ? 0x7c00u : h;
  h = x != x ? 0x7e00u | ((bits_of(x) >> 13) & 0x1ffu) : h;
  return static_cast<uint16_t>(h | ((bits_of(x) >> 16) & 0x8000u));
}

JAXMPS_INLINE float decode_f16(uint16_t h) {
  const uint32_t m = h & 0x7fffu;
  const float normal = from_bits((m << 13) + (112u << 23));
  const float tiny = from_bits(m | 0x3f000000u) - 0.5f;
  // m as units of 2^-24: 0.5 has its last place at 2^-24.
  float r = m < 0x400u ? tiny : normal;
  r = m >= 0x7c00u ? from_bits((m << 13) + (224u << 23)) : r;
  return from_bits(bits_of(r) | (static_cast<uint32_t>(h & 0x8000u) << 16));
}

}  // namespace
}  // namespace jaxmps::scalar
