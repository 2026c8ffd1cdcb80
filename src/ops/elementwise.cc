// Arithmetic, bit operations, comparison and selection, with the semantics of StableHLO where MLX
// has others: integer division rounds towards zero and does not trap, shifts by the width or more
// shift everything out, NaN and the sign of zero survive.
#include "ops/elementwise.h"

namespace jaxmps::ops {

mx::Dtype unsigned_dtype(mx::Dtype dtype) {
  switch (dtype.size()) {
    case 1:
      return mx::uint8;
    case 2:
      return mx::uint16;
    case 4:
      return mx::uint32;
    default:
      return mx::uint64;
  }
}

mx::array as_unsigned(const mx::array& a, DType type) {
  if (type == DType::pred) return mx::astype(a, mx::uint8);
  const auto bits = mx::view(a, unsigned_dtype(a.dtype()));
  const int width = ir::int_bits(type);
  return width < 8 ? mx::bitwise_and(bits, mx::array((1 << width) - 1, mx::uint8)) : bits;
}

mx::array make_complex(const mx::array& re, const mx::array& im) {
  const auto pairs = mx::stack({mx::astype(re, mx::float32), mx::astype(im, mx::float32)}, -1);
  return mx::reshape(mx::view(pairs, mx::complex64), re.shape());
}

namespace {

// |a| as unsigned; right for the most negative value too.
mx::array magnitude(const mx::array& a) {
  const auto bits = mx::view(a, unsigned_dtype(a.dtype()));
  return mx::where(mx::less(a, scalar(0, a)), mx::subtract(scalar(0, bits), bits), bits);
}

mx::array with_sign(const mx::array& magnitude, const mx::array& negative, mx::Dtype dtype) {
  return mx::view(mx::where(negative, mx::subtract(scalar(0, magnitude), magnitude), magnitude),
                  dtype);
}

}  // namespace

mx::array divide_ints(const mx::array& a, const mx::array& b, DType type) {
  const auto zero = mx::equal(b, scalar(0, b));
  const auto divisor = mx::where(zero, scalar(1, b), b);
  const auto ones = mx::bitwise_invert(scalar(0, a));
  if (!ir::is_signed_int(type) && type != DType::index) {
    return mx::where(zero, ones, mx::floor_divide(a, divisor));
  }
  const auto quotient = mx::floor_divide(magnitude(a), magnitude(divisor));
  const auto negative = mx::not_equal(mx::less(a, scalar(0, a)), mx::less(b, scalar(0, b)));
  return mx::where(zero, ones, with_sign(quotient, negative, a.dtype()));
}

mx::array remainder_ints(const mx::array& a, const mx::array& b, DType type) {
  const auto zero = mx::equal(b, scalar(0, b));
  const auto divisor = mx::where(zero, scalar(1, b), b);
  if (!ir::is_signed_int(type) && type != DType::index) {
    return mx::where(zero, a, mx::remainder(a, divisor));
  }
  const auto rest = mx::remainder(magnitude(a), magnitude(divisor));
  return mx::where(zero, a, with_sign(rest, mx::less(a, scalar(0, a)), a.dtype()));
}

namespace {

mx::array remainder_floats(const mx::array& a, const mx::array& b) {
  const auto rest = mx::remainder(mx::abs(a), mx::abs(b));
  // The sign bit of the dividend, also of -0.
  const auto negative =
      mx::less(mx::where(mx::equal(a, scalar(0, a)), mx::divide(scalar(1, a), a), a), scalar(0, a));
  // Divided by infinity the dividend itself remains.
  const auto finite = mx::where(mx::isinf(b), mx::where(mx::isfinite(a), mx::abs(a), rest), rest);
  return mx::where(negative, mx::negative(finite), finite);
}

// Exponentiation by squaring; a negative exponent gives 0 except for bases 1 and -1.
mx::array power_ints(const mx::array& base, const mx::array& exponent, DType type) {
  const bool is_signed = ir::is_signed_int(type);
  auto result = mx::full_like(base, scalar(1, base));
  auto square = base;
  auto rest = exponent;
  const int steps = ir::int_bits(type) - (is_signed ? 1 : 0);
  for (int i = 0; i < steps; ++i) {
    const auto odd = mx::not_equal(mx::bitwise_and(rest, scalar(1, rest)), scalar(0, rest));
    result = mx::where(odd, mx::multiply(result, square), result);
    square = mx::multiply(square, square);
    rest = mx::right_shift(rest, scalar(1, rest));
  }
  if (!is_signed) return result;
  const auto odd = mx::not_equal(mx::bitwise_and(exponent, scalar(1, base)), scalar(0, base));
  const auto of_minus_one = mx::where(odd, scalar(-1, base), scalar(1, base));
  const auto reciprocal =
      mx::where(mx::equal(base, scalar(1, base)), base,
                mx::where(mx::equal(base, scalar(-1, base)), of_minus_one, scalar(0, base)));
  return mx::where(mx::less(exponent, scalar(0, base)), reciprocal, result);
}

// 0 to the power of w: 1 for w = 0, else 0 (MLX computes exp(w log 0), which is NaN).
mx::array power_complex(const mx::array& a, const mx::array& b) {
  const auto zero = mx::array(mx::complex64_t{0, 0}), one_ = mx::array(mx::complex64_t{1, 0});
  const auto of_zero = mx::where(mx::equal(b, zero), one_, zero);
  return mx::where(mx::equal(a, zero), of_zero, mx::power(a, b));
}

mx::array sign_floats(const mx::array& a) {
  const auto keep = mx::logical_or(mx::isnan(a), mx::equal(a, scalar(0, a)));
  return mx::where(keep, a, mx::sign(a));
}

mx::array sign_complex(const mx::array& a) {
  const auto size = mx::abs(a);
  const auto none = mx::equal(size, mx::array(0.0f));
  const auto divisor = mx::where(none, mx::array(1.0f), size);
  const auto unit =
      make_complex(mx::divide(mx::real(a), divisor), mx::divide(mx::imag(a), divisor));
  return mx::where(none, a, unit);
}

mx::array shift(const mx::array& a, const mx::array& by, DType type, bool left) {
  const auto bits = as_unsigned(a, type);
  const auto amount = as_unsigned(by, type);
  const auto width = scalar(ir::int_bits(type), bits);
  const auto inside = mx::less(amount, width);
  const auto safe = mx::where(inside, amount, scalar(0, amount));
  const auto moved = left ? mx::left_shift(bits, safe) : mx::right_shift(bits, safe);
  return mx::view(mx::where(inside, moved, scalar(0, bits)), a.dtype());
}

mx::array shift_arithmetic(const mx::array& a, const mx::array& by, DType type) {
  const int width = ir::int_bits(type);
  const auto amount = as_unsigned(by, type);
  const auto clipped = mx::minimum(amount, scalar(width - 1, amount));
  if (ir::is_signed_int(type)) return mx::right_shift(a, mx::view(clipped, a.dtype()));
  // An unsigned operand is shifted as if it were signed.
  const mx::Dtype as_signed = width <= 8    ? mx::int8
                              : width == 16 ? mx::int16
                              : width == 32 ? mx::int32
                                            : mx::int64;
  auto bits = mx::view(a, as_signed);
  if (width < 8) {
    const auto up = scalar(8 - width, bits);
    bits = mx::right_shift(mx::left_shift(bits, up), up);
  }
  return mx::view(mx::right_shift(bits, mx::view(clipped, as_signed)), a.dtype());
}

mx::array popcnt(const mx::array& a, DType type) {
  auto bits = as_unsigned(a, type);
  const int width = std::max(8, ir::int_bits(type));
  auto repeat = [&](uint64_t byte) {
    return scalar((0x0101010101010101ull * byte) >> (64 - width), bits);
  };
  auto field = [&](const mx::array& x, int by, uint64_t mask) {
    return mx::bitwise_and(mx::right_shift(x, scalar(by, x)), repeat(mask));
  };
  bits = mx::subtract(bits, field(bits, 1, 0x55));
  bits = mx::add(field(bits, 0, 0x33), field(bits, 2, 0x33));
  bits = mx::bitwise_and(mx::add(bits, mx::right_shift(bits, scalar(4, bits))), repeat(0x0f));
  for (int by = 8; by < width; by *= 2)
    bits = mx::add(bits, mx::right_shift(bits, scalar(by, bits)));
  return mx::view(mx::bitwise_and(bits, scalar(0x7f, bits)), a.dtype());
}

mx::array count_leading_zeros(const mx::array& a, DType type) {
  // Smears the highest bit downwards: what is set then is not leading.
  auto bits = as_unsigned(a, type);
  const int width = ir::int_bits(type);
  for (int by = 1; by < width; by *= 2) {
    bits = mx::bitwise_or(bits, mx::right_shift(bits, scalar(by, bits)));
  }
  const auto set = mx::view(popcnt(mx::view(bits, a.dtype()), type), a.dtype());
  return mx::subtract(scalar(width, a), set);
}

// Integers that order like the floats do in IEEE 754's total order.
mx::array total_order_key(const mx::array& a) {
  const mx::Dtype dtype = a.dtype().size() == 2   ? mx::int16
                          : a.dtype().size() == 4 ? mx::int32
                                                  : mx::int64;
  const auto bits = mx::view(a, dtype);
  const int width = 8 * static_cast<int>(a.dtype().size());
  const auto low_bits = scalar(static_cast<int64_t>(~uint64_t{0} >> (65 - width)), bits);
  return mx::where(mx::less(bits, scalar(0, bits)), mx::bitwise_xor(bits, low_bits), bits);
}

mx::array compare(const mx::array& a, const mx::array& b, ir::CompareDirection direction) {
  switch (direction) {
    case ir::CompareDirection::eq:
      return mx::equal(a, b);
    case ir::CompareDirection::ne:
      return mx::not_equal(a, b);
    case ir::CompareDirection::ge:
      return mx::greater_equal(a, b);
    case ir::CompareDirection::gt:
      return mx::greater(a, b);
    case ir::CompareDirection::le:
      return mx::less_equal(a, b);
    default:
      return mx::less(a, b);
  }
}

// The zero that wins, and where it is among the elements.
mx::array best_zero(const mx::array& a, bool maximum) { return scalar(maximum ? 0.0f : -0.0f, a); }
mx::array is_best_zero(const mx::array& a, bool maximum) {
  const auto bits = mx::view(a, unsigned_dtype(a.dtype()));
  return mx::equal(bits, mx::view(best_zero(a, maximum), bits.dtype()));
}

// `best` with that zero where a zero is best and `has_zero` says that it is among the candidates.
mx::array with_zero(const mx::array& best, const mx::array& has_zero, bool maximum) {
  const auto zero = mx::logical_and(has_zero, mx::equal(best, scalar(0, best)));
  return mx::where(zero, best_zero(best, maximum), best);
}

}  // namespace

mx::array extreme(const mx::array& a, const mx::array& b, bool maximum) {
  if (a.dtype() == mx::bool_) return maximum ? mx::logical_or(a, b) : mx::logical_and(a, b);
  mx::array best = maximum ? mx::maximum(a, b) : mx::minimum(a, b);
  if (!mx::issubdtype(a.dtype(), mx::floating)) return best;
  // Of equal numbers, zeros of both signs among them, the sign bit of one or of both.
  const auto x = mx::view(a, unsigned_dtype(a.dtype())), y = mx::view(b, unsigned_dtype(a.dtype()));
  const auto bits = maximum ? mx::bitwise_and(x, y) : mx::bitwise_or(x, y);
  return mx::where(mx::equal(a, b), mx::view(bits, a.dtype()), best);
}

mx::array extreme_along(const mx::array& a, const std::vector<int>& axes, bool keepdims,
                        bool maximum) {
  if (a.dtype() == mx::bool_) {
    return maximum ? mx::any(a, axes, keepdims) : mx::all(a, axes, keepdims);
  }
  mx::array best = maximum ? mx::max(a, axes, keepdims) : mx::min(a, axes, keepdims);
  if (!mx::issubdtype(a.dtype(), mx::floating)) return best;
  return with_zero(best, mx::any(is_best_zero(a, maximum), axes, keepdims), maximum);
}

mx::array extreme_so_far(const mx::array& a, int axis, bool reverse, bool maximum) {
  mx::array best = maximum ? mx::cummax(a, axis, reverse) : mx::cummin(a, axis, reverse);
  if (!mx::issubdtype(a.dtype(), mx::floating)) return best;
  // Not every scan of MLX keeps NaN either. What has been met: 1 for the zero, 2 for NaN.
  const auto met = mx::cummax(
      mx::where(mx::isnan(a), mx::array(2), mx::astype(is_best_zero(a, maximum), mx::int32)), axis,
      reverse);
  return mx::where(mx::equal(met, mx::array(2)), scalar(NAN, a),
                   with_zero(best, mx::equal(met, mx::array(1)), maximum));
}

ANY_DTYPE_OP(add) {
  if (ctx.in(0).dtype == DType::pred) {
    return binary(ctx, [](const auto& a, const auto& b) { return mx::logical_or(a, b); });
  }
  return binary(ctx, [](const auto& a, const auto& b) { return mx::add(a, b); });
}

ANY_DTYPE_OP(subtract) {
  return binary(ctx, [](const auto& a, const auto& b) { return mx::subtract(a, b); });
}

ANY_DTYPE_OP(multiply) {
  if (ctx.in(0).dtype == DType::pred) {
    return binary(ctx, [](const auto& a, const auto& b) { return mx::logical_and(a, b); });
  }
  return binary(ctx, [](const auto& a, const auto& b) { return mx::multiply(a, b); });
}

ANY_DTYPE_OP(divide) {
  const DType t = ctx.in(0).dtype;
  if (ir::is_int(t)) {
    return binary(ctx, [t](const auto& a, const auto& b) { return divide_ints(a, b, t); });
  }
  return binary(ctx, [](const auto& a, const auto& b) { return mx::divide(a, b); });
}

ANY_DTYPE_OP(remainder) {
  const DType t = ctx.in(0).dtype;
  if (ir::is_complex(t)) return ctx.fail("there is no remainder of complex numbers");
  if (ir::is_int(t)) {
    return binary(ctx, [t](const auto& a, const auto& b) { return remainder_ints(a, b, t); });
  }
  return binary(ctx, remainder_floats);
}

ANY_DTYPE_OP(power) {
  const DType t = ctx.in(0).dtype;
  if (ir::is_int(t)) {
    return binary(ctx, [t](const auto& a, const auto& b) { return power_ints(a, b, t); });
  }
  if (t == DType::c64) return binary(ctx, power_complex);
  return binary(ctx, [](const auto& a, const auto& b) { return mx::power(a, b); });
}

ANY_DTYPE_OP(maximum) {
  return binary(ctx, [](const auto& a, const auto& b) { return extreme(a, b, true); });
}

ANY_DTYPE_OP(minimum) {
  return binary(ctx, [](const auto& a, const auto& b) { return extreme(a, b, false); });
}

ANY_DTYPE_OP(abs) {
  return unary(ctx, [](const auto& a) { return mx::abs(a); });
}

ANY_DTYPE_OP(negate) {
  if (ir::is_unsigned_int(ctx.in(0).dtype)) {
    return unary(ctx, [](const auto& a) { return mx::subtract(scalar(0, a), a); });
  }
  return unary(ctx, [](const auto& a) { return mx::negative(a); });
}

ANY_DTYPE_OP(sign) {
  const DType t = ctx.in(0).dtype;
  if (t == DType::c64) return unary(ctx, sign_complex);
  if (ir::is_float(t)) return unary(ctx, sign_floats);
  return unary(ctx, [](const auto& a) { return mx::sign(a); });
}

ANY_DTYPE_OP(and_) {
  return binary(ctx, [](const mx::array& a, const mx::array& b) { return mx::bitwise_and(a, b); });
}
ANY_DTYPE_OP(or_) {
  return binary(ctx, [](const mx::array& a, const mx::array& b) { return mx::bitwise_or(a, b); });
}
ANY_DTYPE_OP(xor_) {
  if (ctx.in(0).dtype == DType::pred) {
    return binary(ctx, [](const auto& a, const auto& b) { return mx::not_equal(a, b); });
  }
  return binary(ctx, [](const mx::array& a, const mx::array& b) { return mx::bitwise_xor(a, b); });
}
ANY_DTYPE_OP(not_) {
  if (ctx.in(0).dtype == DType::pred) {
    return unary(ctx, [](const auto& a) { return mx::logical_not(a); });
  }
  return unary(ctx, [](const auto& a) { return mx::bitwise_invert(a); });
}

ANY_DTYPE_OP(shift_left) {
  const DType t = ctx.in(0).dtype;
  return binary(ctx, [t](const auto& a, const auto& b) { return shift(a, b, t, true); });
}
ANY_DTYPE_OP(shift_right_logical) {
  const DType t = ctx.in(0).dtype;
  return binary(ctx, [t](const auto& a, const auto& b) { return shift(a, b, t, false); });
}
ANY_DTYPE_OP(shift_right_arithmetic) {
  const DType t = ctx.in(0).dtype;
  return binary(ctx, [t](const auto& a, const auto& b) { return shift_arithmetic(a, b, t); });
}
ANY_DTYPE_OP(popcnt) {
  const DType t = ctx.in(0).dtype;
  return unary(ctx, [t](const auto& a) { return popcnt(a, t); });
}
ANY_DTYPE_OP(count_leading_zeros) {
  const DType t = ctx.in(0).dtype;
  return unary(ctx, [t](const auto& a) { return count_leading_zeros(a, t); });
}

ANY_DTYPE_OP(compare) {
  const auto direction = ctx.op.enum_attr<ir::CompareDirection>("comparison_direction");
  const auto type = ctx.op.enum_attr<ir::CompareType>("compare_type");
  const bool equality =
      direction == ir::CompareDirection::eq || direction == ir::CompareDirection::ne;
  if (ir::is_complex(ctx.in(0).dtype) && !equality) {
    return ctx.fail("complex numbers have no order");
  }
  if (type == ir::CompareType::total_order) {
    return binary(ctx, [=](const auto& a, const auto& b) {
      return compare(total_order_key(a), total_order_key(b), direction);
    });
  }
  return binary(ctx, [=](const auto& a, const auto& b) { return compare(a, b, direction); });
}

MOVEMENT_OP(select) {
  return graph([](Inputs in) { return one(mx::where(in[0], in[1], in[2])); });
}

ANY_DTYPE_OP(clamp) {
  if (auto why = refused_types(ctx); !why.empty()) return ctx.fail(why);
  const DType t = ctx.in(1).dtype;
  return graph([t](Inputs in) {
    const auto low = widen(in[0], t), x = widen(in[1], t), high = widen(in[2], t);
    return one(narrow(extreme(extreme(x, low, true), high, false), t));
  });
}

}  // namespace jaxmps::ops
