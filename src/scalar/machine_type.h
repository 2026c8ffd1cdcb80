// Functions chosen by a type that is known when the program runs. Stateless; any thread.
#pragma once

#include <cstdint>

#include "scalar/opcode.h"

namespace jaxmps::scalar {
namespace {

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
