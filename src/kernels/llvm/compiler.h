// The code generator that a client may bring: LLVM, by way of Python's llvmlite. Without one, loops
// run as threaded code.
//
// The client gives a table of C functions once, before the first program is compiled; they take the
// interpreter's lock and may be called from any thread.
#pragma once

#include <memory>

#include "base/result.h"
#include "kernels/llvm/text.h"

namespace jaxmps::kernels {

// Its layout is that of _Table in python/jax_plugins/mps/machine_code.py; it lives for ever.
struct CodeGenerator {
  // Takes a message of `size` bytes of UTF-8 for the `sink` of the call.
  using Fail = void (*)(void* sink, const char* text, int64_t size);
  // The address of function `name` of a module, or null after calling `fail`. `handle` is for
  // `release`. Names that the module leaves open are resolved with `symbols`.
  const void* (*compile)(const char* text, int64_t size, const char* name,
                         const char* const* symbols, const void* const* addresses, int64_t count,
                         int64_t* handle, void* sink, Fail fail);
  void (*release)(int64_t handle);
  // 0 once the interpreter is shutting down: then nothing here may be called.
  int open;
};

void set_code_generator(const CodeGenerator* generator);
// Whether there is one, and JAX_MPS_LLVM does not forbid it; and whether it is to be used for what
// takes so long without.
bool has_code_generator();
bool is_worth_generating(double nanoseconds);

// A function of machine code; it exists as long as this does. Equal texts share one. Thread-safe.
class MachineCode {
 public:
  static Result<std::shared_ptr<const MachineCode>> compile(const std::string& text,
                                                            const std::string& name,
                                                            const std::vector<LlvmSymbol>& symbols);
  ~MachineCode();
  MachineCode(const MachineCode&) = delete;

  const void* address() const { return address_; }

 private:
  MachineCode(const void* address, int64_t handle) : address_(address), handle_(handle) {}

  const void* const address_;
  const int64_t handle_;
};

}  // namespace jaxmps::kernels
