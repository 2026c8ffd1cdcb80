// Calls from a running program into Python (jax.pure_callback, io_callback, debug.callback), and
// what else the plugin asks of Python. The Python part gives the plugin a table of C functions. Set
// once per process, before the first program; any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/floats.h"

namespace jaxmps::ops {

// The custom call's target.
inline constexpr const char* kPythonCallback = "mps.python_callback";

// Its layout is that of _Table in python/jax_plugins/mps/callbacks.py; it lives for ever.
struct PythonCallbacks {
  // Takes a message of `size` bytes of UTF-8 for the `sink` of the call.
  using Fail = void (*)(void* sink, const char* text, int64_t size);

  // These take the interpreter's lock; call them inside of a PythonCall.
  // Runs callable `id`: operands[i] and results[i] are dense row-major memory, of bytes[0..count)
  // bytes, operands first. Python copies the operands. Answers 0 when every result is written, else
  // it has called `fail`.
  int (*run)(int64_t id, const void* const* operands, void* const* results, const int64_t* bytes,
             int64_t count, void* sink, Fail fail);
  // Keeps the callable alive (1), or no longer (0): an execution may outlive the client's handle of
  // its program, which is all that Python sees.
  void (*hold)(int64_t id, int keep);
  // Whether SIGINT now means KeyboardInterrupt on Python's main thread.
  int (*raises_interrupt)();

  // The interpreter's own, which take no lock: _PyThreadState_UncheckedGet,
  // PyGILState_GetThisThreadState, PyEval_SaveThread, PyEval_RestoreThread, Py_AddPendingCall.
  void* (*current_state)();
  void* (*state_of_thread)();
  void* (*release_lock)();
  void (*take_lock)(void* state);
  int (*add_pending_call)(int (*call)(void*), void* argument);

  uint64_t main_thread;                 // its number (this_thread)
  mutable std::atomic<int64_t> inside;  // how many PythonCalls there are; Python ends after them
  // How many callbacks of events are to come, which may take the lock; Python ends after them too.
  mutable std::atomic<int64_t> owed;
  std::atomic<int32_t> open;  // 0 once the interpreter is shutting down
};

void set_python_callbacks(const PythonCallbacks* callbacks);
// Null while there are none.
const PythonCallbacks* python_callbacks();

// A visit to Python, which does not end meanwhile. Not possible (false) without Python, or once it
// is shutting down.
class PythonCall {
 public:
  PythonCall();
  ~PythonCall();
  PythonCall(const PythonCall&) = delete;

  explicit operator bool() const { return python_ != nullptr; }
  const PythonCallbacks* operator->() const { return python_; }

 private:
  void end() const;
  const HostFloats floats_;
  const PythonCallbacks* python_;
};

}  // namespace jaxmps::ops
