// Loop analysis: see loops.cc. One thread per module.
#pragma once

#include <optional>

#include "ir/module.h"

namespace jaxmps::passes {

// Marks counted `while` ops with their trip count.
Status count_loops(ir::Module& module);
// By how much each trip changes the carried integer, if by a constant.
std::optional<int64_t> step_of(const ir::Region& body, int carried);

}  // namespace jaxmps::passes
