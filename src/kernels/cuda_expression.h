// Scalar instructions as CUDA text. Pure functions; the semantics are those of scalar_math.h and
// scalar_int.h, as far as they are not plain C++ in functions of cuda_prelude().
#pragma once

#include <string>

#include "scalar/scalar.h"

namespace jaxmps::kernels {

std::string cuda_hex(uint64_t value);
// The type of a machine value: "f32", "u8" (booleans too), ...
std::string cuda_type(DType machine);
inline bool is_real_machine(DType t) { return t == DType::f32 || t == DType::f64; }

// The instruction as an expression, its operands being text already. `load`, `reduce_*` and the
// threefry pair are statements and not taken.
Result<std::string> cuda_expression(const ScalarProgram& program, const ScalarInstr& instr,
                                    const std::string& a, const std::string& b,
                                    const std::string& c);
// a and b combined by a reduce_* opcode.
std::string cuda_combine(Opcode reduce, DType type, const std::string& a, const std::string& b);
// What changes nothing when it is combined: -0 for a sum, whose zeros are then all -0's.
std::string cuda_neutral(Opcode reduce, DType type);

}  // namespace jaxmps::kernels
