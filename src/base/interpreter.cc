#include "base/interpreter.h"

#include <atomic>

namespace jaxmps {
namespace {

std::atomic<const InterpreterLock*> lock_of_process{nullptr};

void* release() {
  const InterpreterLock* lock = lock_of_process;
  return lock ? lock->release() : nullptr;
}

}  // namespace

void set_interpreter_lock(const InterpreterLock* lock) { lock_of_process = lock; }

WithoutInterpreter::WithoutInterpreter() : released_(release()) {}

WithoutInterpreter::~WithoutInterpreter() {
  if (released_) lock_of_process.load()->take(released_);
}

}  // namespace jaxmps
