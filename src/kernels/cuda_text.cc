#include "kernels/cuda.h"

namespace jaxmps::kernels {

// Integer and floating-point semantics as in scalar/scalar_math.h and scalar/scalar_int.h. One
// text, so one function.
std::string_view cuda_prelude() {  // NOLINT(readability-function-size)
  return R"(typedef signed char s8; typedef short s16; typedef int s32; typedef long long s64;
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;
typedef unsigned long long u64; typedef float f32; typedef double f64;
#define FN static __device__ __forceinline__
template <typename T> struct Traits;
#define TRAITS(T, U, S, B, lo, hi) template <> struct Traits<T> { typedef U uns; typedef S sig; enum { bits = B }; \
  static __device__ T low() { return (T)(lo); } static __device__ T high() { return (T)(hi); } };
TRAITS(s8, u8, s8, 8, -128, 127) TRAITS(u8, u8, s8, 8, 0, 255)
TRAITS(s16, u16, s16, 16, -32768, 32767) TRAITS(u16, u16, s16, 16, 0, 65535)
TRAITS(s32, u32, s32, 32, -2147483647 - 1, 2147483647) TRAITS(u32, u32, s32, 32, 0, 4294967295u)
TRAITS(s64, u64, s64, 64, -9223372036854775807ll - 1, 9223372036854775807ll)
TRAITS(u64, u64, s64, 64, 0, 18446744073709551615ull)
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
  T n = b & (T)(Traits<T>::bits - 1), m = (T)(((T)0 - b) & (T)(Traits<T>::bits - 1));
  return (T)((a << n) | (a >> m));
}
template <typename T> FN T i_popcnt(T a) { return (T)__popcll((u64)(typename Traits<T>::uns)a); }
template <typename T> FN T i_clz(T a) { return (T)(__clzll((u64)(typename Traits<T>::uns)a) - (64 - Traits<T>::bits)); }
template <typename T> FN T i_pow(T x, T y) {
  if ((T)-1 < (T)0 && y < (T)0) return x == (T)1 ? (T)1 : x == (T)-1 ? ((y & 1) ? (T)-1 : (T)1) : (T)0;
  u64 r = 1, f = (u64)(typename Traits<T>::uns)x;
  for (typename Traits<T>::uns e = (typename Traits<T>::uns)y; e; e >>= 1) { if (e & 1) r *= f; f *= f; }
  return (T)r;
}
FN f32 f_max(f32 a, f32 b) { f32 r = fmaxf(a, b); r = a == b ? __int_as_float(__float_as_int(a) & __float_as_int(b)) : r; return a != a ? a : b != b ? b : r; }
FN f32 f_min(f32 a, f32 b) { f32 r = fminf(a, b); r = a == b ? __int_as_float(__float_as_int(a) | __float_as_int(b)) : r; return a != a ? a : b != b ? b : r; }
FN f64 f_max(f64 a, f64 b) { f64 r = fmax(a, b); r = a == b ? __longlong_as_double(__double_as_longlong(a) & __double_as_longlong(b)) : r; return a != a ? a : b != b ? b : r; }
FN f64 f_min(f64 a, f64 b) { f64 r = fmin(a, b); r = a == b ? __longlong_as_double(__double_as_longlong(a) | __double_as_longlong(b)) : r; return a != a ? a : b != b ? b : r; }
template <typename T> FN T f_sign(T a) { return (a == (T)0 || a != a) ? a : (a > (T)0 ? (T)1 : (T)-1); }
FN f32 f_logistic(f32 x) { f32 e = expf(-fabsf(x)); return (x < 0 ? e : 1.0f) / (1.0f + e); }
FN f64 f_logistic(f64 x) { f64 e = exp(-fabs(x)); return (x < 0 ? e : 1.0) / (1.0 + e); }
template <typename To, typename From> FN To f_to_i(From x) {
  if (x != x) return (To)0;
  if (x >= (From)Traits<To>::high()) return Traits<To>::high();
  if (x <= (From)Traits<To>::low()) return Traits<To>::low();
  return (To)x;
}
FN f32 bf16_decode(u16 h) { return __uint_as_float((u32)h << 16); }
FN u16 bf16_encode(f32 x) {
  u32 u = __float_as_uint(x);
  return x != x ? (u16)((u >> 16) | 0x40) : (u16)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}
FN f32 f16_decode(u16 h) { f32 r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(h)); return r; }
FN u16 f16_encode(f32 x) { u16 r; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(x)); return r; }
FN f32 reduce_precision(f32 x, int e, int m) {
  u32 u = __float_as_uint(fabsf(x));
  if (m < 23) { int d = 23 - m; u = u + ((1u << (d - 1)) - 1) + ((u >> d) & 1); u &= ~((1u << d) - 1); }
  if (e < 8) {
    int b = (1 << (e - 1)) - 1;
    u32 top = ((u32)(b + 127) << 23) | 0x7fffffu, low = (u32)(1 - b + 127) << 23;
    u = u > top ? 0x7f800000u : u;
    u = u < low ? 0u : u;
  }
  return x != x ? x : copysignf(__uint_as_float(u), x);
}
FN f64 reduce_precision(f64 x, int e, int m) {
  u64 u = (u64)__double_as_longlong(fabs(x));
  if (m < 52) { int d = 52 - m; u = u + ((1ull << (d - 1)) - 1) + ((u >> d) & 1); u &= ~((1ull << d) - 1); }
  if (e < 11) {
    int b = (1 << (e - 1)) - 1;
    u64 top = ((u64)(b + 1023) << 52) | 0xfffffffffffffull, low = (u64)(1 - b + 1023) << 52;
    u = u > top ? 0x7ff0000000000000ull : u;
    u = u < low ? 0ull : u;
  }
  return x != x ? x : copysign(__longlong_as_double((s64)u), x);
}
FN void threefry(u32 k0, u32 k1, u32 c0, u32 c1, u32* o0, u32* o1) {
  const u32 k2 = k0 ^ k1 ^ 0x1bd11bdau, k[3] = {k0, k1, k2};
  const int r[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  u32 x0 = c0 + k0, x1 = c1 + k1;
#pragma unroll
  for (int i = 0; i < 5; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) { const int n = r[(i % 2) * 4 + j]; x0 += x1; x1 = (x1 << n) | (x1 >> (32 - n)); x1 ^= x0; }
    x0 += k[(i + 1) % 3]; x1 += k[(i + 2) % 3] + i + 1;
  }
  *o0 = x0; *o1 = x1;
}
template <typename T> FN T shuffle(T v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
FN u8 shuffle(u8 v, int mask) { return (u8)__shfl_xor_sync(0xffffffffu, (u32)v, mask); }
FN s8 shuffle(s8 v, int mask) { return (s8)__shfl_xor_sync(0xffffffffu, (int)v, mask); }
FN u16 shuffle(u16 v, int mask) { return (u16)__shfl_xor_sync(0xffffffffu, (u32)v, mask); }
FN s16 shuffle(s16 v, int mask) { return (s16)__shfl_xor_sync(0xffffffffu, (int)v, mask); }
)";
}

}  // namespace jaxmps::kernels
