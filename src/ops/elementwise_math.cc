// Elementwise functions of real and complex numbers. Where MLX's own loses accuracy or has no
// complex form, the identity used instead is written out here.
#include <array>
#include <numbers>

#include "ops/elementwise.h"

namespace jaxmps::ops {
namespace {

mx::array half(const mx::array& a) { return mx::multiply(a, scalar(0.5, a)); }

mx::array round_away(const mx::array& a) {
  const auto size = mx::abs(a), whole = mx::floor(size);
  const auto up = mx::greater_equal(mx::subtract(size, whole), scalar(0.5, a));
  const auto rounded = mx::where(up, mx::add(whole, scalar(1, a)), whole);
  const auto with_sign = mx::where(mx::less(a, scalar(0, a)), mx::negative(rounded), rounded);
  return mx::where(mx::equal(a, scalar(0, a)), a, with_sign);
}

// pow and one Newton step, which makes up for the rounding of 1/3.
mx::array cube_root(const mx::array& a) {
  const auto size = mx::abs(a);
  const auto root = mx::power(size, scalar(1.0 / 3.0, a));
  const auto step =
      mx::divide(mx::subtract(root, mx::divide(size, mx::multiply(root, root))), scalar(3, a));
  const auto better = mx::subtract(root, step);
  const auto usable = mx::logical_and(mx::greater(size, scalar(0, a)), mx::isfinite(size));
  const auto result = mx::where(usable, better, size);
  return mx::where(mx::less(a, scalar(0, a)), mx::negative(result), mx::where(usable, result, a));
}

// exp(x + iy) - 1 without cancellation near 0.
mx::array expm1_complex(const mx::array& a) {
  const auto x = mx::real(a), y = mx::imag(a);
  const auto s = mx::sin(half(y));
  const auto re = mx::subtract(mx::multiply(mx::expm1(x), mx::cos(y)),
                               mx::multiply(mx::array(2.0f), mx::multiply(s, s)));
  const auto im = mx::where(mx::equal(y, mx::array(0.0f)), y, mx::multiply(mx::exp(x), mx::sin(y)));
  return make_complex(re, im);
}

mx::array logistic_complex(const mx::array& a) {
  const auto one_ = mx::array(mx::complex64_t{1, 0});
  return mx::divide(one_, mx::add(one_, mx::exp(mx::negative(a))));
}

mx::array rsqrt_complex(const mx::array& a) {
  return mx::divide(mx::array(mx::complex64_t{1, 0}), mx::sqrt(a));
}

// tan(x + iy) = (t sech^2 y + i tanh y (1 + t^2)) / (1 + t^2 tanh^2 y) with t = tan x; 0 + i tanh y
// where y is infinite, whatever x is.
mx::array tan_complex(const mx::array& a) {
  const auto one_ = mx::array(1.0f);
  const auto t = mx::tan(mx::real(a)), y = mx::imag(a), h = mx::tanh(y);
  const auto sech = mx::divide(one_, mx::cosh(y));
  const auto t2 = mx::multiply(t, t);
  const auto below = mx::add(one_, mx::multiply(t2, mx::multiply(h, h)));
  const auto re = mx::divide(mx::multiply(t, mx::multiply(sech, sech)), below);
  const auto im = mx::divide(mx::multiply(h, mx::add(one_, t2)), below);
  const auto limit = mx::isinf(y);
  return make_complex(mx::where(limit, mx::array(0.0f), re), mx::where(limit, h, im));
}

// exp(-x^2) with the square split in two, so that its rounding error is not magnified.
mx::array exp_minus_square(const mx::array& x) {
  const auto high = mx::view(
      mx::bitwise_and(mx::view(x, mx::uint32), mx::array(0xfffff000u, mx::uint32)), mx::float32);
  const auto rest = mx::multiply(mx::subtract(high, x), mx::add(high, x));
  return mx::multiply(mx::exp(mx::negative(mx::multiply(high, high))), mx::exp(rest));
}

// erfc(x) = exp(-x^2) t P(t) for x >= 0.4, t = 1 / (1 + x / 2); P is a Chebyshev fit of degree 9
// with relative error 6e-9.
mx::array erfc_float32(const mx::array& a) {
  constexpr std::array<float, 10> kP = {0.282088041f,  0.282287419f,  0.244506493f, 0.191854224f,
                                        0.0210135244f, 0.150530428f,  -0.27561149f, 0.0722479224f,
                                        0.0589325577f, -0.0278677084f};
  const auto x = mx::abs(a);
  const auto t = mx::divide(scalar(1, a), mx::add(scalar(1, a), half(x)));
  auto p = mx::array(kP.back());
  for (size_t i = kP.size() - 1; i-- > 0;) p = mx::add(mx::multiply(p, t), mx::array(kP[i]));
  const auto limited = mx::minimum(x, scalar(12, a));
  const auto tail = mx::multiply(exp_minus_square(limited), mx::multiply(t, p));
  const auto far = mx::where(mx::less(a, scalar(0, a)), mx::subtract(scalar(2, a), tail), tail);
  return mx::where(mx::less(x, scalar(0.5, a)), mx::subtract(scalar(1, a), mx::erf(a)), far);
}

// MLX's erfinv keeps float32 accuracy; Newton steps in double.
double erf_inv_double(double y) {
  if (!(std::abs(y) < 1)) {
    return std::abs(y) == 1 ? std::copysign(INFINITY, y) : NAN;
  }
  const double w = std::log1p(-y * y), a = 0.147, b = 2 / (std::numbers::pi * a) + w / 2;
  double x = std::copysign(std::sqrt(std::sqrt(b * b - w / a) - b), y);
  if (x == 0) return y;
  for (int i = 0; i < 4; ++i) {
    // The smaller of the two tails keeps the difference exact near +-1.
    const double miss = std::abs(y) < 0.5
                            ? std::erf(x) - y
                            : std::copysign((1 - std::abs(y)) - std::erfc(std::abs(x)), y);
    const double slope = 2 / std::sqrt(std::numbers::pi) * std::exp(-x * x);
    const double step = miss / slope;
    x -= step / (1 + x * step);
  }
  return x;
}

}  // namespace

// A function MLX has for every type the verifier lets through.
#define PLAIN(id, function)                                           \
  ANY_DTYPE_OP(id) {                                                  \
    return unary(ctx, [](const auto& a) { return mx::function(a); }); \
  }

PLAIN(ceil, ceil)
PLAIN(floor, floor)
PLAIN(exponential, exp)
PLAIN(log, log)
PLAIN(log_plus_one, log1p)
PLAIN(sqrt, sqrt)
PLAIN(tanh, tanh)
PLAIN(is_finite, isfinite)
PLAIN(acos, arccos)
PLAIN(acosh, arccosh)
PLAIN(asin, arcsin)
PLAIN(asinh, arcsinh)
PLAIN(atan, arctan)
PLAIN(cosh, cosh)
PLAIN(sinh, sinh)

// MLX's double versions of these have float32 accuracy on the CPU.
#define WITH_DOUBLE(id, function, of_double)                          \
  ANY_DTYPE_OP(id) {                                                  \
    if (ctx.in(0).dtype == DType::f64) {                              \
      return native_f64(ctx, [](double x) { return of_double(x); });  \
    }                                                                 \
    return unary(ctx, [](const auto& a) { return mx::function(a); }); \
  }

WITH_DOUBLE(cosine, cos, std::cos)
WITH_DOUBLE(sine, sin, std::sin)
WITH_DOUBLE(atanh, arctanh, std::atanh)

ANY_DTYPE_OP(round_nearest_even) {
  return unary(ctx, [](const auto& a) { return mx::round(a); });
}
ANY_DTYPE_OP(round_nearest_afz) { return unary(ctx, round_away); }

ANY_DTYPE_OP(exponential_minus_one) {
  if (ctx.in(0).dtype == DType::c64) return unary(ctx, expm1_complex);
  return unary(ctx, [](const auto& a) { return mx::expm1(a); });
}

ANY_DTYPE_OP(logistic) {
  if (ctx.in(0).dtype == DType::c64) return unary(ctx, logistic_complex);
  return unary(ctx, [](const auto& a) { return mx::sigmoid(a); });
}

ANY_DTYPE_OP(rsqrt) {
  if (ctx.in(0).dtype == DType::c64) return unary(ctx, rsqrt_complex);
  return unary(ctx, [](const auto& a) { return mx::rsqrt(a); });
}

ANY_DTYPE_OP(tan) {
  if (ctx.in(0).dtype == DType::c64) return unary(ctx, tan_complex);
  return unary(ctx, in_float32([](const auto& a) { return mx::tan(a); }));
}

ANY_DTYPE_OP(cbrt) {
  if (ir::is_complex(ctx.in(0).dtype)) return ctx.fail("not supported for complex numbers");
  return unary(ctx, in_float32(cube_root));
}

ANY_DTYPE_OP(atan2) {
  if (ir::is_complex(ctx.in(0).dtype)) return ctx.fail("not supported for complex numbers");
  return binary(ctx, [](const auto& a, const auto& b) { return mx::arctan2(a, b); });
}

ANY_DTYPE_OP(erf) {
  if (ctx.in(0).dtype == DType::f64) {
    return native_f64(ctx, [](double x) { return std::erf(x); });
  }
  return unary(ctx, in_float32([](const auto& a) { return mx::erf(a); }));
}

ANY_DTYPE_OP(erfc) {
  if (ctx.in(0).dtype == DType::f64) {
    return native_f64(ctx, [](double x) { return std::erfc(x); });
  }
  return unary(ctx, in_float32(erfc_float32));
}

ANY_DTYPE_OP(erf_inv) {
  if (ctx.in(0).dtype == DType::f64) return native_f64(ctx, erf_inv_double);
  return unary(ctx, in_float32([](const auto& a) { return mx::erfinv(a); }));
}

}  // namespace jaxmps::ops
