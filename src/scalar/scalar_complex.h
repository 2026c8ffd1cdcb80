// Complex arithmetic on pairs of real instructions, for ScalarBuilder. Internal to scalar programs.
// Holds a reference to the builder for the length of one call; single-threaded.
#pragma once

#include "scalar/scalar.h"

namespace jaxmps::scalar {

struct Complex {
  ScalarBuilder& b;
  DType dtype, type;

  using V = ScalarValue;
  int32_t real(double value) const { return b.real_constant(type, value); }
  int32_t op(Opcode code, int32_t x, int32_t y = -1) const { return b.emit(code, type, x, y); }
  int32_t add(int32_t x, int32_t y) const { return op(Opcode::add, x, y); }
  int32_t sub(int32_t x, int32_t y) const { return op(Opcode::sub, x, y); }
  int32_t mul(int32_t x, int32_t y) const { return op(Opcode::mul, x, y); }
  int32_t div(int32_t x, int32_t y) const { return op(Opcode::div, x, y); }
  int32_t neg(int32_t x) const { return op(Opcode::neg, x); }
  int32_t test(Opcode code, int32_t x, int32_t y) const { return b.emit(code, DType::pred, x, y); }
  int32_t pick(int32_t p, int32_t x, int32_t y) const {
    return b.emit(Opcode::select, type, p, x, y);
  }
  V make(int32_t re, int32_t im) const { return {dtype, re, im}; }

  int32_t abs(V x) const { return op(Opcode::hypot, x.re, x.im); }
  V negate(V x) const { return make(neg(x.re), neg(x.im)); }
  V plus(V x, V y) const { return make(add(x.re, y.re), add(x.im, y.im)); }
  V minus(V x, V y) const { return make(sub(x.re, y.re), sub(x.im, y.im)); }
  V times(V x, V y) const;
  // i x and -i x.
  V turned(V x) const { return make(neg(x.im), x.re); }
  V turned_back(V x) const { return make(x.im, neg(x.re)); }
  V over(V x, V y) const;
  V over_finite(V x, V y) const;
  // Whether a part is infinite.
  int32_t infinite(V x) const;
  // Infinite parts as 1 of their sign, others as 0 of theirs.
  V direction(V x) const;
  V exp(V x) const;
  V expm1(V x) const;
  V log(V x) const;
  V atan2(V y, V x) const;
  V log1p(V x) const;
  V sqrt(V x) const;
  V rsqrt(V x) const;
  V tanh(V x) const;
  V sin(V x) const;
  V cos(V x) const;
  V pow(V x, V y) const;
  V sign(V x) const;
  // max (or min) in the lexicographic order of the parts.
  V extremum(V x, V y, bool maximum) const;
};

}  // namespace jaxmps::scalar
