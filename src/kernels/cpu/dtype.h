// The element types of the CPU kernels, and the 16-bit floats with their conversions, which round
// to nearest even and keep NaN a NaN. Everything here is stateless.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ir/type.h"
#include "scalar/half.h"

namespace jaxmps::cpu {

using ir::DType;

// Whether the kernels compute with numbers of the type: not with bits, and not with less than a
// byte.
inline bool is_computed(DType type) {
  const bool is_wide_int = ir::is_int(type) && type != DType::index && ir::int_bits(type) >= 8;
  return is_wide_int || ir::is_complex(type) || type == DType::f16 || type == DType::bf16 ||
         type == DType::f32 || type == DType::f64;
}

struct BF16 {
  uint16_t bits;

  BF16() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): arithmetic reads like that of float
  BF16(float value) : bits(scalar::encode_bf16(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator float() const { return scalar::decode_bf16(bits); }
};

struct F16 {
  uint16_t bits;

  F16() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  F16(float value) : bits(scalar::encode_f16(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator float() const { return scalar::decode_f16(bits); }
};

}  // namespace jaxmps::cpu
