// The opcodes of scalar programs (scalar.h). Everything here is stateless.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "ir/type.h"

namespace jaxmps::scalar {

using ir::DType;

// Opcodes that are no functions of their operands' values alone; see ScalarInstr.
#define JAXMPS_STRUCTURAL_OPCODES(X)                                                            \
  X(input)                                                                                      \
  X(load)                                                                                       \
  X(constant) X(convert) X(bitcast) X(encode) X(decode) X(round_to) X(reduce_precision) X(wrap) \
      X(select) X(threefry) X(threefry_second) X(total)

// The others stand in ir/scalar_ops.def.
enum class Opcode : uint8_t {
#define X(name) name,
  JAXMPS_STRUCTURAL_OPCODES(X)
#undef X
#define SCALAR_OP(opcode, ...) opcode,
#define SCALAR_HELPER(opcode, ...) opcode,
#define SCALAR_REDUCTION(opcode, combining) opcode,
#include "ir/scalar_ops.def"
};

inline constexpr int kOpcodeCount = 0
#define X(name) +1
    JAXMPS_STRUCTURAL_OPCODES(X)
#undef X
#define SCALAR_OP(...) +1
#define SCALAR_HELPER(...) +1
#define SCALAR_REDUCTION(...) +1
#include "ir/scalar_ops.def"
    ;

// What an opcode is called with, as ir/scalar_ops.def says.
enum class OpClass : uint8_t {
  structural,
  real_unary,
  trig_unary,
  real_test,
  number_unary,
  bits_unary,
  wrapping_binary,
  number_binary,
  bits_binary,
  int_binary,
  real_binary,
  equality,
  order,
  reduction,
};

struct OpcodeInfo {
  std::string_view name;
  OpClass op_class;
  double cost;  // nanoseconds per float32 element
  double ulps;  // of float32; 0: the result needs no more digits than the operands have
};
// From this cost on a value is rather kept than computed again.
inline constexpr double kExpensive = 0.8;
const OpcodeInfo& info(Opcode op);
inline OpClass class_of(Opcode op) { return info(op).op_class; }
inline bool is_reduction(Opcode op) { return class_of(op) == OpClass::reduction; }
// What a reduction combines its values with, and the reduction that combines so, if there is one.
Opcode combining(Opcode reduction);
std::optional<Opcode> reduction_of(Opcode combining);
// What does on truth values what the opcode does on numbers.
Opcode of_booleans(Opcode op);
inline std::string_view name(Opcode op) { return info(op).name; }

// The type an instruction computes with for a value of this dtype: f32 for narrow floats, s8 or u8
// for narrow integers, the real type for complex ones.
DType machine_type(DType dtype);
// The type a buffer of this dtype is read as before any decoding: u16 for bf16, u8 for f8.
DType storage_machine_type(DType dtype);

}  // namespace jaxmps::scalar

// Kernels are described and made with them.
namespace jaxmps::kernels {
using namespace scalar;
}
