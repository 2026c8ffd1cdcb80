// Scalar programs: the one definition of what StableHLO's elementwise ops mean.
//
// A ScalarProgram is a short SSA list over machine types only (pred and the 8- to 64-bit integers,
// f32, f64). ScalarBuilder lowers everything else while it appends: a complex value is a pair of
// reals; f16, bf16 and smaller floats are f32 values rounded after each op; 2- and 4-bit integers
// are bytes wrapped after each op. So combiners, comparators, fusions and all printers of fusions
// see a few opcodes with one meaning. Programs are values: build once, evaluate from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "ir/module.h"
#include "scalar/opcode.h"

namespace jaxmps::scalar {

// The opcode of an op that is one scalar function.
std::optional<Opcode> opcode_of(ir::OpId id);

// One instruction; its value has machine type `type`.
//   input     imm = 2 * parameter + part (part 1: the imaginary half)
//   load      imm = index into Fusion::accesses (only in fusions); a, where there is one, is the
//             number of elements (s32 or s64) by which the access is moved: a gather
//   constant  imm = the value's bits, zero-extended
//   convert   from the type of a. Float to integer truncates, saturates, NaN gives 0.
//   bitcast   from the type of a, same width
//   encode, decode: imm = a narrow float DType; f32 <-> its bits in u8 or u16
//   round_to  imm = a narrow float DType: decode(encode(a))
//   reduce_precision  imm = exponent bits << 8 | mantissa bits
//   wrap      imm = bits kept (2 or 4), sign- or zero-extended as the type says
//   eq, ne, lt, le  of a and b of one type, unordered as IEEE 754 says, are pred
//   select    a is pred; b where a holds, else c
//   threefry  (key0, key1, count0, count1: u32) gives word 0; threefry_second(threefry) word 1
//   reduce_*  over the reduced axes of a fusion, of a, starting with b (only in fusions)
//   total     the sum over all other axes, of a: f32, one for each reduced position (only in
//             fusions of rows)
struct ScalarInstr {
  Opcode op;
  DType type;
  int32_t a = -1, b = -1, c = -1, d = -1;
  uint64_t imm = 0;
  bool operator==(const ScalarInstr&) const = default;
  std::array<int32_t, 4> operands() const { return {a, b, c, d}; }  // -1 where there is none
};

// A value of any dtype: one instruction, or two for complex ones.
struct ScalarValue {
  DType dtype = DType::f32;
  int32_t re = -1, im = -1;
  bool operator==(const ScalarValue&) const = default;
};

struct ScalarProgram {
  std::vector<DType> inputs;
  std::vector<ScalarInstr> instrs;  // operands come before their users
  // Outputs in storage form: narrow floats are already encoded to their bits.
  std::vector<ScalarValue> outputs;
};

class ScalarBuilder {
 public:
  explicit ScalarBuilder(ScalarProgram* program) : program_(program) {}
  // One that appends nothing and only says what it would refuse: all values of a type are one.
  static ScalarBuilder without_program();

  ScalarValue input(DType dtype);
  ScalarValue constant(const ir::Dense& dense, int64_t index);
  // A real (or complex with zero imaginary part) constant.
  ScalarValue constant(DType dtype, double value);
  ScalarValue int_constant(DType dtype, int64_t value);
  // The results of an elementwise op, select, clamp, or a bitcast that keeps the width, applied to
  // `operands`. Pure data movement (broadcasts, slices) is not scalar and is refused.
  Result<std::vector<ScalarValue>> apply(const ir::Op& op, std::span<const ScalarValue> operands);
  // Adds an output, encoded as its dtype is stored.
  void output(const ScalarValue& value);
  ScalarValue to_storage(const ScalarValue& value);
  // A value of `dtype` whose storage bits are the given instructions.
  ScalarValue from_storage(DType dtype, int32_t re, int32_t im);
  ScalarValue select(int32_t predicate, const ScalarValue& yes, const ScalarValue& no);
  ScalarValue convert(const ScalarValue& value, DType to);
  // A value computed in the machine type, rounded or wrapped to its dtype.
  ScalarValue rounded(const ScalarValue& value) { return finish(value); }

  // Appends, or returns the equal instruction; folds constants.
  int32_t emit(Opcode op, DType type, int32_t a = -1, int32_t b = -1, int32_t c = -1,
               uint64_t imm = 0, int32_t d = -1);
  const ScalarInstr& instr(int32_t i) const { return program_->instrs[i]; }
  // Instructions for which `is_gone(number)` holds are no longer returned for equal ones: they do
  // not precede what is appended from now on.
  template <typename F>
  void forget(F is_gone) {
    std::erase_if(known_, [&](const auto& entry) { return is_gone(entry.second); });
  }

 private:
  friend struct Complex;
  struct Hash {
    size_t operator()(const ScalarInstr& i) const;
  };
  ScalarValue finish(ScalarValue value);  // rounds or wraps a fresh result to its dtype
  Result<ScalarValue> apply_real(const ir::Op& op, std::span<const ScalarValue> operands,
                                 DType out);
  Result<ScalarValue> apply_complex(const ir::Op& op, std::span<const ScalarValue> operands,
                                    DType out);
  Result<ScalarValue> compare(const ir::Op& op, const ScalarValue& x, const ScalarValue& y);
  Result<ScalarValue> bitcast(const ir::Op& op, const ScalarValue& x, DType out);
  int32_t total_order(const ScalarValue& x);
  int32_t real_constant(DType machine, double value);

  ScalarProgram* program_;
  bool appends_ = true;
  std::unordered_map<ScalarInstr, int32_t, Hash> known_;
};

// The program of one elementwise op, select, clamp or bitcast that keeps the width: inputs are its
// operands, outputs its results. Refuses like ScalarBuilder::apply.
Result<ScalarProgram> scalar_program(const ir::Op& op);
// Whether there is one, which is not built.
bool has_scalar_program(const ir::Op& op);

// The program of a combiner (reduce, reduce_window, scatter, select_and_scatter), of a comparator
// (sort) or of any region of scalars: inputs are the region's arguments, outputs what it returns.
// Ops on tensors of rank above 0, captures of outer non-constant values and ops that are not
// elementwise are refused with their name.
Result<ScalarProgram> scalar_program(const ir::Region& region);

// Runs the program once. inputs[i] points at one element of parameter i as buffers store it (a
// complex pair, the bits of a bf16), outputs[i] likewise. Needs no preparation and allocates only
// for programs above 64 instructions.
void evaluate(const ScalarProgram& program, const void* const* inputs, void* const* outputs);

// One instruction on values held in the low bits of 64-bit words.
uint64_t evaluate(const ScalarInstr& instr, DType operand_type, uint64_t a, uint64_t b, uint64_t c,
                  uint64_t d);

std::string print(const ScalarProgram& program);

}  // namespace jaxmps::scalar
