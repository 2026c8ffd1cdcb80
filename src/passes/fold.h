// Constant folding of one op. Stateless; one thread per module.
#pragma once

#include "ir/module.h"

namespace jaxmps::passes {

// The constant that equals the op's result, inserted before it; null if the op cannot be folded: an
// operand is no constant, the result has too many elements, or the op or type is not foldable.
ir::Value* fold_op(ir::Op* op);

// In fold_scalar.cc: one element of an elementwise op, given each operand's element type.
struct Scalar {
  int64_t i = 0;  // integers (unsigned 64-bit ones as their bits) and pred
  double f = 0;   // floats
};
using ScalarFunction = bool (*)(const ir::Op& op, ir::DType in, const Scalar* operands,
                                Scalar* result);
// Null for ops that are not folded. The function returns false where it does not know the answer.
ScalarFunction scalar_function(ir::OpId id);
bool foldable(ir::DType dtype);

}  // namespace jaxmps::passes
