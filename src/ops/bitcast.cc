// Bits as elements of another type: where the width stays and in fusions a scalar function, else
// the same memory seen another way, but for elements of less than a byte.
#include "ops/op.h"

namespace jaxmps::ops {
namespace {

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
  if (type != DType::s2 && type != DType::s4) return mx::view(fields, dtype);
  const auto shift = mx::array(8 - ir::bit_width(type), dtype);
  return mx::right_shift(mx::left_shift(mx::view(fields, dtype), shift), shift);
}

mx::array bitcast(const mx::array& a, DType from, DType to) {
  const int from_bits = ir::bit_width(from), to_bits = ir::bit_width(to);
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

}  // namespace

MOVEMENT_OP(bitcast_convert) {
  const DType from = ctx.in(0).dtype, to = ctx.out().dtype;
  if (from == to) {
    return graph([](Inputs in) { return one(in[0]); });
  }
  if (from == DType::pred || to == DType::pred) return ctx.fail("i1 has no bit pattern to cast");
  const int widths = ir::bit_width(from) + ir::bit_width(to);
  if ((ir::bit_width(from) == 6 || ir::bit_width(to) == 6) && widths != 12) {
    return ctx.fail("6-bit floats only cast to 6-bit floats");
  }
  return graph([=, shape = ctx.out_shape()](Inputs in) {
    return one(mx::reshape(bitcast(in[0], from, to), shape));
  });
}

}  // namespace jaxmps::ops
