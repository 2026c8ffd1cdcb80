// Loops of the CPU as one step: a `while` whose body works on scalars and small arrays with native
// kernels becomes structured code (kernels/loop_code.h), and that machine code, where there is a
// code generator and the loop runs long enough, else threaded code. Scalars live in registers,
// arrays at addresses in an arena that is laid out when the program is compiled, and kernels are
// called through resolved pointers, so that an iteration makes no array and allocates nothing.
//
// A LoopProgram is immutable once built and may run on several threads at once; what changes is in
// memory of the run.
#pragma once

#include <memory>
#include <vector>

#include "kernels/cpu/tile.h"
#include "kernels/llvm/compiler.h"
#include "kernels/llvm/loop_text.h"
#include "kernels/loop_code.h"
#include "ops/op.h"

namespace jaxmps::exec {

// The loop as one native kernel; its operands are the carried values, then `captures`. An error
// says why the loop is not of this form.
Result<ops::Lowering> lower_loop(const ir::Op& loop, const std::vector<ir::Value*>& captures);

// A call of a kernel: the registers that hold the addresses of its operands and results, and what
// to run: a native kernel, or a tile kernel whose session lies at the address in `session`.
struct KernelCall {
  static constexpr size_t kMost = 24;  // operands, and results
  const ir::Op* op = nullptr;          // for messages
  ops::Native native;
  std::shared_ptr<cpu::TileKernel> tile;
  int32_t session = -1;
  std::vector<int32_t> inputs, outputs;

  kernels::ThreadedFn function() const;
  void run(const void* const* in, void* const* out, void* session_memory) const;
};

// Runs a TileCall, whose address is the op's imm, on the addresses in the op's registers.
const kernels::ThreadedOp* call_loop(const kernels::ThreadedOp* op, uint64_t* r);

// How machine code calls `LoopProgram::calls` and asks whether to stop.
int32_t call_from_machine(void* context, int64_t number, const void* const* in, void* const* out,
                          void* session);
int32_t stop_from_machine(void* context);

struct LoopProgram {
  // A register that starts as an address in the arena.
  struct Slot {
    int32_t value;
    int64_t offset;
    int64_t bytes = 0;
    bool is_shared = false;  // with what is called
  };
  kernels::RegisterCode code;
  std::shared_ptr<kernels::MachineCode> machine;                // or null; with it `code` is empty
  std::vector<const void*> constant_words;                      // what machine code is given
  std::vector<std::pair<const KernelCall*, int64_t>> sessions;  // and where their memory is
  std::vector<std::unique_ptr<KernelCall>> calls;
  std::vector<std::unique_ptr<cpu::TileCalls>> tiles;
  std::vector<std::unique_ptr<std::vector<uint64_t>>> constants;
  std::vector<Slot> slots;
  std::vector<int32_t> inputs;  // registers of the operands' addresses
  // Registers that start as the address of a result, and which.
  std::vector<std::pair<int32_t, int>> outputs;
  int64_t arena_bytes = 0;
  // The register with the address of a word that, once it is not 0, ends the outermost loop before
  // its next trip; or -1.
  int32_t ready = -1;

  void run(const void* const* in, void* const* out) const;

 private:
  void run_in(char* memory, const void* const* in, void* const* out) const;
  void run_machine(char* memory, const void* const* in, void* const* out) const;
};

}  // namespace jaxmps::exec
