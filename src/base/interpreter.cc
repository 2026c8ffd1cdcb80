#include "base/interpreter.h"

#include "base/fork.h"

namespace jaxmps {
namespace {

std::atomic<const Interpreter*> interpreter_of_process{nullptr};

thread_local int64_t visits_of_thread = 0;

// The functions answer for the thread that asks: which state it has, and which has the lock. Where
// these are the same it has the lock; null if it has not.
void* release() {
  const Interpreter* python = interpreter();
  if (!python) return nullptr;
  void* current = python->current_state();
  return current && current == python->state_of_thread() ? python->release_lock() : nullptr;
}

}  // namespace

void set_interpreter(const Interpreter* interpreter) {
  if (interpreter_of_process.exchange(interpreter)) return;
  // Visits of lost threads never end.
  after_fork_in_child([] { interpreter_of_process.load()->inside = visits_of_thread; });
}

const Interpreter* interpreter() { return interpreter_of_process; }

Visit::Visit() : to_(interpreter()) {
  if (!to_) return;
  ++to_->inside;
  ++visits_of_thread;
}

Visit::~Visit() {
  if (!to_) return;
  --visits_of_thread;
  --to_->inside;
}

WithoutInterpreter::WithoutInterpreter() : released_(release()) {}

WithoutInterpreter::~WithoutInterpreter() {
  if (released_) interpreter()->take_lock(released_);
}

}  // namespace jaxmps
