// Ctrl-C. Python raises KeyboardInterrupt on its main thread; what that thread had asked for and is
// not computed yet is then stopped (Device::interrupt), so that the next program runs at once.
//
// JAX waits for results by itself and tells nobody that it gave up. So SIGINT goes through a
// handler of ours to Python's, at the level of C only: signal.getsignal() and signal.signal() are
// as ever, and a handler that is installed later takes ours away until the next execution. Whether
// the signal means KeyboardInterrupt, and whether it was raised, is asked of Python, on a thread of
// its own.
#pragma once

#include "base/result.h"

namespace jaxmps::exec {

// Starts the thread, once per process. Nothing is stopped in a process without Python.
Status start_interrupts();
// Whether the calling thread is Python's main thread, for whose work SIGINT is watched from now on.
bool watch_interrupts();

}  // namespace jaxmps::exec
