// The element types of the CPU kernels, and the 16-bit floats with their conversions.
//
// Kernels take raw pointers, so they have an enum of their own that neither MLX nor the IR knows.
// Conversions to 16 bits round to nearest even and keep NaN a NaN. Everything here is stateless.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace jaxmps::cpu {

enum class Dtype : uint8_t {
  kBool,
  kI8,
  kI16,
  kI32,
  kI64,
  kU8,
  kU16,
  kU32,
  kU64,
  kF16,
  kBF16,
  kF32,
  kF64,
  kC64,
  kC128
};

constexpr size_t item_size(Dtype type) {
  switch (type) {
    case Dtype::kBool:
    case Dtype::kI8:
    case Dtype::kU8:
      return 1;
    case Dtype::kI16:
    case Dtype::kU16:
    case Dtype::kF16:
    case Dtype::kBF16:
      return 2;
    case Dtype::kI32:
    case Dtype::kU32:
    case Dtype::kF32:
      return 4;
    case Dtype::kI64:
    case Dtype::kU64:
    case Dtype::kF64:
    case Dtype::kC64:
      return 8;
    case Dtype::kC128:
      return 16;
  }
  return 0;
}

inline float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t float_to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

struct BF16 {
  uint16_t bits;

  BF16() = default;
  BF16(float value) {  // NOLINT(google-explicit-constructor): arithmetic reads like that of float
    const uint32_t wide = float_to_bits(value);
    const uint32_t rounded = (wide + 0x7fffu + ((wide >> 16) & 1u)) >> 16;
    const bool nan = (wide & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<uint16_t>(nan ? (wide >> 16) | 0x40u : rounded);
  }
  operator float() const {  // NOLINT(google-explicit-constructor)
    return bits_to_float(static_cast<uint32_t>(bits) << 16);
  }
};

struct F16 {
  uint16_t bits;

  F16() = default;
  F16(float value) {  // NOLINT(google-explicit-constructor)
    const uint32_t wide = float_to_bits(value);
    const uint32_t sign = (wide >> 16) & 0x8000u;
    const uint32_t magnitude = wide & 0x7fffffffu;
    // Normal range: rebias the exponent and round the 13 dropped bits to even.
    const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    // Below 2^-14 the addition of 0.5 aligns the mantissa to the subnormal step and rounds it.
    const uint32_t small = float_to_bits(bits_to_float(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t result = magnitude < 0x38800000u ? small : normal;
    if (magnitude >= 0x477ff000u) result = 0x7c00u;
    if (magnitude > 0x7f800000u) result = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    bits = static_cast<uint16_t>(sign | result);
  }
  operator float() const {  // NOLINT(google-explicit-constructor)
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t magnitude = bits & 0x7fffu;
    const uint32_t normal = (magnitude << 13) + 0x38000000u;
    const uint32_t special = (magnitude << 13) + 0x70000000u;
    // 2^-24 for each unit of a subnormal.
    const uint32_t small = float_to_bits(static_cast<float>(magnitude) * 5.9604644775390625e-8f);
    uint32_t result = magnitude < 0x400u ? small : normal;
    if (magnitude >= 0x7c00u) result = special;
    return bits_to_float(sign | result);
  }
};

}  // namespace jaxmps::cpu
