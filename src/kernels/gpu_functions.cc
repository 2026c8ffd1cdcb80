// Functions of float32 without float64: those that run in float64 in scalar/scalar_math.h carry
// what a float32 leaves over in a second one (T. J. Dekker, "A floating-point technique for
// extending the available precision", 1971).
#include "kernels/gpu_dialect.h"

namespace jaxmps::kernels {

std::string_view gpu_float32_text() {  // NOLINT(readability-function-size): one text
  return R"(struct Two { f32 hi, lo; };
FN Two two(f32 hi, f32 lo) { Two r = {hi, lo}; return r; }
FN Two ordered_sum(f32 a, f32 b) { const f32 s = a + b; return two(s, b - (s - a)); }  // |a| >= |b|
FN Two sum_of(f32 a, f32 b) { const f32 s = a + b, v = s - a; return two(s, (a - (s - v)) + (b - v)); }
FN Two product_of(f32 a, f32 b) { const f32 p = a * b; return two(p, m_fma(a, b, -p)); }
FN Two plus(Two a, f32 b) { const Two s = sum_of(a.hi, b); return ordered_sum(s.hi, s.lo + a.lo); }
FN Two plus(Two a, Two b) { const Two s = sum_of(a.hi, b.hi); return ordered_sum(s.hi, s.lo + (a.lo + b.lo)); }
FN Two times(Two a, f32 b) { const Two p = product_of(a.hi, b); return ordered_sum(p.hi, m_fma(a.lo, b, p.lo)); }
FN Two times(Two a, Two b) { const Two p = product_of(a.hi, b.hi); return ordered_sum(p.hi, m_fma(a.hi, b.lo, m_fma(a.lo, b.hi, p.lo))); }
FN Two over(Two a, Two b) {
  const f32 q = a.hi / b.hi, rest = m_fma(-q, b.lo, m_fma(-q, b.hi, a.hi) + a.lo);
  return ordered_sum(q, rest / b.hi);
}
FN Two root_of(Two a) {
  const f32 s = m_sqrt(a.hi), rest = m_fma(-s, s, a.hi) + a.lo;
  return s == 0 ? two(0, 0) : ordered_sum(s, rest / (s + s));
}
FN f32 exp_two(Two x) {
  const f32 a = exp_range(x.hi), t = m_fma(a, 1.44269504f, 12582912.0f), n = t - 12582912.0f;
  const f32 r = m_fma(n, 2.12194440e-4f, m_fma(n, -0.693359375f, a)) + x.lo;
  return exp_scaled(r, t);
}
FN f32 erfc_of(f32 x) {
  const f32 a = absolute(x) > 12.0f ? 12.0f : absolute(x);
  const f32 c[12] = {-0.139621124f, 0.0153796254f, 0.0680971593f, -0.10103818f, 0.0937317088f, -0.0663412511f,
      0.0371662974f, -0.0161425862f, 0.0050877342f, -0.000842542388f, -0.000371095783f, 8.05003947e-05f};
  const Two t = over(sum_of(a, -4.0f), sum_of(a, 4.0f));
  f32 q = c[11], slope = c[11];
#pragma unroll
  for (int i = 10; i >= 0; --i) { q = m_fma(q, t.hi, c[i]); slope = m_fma(slope, t.hi, q); }
  const Two p = ordered_sum(1.23299515f, m_fma(t.hi, q, m_fma(t.lo, slope, -3.37045343e-08f)));
  const Two square = product_of(a, a), ratio = over(p, sum_of(1.0f, a + a));
  const f32 e = exp_two(two(-square.hi, -square.lo)), r = m_fma(e, ratio.hi, e * ratio.lo);
  return x != x ? x : x < 0.0f ? 2.0f - r : r;
}
// The logarithm of a positive normal number.
FN Two log_two(f32 x) {
  const u32 u = bits_of(x) - 0x3f3504f3u;
  const s32 e = (s32)u >> 23;
  const f32 m = from_bits(bits_of(x) - ((u32)e << 23)), f = m - 1.0f, n = (f32)e;
  const Two s = over(two(f, 0), sum_of(m, 1.0f)), z = times(s, s);
  const f32 tail = z.hi * m_fma(z.hi, m_fma(z.hi, m_fma(z.hi, 0.181818182f, 0.222222222f), 0.285714286f), 0.4f);
  const Two c = ordered_sum(0.666666687f, tail + -1.98682152e-8f);
  const Two r = plus(times(times(z, c), s), two(s.hi + s.hi, s.lo + s.lo));
  return plus(plus(product_of(n, 0.693359375f), product_of(n, -2.12194440e-4f)), r);
}
// The same of 1 + x, x > -1 and not so large that 1 / x were 0.
FN Two log1p_two(Two x) {
  Two u = sum_of(1.0f, x.hi);
  u.lo += x.lo;
  return plus(log_two(u.hi), u.lo / u.hi);
}
FN f32 log1p_of(f32 x) {
  const f32 r = log1p_two(two(x, 0)).hi;
  f32 f = x == -1.0f ? -infinity() : r;
  f = x < -1.0f ? not_a_number() : f;
  return x == 0.0f || x == infinity() || x != x || absolute(x) < 1e-30f ? x : f;
}
FN Two expm1_two(f32 x) {
  const f32 a = x < -18.0f ? -18.0f : x > 64.0f ? 64.0f : x;
  const f32 n = m_rint(a * 1.44269504f);
  const Two r = plus(sum_of(m_fma(n, -0.693359375f, a), n * 2.12194440e-4f), m_fma(n, 2.12194440e-4f, -(n * 2.12194440e-4f)));
  const f32 q = m_fma(r.hi, m_fma(r.hi, m_fma(r.hi, m_fma(r.hi, m_fma(r.hi, 1.98412698e-4f, 1.38888889e-3f), 8.33333333e-3f), 0.0416666667f), 0.166666667f), 0.5f);
  const Two e = plus(r, r.hi * r.hi * q), scale = two(from_bits((u32)((s32)n + 127) << 23), 0);
  return plus(two(e.hi * scale.hi, e.lo * scale.hi), sum_of(scale.hi, -1.0f));
}
FN f32 expm1_of(f32 x) {
  const Two r = expm1_two(x);
  return x == 0.0f || x != x || absolute(x) < 1e-30f ? x : x > 64.0f ? exp_of(x) : r.hi + r.lo;
}
FN f32 sinh_of(f32 x) {
  const f32 a = absolute(x);
  const f32 half_exp = exp_two(plus(two(a < 100.0f ? a : 100.0f, 0), two(-0.693147182f, 1.90465421e-9f)));
  const Two e = expm1_two(a), r = plus(e, over(e, plus(e, 1.0f)));
  return x != x ? x : with_sign(a < 1e-4f ? a : a > 60.0f ? half_exp : 0.5f * r.hi, x);
}
FN f32 cosh_of(f32 x) {
  const f32 a = absolute(x);
  const f32 half_exp = exp_two(plus(two(a < 100.0f ? a : 100.0f, 0), two(-0.693147182f, 1.90465421e-9f)));
  const Two e = plus(expm1_two(a), 1.0f);
  return x != x ? x : a > 60.0f ? half_exp : 0.5f * plus(e, over(two(1, 0), e)).hi;
}
FN f32 asinh_of(f32 x) {
  const f32 a = absolute(x), b = a > 1e9f ? 1.0f : a;
  const Two square = product_of(b, b), root = root_of(plus(square, 1.0f));
  const f32 r = log1p_two(plus(over(square, plus(root, 1.0f)), b)).hi, f = a > 1e9f ? log_of(a) + 0.693147182f : r;
  return x != x || a == infinity() || a < 1e-5f ? x : with_sign(f, x);
}
FN f32 acosh_of(f32 x) {
  const f32 b = x > 1e9f ? 2.0f : x, t = b - 1.0f;
  const Two root = root_of(times(sum_of(t, 2.0f), t));
  const f32 r = log1p_two(plus(root, t)).hi, f = x > 1e9f ? log_of(x) + 0.693147182f : r;
  return x < 1.0f ? not_a_number() : x == infinity() || x != x ? x : f;
}
FN f32 atanh_of(f32 x) {
  const f32 a = absolute(x);
  f32 f = 0.5f * log1p_two(over(two(a + a, 0), sum_of(1.0f, -a))).hi;
  f = a == 1.0f ? infinity() : a > 1.0f ? not_a_number() : a < 1e-5f ? a : f;
  return x != x ? x : with_sign(f, x);
}
FN f32 pow_of(f32 x, f32 y) {
  const f32 a = absolute(x);
  const bool tiny = a < 1.17549435e-38f;
  Two l = log_two(tiny ? a * 16777216.0f : a);
  if (tiny) l = plus(l, two(-16.6355324f, 4.57117001e-8f));
  Two p = times(l, y);
  if (!(absolute(p.hi) < 200.0f)) p = two(with_sign(200.0f, a > 1.0f ? y : -y), 0);
  f32 r = exp_two(p);
  if (p.hi > 88.8f) r = infinity();
  if (a == 0.0f || a == infinity()) r = (a == 0.0f) == (y < 0.0f) ? infinity() : 0.0f;
  if (a == 1.0f || y == 0.0f) r = 1.0f;
  const f32 b = absolute(y);
  const bool whole = b >= 8388608.0f || m_rint(b) == b;
  const bool odd = whole && b < 16777216.0f && ((u32)b & 1u);
  r = (bits_of(x) >> 31) && odd ? -r : r;
  r = x < 0.0f && !whole && a != infinity() ? not_a_number() : r;
  return (x != x && y != 0.0f) || (y != y && x != 1.0f) ? not_a_number() : r;
}
FN f32 cbrt_of(f32 x) {
  const f32 a = absolute(x);
  const bool tiny = a < 1.17549435e-38f;
  const f32 m = tiny ? a * 16777216.0f : a;
  f32 t = from_bits(bits_of(m) / 3u + 0x2a5119f2u);
#pragma unroll
  for (int i = 0; i < 3; ++i) t = t - (t - m / (t * t)) * 0.333333333f;
  const Two cube = times(product_of(t, t), t);
  t = t - ((cube.hi - m) + cube.lo) / (3.0f * t * t);
  return x == 0.0f || a == infinity() || x != x ? x : with_sign(tiny ? t * 0.00390625f : t, x);
}
FN f32 hypot_of(f32 x, f32 y) {
  const f32 a = absolute(x), b = absolute(y), top = a > b ? a : b;
  const f32 up = top > 1e15f ? 8.47032947e-22f : top < 1e-15f ? 1.23794004e27f : 1.0f;
  const f32 down = top > 1e15f ? 1.18059162e21f : top < 1e-15f ? 8.07793567e-28f : 1.0f;
  const Two r = root_of(plus(product_of(a * up, a * up), product_of(b * up, b * up)));
  const f32 f = (r.hi + r.lo) * down;
  return a == infinity() || b == infinity() ? infinity() : x != x || y != y ? not_a_number() : f;
}
// Exact: the quotient is divided out of the mantissas.
FN f32 rem_of(f32 x, f32 y) {
  const u32 ux = bits_of(x) & 0x7fffffffu, uy = bits_of(y) & 0x7fffffffu;
  if (ux >= 0x7f800000u || uy > 0x7f800000u || uy == 0u) return not_a_number();
  if (ux < uy) return x;
  s32 ex = (s32)(ux >> 23), ey = (s32)(uy >> 23);
  u64 r = (ux & 0x7fffffu) | (ex ? 0x800000u : 0u);
  const u64 m = (uy & 0x7fffffu) | (ey ? 0x800000u : 0u);
  ex = ex ? ex : 1; ey = ey ? ey : 1;
  r %= m;
  for (s32 n = ex - ey; n > 0 && r != 0; n -= 32) r = (r << (n < 32 ? n : 32)) % m;
  if (r == 0) return with_sign(0.0f, x);
  const s32 by = (s32)m_clz(r) - 40;
  const u32 u = by < ey ? ((u32)(r << by) & 0x7fffffu) | (u32)(ey - by) << 23 : (u32)(r << (ey - 1));
  return with_sign(from_bits(u), x);
}
)";
}

}  // namespace jaxmps::kernels
