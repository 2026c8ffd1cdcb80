#include "ops/python_callback.h"

#include <atomic>
#include <memory>

#include "base/interpreter.h"
#include "ops/custom_call.h"

namespace jaxmps::ops {
namespace {

std::atomic<const PythonCallbacks*> callbacks_of_process{nullptr};

// Holds a callable for as long as some program may call it.
class Held {
 public:
  explicit Held(int64_t id) : id_(id) { hold(1); }
  ~Held() { hold(0); }
  Held(const Held&) = delete;

 private:
  void hold(int keep) const {
    if (const Visit visit; visit) python_callbacks()->hold(id_, keep);
  }
  const int64_t id_;
};

void keep_message(void* sink, const char* text, int64_t size) {
  try {
    static_cast<std::string*>(sink)->assign(text, size);
  } catch (const std::bad_alloc&) {  // the error then goes without its message
  }
}

// One call of a program: a native kernel.
class Call {
 public:
  Call(const OpContext& ctx, int64_t id, int tokens)
      : id_(id), tokens_(tokens), held_(std::make_shared<Held>(id)) {
    for (int i = tokens; i < ctx.op.operand_count(); ++i) bytes_.push_back(ctx.in(i).byte_count());
    for (int i = tokens; i < ctx.op.result_count(); ++i) bytes_.push_back(ctx.out(i).byte_count());
  }

  void operator()(const void* const* in, void* const* out) const {
    const Visit visit;
    if (!visit) throw Failure{internal("the Python interpreter has ended")};
    std::string message;
    if (python_callbacks()->run(id_, in + tokens_, out + tokens_, bytes_.data(),
                                static_cast<int64_t>(bytes_.size()), &message, keep_message) != 0) {
      throw Failure{internal("a callback failed: " + message)};
    }
  }

 private:
  const int64_t id_;
  const int tokens_;
  std::vector<int64_t> bytes_;
  std::shared_ptr<const Held> held_;
};

}  // namespace

void set_python_callbacks(const PythonCallbacks* callbacks) { callbacks_of_process = callbacks; }

const PythonCallbacks* python_callbacks() { return callbacks_of_process; }

// The target of our own rules in python/jax_plugins/mps/callbacks.py. A token goes first, if any.
CUSTOM_CALL(python_callback, kPythonCallback) {
  const OpContext& ctx = call.ctx;
  if (!python_callbacks()) {
    return ctx.fail("this process runs no Python that could be called");
  }
  const bool ordered = call.operands() > 0 && !ctx.in(0).is_tensor();
  if (ordered != (call.results() > 0 && !ctx.out(0).is_tensor())) {
    return ctx.fail("a token must be both operand and result");
  }
  const Call called(ctx, call.option("id", -1), ordered ? 1 : 0);
  // The time keeps it from the thread of the caller, who may hold what the callable waits for.
  return everywhere(ctx, called, 1e9);
}

}  // namespace jaxmps::ops
