// What tests over all rows of the table of scalar functions ask.
#pragma once

#include "scalar/scalar.h"

namespace jaxmps::testing {

// How many operands the function takes; its class says it.
inline int operand_count(scalar::Opcode op) {
  using scalar::OpClass;
  const OpClass c = scalar::class_of(op);
  const bool is_unary = c == OpClass::real_unary || c == OpClass::trig_unary ||
                        c == OpClass::real_test || c == OpClass::number_unary ||
                        c == OpClass::bits_unary;
  return is_unary ? 1 : 2;
}

}  // namespace jaxmps::testing
