// Structured code (kernels/loop_code.h) as LLVM text: one function, whose scalars are registers,
// whose small arrays are too where LLVM can keep them there, and whose other arrays lie in an
// arena.
#pragma once

#include "kernels/llvm/text.h"
#include "kernels/loop_code.h"

namespace jaxmps::kernels {

// int32_t loop(context, inputs, outputs, arena, constants): 0, or 1 if a call of `call` or `stop`
// answered other than 0. `stop` is asked when `stop_epoch` (base/stop.h) is not what the context's
// first word says, and whenever it changes after that.
struct LlvmLoop {
  using Call = int32_t (*)(void* context, int64_t number, const void* const* in, void* const* out,
                           void* session);
  using Stop = int32_t (*)(void* context);
  using Function = int32_t (*)(void* context, const void* const* in, void* const* out, char* arena,
                               const void* const* constants);
  static constexpr const char* kName = "jaxmps_loop";

  // A value that is an address from the start, and `bytes` of memory there.
  struct Memory {
    int32_t value;
    int64_t bytes = 0;
    int64_t at = 0;         // in the arena; or which input, output or constant
    bool is_local = false;  // of the arena: nothing outside of the text uses it
  };
  std::vector<Memory> slots, inputs, outputs;
  std::vector<std::pair<Memory, const void*>> constants;
  std::vector<bool> is_address;  // per value
  Call call = nullptr;
  Stop stop = nullptr;
};

// Arrays up to this size are worth registers.
inline constexpr int64_t kLocalArray = 512;  // bytes

LlvmModule print_loop(const ScalarProgram& values, const CodeBlock& block, const LlvmLoop& loop);

}  // namespace jaxmps::kernels
