// What the text of Metal kernels is compiled with; internal to the simulated Metal.
#pragma once

#include <cstdint>
#include <string_view>

namespace jaxmps::metal {

// In place of Metal's headers. With METAL_SPACES, address spaces are real.
std::string_view shim_text();

// Positions of a thread, as shim_text() declares them.
struct Position {
  uint32_t threadgroup_position_in_grid[3], thread_position_in_threadgroup[3];
  uint32_t threads_per_threadgroup[3], threadgroups_per_grid[3];
  uint32_t thread_position_in_grid[3], threads_per_grid[3];
  uint32_t thread_index_in_threadgroup, thread_index_in_simdgroup, simdgroup_index_in_threadgroup;
  uint32_t threads_per_simdgroup, simdgroups_per_threadgroup;
};

// What compiled kernels call.
struct Host {
  void (*barrier)(bool of_simdgroup);
  // Leaves in `result` the value of the lane `source`, which has arrived there, too.
  void (*exchange)(const void* value, void* result, uint32_t bytes, uint32_t source);
  uint32_t (*lane)();
  void (*access)(const void* address, uint32_t bytes, bool is_write);
};

}  // namespace jaxmps::metal
