// Matrix products of every type on MLX, exact for integers; shared by dot and convolution.
// Pure functions on lazy arrays; any thread.
#pragma once

#include "ops/op.h"

namespace jaxmps::ops {

// A product's types and how exact float32 has to be.
struct ProductType {
  DType lhs, rhs, out;
  // float32 operands go in parts, because the target would round them to fewer bits.
  bool splits = false;
  ir::Pace pace = {};  // of the target
};

// The product type of dot_general, dot or convolution; refuses what `multiply_matrices` cannot do.
Result<ProductType> product_type(const OpContext& ctx);

// [..., M, K] x [..., K, N] in storage types, with equal leading dimensions.
mx::array multiply_matrices(const mx::array& a, const mx::array& b, const ProductType& type);

// Elements [from, to) along an axis.
mx::array part_of(const mx::array& a, int axis, int from, int to);
// Work on `size` elements that may take too long: f(from, to) of so many parts, joined along
// `axis`.
mx::array in_pieces(int64_t size, int64_t pieces, int axis,
                    const std::function<mx::array(int from, int to)>& f);

}  // namespace jaxmps::ops
