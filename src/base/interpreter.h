// The lock of the interpreter that calls the plugin (Python's). A call that waits for another
// thread gives it up meanwhile: a program's callback needs it, and the call may wait for that
// program. Without an interpreter nothing happens. Thread-safe.
#pragma once

namespace jaxmps {

struct InterpreterLock {
  void* (*release)();            // null if the calling thread does not hold it
  void (*take)(void* released);  // takes what release() answers
};

// Once, before the first wait.
void set_interpreter_lock(const InterpreterLock* lock);

// While it lives, the calling thread does not hold the interpreter's lock. No lock of the plugin
// may be held when it is made or ends.
class WithoutInterpreter {
 public:
  WithoutInterpreter();
  ~WithoutInterpreter();
  WithoutInterpreter(const WithoutInterpreter&) = delete;

 private:
  void* const released_;
};

}  // namespace jaxmps
