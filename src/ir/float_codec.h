// The codec of narrow floats as branch-free arithmetic on words, for loops that become vectors. In
// an unnamed namespace, so that each file keeps code for its own instruction set. Pure functions.
#pragma once

#include <cstdint>

#include "ir/float_format.h"

namespace jaxmps::ir {
namespace {

#define JAXMPS_CODEC inline __attribute__((always_inline, unused))

// The code of the nearest number, ties to even.
JAXMPS_CODEC uint32_t encode_signed(float x, const FloatCodec& c) {
  const uint32_t u = __builtin_bit_cast(uint32_t, x), a = u & 0x7fffffffu;
  // A carry out of the mantissa moves on to the next exponent by itself.
  const uint32_t normal = ((a + c.half + ((a >> c.shift) & c.odd)) >> c.shift) - c.rebias;
  // A number whose last place is the unit of subnormal ones takes them up and rounds them.
  const float up = __builtin_bit_cast(float, a) + __builtin_bit_cast(float, c.magic);
  const uint32_t tiny = __builtin_bit_cast(uint32_t, up) - c.magic;
  uint32_t r = a < c.smallest_normal ? tiny : normal;
  r = r > c.largest ? c.overflow : r;
  r = a > 0x7f800000u ? c.nan : r;
  const uint32_t sign = (u >> c.sign_shift) & (r ? c.sign_bit : c.zero_sign);
  return r | sign;
}

JAXMPS_CODEC float decode_signed(uint32_t code, const FloatCodec& c) {
  const uint32_t m = code & c.ones, sign = (code & c.sign_bit) << c.sign_shift;
  const float units = static_cast<float>(static_cast<int32_t>(m));
  const float small = units * __builtin_bit_cast(float, c.unit);
  const uint32_t normal = (m << c.shift) + (c.rebias << c.shift);
  uint32_t r = m <= c.fractions ? __builtin_bit_cast(uint32_t, small) : normal;
  r = m > c.largest ? (m == c.infinity ? 0x7f800000u : 0x7fc00000u) : r;
  r |= sign;
  return __builtin_bit_cast(float, code == c.minus_nan ? 0x7fc00000u : r);
}

// Powers of two without a sign: ties go up, and what is no positive number has the code of NaN.
JAXMPS_CODEC uint32_t encode_power(float x) {
  const uint32_t u = __builtin_bit_cast(uint32_t, x);
  const uint32_t half = u < 0x00800000u ? 0x200000u : 0x400000u;
  const uint32_t field = (u + half) >> 23;
  return u - 1 >= 0x7f800000u - 1 ? 0xffu : field;
}

JAXMPS_CODEC float decode_power(uint32_t code) {
  const uint32_t r = code == 0 ? 0x00400000u : code << 23;
  return __builtin_bit_cast(float, code == 0xff ? 0x7fc00000u : r);
}

}  // namespace
}  // namespace jaxmps::ir
