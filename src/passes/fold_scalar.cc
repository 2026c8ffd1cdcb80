// Elementwise ops on single numbers. Floats are computed in double: for + - * / and sqrt, rounding the
// double to float32, float16 or bfloat16 gives what computing in that type gives. Integers wrap.
#include <cmath>
#include <limits>
#include <unordered_map>

#include "passes/fold.h"

namespace jaxmps::passes {
namespace {

using ir::DType;
using ir::Op;
using ir::OpId;

bool is_unsigned(DType dtype) { return ir::is_unsigned_int(dtype) || dtype == DType::pred; }

int64_t wrap(DType dtype, uint64_t bits) {
  const int width = ir::int_bits(dtype);
  if (width == 64) return static_cast<int64_t>(bits);
  const int shift = 64 - width;
  return is_unsigned(dtype) ? static_cast<int64_t>((bits << shift) >> shift)
                            : static_cast<int64_t>(bits << shift) >> shift;
}

bool less(DType dtype, int64_t a, int64_t b) {
  return is_unsigned(dtype) ? static_cast<uint64_t>(a) < static_cast<uint64_t>(b) : a < b;
}

// Division of integers: by zero gives all bits set, the remainder the dividend, as XLA defines it.
int64_t divide(DType dtype, int64_t a, int64_t b) {
  if (b == 0) return wrap(dtype, ~uint64_t(0));
  if (is_unsigned(dtype)) return static_cast<int64_t>(uint64_t(a) / uint64_t(b));
  if (b == -1) return wrap(dtype, -static_cast<uint64_t>(a));
  return a / b;
}

int64_t remainder(DType dtype, int64_t a, int64_t b) {
  if (b == 0) return a;
  if (is_unsigned(dtype)) return static_cast<int64_t>(uint64_t(a) % uint64_t(b));
  return b == -1 ? 0 : a % b;
}

double maximum(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<double>::quiet_NaN();
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}

double minimum(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<double>::quiet_NaN();
  if (a == b) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}

bool float_binary(OpId id, double a, double b, double* out) {
  switch (id) {
    case OpId::add: *out = a + b; return true;
    case OpId::subtract: *out = a - b; return true;
    case OpId::multiply: *out = a * b; return true;
    case OpId::divide: *out = a / b; return true;
    case OpId::remainder: *out = std::fmod(a, b); return true;
    case OpId::maximum: *out = maximum(a, b); return true;
    case OpId::minimum: *out = minimum(a, b); return true;
    case OpId::power: *out = std::pow(a, b); return true;
    default: return false;
  }
}

bool shift(OpId id, DType dtype, int64_t a, int64_t amount, int64_t* out) {
  const int width = ir::int_bits(dtype);
  const bool too_far = static_cast<uint64_t>(amount) >= static_cast<uint64_t>(width);
  const uint64_t mask = width == 64 ? ~uint64_t(0) : (uint64_t(1) << width) - 1;
  const uint64_t bits = static_cast<uint64_t>(a) & mask;
  switch (id) {
    case OpId::shift_left: *out = too_far ? 0 : wrap(dtype, bits << amount); return true;
    case OpId::shift_right_logical: *out = too_far ? 0 : wrap(dtype, bits >> amount); return true;
    case OpId::shift_right_arithmetic: {
      const int64_t number = static_cast<int64_t>(bits << (64 - width)) >> (64 - width);
      *out = wrap(dtype, static_cast<uint64_t>(number >> (too_far ? 63 : amount)));
      return true;
    }
    default: return false;
  }
}

bool int_binary(OpId id, DType dtype, int64_t a, int64_t b, int64_t* out) {
  const auto ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b);
  const bool pred = dtype == DType::pred;
  switch (id) {
    case OpId::add: *out = pred ? a | b : wrap(dtype, ua + ub); return true;
    case OpId::subtract: *out = wrap(dtype, ua - ub); return !pred;
    case OpId::multiply: *out = wrap(dtype, ua * ub); return true;
    case OpId::divide: *out = divide(dtype, a, b); return !pred;
    case OpId::remainder: *out = remainder(dtype, a, b); return !pred;
    case OpId::maximum: *out = less(dtype, a, b) ? b : a; return true;
    case OpId::minimum: *out = less(dtype, a, b) ? a : b; return true;
    case OpId::and_: *out = a & b; return true;
    case OpId::or_: *out = a | b; return true;
    case OpId::xor_: *out = a ^ b; return true;
    default: return shift(id, dtype, a, b, out);
  }
}

bool binary(const Op& op, DType in, const Scalar* x, Scalar* y) {
  return ir::is_float(in) ? float_binary(op.id, x[0].f, x[1].f, &y->f)
                      : int_binary(op.id, in, x[0].i, x[1].i, &y->i);
}

bool float_unary(OpId id, double a, double* out) {
  switch (id) {
    case OpId::negate: *out = -a; return true;
    case OpId::abs: *out = std::fabs(a); return true;
    case OpId::sign: *out = std::isnan(a) || a == 0 ? a : std::copysign(1.0, a); return true;
    case OpId::floor: *out = std::floor(a); return true;
    case OpId::ceil: *out = std::ceil(a); return true;
    case OpId::round_nearest_even: *out = std::nearbyint(a); return true;
    case OpId::round_nearest_afz: *out = std::round(a); return true;
    case OpId::sqrt: *out = std::sqrt(a); return true;
    case OpId::rsqrt: *out = 1 / std::sqrt(a); return true;
    case OpId::cbrt: *out = std::cbrt(a); return true;
    case OpId::exponential: *out = std::exp(a); return true;
    case OpId::exponential_minus_one: *out = std::expm1(a); return true;
    case OpId::log: *out = std::log(a); return true;
    case OpId::log_plus_one: *out = std::log1p(a); return true;
    case OpId::logistic: *out = 1 / (1 + std::exp(-a)); return true;
    case OpId::tanh: *out = std::tanh(a); return true;
    case OpId::sine: *out = std::sin(a); return true;
    case OpId::cosine: *out = std::cos(a); return true;
    default: return false;
  }
}

bool int_unary(OpId id, DType dtype, int64_t a, int64_t* out) {
  const int width = ir::int_bits(dtype);
  const uint64_t mask = width == 64 ? ~uint64_t(0) : (uint64_t(1) << width) - 1;
  const uint64_t bits = static_cast<uint64_t>(a) & mask;
  switch (id) {
    case OpId::negate: *out = wrap(dtype, -static_cast<uint64_t>(a)); return true;
    case OpId::abs: *out = a < 0 && !is_unsigned(dtype) ? wrap(dtype, -uint64_t(a)) : a; return true;
    case OpId::sign: *out = is_unsigned(dtype) ? a != 0 : (a > 0) - (a < 0); return true;
    case OpId::not_: *out = dtype == DType::pred ? !a : wrap(dtype, ~uint64_t(a)); return true;
    case OpId::popcnt:
    case OpId::count_leading_zeros: {
      int ones = 0, zeros = width;
      for (int i = 0; i < width; ++i) {
        if (!(bits >> i & 1)) continue;
        ++ones;
        zeros = width - 1 - i;
      }
      *out = id == OpId::popcnt ? ones : zeros;
      return true;
    }
    default: return false;
  }
}

bool unary(const Op& op, DType in, const Scalar* x, Scalar* y) {
  return ir::is_float(in) ? float_unary(op.id, x[0].f, &y->f) : int_unary(op.id, in, x[0].i, &y->i);
}

bool is_finite(const Op&, DType, const Scalar* x, Scalar* y) {
  y->i = std::isfinite(x[0].f);
  return true;
}

bool compare(const Op& op, DType in, const Scalar* x, Scalar* y) {
  using D = ir::CompareDirection;
  if (op.find("compare_type") &&
      op.enum_attr<ir::CompareType>("compare_type") == ir::CompareType::total_order) {
    return false;
  }
  const bool real = ir::is_float(in);
  const bool below = real ? x[0].f < x[1].f : less(in, x[0].i, x[1].i);
  const bool above = real ? x[0].f > x[1].f : less(in, x[1].i, x[0].i);
  const bool same = real ? x[0].f == x[1].f : x[0].i == x[1].i;
  switch (op.enum_attr<D>("comparison_direction")) {
    case D::eq: y->i = same; break;
    case D::ne: y->i = !same; break;
    case D::ge: y->i = above || same; break;
    case D::gt: y->i = above; break;
    case D::le: y->i = below || same; break;
    case D::lt: y->i = below; break;
  }
  return true;
}

// Float to integer: towards zero, saturating, NaN gives 0.
int64_t to_integer(double value, DType dtype) {
  const int width = ir::int_bits(dtype);
  const bool no_sign = is_unsigned(dtype);
  if (std::isnan(value)) return 0;
  const double top = std::ldexp(1.0, no_sign ? width : width - 1);
  const double low = no_sign ? 0 : -top;
  if (value >= top) {
    return wrap(dtype, no_sign ? ~uint64_t(0) : (uint64_t(1) << (width - 1)) - 1);
  }
  if (value <= low) return no_sign ? 0 : wrap(dtype, uint64_t(1) << (width - 1));
  return no_sign ? static_cast<int64_t>(static_cast<uint64_t>(value)) : static_cast<int64_t>(value);
}

bool convert(const Op& op, DType in, const Scalar* x, Scalar* y) {
  const DType out = op.result()->type.dtype;
  if (ir::is_float(out)) {
    if (ir::is_float(in)) {
      y->f = x[0].f;
    } else {
      y->f = is_unsigned(in) ? static_cast<double>(static_cast<uint64_t>(x[0].i))
                             : static_cast<double>(x[0].i);
      // A 64-bit integer may round twice on its way to a narrower float.
      return ir::int_bits(in) < 64 || out == DType::f64 || std::fabs(y->f) < 9e15;
    }
  } else if (out == DType::pred) {
    y->i = ir::is_float(in) ? x[0].f != 0 : x[0].i != 0;
  } else {
    y->i = ir::is_float(in) ? to_integer(x[0].f, out) : wrap(out, static_cast<uint64_t>(x[0].i));
  }
  return true;
}

bool select(const Op&, DType, const Scalar* x, Scalar* y) {
  *y = x[0].i ? x[1] : x[2];
  return true;
}

bool clamp(const Op& op, DType, const Scalar* x, Scalar* y) {
  const DType dtype = op.result()->type.dtype;
  if (ir::is_float(dtype)) {
    y->f = minimum(maximum(x[1].f, x[0].f), x[2].f);
  } else {
    const int64_t low = less(dtype, x[1].i, x[0].i) ? x[0].i : x[1].i;
    y->i = less(dtype, low, x[2].i) ? low : x[2].i;
  }
  return true;
}

}  // namespace

bool foldable(DType dtype) {
  return dtype == DType::pred || ir::is_signed_int(dtype) || ir::is_unsigned_int(dtype) ||
         (dtype >= DType::f16 && dtype <= DType::f64);
}

ScalarFunction scalar_function(OpId id) {
  static const auto* table = [] {
    auto* all = new std::unordered_map<OpId, ScalarFunction>{
        {OpId::is_finite, is_finite}, {OpId::compare, compare}, {OpId::convert, convert},
        {OpId::select, select},       {OpId::clamp, clamp},
    };
    for (OpId two : {OpId::add, OpId::subtract, OpId::multiply, OpId::divide, OpId::remainder,
                     OpId::maximum, OpId::minimum, OpId::power, OpId::and_, OpId::or_, OpId::xor_,
                     OpId::shift_left, OpId::shift_right_logical, OpId::shift_right_arithmetic}) {
      all->emplace(two, binary);
    }
    for (OpId one :
         {OpId::negate, OpId::abs, OpId::sign, OpId::floor, OpId::ceil, OpId::round_nearest_even,
          OpId::round_nearest_afz, OpId::sqrt, OpId::rsqrt, OpId::cbrt, OpId::exponential,
          OpId::exponential_minus_one, OpId::log, OpId::log_plus_one, OpId::logistic, OpId::tanh,
          OpId::sine, OpId::cosine, OpId::not_, OpId::popcnt, OpId::count_leading_zeros}) {
      all->emplace(one, unary);
    }
    return all;
  }();
  auto found = table->find(id);
  return found == table->end() ? nullptr : found->second;
}

}  // namespace jaxmps::passes
