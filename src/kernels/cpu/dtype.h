// The element types of the CPU kernels, and the 16-bit floats with their conversions, which round
// to nearest even and keep NaN a NaN. Everything here is stateless.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>

#include "ir/type.h"
#include "scalar/half.h"
#include "scalar/machine_type.h"

namespace jaxmps::cpu {

using ir::DType;

// Whether the kernels compute with numbers of the type: not with bits, and not with less than a
// byte.
inline bool is_computed(DType type) {
  const bool is_wide_int = ir::is_int(type) && type != DType::index && ir::bit_width(type) >= 8;
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

template <typename T>
inline constexpr bool kComplex = false;
template <typename T>
inline constexpr bool kComplex<std::complex<T>> = true;
template <typename T>
inline constexpr bool kHalf = std::is_same_v<T, BF16> || std::is_same_v<T, F16>;
// The type in which such elements are computed with.
template <typename T>
using Computed = std::conditional_t<kHalf<T>, float, T>;

// f(T()) with T the C++ type of elements of a type that is_computed, or uint8_t for pred; a null
// or nothing for others.
template <typename F>
auto with_element(DType type, F f) -> decltype(f(float())) {
  switch (type) {
    case DType::f16:
      return f(F16());
    case DType::bf16:
      return f(BF16());
    case DType::c64:
      return f(std::complex<float>());
    case DType::c128:
      return f(std::complex<double>());
    default:
      return scalar::with_any(type, f);
  }
}

// The same for what only moves bits, by their number of bytes: 1, 2, 4, 8 or 16.
template <typename F>
auto with_item(size_t bytes, F f) {
  struct Item16 {
    uint64_t low, high;
  };
  return bytes == 16 ? f(Item16()) : scalar::with_bits(static_cast<int>(bytes), f);
}

}  // namespace jaxmps::cpu
