// The functions of portable.def and portable_math.def as C++, inlined in each file, and the words
// that they are written in. Pure functions; any thread.
#pragma once

#include <cmath>

#include "base/words.h"

namespace jaxmps::scalar {
namespace {

JAXMPS_INLINE f32 m_sqrt(f32 x) { return __builtin_sqrtf(x); }
JAXMPS_INLINE double m_sqrt(double x) { return __builtin_sqrt(x); }
JAXMPS_INLINE u32 m_popcount(u64 x) { return static_cast<u32>(__builtin_popcountll(x)); }
JAXMPS_INLINE u32 m_clz(u64 x) { return x ? static_cast<u32>(__builtin_clzll(x)) : 64; }
// What portable_math.def does for float32.
JAXMPS_INLINE double exp_of(double x) { return std::exp(x); }
JAXMPS_INLINE double log_of(double x) { return std::log(x); }
JAXMPS_INLINE double tanh_of(double x) { return std::tanh(x); }
JAXMPS_INLINE double erf_of(double x) { return std::erf(x); }

#define FN JAXMPS_INLINE
#define INTEGER         \
  template <typename T> \
  requires(std::is_integral_v<T>) FN
#define REAL               \
  template <typename real> \
  requires(!std::is_integral_v<real>) FN
#define PORTABLE(...) __VA_ARGS__
#include "scalar/portable.def"
#define PORTABLE(...) __VA_ARGS__
#include "scalar/portable_math.def"
#undef FN
#undef INTEGER
#undef REAL

}  // namespace
}  // namespace jaxmps::scalar
