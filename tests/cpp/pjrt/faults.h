// Faults by count: the n-th allocation, thread start, dlopen, or opening, reading or writing of a
// file fails.
// Allocations are those of the whole process, MLX and the C++ library among them. On Linux, without
// sanitizers, which have allocators of their own; elsewhere there are no faults.
#pragma once

#include <cstdint>

namespace jaxmps::faults {

enum class Kind { none, memory, thread, library, file };

// Whether this build can inject any.
bool supported();
// From now on the n-th call of the kind fails, counted from 1, and with `persist` all after it.
void arm(Kind kind, int64_t n, bool persist = false);
// The calls of the kind since arm().
int64_t disarm();
// Memory blocks that are allocated now.
int64_t live_blocks();

// While it lives, calls of this thread do not count: those of the test itself.
class Exempt {
 public:
  Exempt();
  ~Exempt();
};
// While it lives, they do again: calls of the code under test.
class Exposed {
 public:
  Exposed();
  ~Exposed();
};

}  // namespace jaxmps::faults
