// The words of portable text in C++: types, and floats as bits. Kernels of GPUs begin with the same
// words (kernels/gpu_dialect.h), so that functions written in them have one text
// (scalar/portable.def, ir/float_codec.def). All functions are internal to the including file,
// which so keeps code for its own instruction set. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <type_traits>

namespace jaxmps {

#define JAXMPS_INLINE inline __attribute__((always_inline, unused))

using s8 = int8_t;
using s16 = int16_t;
using s32 = int32_t;
using s64 = int64_t;
using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using f32 = float;
template <typename T>
using Signed = std::make_signed_t<T>;
template <typename T>
using Unsigned = std::make_unsigned_t<T>;

static JAXMPS_INLINE u32 bits_of(f32 x) { return __builtin_bit_cast(u32, x); }
static JAXMPS_INLINE u64 bits_of(double x) { return __builtin_bit_cast(u64, x); }
template <typename U>
static JAXMPS_INLINE auto from_bits(U x) {
  return __builtin_bit_cast(std::conditional_t<sizeof(U) == 4, f32, double>, x);
}

}  // namespace jaxmps
