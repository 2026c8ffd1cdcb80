// Trigonometric functions of float32 and their inverses, without float64; see gpu_functions.cc.
#include "kernels/gpu_dialect.h"

namespace jaxmps::kernels {

// Arguments beyond 8192 are multiplied by as many bits of 2 / pi as matter (M. Payne, R. Hanek,
// "Radian reduction for trigonometric functions", 1983), the others are reduced in three steps.
std::string_view gpu_trigonometric_text() {  // NOLINT(readability-function-size): one text
  return R"(struct Angle { Two rest; u32 quadrant; };
FN Angle large_angle(f32 a) {
  const u32 bits[8] = {0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu};
  const u32 u = bits_of(a), m = (u & 0x7fffffu) | 0x800000u;
  const u32 skip = (u >> 23) - 127u + 7u, word = skip >> 5, by = skip & 31u;
  u32 w[3];
#pragma unroll
  for (u32 k = 0; k < 3; ++k) {
    const u64 pair = (u64)bits[word + k] << 32 | (word + k + 1 < 8u ? bits[word + k + 1] : 0u);
    w[k] = (u32)(pair << by >> 32);
  }
  const u64 low = (u64)m * w[2], middle = (u64)m * w[1] + (low >> 32);
  const u32 high = m * w[0] + (u32)(middle >> 32);
  const u64 f = ((u64)high << 32 | (u32)middle) << 2 | ((u32)low >> 30);
  const u32 up = (u32)(f >> 63);
  const s64 rest = (s64)f;
  const f32 hi = (f32)rest, lo = (f32)(rest - (s64)hi);
  const Two r = times(ordered_sum(hi * 5.42101086e-20f, lo * 5.42101086e-20f), two(1.57079637f, -4.37113883e-8f));
  Angle angle = {r, (high >> 30) + up};
  return angle;
}
FN Angle small_angle(f32 x) {
  const f32 n = m_rint(x * 0.636619747f), r = m_fma(n, -1.57079637f, x);
  const Two p = product_of(n, 4.37113883e-8f);
  Angle angle = {plus(plus(p, r), n * 1.71512489e-15f), (u32)(s32)n};
  return angle;
}
struct Turn { Two sine, cosine; };
// The sine and cosine of the angle from its quadrant on, as sums of a head and a small rest.
FN Turn turn_of(f32 x) {
  const f32 a = absolute(x);
  Angle angle = a > 8192.0f ? large_angle(a) : small_angle(a);
  const f32 r = angle.rest.hi, z = r * r;
  const f32 s = m_fma(z, m_fma(z, m_fma(z, 2.75573192e-6f, -1.98412698e-4f), 8.33333333e-3f), -0.166666667f);
  const f32 c = m_fma(z, m_fma(z, m_fma(z, -2.75573192e-7f, 2.48015873e-5f), -1.38888889e-3f), 0.0416666667f);
  const Two sine = ordered_sum(r, m_fma(r * z, s, m_fma(angle.rest.lo, -0.5f * z, angle.rest.lo)));
  const Two square = product_of(r, r), head = ordered_sum(1.0f, -0.5f * square.hi);
  const Two cosine = ordered_sum(head.hi, head.lo + m_fma(z * z, c, m_fma(-r, angle.rest.lo, -0.5f * square.lo)));
  const bool odd = angle.quadrant & 1u;
  Turn turn = {odd ? cosine : sine, odd ? sine : cosine};
  if (angle.quadrant & 2u) turn.sine = two(-turn.sine.hi, -turn.sine.lo);
  if ((angle.quadrant + 1u) & 2u) turn.cosine = two(-turn.cosine.hi, -turn.cosine.lo);
  if (bits_of(x) >> 31) turn.sine = two(-turn.sine.hi, -turn.sine.lo);
  return turn;
}
FN bool has_angle(f32 x) { return absolute(x) < infinity(); }
FN f32 sin_of(f32 x) { return absolute(x) < 1e-4f ? x : has_angle(x) ? turn_of(x).sine.hi : not_a_number(); }
FN f32 cos_of(f32 x) { return has_angle(x) ? turn_of(x).cosine.hi : not_a_number(); }
FN f32 tan_of(f32 x) {
  const Turn turn = turn_of(x);
  return absolute(x) < 1e-4f ? x : has_angle(x) ? over(turn.sine, turn.cosine).hi : not_a_number();
}
// atan(small / big) for 0 <= small <= big.
FN Two unit_angle(Two small, Two big) {
  const bool far = small.hi > 0.414213562f * big.hi;
  const Two minus = two(-big.hi, -big.lo);
  const Two q = far ? over(plus(small, minus), plus(small, big)) : over(small, big);
  const f32 z = q.hi * q.hi;
  const f32 p = m_fma(z, m_fma(z, m_fma(z, m_fma(z, m_fma(z, m_fma(z, -0.0666666667f, 0.0769230769f), -0.0909090909f), 0.111111111f), -0.142857143f), 0.2f), -0.333333333f);
  const Two r = ordered_sum(q.hi, m_fma(q.hi, z * p, q.lo));
  return far ? plus(two(0.785398185f, -2.18556942e-8f), r) : r;
}
FN f32 angle_of(Two y, Two x, bool y_negative, bool x_negative) {
  const bool steep = y.hi > x.hi;
  Two r = unit_angle(steep ? x : y, steep ? y : x);
  if (steep) r = plus(two(1.57079637f, -4.37113883e-8f), two(-r.hi, -r.lo));
  if (x_negative) r = plus(two(3.14159274f, -8.74227766e-8f), two(-r.hi, -r.lo));
  return y_negative ? -r.hi : r.hi;
}
FN f32 atan2_of(f32 y, f32 x) {
  f32 a = absolute(y), b = absolute(x);
  const f32 top = a > b ? a : b;
  if (a == infinity() || b == infinity()) { a = a == infinity() ? 1.0f : 0.0f; b = b == infinity() ? 1.0f : 0.0f; }
  else if (top > 1e37f) { a *= 0.0625f; b *= 0.0625f; }
  else if (top < 1e-18f) { a *= 1.84467441e19f; b *= 1.84467441e19f; }
  if (top == 0.0f) b = 1.0f;
  const f32 r = angle_of(two(a, 0), two(b, 0), bits_of(y) >> 31, bits_of(x) >> 31);
  return y != y || x != x ? not_a_number() : r;
}
FN f32 atan_of(f32 x) { return absolute(x) < 1e-4f ? x : atan2_of(x, 1.0f); }
// The root of 1 - x * x.
FN Two other_side(f32 x) { const Two s = product_of(x, x); return root_of(plus(sum_of(1.0f, -s.hi), -s.lo)); }
FN f32 asin_of(f32 x) {
  const f32 r = angle_of(two(absolute(x), 0), other_side(x), bits_of(x) >> 31, false);
  return absolute(x) < 1e-4f ? x : absolute(x) <= 1.0f ? r : not_a_number();
}
FN f32 acos_of(f32 x) {
  const f32 r = angle_of(other_side(x), two(absolute(x), 0), false, bits_of(x) >> 31);
  return absolute(x) <= 1.0f ? r : not_a_number();
}
)";
}

}  // namespace jaxmps::kernels
