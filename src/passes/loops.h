// Loop analysis: see loops.cc. One thread per module.
#pragma once

#include "ir/module.h"

namespace jaxmps::passes {

// Marks counted `while` ops with their trip count.
void count_loops(ir::Module& module);

}  // namespace jaxmps::passes
