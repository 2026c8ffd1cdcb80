// Storage for arrays that the CPU device writes: 64-byte aligned blocks from a pool, so that
// kernels read whole vectors and large blocks are not returned to the system and faulted in again.
// On devices whose MLX allocator is not the plain CPU one, MLX allocates.
// Thread-safe. Throws std::bad_alloc (as MLX does) when memory is out.
#pragma once

#include <cstdint>

#include "mlx/mlx.h"

namespace jaxmps::exec {

// A dense array with uninitialised storage.
mlx::core::array new_array(const mlx::core::Shape& shape, mlx::core::Dtype dtype);

// Bytes of memory that the machine has. No array may be larger: the system would promise the memory
// and end the process when it is touched.
int64_t physical_memory();

struct PoolStats {
  int64_t in_use = 0;  // bytes handed out
  int64_t peak = 0;
  int64_t cached = 0;  // bytes kept for reuse
};
PoolStats pool_stats();
void reset_pool_peak();
// Returns all cached blocks to the system.
void trim_pool();

}  // namespace jaxmps::exec
