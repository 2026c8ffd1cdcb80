// The interpreter that calls the plugin (Python's): its lock, and visits of the plugin's threads.
// The Python part gives a table of C functions, once, before the first program. Without one there
// is nothing to wait for, and nothing happens here. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/floats.h"

namespace jaxmps {

// Its layout is that of _Table in python/jax_plugins/mps/interpreter.py; it lives for ever.
struct Interpreter {
  // The interpreter's own, which take no lock: _PyThreadState_UncheckedGet,
  // PyGILState_GetThisThreadState, PyEval_SaveThread, PyEval_RestoreThread, Py_AddPendingCall.
  void* (*current_state)();
  void* (*state_of_thread)();
  void* (*release_lock)();
  void (*take_lock)(void* state);
  int (*add_pending_call)(int (*call)(void*), void* argument);

  // Whether SIGINT now means KeyboardInterrupt on the main thread. Takes the lock: in a Visit only.
  int (*raises_interrupt)();

  uint64_t main_thread;                 // its number (this_thread)
  mutable std::atomic<int64_t> inside;  // how many Visits there are; Python ends after them
  // How many callbacks of events are to come, which may take the lock; Python ends after them too.
  mutable std::atomic<int64_t> owed;
  std::atomic<int32_t> open;  // 0 once it is shutting down
};

void set_interpreter(const Interpreter* interpreter);
// Null while there is none.
const Interpreter* interpreter();

// While it lives, the calling thread may call functions that take the interpreter's lock: the
// interpreter does not end meanwhile, for a thread that waited for its lock then would take the
// process down. Not possible (false) once it is shutting down.
class Visit {
 public:
  Visit();
  ~Visit();
  Visit(const Visit&) = delete;

  explicit operator bool() const { return !to_ || to_->open; }

 private:
  const HostFloats floats_;
  const Interpreter* const to_;
};

// While it lives, the calling thread does not hold the interpreter's lock: a call that waits for
// another thread gives it up, because a program's callback needs it, and the call may wait for that
// program. No lock of the plugin may be held when it is made or ends.
class WithoutInterpreter {
 public:
  WithoutInterpreter();
  ~WithoutInterpreter();
  WithoutInterpreter(const WithoutInterpreter&) = delete;

 private:
  void* const released_;
};

}  // namespace jaxmps
