// Structured code: blocks of scalar instructions, loops, branches and calls over numbered values,
// and its translation into threaded code. What loops on the CPU are compiled to.
//
// A value is an instruction of a ScalarProgram: its number is the instruction's. Values that other
// things than instructions define (carried values, loads, addresses) are `input` instructions.
// Each value is defined once and before its uses, in the block of the use or in one around it.
// Blocks are built by one thread and moved into emit_code, whose result is immutable and runs on
// many.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "fusion/fusion.h"
#include "kernels/threaded.h"

namespace jaxmps::kernels {

struct CodeItem;
using CodeBlock = std::vector<CodeItem>;

// A carried value: `init` before the first trip, `next` after each.
struct Phi {
  int32_t value, init, next = -1;
};

// Runs `condition`, then, while `verdict` holds, `body` and the condition again; or `body` exactly
// `trips` times.
struct CodeLoop {
  CodeBlock condition, body;
  int32_t verdict = -1;
  std::optional<int64_t> trips;
  std::vector<Phi> phis;
};

// Runs block `index`, an s32 value, or the last one if there is no such block; its results become
// `values`.
struct CodeBranch {
  int32_t index = -1;
  std::vector<CodeBlock> blocks;
  std::vector<std::vector<int32_t>> results;  // of each block
  std::vector<int32_t> values;
};

struct CodeItem {
  enum class Kind : uint8_t { scalar, control, call, fusion, loop, branch };
  Kind kind = Kind::scalar;
  // scalar: the value. control: load, store, copy or offset on these values. call: `fn` with
  // those that are there, and imm; it is call `number` of the code, reads memory through the first
  // `read_count` addresses in `reads` and writes through the others. fusion: likewise.
  Control control = Control::stop;
  int32_t value = -1, a = -1, b = -1, c = -1;
  uint64_t imm = 0;
  ThreadedFn fn = nullptr;
  std::vector<int32_t> reads;
  size_t read_count = 0;
  int64_t number = 0;
  std::shared_ptr<const Fusion> fusion;  // only in code that is printed (kernels/llvm/loop_text.h)
  std::unique_ptr<CodeLoop> loop;
  std::unique_ptr<CodeBranch> branch;
};

struct RegisterCode {
  std::vector<ThreadedOp> ops;
  std::vector<uint64_t> registers;  // what they hold at the start: constants, else 0
  std::vector<int32_t> home;        // the register of each value

  void run(uint64_t* r) const { run_threaded(ops.data(), r); }
};

// `results`: values that are read when the code has run. Addresses that are not computed by scalar
// instructions keep their own number as register.
RegisterCode emit_code(const ScalarProgram& values, CodeBlock block,
                       const std::vector<int32_t>& results);

}  // namespace jaxmps::kernels
