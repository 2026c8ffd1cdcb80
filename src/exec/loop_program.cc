#include "exec/loop_program.h"

#include <cstring>
#include <exception>

#include "exec/run_context.h"
#include "kernels/cpu/scratch.h"

namespace jaxmps::exec {
namespace {

using kernels::ThreadedOp;

// Registers hold numbers, addresses among them.
// NOLINTBEGIN(performance-no-int-to-ptr)
struct Pointers {
  const void* in[KernelCall::kMost];
  void* out[KernelCall::kMost];

  Pointers(const KernelCall& call, const uint64_t* r) {
    for (size_t k = 0; k < call.inputs.size(); ++k) {
      in[k] = reinterpret_cast<const void*>(r[call.inputs[k]]);
    }
    for (size_t k = 0; k < call.outputs.size(); ++k) {
      out[k] = reinterpret_cast<void*>(r[call.outputs[k]]);
    }
  }
};

const ThreadedOp* call_native(const ThreadedOp* op, uint64_t* r) {
  const auto& call = *reinterpret_cast<const KernelCall*>(op->imm);
  const Pointers at(call, r);
  call.run(at.in, at.out, nullptr);
  return op + 1;
}

// What machine code takes as its context. An exception cannot pass through it.
struct MachineRun {
  uint32_t epoch;  // the first member, which the code reads
  const LoopProgram* program;
  std::exception_ptr error;

  template <typename F>
  int32_t guard(F f) {
    try {
      f();
      return 0;
    } catch (...) {
      error = std::current_exception();
      return 1;
    }
  }
};

const ThreadedOp* call_tile(const ThreadedOp* op, uint64_t* r) {
  const auto& call = *reinterpret_cast<const KernelCall*>(op->imm);
  const Pointers at(call, r);
  cpu::TileKernel::run_session(reinterpret_cast<void*>(r[op->a]), at.in, at.out);
  return op + 1;
}

void* address(const uint64_t* r, int32_t at) { return reinterpret_cast<void*>(r[at]); }

int64_t up(int64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

const ThreadedOp* call_loop(const ThreadedOp* op, uint64_t* r) {
  const auto& call = *reinterpret_cast<const cpu::TileCall*>(op->imm);
  call.fn(address(r, op->d), address(r, op->a), address(r, op->b), address(r, op->c), call.n,
          call.imm);
  return op[1].fn(op + 1, r);
}

kernels::ThreadedFn KernelCall::function() const { return tile ? call_tile : call_native; }

void KernelCall::run(const void* const* in, void* const* out, void* session_memory) const {
  if (tile) {
    cpu::TileKernel::run_session(session_memory, in, out);
    return;
  }
  try {
    native(in, out);
  } catch (...) {
    if (RunContext* run = RunContext::current(); run && op) run->op = op;
    throw;
  }
}

int32_t call_from_machine(void* context, int64_t number, const void* const* in, void* const* out,
                          void* session) {
  auto& run = *static_cast<MachineRun*>(context);
  return run.guard([&] { run.program->calls[static_cast<size_t>(number)]->run(in, out, session); });
}

int32_t stop_from_machine(void* context) {
  return static_cast<MachineRun*>(context)->guard(check_stopped);
}

void LoopProgram::run(const void* const* in, void* const* out) const {
  const int64_t bytes = arena_bytes + up(static_cast<int64_t>(code.registers.size() * 8));
  constexpr int64_t kStack = 4096;
  if (bytes <= kStack) {
    alignas(64) char memory[kStack];
    return run_in(memory, in, out);
  }
  cpu::Scratch scratch(static_cast<size_t>(bytes));
  run_in(scratch.as<char>(), in, out);
}

void LoopProgram::run_machine(char* memory, const void* const* in, void* const* out) const {
  for (const auto& [call, offset] : sessions) call->tile->begin_session(memory + offset);
  MachineRun run{stop_epoch.load(std::memory_order_relaxed), this, nullptr};
  check_stopped();
  const auto function = reinterpret_cast<kernels::LlvmLoop::Function>(
      reinterpret_cast<uintptr_t>(machine->address()));
  if (function(&run, in, out, memory, constant_words.data()) != 0) {
    std::rethrow_exception(run.error);
  }
}

void LoopProgram::run_in(char* memory, const void* const* in, void* const* out) const {
  if (machine) return run_machine(memory, in, out);
  auto* r = reinterpret_cast<uint64_t*>(memory + arena_bytes);
  std::memcpy(r, code.registers.data(), code.registers.size() * 8);
  for (const Slot& slot : slots) r[slot.value] = reinterpret_cast<uint64_t>(memory + slot.offset);
  for (size_t k = 0; k < inputs.size(); ++k) r[inputs[k]] = reinterpret_cast<uint64_t>(in[k]);
  for (const auto& [value, k] : outputs) r[value] = reinterpret_cast<uint64_t>(out[k]);
  for (const auto& call : calls) {
    if (call->tile) call->tile->begin_session(reinterpret_cast<void*>(r[call->session]));
  }
  code.run(r);
}

// NOLINTEND(performance-no-int-to-ptr)
}  // namespace jaxmps::exec
