// Rules of decompose(): each replaces one op by others, or leaves it.
// Stateless functions; one thread per module.
#pragma once

#include <unordered_map>

#include "ir/module.h"

namespace jaxmps::passes {

using DecomposeRules = std::unordered_map<ir::OpId, void (*)(ir::Op* op)>;

DecomposeRules collective_decompositions();
DecomposeRules dot_decompositions();
DecomposeRules dynamic_decompositions();
DecomposeRules norm_decompositions();

}  // namespace jaxmps::passes
