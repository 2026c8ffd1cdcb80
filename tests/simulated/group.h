// The threads of one threadgroup, interleaved on one thread of the CPU. Internal to the simulated
// Metal: one object runs the groups of one launch, one after the other, and no two of them run at a
// time in a process.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "simulated/metal.h"
#include "simulated/shim.h"

namespace jaxmps::metal {

struct Launch {
  Size groups, threads;
  std::span<const Buffer> buffers;
  char* shared = nullptr;  // threadgroup memory
  size_t shared_bytes = 0;
  bool meets = true;  // threads may meet at barriers
  bool checks_accesses = false;
  std::function<void(const Position&)> body;
  // Whether an address is of the library's own constants.
  std::function<bool(const void*)> is_constant;
};

// What went wrong, or empty.
std::string run_groups(const Launch& launch);

// To be handed to compiled kernels.
const Host& host();

}  // namespace jaxmps::metal
