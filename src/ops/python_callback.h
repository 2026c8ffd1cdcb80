// Calls from a running program into Python (jax.pure_callback, io_callback, debug.callback).
// The Python part gives the plugin one C function, which takes the interpreter's lock, finds the
// callable by its number and runs it. Set once per process, before the first program; any thread.
#pragma once

#include <cstdint>

namespace jaxmps::ops {

// operands[i] and results[i] are dense row-major memory of the types that Python knows for `id`.
// Answers 0, or else writes a message of at most error_size bytes, zero-terminated, to `error`.
using PythonCallback = int (*)(int64_t id, const void* const* operands, void* const* results,
                               char* error, int64_t error_size);

void set_python_callback(PythonCallback callback);
// Null while there is none.
PythonCallback python_callback();

}  // namespace jaxmps::ops
