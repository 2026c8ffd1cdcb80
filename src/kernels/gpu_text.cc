// What kernels use in every dialect; the semantics are those of scalar/scalar_math.h and
// scalar/scalar_int.h.
#include "kernels/gpu_dialect.h"

namespace jaxmps::kernels {

std::string_view gpu_text() {  // NOLINT(readability-function-size): one text
  return R"(template <typename T> struct Traits;
#define TRAITS(T, U, S, B, lo, hi) template <> struct Traits<T> { typedef U uns; typedef S sig; enum { bits = B }; \
  MEMBER T low() { return (T)(lo); } MEMBER T high() { return (T)(hi); } };
TRAITS(s8, u8, s8, 8, -128, 127) TRAITS(u8, u8, s8, 8, 0, 255)
TRAITS(s16, u16, s16, 16, -32768, 32767) TRAITS(u16, u16, s16, 16, 0, 65535)
TRAITS(s32, u32, s32, 32, -2147483647 - 1, 2147483647) TRAITS(u32, u32, s32, 32, 0, 4294967295u)
TRAITS(s64, u64, s64, 64, (u64)1 << 63, ~(u64)0 >> 1) TRAITS(u64, u64, s64, 64, 0, ~(u64)0)
template <typename T> FN T i_add(T a, T b) { typedef typename Traits<T>::uns U; return (T)((U)a + (U)b); }
template <typename T> FN T i_sub(T a, T b) { typedef typename Traits<T>::uns U; return (T)((U)a - (U)b); }
template <typename T> FN T i_neg(T a) { return i_sub<T>(0, a); }
template <typename T> FN T i_mul(T a, T b) { return (T)((u64)a * (u64)b); }
template <typename T> FN T i_div(T a, T b) {
  if (b == 0) return (T)-1;
  if ((T)-1 < (T)0 && b == (T)-1) return i_sub<T>(0, a);
  return a / b;
}
template <typename T> FN T i_rem(T a, T b) {
  if (b == 0) return a;
  if ((T)-1 < (T)0 && b == (T)-1) return 0;
  return a % b;
}
template <typename T> FN T i_max(T a, T b) { return a > b ? a : b; }
template <typename T> FN T i_min(T a, T b) { return a < b ? a : b; }
template <typename T> FN T i_abs(T a) { return a < (T)0 ? i_sub<T>(0, a) : a; }
template <typename T> FN T i_sign(T a) { return (T)((a > (T)0) - (a < (T)0)); }
template <typename T> FN T i_shl(T a, T b) {
  typedef typename Traits<T>::uns U;
  return (U)b < (U)Traits<T>::bits ? (T)((U)a << (U)b) : (T)0;
}
template <typename T> FN T i_shr_l(T a, T b) {
  typedef typename Traits<T>::uns U;
  return (U)b < (U)Traits<T>::bits ? (T)((U)a >> (U)b) : (T)0;
}
template <typename T> FN T i_shr_a(T a, T b) {
  typedef typename Traits<T>::uns U;
  U n = (U)b < (U)Traits<T>::bits ? (U)b : (U)(Traits<T>::bits - 1);
  return (T)((typename Traits<T>::sig)a >> n);
}
template <typename T> FN T i_rotl(T a, T b) {
  typedef typename Traits<T>::uns U;
  U x = (U)a, n = (U)b & (U)(Traits<T>::bits - 1), m = (U)((U)0 - n) & (U)(Traits<T>::bits - 1);
  return (T)((x << n) | (x >> m));
}
template <typename T> FN T i_popcnt(T a) { return (T)m_popcount((u64)(typename Traits<T>::uns)a); }
template <typename T> FN T i_clz(T a) { return (T)(m_clz((u64)(typename Traits<T>::uns)a) - (64 - Traits<T>::bits)); }
template <typename T> FN T i_pow(T x, T y) {
  if ((T)-1 < (T)0 && y < (T)0) return x == (T)1 ? (T)1 : x == (T)-1 ? ((y & 1) ? (T)-1 : (T)1) : (T)0;
  u64 r = 1, f = (u64)(typename Traits<T>::uns)x;
  for (typename Traits<T>::uns e = (typename Traits<T>::uns)y; e; e >>= 1) { if (e & 1) r *= f; f *= f; }
  return (T)r;
}
FN f32 infinity() { return from_bits(0x7f800000u); }
FN f32 not_a_number() { return from_bits(0x7fc00000u); }
FN f32 absolute(f32 a) { return from_bits(bits_of(a) & 0x7fffffffu); }
FN f32 with_sign(f32 a, f32 s) { return from_bits((bits_of(a) & 0x7fffffffu) | (bits_of(s) & 0x80000000u)); }
FN f32 f_abs(f32 a) { return absolute(a); }
FN f32 f_max(f32 a, f32 b) {
  const f32 r = from_bits(bits_of(a > b ? a : b) & bits_of(b > a ? b : a));
  return a != a || b != b ? not_a_number() : r;
}
FN f32 f_min(f32 a, f32 b) {
  const f32 r = from_bits(bits_of(a < b ? a : b) | bits_of(b < a ? b : a));
  return a != a || b != b ? not_a_number() : r;
}
FN f32 f_sign(f32 a) { return a == 0 || a != a ? a : with_sign(1.0f, a); }
FN u8 f_is_finite(f32 a) { return absolute(a) < infinity(); }
template <typename To> FN To f_to_i(f32 x) {
  if (x != x) return (To)0;
  if (x >= (f32)Traits<To>::high()) return Traits<To>::high();
  if (x <= (f32)Traits<To>::low()) return Traits<To>::low();
  return (To)x;
}
#ifndef HAS_BF16
FN u16 m_to_bf16(f32 x) { const u32 u = bits_of(x); return (u16)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16); }
#endif
// NaN keeps its sign and first bits, which a GPU's conversions do not: total orders see them.
FN f32 bf16_decode(u16 h) { return from_bits((u32)h << 16); }
FN u16 bf16_encode(f32 x) { return x != x ? (u16)(bits_of(x) >> 16 | 0x40u) : m_to_bf16(x); }
FN f32 f16_decode(u16 h) {
  const f32 r = m_from_f16(h);
  return r != r ? from_bits((u32)(h & 0x8000u) << 16 | 0x7f800000u | (u32)(h & 0x3ffu) << 13) : r;
}
FN u16 f16_encode(f32 x) {
  const u32 u = bits_of(x);
  return x != x ? (u16)((u >> 16 & 0x8000u) | 0x7e00u | (u >> 13 & 0x1ffu)) : m_to_f16(x);
}
// Floats of 8 bits and less: E exponent and M mantissa bits. `top`: 0 has infinities, 1 has NaN of all
// ones instead, 2 has NaN of -0, 3 has neither. NaN is what ir::encode_float makes it.
template <int E, int M, int bias, int top> FN u8 small_encode(f32 x) {
  const u32 ones = (1u << (E + M)) - 1, infinity = ((1u << E) - 1) << M, u = bits_of(x) & 0x7fffffffu;
  const u32 sign = (bits_of(x) >> 31) << (E + M);
  const u32 nan = top >= 2 ? 1u << (E + M) : top == 1 ? sign | ones : sign | infinity | (1u << M >> 1);
  const u32 above = top == 0 ? sign | infinity : top == 3 ? sign | ones : nan;
  const u32 largest = top == 0 ? infinity - 1 : top == 1 ? ones - 1 : ones;
  if (u > 0x7f800000u) return (u8)nan;
  if (u == 0x7f800000u) return (u8)above;
  const int field = (int)(u >> 23), e = field == 0 ? -126 : field - 127, low = e < 1 - bias ? 1 - bias : e;
  const int drop = 23 - M + (low - e);
  const u32 m = (u & 0x7fffffu) | (field == 0 ? 0u : 0x800000u);
  u32 units = drop > 25 ? 0u : m >> drop;
  const u32 rest = drop > 25 ? 0u : m & ((1u << drop) - 1), half = 1u << ((drop > 25 ? 25 : drop) - 1);
  units += rest > half || (rest == half && (units & 1u)) ? 1u : 0u;
  const u32 r = e < 1 - bias ? units : ((u32)(e + bias) << M) + (units - (1u << M));
  if (r > largest) return (u8)above;
  return (u8)(top == 2 && r == 0 ? 0u : sign | r);
}
template <int E, int M, int bias, int top> FN f32 small_decode(u8 h) {
  const u32 ones = (1u << (E + M)) - 1, infinity = ((1u << E) - 1) << M, m = h & ones;
  const u32 sign = ((u32)h >> (E + M) & 1u) << 31;
  if (top == 0 && m >= infinity) return from_bits(sign | (m > infinity ? 0x7fc00000u : 0x7f800000u));
  if (top == 1 && m == ones) return from_bits(sign | 0x7fc00000u);
  if (top == 2 && sign && m == 0) return not_a_number();
  const f32 small = (f32)m * from_bits((u32)(1 - bias - M + 127) << 23);
  const f32 r = m >> M ? from_bits((m << (23 - M)) + ((u32)(127 - bias) << 23)) : small;
  return from_bits(bits_of(r) | sign);
}
// Powers of two: ties go up.
FN u8 power_encode(f32 x) {
  const u32 u = bits_of(x);
  if (!(x > 0) || u >= 0x7f800000u) return 0xff;
  const u32 field = u >> 23, rest = u & 0x7fffffu;
  if (field == 0) return rest >= 0x600000u ? 1 : 0;
  const u32 up = rest >= 0x400000u ? 1u : 0u;
  return (u8)(field + up > 255u ? 255u : field + up);
}
FN f32 power_decode(u8 h) { return from_bits(h == 0xff ? 0x7fc00000u : h == 0 ? 0x400000u : (u32)h << 23); }
FN f32 reduce_precision(f32 x, int e, int m) {
  u32 u = bits_of(absolute(x));
  if (m < 23) { int d = 23 - m; u = u + ((1u << (d - 1)) - 1) + ((u >> d) & 1); u &= ~((1u << d) - 1); }
  if (e < 8) {
    int b = (1 << (e - 1)) - 1;
    u32 top = ((u32)(b + 127) << 23) | 0x7fffffu, low = (u32)(1 - b + 127) << 23;
    u = u > top ? 0x7f800000u : u;
    u = u < low ? 0u : u;
  }
  return x != x ? x : with_sign(from_bits(u), x);
}
struct Words { u32 first, second; };
FN Words threefry(u32 k0, u32 k1, u32 c0, u32 c1) {
  const u32 k2 = k0 ^ k1 ^ 0x1bd11bdau, k[3] = {k0, k1, k2};
  const int r[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  u32 x0 = c0 + k0, x1 = c1 + k1;
#pragma unroll
  for (int i = 0; i < 5; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) { const int n = r[(i % 2) * 4 + j]; x0 += x1; x1 = (x1 << n) | (x1 >> (32 - n)); x1 ^= x0; }
    x0 += k[(i + 1) % 3]; x1 += k[(i + 2) % 3] + i + 1;
  }
  Words w = {x0, x1};
  return w;
}
)";
}

}  // namespace jaxmps::kernels
