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

// Whether a dot_general is one product of MLX as its operands are: of floats, not in parts.
bool is_single_product(const ir::Op& op, const ir::Target& target);

// [..., M, K] x [..., K, N] in storage types, with equal leading dimensions.
mx::array multiply_matrices(const mx::array& a, const mx::array& b, const ProductType& type);

// The primitive of alpha * (a x b) + beta * c, of floats, on a stream.
std::shared_ptr<mx::Primitive> product_and_sum(float alpha, float beta, mx::Stream stream);

}  // namespace jaxmps::ops
