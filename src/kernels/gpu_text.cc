// The text of portable functions, and the words that all dialects say alike.
#include "kernels/gpu_dialect.h"

namespace jaxmps::kernels {

std::string_view gpu_text() {
  return R"(template <typename T> struct Traits;
#define TRAITS(S, U) template <> struct Traits<S> { typedef S sig; typedef U uns; }; \
  template <> struct Traits<U> { typedef S sig; typedef U uns; };
TRAITS(s8, u8) TRAITS(s16, u16) TRAITS(s32, u32) TRAITS(s64, u64)
template <typename T> using Signed = typename Traits<T>::sig;
template <typename T> using Unsigned = typename Traits<T>::uns;
#define INTEGER template <typename T> FN
#define REAL FN
typedef f32 real;
)"
#define PORTABLE(...) #__VA_ARGS__ "\n"
#include "scalar/portable.def"
#define PORTABLE(...) #__VA_ARGS__ "\n"
#include "ir/float_codec.def"
      R"(// NaN keeps its sign and first bits, which a GPU's conversions do not: total orders see them.
FN f32 decode_f16(u16 h) {
  const f32 r = m_from_f16(h);
  return r != r ? from_bits((u32)(h & 0x8000u) << 16 | 0x7f800000u | (u32)(h & 0x3ffu) << 13) : r;
}
FN u16 encode_f16(f32 x) {
  const u32 u = bits_of(x);
  return x != x ? (u16)((u >> 16 & 0x8000u) | 0x7e00u | (u >> 13 & 0x1ffu)) : m_to_f16(x);
}
)";
}

std::string_view gpu_math_text() {
  return
#define PORTABLE(...) #__VA_ARGS__ "\n"
#include "scalar/portable_math.def"
      ;
}

}  // namespace jaxmps::kernels
