// Scalar instructions as text of a GPU kernel, the same in every dialect: calls of functions that
// are named as in C++, most of which have one text (scalar/portable.def). Pure functions.
#pragma once

#include <string>

#include "scalar/scalar.h"

namespace jaxmps::kernels {

std::string gpu_hex(uint64_t value);
// The type of a machine value: "f32", "u8" (booleans too), ...
std::string gpu_type(DType machine);

// The instruction as an expression, its operands being text already. `load`, `reduce_*` and the
// threefry pair are statements and not taken.
Result<std::string> gpu_expression(const ScalarProgram& program, const ScalarInstr& instr,
                                   const std::string& a, const std::string& b,
                                   const std::string& c);
// a and b combined by a reduce_* opcode.
std::string gpu_combine(Opcode reduce, DType type, const std::string& a, const std::string& b);
// What changes nothing when it is combined: -0 for a sum, whose zeros are then all -0's.
std::string gpu_neutral(Opcode reduce, DType type);

}  // namespace jaxmps::kernels
