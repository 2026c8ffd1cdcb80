#include "scalar/scalar_complex.h"

#include <limits>

namespace jaxmps::scalar {

using V = ScalarValue;
using ir::OpId;

V Complex::times(V x, V y) const {
  return make(sub(mul(x.re, y.re), mul(x.im, y.im)), add(mul(x.re, y.im), mul(x.im, y.re)));
}

int32_t Complex::infinite(V x) const {
  const int32_t inf = real(std::numeric_limits<double>::infinity());
  return b.emit(Opcode::bit_or, DType::pred, test(Opcode::eq, op(Opcode::abs, x.re), inf),
                test(Opcode::eq, op(Opcode::abs, x.im), inf));
}

V Complex::direction(V x) const {
  const double inf = std::numeric_limits<double>::infinity();
  auto part = [&](int32_t v) {
    const int32_t finite = pick(test(Opcode::eq, v, v), mul(v, real(0)), real(0));
    return pick(test(Opcode::eq, v, real(inf)), real(1),
                pick(test(Opcode::eq, v, real(-inf)), real(-1), finite));
  };
  return make(part(x.re), part(x.im));
}

// Where the quotient has no digits, an infinite number over a finite one is infinite and a finite
// one over an infinite one is zero (C, annex G).
V Complex::over(V x, V y) const {
  const V r = over_finite(x, y);
  const int32_t lost = b.emit(Opcode::bit_and, DType::pred, test(Opcode::ne, r.re, r.re),
                              test(Opcode::ne, r.im, r.im));
  const int32_t x_infinite = infinite(x), y_infinite = infinite(y);
  const V a = b.select(x_infinite, direction(x), x), c = b.select(y_infinite, direction(y), y);
  const int32_t one_infinite = b.emit(Opcode::ne, DType::pred, x_infinite, y_infinite);
  const int32_t size = pick(x_infinite, real(std::numeric_limits<double>::infinity()), real(0));
  const V limit = make(mul(size, add(mul(a.re, c.re), mul(a.im, c.im))),
                       mul(size, sub(mul(a.im, c.re), mul(a.re, c.im))));
  return b.select(b.emit(Opcode::bit_and, DType::pred, lost, one_infinite), limit, r);
}

// R. Smith's division: scaled by the larger part of the divisor, so that it does not overflow.
// Zero divides each part by itself.
V Complex::over_finite(V x, V y) const {
  const int32_t re_size = op(Opcode::abs, y.re), im_size = op(Opcode::abs, y.im);
  const int32_t is_zero = test(Opcode::eq, add(re_size, im_size), real(0));
  const int32_t wide = test(Opcode::le, im_size, re_size);
  const int32_t big = pick(wide, y.re, y.im), small = pick(wide, y.im, y.re);
  const int32_t ratio = div(small, big);
  const int32_t d = pick(is_zero, big, add(big, mul(small, ratio)));
  const int32_t re = pick(wide, add(x.re, mul(x.im, ratio)), add(mul(x.re, ratio), x.im));
  const int32_t im = pick(wide, sub(x.im, mul(x.re, ratio)), sub(mul(x.im, ratio), x.re));
  return make(div(pick(is_zero, x.re, re), d), div(pick(is_zero, x.im, im), d));
}

V Complex::exp(V x) const {
  const int32_t e = op(Opcode::exp, x.re);
  const int32_t is_real = test(Opcode::eq, x.im, real(0));
  return make(pick(is_real, e, mul(e, op(Opcode::cos, x.im))),
              pick(is_real, x.im, mul(e, op(Opcode::sin, x.im))));
}

V Complex::expm1(V x) const {
  const int32_t half = op(Opcode::sin, mul(x.im, real(0.5)));
  const int32_t re =
      sub(mul(op(Opcode::expm1, x.re), op(Opcode::cos, x.im)), mul(real(2), mul(half, half)));
  const int32_t is_real = test(Opcode::eq, x.im, real(0));
  return make(pick(is_real, op(Opcode::expm1, x.re), re),
              pick(is_real, x.im, mul(op(Opcode::exp, x.re), op(Opcode::sin, x.im))));
}

V Complex::log(V x) const { return make(op(Opcode::log, abs(x)), op(Opcode::atan2, x.im, x.re)); }

// -i log((x + iy) / sqrt(x^2 + y^2))
V Complex::atan2(V y, V x) const {
  const V norm = sqrt(plus(times(y, y), times(x, x)));
  return turned_back(log(over(make(sub(x.re, y.im), add(x.im, y.re)), norm)));
}

V Complex::log1p(V x) const {
  const int32_t one = add(x.re, real(1));
  const int32_t small =
      mul(real(0.5), op(Opcode::log1p, add(mul(x.re, add(x.re, real(2))), mul(x.im, x.im))));
  const int32_t large = op(Opcode::log, op(Opcode::hypot, one, x.im));
  const int32_t near =
      test(Opcode::lt, add(op(Opcode::abs, x.re), op(Opcode::abs, x.im)), real(0.5));
  return make(pick(near, small, large), op(Opcode::atan2, x.im, one));
}

V Complex::sqrt(V x) const {
  const int32_t half = real(0.5), zero = real(0);
  const int32_t inf = real(std::numeric_limits<double>::infinity());
  // Half of the absolute value does not overflow, nor does a quarter of its sum with a.
  const int32_t a = mul(op(Opcode::abs, x.re), half), i = mul(op(Opcode::abs, x.im), half);
  const int32_t m = op(Opcode::hypot, a, i);
  const int32_t upright = test(Opcode::eq, i, inf);
  const int32_t large = test(Opcode::lt, real(1), m);
  const int32_t down = pick(large, real(0.25), real(1)), up = pick(large, real(2), real(1));
  const int32_t root = mul(up, op(Opcode::sqrt, add(mul(m, down), mul(a, down))));
  const int32_t r = pick(upright, inf, root);
  const int32_t other = pick(upright, inf, div(i, r));
  const int32_t right = test(Opcode::le, zero, x.re);
  const int32_t below = test(Opcode::lt, x.im, zero);
  const int32_t re = pick(right, r, other);
  const int32_t im = pick(right, other, r);
  const int32_t is_zero = test(Opcode::eq, m, zero);
  return make(pick(is_zero, zero, re), pick(is_zero, x.im, pick(below, neg(im), im)));
}

// The square root above takes no notice of the sign of a zero; here it is a side of the cut.
V Complex::rsqrt(V x) const {
  const int32_t zero = real(0), one = real(1);
  const V r = over(make(one, zero), sqrt(x));
  const int32_t below = b.emit(Opcode::bit_or, DType::pred, test(Opcode::lt, x.im, zero),
                               test(Opcode::lt, div(one, x.im), zero));
  const int32_t size = op(Opcode::abs, r.im);
  return make(r.re, pick(below, size, neg(size)));
}

V Complex::tanh(V x) const {
  const int32_t t = op(Opcode::tanh, x.re), one = real(1);
  // At an infinite real part the limit is the same in every direction.
  const int32_t at_limit =
      test(Opcode::eq, op(Opcode::abs, x.re), real(std::numeric_limits<double>::infinity()));
  const int32_t tangent = op(Opcode::tan, x.im);
  const int32_t undefined = test(Opcode::ne, tangent, tangent);
  const int32_t k =
      pick(b.emit(Opcode::bit_and, DType::pred, at_limit, undefined), real(0), tangent);
  // 1 - tanh(a)^2 as 1 / cosh(a)^2, which keeps its digits.
  const int32_t c = op(Opcode::cosh, x.re), slope = div(div(one, c), c);
  const int32_t d = add(one, mul(mul(t, t), mul(k, k)));
  return make(div(mul(t, add(one, mul(k, k))), d),
              pick(test(Opcode::eq, x.im, real(0)), x.im, div(mul(k, slope), d)));
}

V Complex::sin(V x) const {
  return make(mul(op(Opcode::sin, x.re), op(Opcode::cosh, x.im)),
              mul(op(Opcode::cos, x.re), op(Opcode::sinh, x.im)));
}

V Complex::cos(V x) const {
  return make(mul(op(Opcode::cos, x.re), op(Opcode::cosh, x.im)),
              neg(mul(op(Opcode::sin, x.re), op(Opcode::sinh, x.im))));
}

// Kahan's values where the logarithm has none: a real power of 0 and of infinity, any of 1.
V Complex::pow(V x, V y) const {
  const int32_t zero = real(0), one = real(1);
  const int32_t inf = real(std::numeric_limits<double>::infinity());
  auto both = [&](int32_t p, int32_t q) { return b.emit(Opcode::bit_and, DType::pred, p, q); };
  auto either = [&](int32_t p, int32_t q) { return b.emit(Opcode::bit_or, DType::pred, p, q); };
  auto is = [&](V v, int32_t number) {
    return both(test(Opcode::eq, v.re, number), test(Opcode::eq, v.im, zero));
  };
  const V r = exp(times(y, log(x)));
  const int32_t x_infinite = is(x, inf), y_real = test(Opcode::eq, y.im, zero);
  const int32_t stays =
      both(either(is(x, zero), x_infinite), both(y_real, test(Opcode::lt, zero, y.re)));
  const int32_t vanishes = both(x_infinite, both(y_real, test(Opcode::lt, y.re, zero)));
  const int32_t is_one = either(is(x, one), is(y, zero));
  const int32_t is_real = either(is_one, either(stays, vanishes));
  const int32_t limit = pick(is_one, one, pick(stays, x.re, zero));
  return make(pick(is_real, limit, r.re), pick(is_real, zero, r.im));
}

V Complex::sign(V x) const {
  const int32_t m = abs(x), zero = real(0), none = test(Opcode::eq, m, zero);
  return make(pick(none, zero, div(x.re, m)), pick(none, zero, div(x.im, m)));
}

V Complex::extremum(V x, V y, bool maximum) const {
  const V a = maximum ? y : x, c = maximum ? x : y;
  const int32_t tie = b.emit(Opcode::bit_and, DType::pred, test(Opcode::eq, a.re, c.re),
                             test(Opcode::lt, a.im, c.im));
  int32_t first = b.emit(Opcode::bit_or, DType::pred, test(Opcode::lt, a.re, c.re), tie);
  auto nan = [&](V v) {
    return b.emit(Opcode::bit_or, DType::pred, test(Opcode::ne, v.re, v.re),
                  test(Opcode::ne, v.im, v.im));
  };
  first = b.emit(Opcode::bit_or, DType::pred, first, nan(x));
  return b.select(first, x, y);
}

Result<V> ScalarBuilder::apply_complex(const ir::Op& op, std::span<const V> in, DType out) {
  const DType dtype = in[0].dtype;
  const Complex c{*this, dtype, machine_type(dtype)};
  const V x = in[0];
  const V one = constant(dtype, 1);
  switch (op.id) {
    case OpId::real:
    case OpId::imag:
      return V{out, op.id == OpId::real ? x.re : x.im, -1};
    case OpId::abs:
      return V{out, c.abs(x), -1};
    case OpId::negate:
      return c.negate(x);
    case OpId::add:
      return c.plus(x, in[1]);
    case OpId::subtract:
      return c.minus(x, in[1]);
    case OpId::multiply:
      return c.times(x, in[1]);
    case OpId::divide:
      return c.over(x, in[1]);
    case OpId::exponential:
      return c.exp(x);
    case OpId::exponential_minus_one:
      return c.expm1(x);
    case OpId::log:
      return c.log(x);
    case OpId::log_plus_one:
      return c.log1p(x);
    case OpId::sqrt:
      return c.sqrt(x);
    case OpId::rsqrt:
      return c.rsqrt(x);
    case OpId::tanh:
      return c.tanh(x);
    case OpId::tan:
      return c.turned_back(c.tanh(c.turned(x)));
    case OpId::sine:
      return c.sin(x);
    case OpId::cosine:
      return c.cos(x);
    case OpId::sinh:
      return c.turned_back(c.sin(c.turned(x)));
    case OpId::cosh:
      return c.cos(c.turned(x));
    case OpId::logistic:
      return c.over(one, c.plus(one, c.exp(c.negate(x))));
    case OpId::power:
      return c.pow(x, in[1]);
    case OpId::sign:
      return c.sign(x);
    case OpId::maximum:
    case OpId::minimum:
      return c.extremum(x, in[1], op.id == OpId::maximum);
    case OpId::atan2:
      return c.atan2(x, in[1]);
    default:
      return ir::refuse(op, "no complex form");
  }
}

}  // namespace jaxmps::scalar
