// Constant folding of one op. Stateless; one thread per module.
#pragma once

#include <vector>

#include "ir/module.h"

namespace jaxmps::passes {

// Constants that equal the op's results, inserted before it; none if the op cannot be folded: an
// operand is no constant, a result has too many elements, or the op is neither a scalar function
// nor one that only moves elements.
std::vector<ir::Value*> fold_op(ir::Op* op);

}  // namespace jaxmps::passes
