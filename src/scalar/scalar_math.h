// The functions of scalar programs that GPUs have other texts of, as branch-free inline functions:
// those of float32 run in float64 and round once, those of float64 are the C library's. The others
// are in portable.def.
//
// Included by the interpreter and, once per instruction set, by the vector loops; everything is in
// an unnamed namespace so that each file keeps code for its own instruction set. Pure functions.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "scalar/portable.h"

namespace jaxmps::scalar {
namespace {

// A product and a sum stay two roundings: GCC would contract them across statements, where the
// processor can; clang does not.
#if defined(__GNUC__) && !defined(__clang__)
#define JAXMPS_NO_CONTRACT __attribute__((optimize("fp-contract=off")))
#else
#define JAXMPS_NO_CONTRACT
#endif

// sum(c[i] * x^i), highest power first to evaluate.
template <typename T, int n>
JAXMPS_INLINE T horner(T x, const T (&c)[n]) {
  T r = c[n - 1];
#pragma GCC unroll 16
  for (int i = n - 2; i >= 0; --i) r = r * x + c[i];
  return r;
}

// --- float64 building blocks, relative error about 1e-11, for |x| that float32 can hold ---------

// |result| stays within the normal range; inputs beyond it saturate to 0 or to infinity in float32.
JAXMPS_INLINE double exp_d(double x) {
  x = x < -700.0 ? -700.0 : x;
  x = x > 700.0 ? 700.0 : x;
  const double magic = 0x1.8p52;
  const double t = x * 1.4426950408889634 + magic;
  const double n = t - magic;
  double r = x - n * 0.693147180369123816490;
  r = r - n * 1.90821492927058770002e-10;
  static constexpr double c[] = {1,          1,           1. / 2,      1. / 6,
                                 1. / 24,    1. / 120,    1. / 720,    1. / 5040,
                                 1. / 40320, 1. / 362880, 1. / 3628800};
  const double p = horner(r, c);
  return p * from_bits((bits_of(t) + 1023) << 52);
}

// x positive and normal in float64; 0, infinity and NaN are the callers' concern.
JAXMPS_INLINE double log_d(double x) {
  const uint64_t u = bits_of(x) - 0x3fe6a09e667f3bcdull;  // sqrt(1/2)
  const uint64_t e = u & 0xfff0000000000000ull;
  const double m = from_bits(bits_of(x) - e);
  // The exponent, without a 64-bit integer conversion: its bits on top of 1.5 * 2^52.
  const uint64_t biased = (e >> 52) ^ 0x800;
  const double n = from_bits(0x4330000000000000ull | biased) - (0x1p52 + 2048);
  const double s = (m - 1) / (m + 1), z = s * s;
  static constexpr double c[] = {2., 2. / 3, 2. / 5, 2. / 7, 2. / 9, 2. / 11, 2. / 13, 2. / 15};
  return s * horner(z, c) + n * 0.693147180559945309417;
}

JAXMPS_INLINE double log1p_d(double x) {
  const double u = 1 + x;
  return log_d(u) - ((u - 1) - x) / u;
}

JAXMPS_INLINE double expm1_d(double x) {
  static constexpr double c[] = {1,        1. / 2,   1. / 6,    1. / 24,
                                 1. / 120, 1. / 720, 1. / 5040, 1. / 40320};
  const double small = x * horner(x, c);
  return absolute(x) < 0.25 ? small : exp_d(x) - 1;
}

// atan of 0 <= x <= 1.
JAXMPS_INLINE double atan_unit_d(double x) {
  static constexpr double c[] = {
      0.99999999994123179,  -0.33333331571103725,  0.19999912047286286,   -0.14283980697549953,
      0.11093240780882638,  -0.089802369090646289, 0.072457119820738825,  -0.05427898903121952,
      0.034209465154275649, -0.016111572735832212, 0.0048508876891941791, -0.00068478399159454509};
  return x * horner(x * x, c);
}

JAXMPS_INLINE double atan2_d(double y, double x) {
  const double ay = absolute(y), ax = absolute(x);
  const double big = ay > ax ? ay : ax, small = ay > ax ? ax : ay;
  double ratio = small / big;
  ratio = big == 0 ? 0 : ratio;
  ratio = small == infinity() ? 1 : ratio;
  double r = atan_unit_d(ratio);
  r = ay > ax ? 1.57079632679489661923 - r : r;
  r = bits_of(x) >> 63 ? 3.14159265358979323846 - r : r;
  r = with_sign(r, y);
  return (x != x || y != y) ? not_a_number() : r;
}

struct SinCos {
  double sin, cos;
};
// The multiple of pi / 2 is below 2^22, whose product with the first part, of 31 bits, is exact
// also where it is rounded; larger arguments go through the C library.
inline constexpr float kTrigLimit = 6e6f;
JAXMPS_INLINE SinCos sin_cos_d(double x) {
  const double magic = 0x1.8p52;
  const double t = x * 0.63661977236758134308 + magic;
  const double n = t - magic;
  double r = x - n * 1.5707963267341256e+00;
  r = r - n * 6.0771005065061922e-11;
  const double z = r * r;
  static constexpr double s[] = {1,           -1. / 6,         1. / 120,        -1. / 5040,
                                 1. / 362880, -1. / 39916800., 1. / 6227020800.};
  static constexpr double c[] = {1,          -1. / 2,        1. / 24,        -1. / 720,
                                 1. / 40320, -1. / 3628800., 1. / 479001600.};
  const double sine = r * horner(z, s), cosine = horner(z, c);
  const uint64_t q = bits_of(t);
  const double a = (q & 1) ? cosine : sine, b = (q & 1) ? sine : cosine;
  return {from_bits(bits_of(a) ^ ((q & 2) << 62)), from_bits(bits_of(b) ^ (((q + 1) & 2) << 62))};
}

// --- functions of float32 -----------------------------------------------------------------------

JAXMPS_INLINE float erfc_f(float value) {
  const double x = value, a = absolute(x) > 12.0 ? 12.0 : absolute(x);
  static constexpr double c[] = {
      1.232995118768917,     -0.13962111874660688,    0.015379625057345948,
      0.068097157754884424,  -0.10103817733760634,    0.093731710380637032,
      -0.066341251419473848, 0.037166298563529633,    -0.016142586557290988,
      0.0050877341914244171, -0.00084254240917916445, -0.00037109578773865675,
      8.0500394231191127e-05};
  const double t = (a - 4) / (a + 4);
  const double r = exp_d(-a * a) * horner(t, c) / (1 + 2 * a);
  return value != value ? value : static_cast<float>(x < 0 ? 2 - r : r);
}

// By base-2 logarithm and exponential in float64, relative errors 2e-11 and 2e-9, in pairs so that
// few steps wait for each other: a single power in a loop is all waiting. The tests have no `&&`,
// which compilers make branches of that keep a loop from being one of vectors.
JAXMPS_INLINE float pow_f(float base, float exponent) {
  const double x = base, y = exponent, a = absolute(x), inf = infinity();
  const uint64_t e = (bits_of(a) - 0x3fe6a09e667f3bcdull) & 0xfff0000000000000ull;  // sqrt(1/2)
  const double f = from_bits(bits_of(a) - e) - 1, f2 = f * f, f4 = f2 * f2;
  const double whole_log = from_bits(0x4330000000000000ull | ((e >> 52) ^ 0x800)) - (0x1p52 + 2048);
  const double l03 = (1.442695040939418 - 0.7213475252165282 * f) +
                     f2 * (0.48089832069383176 - 0.36067279999925045 * f);
  const double l47 = (0.28854064603788976 - 0.2405041992847411 * f) +
                     f2 * (0.20609620494509615 - 0.17904649812108667 * f);
  const double l8b = (0.1590017881010509 - 0.15698546512038156 * f) +
                     f2 * (0.1548579394518294 - 0.08634031288077489 * f);
  const double fy = f * y;
  const double p = (fy * f4) * (l47 + f4 * l8b) + (fy * l03 + whole_log * y);
  const double t = p + 0x1.8p52, r = p - __builtin_rint(p), r2 = r * r;
  const double e03 =
      (1 + 0.6931472028814916 * r) + r2 * (0.24022647910214598 + 0.05550332408782928 * r);
  const double e46 = (0.009618437610958493 + 0.00133989004580459 * r) + r2 * 0.00015353340394040193;
  const double size = absolute(y);
  const double whole = size < 0x1p52 ? (size + 0x1p52) - 0x1p52 : size;
  const bool is_whole = whole == size;
  const uint64_t odd = (is_whole & (size < 0x1p24)) ? bits_of(size + 0x1p52) << 63 : 0;
  const uint64_t sign = bits_of(x) & odd;
  const double power = (e03 + (r2 * r2) * e46) * from_bits(((bits_of(t) + 1023) << 52) | sign);

  // What those do not know: zeros, infinities, NaN and what is far beyond float32.
  const bool nan =
      ((x != x) & (y != 0)) | ((y != y) & (x != 1)) | ((x < 0) & !is_whole & (a != inf));
  double known = (a > 1) == (y > 0) ? inf : 0;
  known = ((a == 1) | (y == 0)) ? 1 : known;
  known = nan ? not_a_number() : known;
  const bool is_power = (absolute(p) < 1000) & (a != 0) & (a != inf) & (y != 0) & !nan;
  return static_cast<float>(is_power ? power : from_bits(bits_of(known) ^ sign));
}

JAXMPS_INLINE float cbrt_f(float x) {
  const double a = absolute(static_cast<double>(x));
  const double r = exp_d(log_d(a) * (1.0 / 3));
  const float f = with_sign(static_cast<float>(r), x);
  return (x == 0.0f || a == infinity() || x != x) ? x : f;
}

JAXMPS_INLINE float expm1_f(float x) {
  const float r = static_cast<float>(expm1_d(x));
  return (x == 0.0f || x != x) ? x : r;
}

JAXMPS_INLINE float log1p_f(float x) {
  const double r = log1p_d(x);
  float f = static_cast<float>(r);
  f = x == -1.0f ? -infinity() : f;
  f = x < -1.0f ? not_a_number() : f;
  return (x == 0.0f || x == infinity() || x != x) ? x : f;
}

JAXMPS_INLINE float sinh_f(float x) {
  const double a = absolute(static_cast<double>(x)), e = expm1_d(a);
  const float f = static_cast<float>(0.5 * (e + e / (e + 1)));
  return x != x ? x : with_sign(f, x);
}

JAXMPS_INLINE float cosh_f(float x) {
  const double e = exp_d(absolute(static_cast<double>(x)));
  return static_cast<float>(0.5 * (e + 1 / e));
}

JAXMPS_INLINE float asinh_f(float x) {
  const double a = absolute(static_cast<double>(x));
  const float f = static_cast<float>(log1p_d(a + a * a / (1 + m_sqrt(1 + a * a))));
  return (x != x || a == infinity()) ? x : with_sign(f, x);
}

JAXMPS_INLINE float acosh_f(float x) {
  const double t = static_cast<double>(x) - 1;
  const float f = static_cast<float>(log1p_d(t + m_sqrt(t * (t + 2))));
  const float r = x < 1.0f ? not_a_number() : f;
  return (x == infinity() || x != x) ? x : r;
}

JAXMPS_INLINE float atanh_f(float x) {
  const double a = absolute(static_cast<double>(x));
  float f = static_cast<float>(0.5 * log1p_d(2 * a / (1 - a)));
  f = a == 1 ? infinity() : f;
  f = a > 1 ? not_a_number() : f;
  return x != x ? x : with_sign(f, x);
}

JAXMPS_INLINE float asin_f(float x) {
  const double d = x;
  return static_cast<float>(atan2_d(d, m_sqrt((1 - d) * (1 + d))));
}
JAXMPS_INLINE float acos_f(float x) {
  const double d = x;
  return static_cast<float>(atan2_d(m_sqrt((1 - d) * (1 + d)), d));
}

#define JAXMPS_FLOAT_UNARY(name, f32_body, f64_body)          \
  JAXMPS_INLINE float name##_of(float x) { return f32_body; } \
  JAXMPS_INLINE double name##_of(double x) { return f64_body; }
JAXMPS_FLOAT_UNARY(expm1, expm1_f(x), std::expm1(x))
JAXMPS_FLOAT_UNARY(log1p, log1p_f(x), std::log1p(x))
JAXMPS_FLOAT_UNARY(sin, static_cast<float>(sin_cos_d(x).sin), std::sin(x))
JAXMPS_FLOAT_UNARY(cos, static_cast<float>(sin_cos_d(x).cos), std::cos(x))
JAXMPS_FLOAT_UNARY(erfc, erfc_f(x), std::erfc(x))
JAXMPS_FLOAT_UNARY(sinh, sinh_f(x), std::sinh(x))
JAXMPS_FLOAT_UNARY(cosh, cosh_f(x), std::cosh(x))
JAXMPS_FLOAT_UNARY(asin, asin_f(x), std::asin(x))
JAXMPS_FLOAT_UNARY(acos, acos_f(x), std::acos(x))
JAXMPS_FLOAT_UNARY(atan, static_cast<float>(atan2_d(x, 1.0)), std::atan(x))
JAXMPS_FLOAT_UNARY(asinh, asinh_f(x), std::asinh(x))
JAXMPS_FLOAT_UNARY(acosh, acosh_f(x), std::acosh(x))
JAXMPS_FLOAT_UNARY(atanh, atanh_f(x), std::atanh(x))
JAXMPS_FLOAT_UNARY(cbrt, cbrt_f(x), std::cbrt(x))
JAXMPS_FLOAT_UNARY(ceil, __builtin_ceilf(x), __builtin_ceil(x))
JAXMPS_FLOAT_UNARY(floor, __builtin_floorf(x), __builtin_floor(x))
JAXMPS_FLOAT_UNARY(round_even, __builtin_rintf(x), __builtin_rint(x))
#undef JAXMPS_FLOAT_UNARY

JAXMPS_INLINE float tan_of(float x) {
  const SinCos r = sin_cos_d(x);
  return static_cast<float>(r.sin / r.cos);
}
JAXMPS_INLINE double tan_of(double x) { return std::tan(x); }

// Two Newton steps from the float32 value, on erfc near the ends where erf has no digits left.
JAXMPS_INLINE double erf_inv_of(double x) {
  const double a = absolute(x);
  if (!(a < 1)) return a == 1 ? x * infinity() : not_a_number();
  const double w = -std::log1p(-a * a);
  double y = a < 0.9999 ? static_cast<double>(erf_inv_of(static_cast<float>(a)))
                        : m_sqrt(w - 0.5 * std::log(w * 3.14159265358979323846));
  for (int i = 0; i < 4; ++i) {
    const double error = a < 0.5 ? std::erf(y) - a : (1 - a) - std::erfc(y);
    const double step = error / (1.12837916709551257390 * std::exp(-y * y));
    y -= step / (1 + y * step);
  }
  return with_sign(y, x);
}

template <typename T>
JAXMPS_INLINE T round_afz_of(T x) {
  T t = std::is_same_v<T, float> ? static_cast<T>(__builtin_truncf(static_cast<float>(x)))
                                 : static_cast<T>(__builtin_trunc(static_cast<double>(x)));
  const T r = absolute(x - t) >= T(0.5) ? t + with_sign(T(1), x) : t;
  return with_sign(r, x);
}

JAXMPS_INLINE float pow_of(float x, float y) { return pow_f(x, y); }
JAXMPS_INLINE double pow_of(double x, double y) { return std::pow(x, y); }
JAXMPS_INLINE float rem_of(float x, float y) { return std::fmod(x, y); }
JAXMPS_INLINE double rem_of(double x, double y) { return std::fmod(x, y); }
JAXMPS_INLINE float atan2_of(float y, float x) { return static_cast<float>(atan2_d(y, x)); }
JAXMPS_INLINE double atan2_of(double y, double x) { return std::atan2(y, x); }
JAXMPS_INLINE float hypot_of(float a, float b) {
  const double x = a, y = b;
  const float r = static_cast<float>(m_sqrt(x * x + y * y));
  return (absolute(a) == infinity() || absolute(b) == infinity()) ? infinity() : r;
}
JAXMPS_INLINE double hypot_of(double a, double b) { return std::hypot(a, b); }

template <typename To, typename From>
JAXMPS_INLINE To convert_of(From x) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    return truncated<To>(x);
  } else {
    return static_cast<To>(x);
  }
}

}  // namespace
}  // namespace jaxmps::scalar
