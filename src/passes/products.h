// Products of dot_general as multiplications and sums. Pure functions of an op, but for what they
// insert before it.
#pragma once

#include "passes/pass.h"

namespace jaxmps::passes {

// What a dimension of a dot_general's operand is: a place among the contracted ones, or in the
// result.
struct ProductDim {
  int64_t place;
  bool is_contracted, is_free;
};
std::vector<ProductDim> product_dims(const Op& dot_general, int operand);

// All products that a dot_general sums, before it: in the order of its result, the contracted
// dimensions in front of number `at`. The operands are of one type.
Value* products_of(Op* dot_general, int64_t at);

// For targets whose products of a matrix by a vector are better fusions: these become broadcasts,
// a multiplication and a reduction, which reads the matrix as it lies.
void expand_vector_products(ir::Module& module);

}  // namespace jaxmps::passes
