// The code generator that a client may bring: LLVM, by way of Python's llvmlite. Without one, loops
// run as threaded code and fusions in the tile machine.
//
// The client gives a table of C functions once, before the first program is compiled; they take the
// interpreter's lock and may be called from any thread, in a Visit.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "base/result.h"
#include "kernels/llvm/text.h"

namespace jaxmps::kernels {

// Its layout is that of _Table in python/jax_plugins/mps/machine_code.py; it lives for ever.
struct CodeGenerator {
  // `later` goes after what is wanted `soon`, and leaves time to others.
  enum class When : int32_t { now, soon, later };
  // Takes the address of the function for the `sink` of the call, or null and a message of `size`
  // bytes of UTF-8. `handle` is for `release`.
  using Done = void (*)(void* sink, const void* address, int64_t handle, const char* message,
                        int64_t size);
  // Calls `done`, before it returns or from a thread of the client's. Names that the module leaves
  // open are resolved with `symbols`.
  void (*compile)(const char* text, int64_t size, const char* name, const char* const* symbols,
                  const void* const* addresses, int64_t count, When when, Done done, void* sink);
  void (*release)(int64_t handle);
};

void set_code_generator(const CodeGenerator* generator);
// Whether there is one, and JAX_MPS_LLVM does not forbid it.
bool has_code_generator();

// A function of machine code, compiled once somebody asks for it; what it computes somebody else
// can compute too. Equal texts share one. Thread-safe.
class MachineCode : public std::enable_shared_from_this<MachineCode> {
 public:
  static std::shared_ptr<MachineCode> of(LlvmModule module);
  ~MachineCode();
  MachineCode(const MachineCode&) = delete;

  // Compiles it now; or beside, once.
  Status compile();
  using When = CodeGenerator::When;
  void request(When when);
  // Another way to the same results has taken so long: enough of that and it is compiled, beside.
  void spend(double nanoseconds) {
    const double spent = spent_.load(std::memory_order_relaxed) + nanoseconds;
    spent_.store(spent, std::memory_order_relaxed);  // a few may get lost
    if (spent > kWorth) request(When::soon);
  }
  // Nanoseconds: what is worth the code generator's time; what is not begun without it, because its
  // first use takes some 70 ms.
  static constexpr double kWorth = 10e6, kLong = 100e6;

  // Null until it has been compiled; valid as long as this lives.
  const void* address() const { return address_.load(std::memory_order_acquire); }
  // The 8 bytes that hold it, for code to look at.
  const void* place_of_address() const { return &address_; }

 private:
  explicit MachineCode(LlvmModule module) : module_(std::move(module)) {}
  void take(const void* address, int64_t handle);
  // False where there is no generator: then `done` is not called.
  bool start(When when, void* sink, CodeGenerator::Done done) const;

  const LlvmModule module_;
  std::atomic<double> spent_{0};
  std::atomic<bool> requested_{false};
  std::mutex mutex_;
  std::atomic<const void*> address_{nullptr};
  int64_t handle_ = 0;
};

}  // namespace jaxmps::kernels
