#include "ops/python_callback.h"

#include <memory>

#include "base/event.h"
#include "base/fork.h"
#include "base/interpreter.h"
#include "ops/custom_call.h"

namespace jaxmps::ops {
namespace {

std::atomic<const PythonCallbacks*> callbacks_of_process{nullptr};

thread_local int64_t visits_of_thread = 0;

// The functions answer for the thread that asks: which state it has, and which has the lock. Where
// these are the same it has the lock.
void* release_lock() {
  const PythonCallbacks* python = callbacks_of_process;
  void* current = python->current_state();
  return current && current == python->state_of_thread() ? python->release_lock() : nullptr;
}

constexpr InterpreterLock kLock{release_lock,
                                [](void* state) { callbacks_of_process.load()->take_lock(state); }};

// Holds a callable for as long as some program may call it.
class Held {
 public:
  explicit Held(int64_t id) : id_(id) { hold(1); }
  ~Held() { hold(0); }
  Held(const Held&) = delete;

 private:
  void hold(int keep) const {
    if (const PythonCall python; python) python->hold(id_, keep);
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
    const PythonCall python;
    if (!python) throw Failure{internal("the Python interpreter has ended")};
    std::string message;
    if (python->run(id_, in + tokens_, out + tokens_, bytes_.data(),
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

void set_python_callbacks(const PythonCallbacks* callbacks) {
  if (callbacks_of_process.exchange(callbacks)) return;
  set_interpreter_lock(&kLock);
  count_callbacks(&callbacks->owed);
  // Visits of lost threads never end.
  after_fork_in_child([] { python_callbacks()->inside = visits_of_thread; });
}

const PythonCallbacks* python_callbacks() { return callbacks_of_process; }

PythonCall::PythonCall() : python_(callbacks_of_process) {
  if (!python_) return;
  ++python_->inside;
  ++visits_of_thread;
  if (python_->open) return;
  end();
  python_ = nullptr;
}

PythonCall::~PythonCall() {
  if (python_) end();
}

void PythonCall::end() const {
  --visits_of_thread;
  --python_->inside;
}

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
