#include "ops/python_callback.h"

#include <array>
#include <atomic>
#include <memory>
#include <stdexcept>

#include "ops/custom_call.h"
#include "ops/host_call.h"

namespace jaxmps::ops {
namespace {

std::atomic<const PythonCallbacks*> callbacks_of_process{nullptr};

bool is_open(const PythonCallbacks* callbacks) {
  return *static_cast<const volatile int*>(&callbacks->open) != 0;
}

// Holds a callable for as long as some program may call it.
class Held {
 public:
  explicit Held(int64_t id) : id_(id) { hold(1); }
  ~Held() { hold(0); }
  Held(const Held&) = delete;

 private:
  void hold(int keep) const {
    const PythonCallbacks* callbacks = python_callbacks();
    if (is_open(callbacks)) callbacks->hold(id_, keep);
  }
  const int64_t id_;
};

}  // namespace

void set_python_callbacks(const PythonCallbacks* callbacks) { callbacks_of_process = callbacks; }
const PythonCallbacks* python_callbacks() { return callbacks_of_process; }

// The target of our own rules in python/jax_plugins/mps/callbacks.py. A token goes first, if any.
CUSTOM_CALL(python_callback, "mps.python_callback") {
  const OpContext& ctx = call.ctx;
  if (!python_callbacks()) {
    return ctx.fail("this process runs no Python that could be called");
  }
  const bool ordered = call.operands() > 0 && !ctx.in(0).is_tensor();
  for (int i = 0; i < call.operands(); ++i) {
    if (!ctx.on_cpu() && ctx.in(i).is_tensor() && ir::real_type(ctx.in(i).dtype) == DType::f64) {
      return ctx.fail("float64 does not exist on the GPU; use the CPU device");
    }
  }
  const int64_t id = call.option("id");
  const int first = ordered ? 1 : 0;
  Lowering lowering = everywhere(
      ctx,
      [=, held = std::make_shared<Held>(id)](const void* const* in, void* const* out) {
        std::array<char, 4096> error{};
        const PythonCallbacks* python = python_callbacks();
        if (!is_open(python)) throw std::runtime_error("the Python interpreter has ended");
        if (python->run(id, in + first, out + first, error.data(), error.size()) != 0) {
          throw std::runtime_error(error.data());
        }
      },
      1e9);  // never on the thread of the caller, who may hold what the callable waits for
  return lowering;
}

}  // namespace jaxmps::ops
