// Conversions between element types: by value, by bits, and to fewer bits of precision.
#include "ops/elementwise.h"

namespace jaxmps::ops {
namespace {

// Towards zero; values beyond the range give its nearest end, NaN gives 0.
mx::array float_to_int(const mx::array& a, DType to) {
  const bool half = a.dtype() == mx::float16 || a.dtype() == mx::bfloat16;
  const auto x = half ? mx::astype(a, mx::float32) : a;
  const bool is_signed = !ir::is_unsigned_int(to);
  const int bits = to == DType::index ? 64 : ir::int_bits(to);
  const double above = std::ldexp(1.0, is_signed ? bits - 1 : bits);
  const double least = is_signed ? -above : 0;
  const auto too_big = mx::greater_equal(x, scalar(above, x));
  const auto too_small = mx::less(x, scalar(least, x));
  const auto inside =
      mx::logical_and(mx::greater_equal(x, scalar(least, x)), mx::less(x, scalar(above, x)));
  const mx::Dtype dtype = storage_dtype(to);
  const auto value = mx::astype(mx::where(inside, x, scalar(0, x)), dtype);
  const uint64_t ones = ~uint64_t{0};
  const auto high = is_signed ? mx::array(static_cast<int64_t>(ones >> (65 - bits)), dtype)
                              : mx::array(ones >> (64 - bits), dtype);
  const auto low =
      is_signed ? mx::array(static_cast<int64_t>(ones << (bits - 1)), dtype) : mx::array(0, dtype);
  return mx::where(too_big, high, mx::where(too_small, low, value));
}

int bit_width(DType dtype) {
  switch (dtype) {
    case DType::s2:
    case DType::u2:
      return 2;
    case DType::s4:
    case DType::u4:
    case DType::f4e2m1fn:
      return 4;
    case DType::f6e2m3fn:
    case DType::f6e3m2fn:
      return 6;
    default:
      return 8 * ir::byte_size(dtype);
  }
}

// Elements of a sub-byte type packed into bytes, the first one in the low bits.
mx::array pack(const mx::array& a, int bits) {
  const auto fields =
      mx::bitwise_and(mx::view(a, mx::uint8), mx::array((1 << bits) - 1, mx::uint8));
  const auto rows = mx::reshape(fields, {-1, 8 / bits});
  auto bytes = mx::zeros({rows.shape(0)}, mx::uint8);
  for (int i = 0; i < 8 / bits; ++i) {
    const auto field = mx::take(rows, i, 1);
    bytes = mx::bitwise_or(bytes, mx::left_shift(field, mx::array(i * bits, mx::uint8)));
  }
  return bytes;
}

mx::array unpack(const mx::array& bytes, int bits) {
  Arrays fields;
  for (int i = 0; i < 8 / bits; ++i) {
    fields.push_back(mx::bitwise_and(mx::right_shift(bytes, mx::array(i * bits, mx::uint8)),
                                     mx::array((1 << bits) - 1, mx::uint8)));
  }
  return mx::flatten(mx::stack(fields, -1));
}

// Sets the bits above the value as the storage of the type has them.
mx::array stored(const mx::array& fields, DType type) {
  const mx::Dtype dtype = storage_dtype(type);
  if (type == DType::s2 || type == DType::s4) return narrow(mx::view(fields, dtype), type);
  return mx::view(fields, dtype);
}

mx::array bitcast(const mx::array& a, DType from, DType to) {
  const int from_bits = bit_width(from), to_bits = bit_width(to);
  if (from_bits == to_bits) {
    return from_bits < 8 ? stored(mx::bitwise_and(mx::view(a, mx::uint8),
                                                  mx::array((1 << from_bits) - 1, mx::uint8)),
                                  to)
                         : mx::view(a, storage_dtype(to));
  }
  const auto flat = mx::flatten(a);
  const auto bytes = from_bits < 8 ? pack(flat, from_bits) : mx::view(flat, mx::uint8);
  return to_bits < 8 ? stored(unpack(bytes, to_bits), to) : mx::view(bytes, storage_dtype(to));
}

struct FloatFormat {
  int mantissa, exponent;
};

FloatFormat format_of(mx::Dtype dtype) {
  if (dtype == mx::float16) return {10, 5};
  if (dtype == mx::bfloat16) return {7, 8};
  if (dtype == mx::float32) return {23, 8};
  return {52, 11};
}

// Rounds the fraction to nearest even, then sends what the exponent cannot hold to infinity and
// what is too small to zero. On the bits of the float.
mx::array reduce_precision(const mx::array& a, int exponent_bits, int mantissa_bits) {
  const auto [mantissa, exponent] = format_of(a.dtype());
  const mx::Dtype uint = unsigned_dtype(a.dtype());
  auto constant = [&](uint64_t value) { return mx::array(value, uint); };
  const uint64_t sign_bit = uint64_t{1} << (mantissa + exponent);
  const uint64_t infinity = sign_bit - (uint64_t{1} << mantissa);
  const auto bits = mx::view(a, uint);
  const auto sign = mx::bitwise_and(bits, constant(sign_bit));
  auto magnitude = mx::bitwise_and(bits, constant(sign_bit - 1));
  if (mantissa_bits < mantissa) {
    const int drop = mantissa - mantissa_bits;
    const auto odd = mx::bitwise_and(mx::right_shift(magnitude, constant(drop)), constant(1));
    const auto up = mx::add(magnitude, mx::add(odd, constant((uint64_t{1} << (drop - 1)) - 1)));
    magnitude = mx::bitwise_and(up, constant(~((uint64_t{1} << drop) - 1)));
  }
  if (exponent_bits < exponent) {
    const uint64_t bias = (uint64_t{1} << (exponent - 1)) - 1;
    const uint64_t reach = (uint64_t{1} << (exponent_bits - 1)) - 1;
    const uint64_t most = ((bias + reach + 1) << mantissa) - 1;
    const uint64_t least = (bias - reach + 1) << mantissa;
    magnitude = mx::where(mx::greater(magnitude, constant(most)), constant(infinity), magnitude);
    magnitude = mx::where(mx::less(magnitude, constant(least)), constant(0), magnitude);
  }
  const auto reduced = mx::view(mx::bitwise_or(sign, magnitude), a.dtype());
  return mx::where(mx::isnan(a), a, reduced);
}

}  // namespace

mx::array convert_array(const mx::array& a, DType from, DType to) {
  if (from == to) return a;
  auto x = widen(a, from);
  if (to == DType::pred) return mx::not_equal(x, scalar(0, x));
  if (ir::is_complex(from) && !ir::is_complex(to)) {
    x = mx::real(x);
    from = DType::f32;
  }
  if (ir::is_float(from) && ir::is_int(to)) return float_to_int(x, to);
  if (is_small_float(to)) return narrow(mx::astype(x, mx::float32), to);
  return narrow(mx::astype(x, storage_dtype(to)), to);
}

ANY_DTYPE_OP(convert) {
  if (auto why = refused_types(ctx); !why.empty()) return ctx.fail(why);
  return graph([from = ctx.in(0).dtype, to = ctx.out().dtype](Inputs in) {
    return one(convert_array(in[0], from, to));
  });
}

MOVEMENT_OP(bitcast_convert) {
  const DType from = ctx.in(0).dtype, to = ctx.out().dtype;
  if (from == to) {
    return graph([](Inputs in) { return one(in[0]); });
  }
  if (from == DType::pred || to == DType::pred) return ctx.fail("i1 has no bit pattern to cast");
  const int widths = bit_width(from) + bit_width(to);
  if ((bit_width(from) == 6 || bit_width(to) == 6) && widths != 12) {
    return ctx.fail("6-bit floats only cast to 6-bit floats");
  }
  return graph([=, shape = ctx.out_shape()](Inputs in) {
    return one(mx::reshape(bitcast(in[0], from, to), shape));
  });
}

ANY_DTYPE_OP(reduce_precision) {
  const int exponent = static_cast<int>(ctx.op.i64("exponent_bits"));
  const int mantissa = static_cast<int>(ctx.op.i64("mantissa_bits"));
  return unary(ctx, [=](const auto& a) { return reduce_precision(a, exponent, mantissa); });
}

ANY_DTYPE_OP(real) {
  if (!ir::is_complex(ctx.in(0).dtype)) {
    return unary(ctx, [](const auto& a) { return a; });
  }
  return unary(ctx, [](const auto& a) { return mx::real(a); });
}

ANY_DTYPE_OP(imag) {
  if (!ir::is_complex(ctx.in(0).dtype)) {
    return unary(ctx, [](const auto& a) { return mx::zeros_like(a); });
  }
  return unary(ctx, [](const auto& a) { return mx::imag(a); });
}

ANY_DTYPE_OP(complex) { return binary(ctx, make_complex); }

}  // namespace jaxmps::ops
