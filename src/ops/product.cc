// MLX multiplies matrices of floats only. Integers go through float32 in pieces of eight bits,
// whose products and sums are exact there.
#include <algorithm>

#include "ops/dot.h"
#include "ops/pieces.h"

namespace jaxmps::ops {
namespace {

// One product of MLX, or where it takes long one for each part of the rows, the columns or the
// matrices, whatever there are most of.
mx::array multiply(const mx::array& a, const mx::array& b, const ir::Pace& pace) {
  const int rows = a.shape(-2), columns = b.shape(-1), matrices = a.ndim() > 2 ? a.shape(0) : 1;
  const double flops = 2.0 * static_cast<double>(a.size()) * columns;
  const int64_t pieces = pace.pieces(pace.nanoseconds(flops, 0));
  if (pieces == 1) return mx::matmul(a, b);
  if (matrices >= std::max(rows, columns)) {
    return in_pieces(matrices, pieces, 0, [&](int from, int to) {
      return mx::matmul(part_of(a, 0, from, to), part_of(b, 0, from, to));
    });
  }
  if (rows >= columns) {
    return in_pieces(rows, pieces, -2,
                     [&](int from, int to) { return mx::matmul(part_of(a, -2, from, to), b); });
  }
  return in_pieces(columns, pieces, -1,
                   [&](int from, int to) { return mx::matmul(a, part_of(b, -1, from, to)); });
}

// Adds up the exact products of pieces of K, as integers.
mx::array exact_product(const mx::array& a, const mx::array& b, int piece, mx::Dtype out,
                        const ir::Pace& pace) {
  const int k = a.shape(-1);
  std::optional<mx::array> sum;
  for (int from = 0; from < k; from += piece) {
    const int to = std::min(k, from + piece);
    const auto part = mx::astype(multiply(part_of(a, -1, from, to), part_of(b, -2, from, to), pace),
                                 out == mx::uint8 || out == mx::int8 ? mx::int32 : mx::int64);
    const auto value = mx::astype(part, out);
    sum = sum ? mx::add(*sum, value) : value;
  }
  return *sum;
}

// Digit `i` in base 256 of the two's complement, as float32.
mx::array digit(const mx::array& a, int i) {
  const auto bits = mx::view(a, unsigned_dtype(a.dtype()));
  const auto shifted = mx::right_shift(bits, scalar(8 * i, bits));
  return mx::astype(mx::bitwise_and(shifted, scalar(255, bits)), mx::float32);
}

mx::array multiply_ints(const mx::array& a, const mx::array& b, const ProductType& type) {
  const mx::Dtype out = storage_dtype(type.out);
  if (a.itemsize() == 1 && b.itemsize() == 1) {
    // 1024 products of at most 2^14, or 256 of less than 2^16, stay below 2^24.
    const bool is_signed = a.dtype() == mx::int8 && b.dtype() == mx::int8;
    return exact_product(mx::astype(a, mx::float32), mx::astype(b, mx::float32),
                         is_signed ? 1024 : 256, out, type.pace);
  }
  // Modulo 2^bits of the result, so digits beyond it do not count.
  const auto x = mx::astype(a, out), y = mx::astype(b, out);
  const int digits = static_cast<int>(mx::array(0, out).itemsize());
  std::optional<mx::array> sum;
  for (int i = 0; i < digits; ++i) {
    for (int j = 0; i + j < digits; ++j) {
      const auto part = exact_product(digit(x, i), digit(y, j), 256, out, type.pace);
      const auto value = mx::left_shift(part, scalar(8 * (i + j), part));
      sum = sum ? mx::add(*sum, value) : value;
    }
  }
  return *sum;
}

// float32 rounded to 11 significant bits, towards zero where the nearest would be infinite. Of a
// NaN whose bits are all ones the sum would be a zero.
mx::array rounded_to_tf32(const mx::array& x) {
  const auto bits = mx::view(x, mx::uint32);
  auto cut = [](const mx::array& y) {
    return mx::view(mx::bitwise_and(y, u32(0xffffe000u)), mx::float32);
  };
  const auto nearest = cut(mx::add(bits, u32(0x1000)));
  return mx::where(mx::isfinite(x), mx::where(mx::isfinite(nearest), nearest, cut(bits)), x);
}

// float32 in two parts of at most 11 significant bits each plus a rest, three products.
mx::array multiply_split(const mx::array& a, const mx::array& b, const ir::Pace& pace) {
  const auto a1 = rounded_to_tf32(a), b1 = rounded_to_tf32(b);
  // Infinities count in the first product only: times a zero rest they would become NaN.
  auto finite = [](const mx::array& x, const mx::array& value) {
    return mx::where(mx::isfinite(x), value, mx::array(0.0f));
  };
  const auto a2 = finite(a, mx::subtract(a, a1)), b2 = finite(b, mx::subtract(b, b1));
  const auto small = mx::add(multiply(finite(a, a1), b2, pace), multiply(a2, finite(b, b1), pace));
  return mx::add(multiply(a1, b1, pace), small);
}

mx::array multiply_floats(const mx::array& a, const mx::array& b, const ProductType& type) {
  return type.splits && a.dtype() == mx::float32 ? multiply_split(a, b, type.pace)
                                                 : multiply(a, b, type.pace);
}

mx::array make_complex(const mx::array& re, const mx::array& im) {
  return mx::reshape(mx::view(mx::stack({re, im}, -1), mx::complex64), re.shape());
}

mx::array multiply_complex(const mx::array& a, const mx::array& b, const ProductType& type) {
  const auto ar = mx::real(a), ai = mx::imag(a), br = mx::real(b), bi = mx::imag(b);
  auto product = [&](const auto& x, const auto& y) { return multiply_floats(x, y, type); };
  return make_complex(mx::subtract(product(ar, br), product(ai, bi)),
                      mx::add(product(ar, bi), product(ai, br)));
}

bool is_none(const ir::Attr* attr) {
  if (!attr) return true;
  const auto* type = attr->get_if<ir::Type>();
  return type && type->kind == ir::Type::Kind::none;
}

// Whether the algorithm asks for no more than float32 products with float32 sums, or float64 ones
// of float64 operands, give.
bool satisfies_algorithm(const ir::Op& op, DType operand) {
  const ir::Attr* accumulation = op.find("accumulation_type");
  if (is_none(accumulation)) return true;
  const auto* sum = accumulation->get_if<ir::Type>();
  if (!sum) return false;
  for (const char* name : {"lhs_precision_type", "rhs_precision_type"}) {
    const ir::Attr* attr = op.find(name);
    const auto* type = attr ? attr->get_if<ir::Type>() : nullptr;
    if (!type || (type->dtype == DType::f64 && operand != DType::f64)) return false;
  }
  return sum->dtype != DType::f64 || operand == DType::f64;
}

bool is_exact(DType type) { return ir::is_int(type) || type == DType::pred; }
bool is_half(DType type) { return type == DType::f16 || type == DType::bf16; }

bool asks_full_precision(const ir::Op& op) {
  if (!is_none(op.find("accumulation_type"))) {
    // Algorithms of bf16 or tf32 pieces are asked for by their number of products.
    const auto* type = op.find("lhs_precision_type")->get_if<ir::Type>();
    const auto* products = op.find("num_primitive_operations")->get_if<ir::TypedInt>();
    return (type && type->dtype == DType::f32) || (products && products->value > 1);
  }
  const ir::Attr* config = op.find("precision_config");
  const auto* list = config ? config->get_if<ir::AttrList>() : nullptr;
  if (!list) return false;
  return std::any_of(list->begin(), list->end(), [](const ir::Attr& attr) {
    const auto* precision = attr.get_if<ir::Enum>();
    return precision && precision->value != static_cast<uint8_t>(ir::Precision::standard);
  });
}

}  // namespace

Result<ProductType> product_type(const OpContext& ctx) {
  ProductType type{ctx.in(0).dtype, ctx.in(1).dtype, ctx.out().dtype, false, ctx.target.pace};
  // Passes have brought everything else into this form.
  const bool exact = is_exact(type.lhs) && is_exact(type.rhs) && is_exact(type.out);
  const bool widens = is_half(type.lhs) && type.out == DType::f32;
  if (!exact && (type.lhs != type.rhs || (type.lhs != type.out && !widens))) {
    return ctx.fail("products of these types are not supported");
  }
  if (!satisfies_algorithm(ctx.op, type.lhs)) {
    return ctx.fail("its algorithm is more precise than what the device computes");
  }
  type.splits = !ctx.target.exact_products && asks_full_precision(ctx.op);
  return type;
}

bool is_single_product(const ir::Op& op, const ir::Target& target) {
  const DType type = op.result()->type.dtype;
  return (type == DType::f32 || is_half(type)) && op.operand(0)->type.dtype == type &&
         (target.exact_products || !asks_full_precision(op));
}

std::shared_ptr<mx::Primitive> product_and_sum(float alpha, float beta, mx::Stream stream) {
  const mx::array any({1, 1}, mx::float32, nullptr, {});
  return mx::addmm(any, any, any, alpha, beta, stream).primitive_ptr();
}

mx::array multiply_matrices(const mx::array& a, const mx::array& b, const ProductType& type) {
  const mx::Dtype out = storage_dtype(type.out);
  if (type.lhs == DType::pred) {
    const auto sum = multiply(mx::astype(a, mx::float32), mx::astype(b, mx::float32), type.pace);
    return type.out == DType::pred ? mx::not_equal(sum, mx::array(0.0f)) : mx::astype(sum, out);
  }
  if (ir::is_int(type.lhs)) return multiply_ints(a, b, type);
  if (ir::is_complex(type.lhs)) return multiply_complex(a, b, type);
  // Halves whose products are float32 are summed and left in it.
  return multiply_floats(mx::astype(a, out), mx::astype(b, out), type);
}

}  // namespace jaxmps::ops
