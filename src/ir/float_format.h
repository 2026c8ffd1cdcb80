// The formats of floats narrower than float32: their codes and what they mean. Stateless; any
// thread.
#pragma once

#include <cstdint>

#include "ir/type.h"

namespace jaxmps::ir {

struct FloatFormat {
  int exponent, mantissa, bias;  // bits, bits, of the exponent
  // ieee: infinities and NaNs on top; fn: no infinity, all ones is NaN; uz: no infinity, NaN is
  // negative zero; finite: neither.
  enum Top { ieee, fn, uz, finite } top;
  bool has_sign = true;

  uint32_t ones() const { return (1u << (exponent + mantissa)) - 1; }
  uint32_t sign_bit() const { return has_sign ? ones() + 1 : 0; }
  uint32_t infinity() const { return ((1u << exponent) - 1) << mantissa; }
  // The largest finite magnitude, and what larger ones and NaN become, without a sign.
  uint32_t largest() const {
    return top == ieee ? infinity() - 1 : top == fn ? ones() - 1 : ones();
  }
  uint32_t overflow() const { return top == ieee ? infinity() : top == finite ? largest() : nan(); }
  // What has no NaN makes it a negative zero, as XLA does.
  uint32_t nan() const {
    return top == fn ? ones() : top == ieee ? infinity() | (1u << mantissa >> 1) : sign_bit();
  }
};

// 4-, 6- and 8-bit floats.
bool is_small_float(DType dtype);
// Of these, float16, bfloat16 and tf32; float32's for all other types.
FloatFormat float_format(DType dtype);

// The code of the nearest number, ties to even (powers of two: up).
uint32_t encode_float(float x, const FloatFormat& format);
// What the code means.
float decode_float(uint32_t code, const FloatFormat& format);

}  // namespace jaxmps::ir
