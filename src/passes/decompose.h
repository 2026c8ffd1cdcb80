// Rules of decompose(): each replaces one op by others, or leaves it and returns false.
// Stateless functions; one thread per module.
#pragma once

#include "ir/module.h"

namespace jaxmps::passes {

// The rules of one op id. `add` is called once per rule when the table is built.
using DecomposeRule = bool (*)(ir::Op* op);
using AddRule = void (*)(void* table, ir::OpId id, DecomposeRule rule);

void add_collective_rules(AddRule add, void* table);
void add_dot_rules(AddRule add, void* table);
void add_dynamic_rules(AddRule add, void* table);
void add_norm_rules(AddRule add, void* table);

}  // namespace jaxmps::passes
