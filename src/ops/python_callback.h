// Calls from a running program into Python (jax.pure_callback, io_callback, debug.callback). The
// Python part gives the plugin a table of C functions. Set once per process, before the first
// program; any thread.
#pragma once

#include <cstdint>

namespace jaxmps::ops {

// The custom call's target.
inline constexpr const char* kPythonCallback = "mps.python_callback";

// Its layout is that of _Table in python/jax_plugins/mps/callbacks.py; it lives for ever. The
// functions take the interpreter's lock: call them in a Visit.
struct PythonCallbacks {
  // Takes a message of `size` bytes of UTF-8 for the `sink` of the call.
  using Fail = void (*)(void* sink, const char* text, int64_t size);

  // Runs callable `id`: operands[i] and results[i] are dense row-major memory, of bytes[0..count)
  // bytes, operands first. Python copies the operands. Answers 0 when every result is written, else
  // it has called `fail`.
  int (*run)(int64_t id, const void* const* operands, void* const* results, const int64_t* bytes,
             int64_t count, void* sink, Fail fail);
  // Keeps the callable alive (1), or no longer (0): an execution may outlive the client's handle of
  // its program, which is all that Python sees.
  void (*hold)(int64_t id, int keep);
};

void set_python_callbacks(const PythonCallbacks* callbacks);
// Null while there are none.
const PythonCallbacks* python_callbacks();

}  // namespace jaxmps::ops
