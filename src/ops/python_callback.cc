#include "ops/python_callback.h"

#include <array>
#include <atomic>
#include <stdexcept>

#include "ops/custom_call.h"
#include "ops/host_call.h"

namespace jaxmps::ops {
namespace {

std::atomic<PythonCallback> callback_of_process{nullptr};

}  // namespace

void set_python_callback(PythonCallback callback) { callback_of_process = callback; }
PythonCallback python_callback() { return callback_of_process; }

// The target of our own rules in python/jax_plugins/mps/callbacks.py. A token goes first, if any.
CUSTOM_CALL(python_callback, "mps.python_callback") {
  const OpContext& ctx = call.ctx;
  if (!python_callback()) {
    return ctx.fail("this process runs no Python that could be called");
  }
  const bool ordered = call.operands() > 0 && !ctx.in(0).is_tensor();
  if (ordered != (call.results() > 0 && !ctx.out(0).is_tensor())) {
    return ctx.fail("a token must be both operand and result");
  }
  for (int i = 0; i < call.operands(); ++i) {
    if (!ctx.on_cpu() && ctx.in(i).is_tensor() && ir::real_type(ctx.in(i).dtype) == DType::f64) {
      return ctx.fail("float64 does not exist on the GPU; use the CPU device");
    }
  }
  const int64_t id = call.option("id", -1);
  const int first = ordered ? 1 : 0;
  Lowering lowering = everywhere(
      ctx,
      [=](const void* const* in, void* const* out) {
        std::array<char, 4096> error{};
        const PythonCallback function = python_callback();
        if (function(id, in + first, out + first, error.data(), error.size()) != 0) {
          throw std::runtime_error(error.data());
        }
      },
      1e9);  // never on the thread of the caller, who may hold what the callable waits for
  return lowering;
}

}  // namespace jaxmps::ops
