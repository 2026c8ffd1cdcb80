// Storage for arrays that the CPU device writes: 64-byte aligned blocks from a pool, so that
// kernels read whole vectors and large blocks are not returned to the system and faulted in again.
// A GPU's arrays are allocated by MLX.
// And dense arrays over memory that is there: of the client, or of another array.
// Thread-safe. Throws std::bad_alloc (as MLX does) when memory is out.
#pragma once

#include <cstdint>
#include <functional>

#include "mlx/mlx.h"

namespace jaxmps::exec {

// What the Buffer of an array points to in MLX for CUDA (mlx/backend/cuda/allocator.h).
struct CudaBuffer {
  void* data;
  size_t size;
  int device;  // of the GPU whose memory it is; -1: the CPU reads it
};

// Call before the first array: this process computes on the CPU, whatever GPUs MLX sees. Memory
// that CUDA manages is not there in the child of a fork.
void serve_cpu_alone();

// A dense array with uninitialised storage.
mlx::core::array new_array(const mlx::core::Shape& shape, mlx::core::Dtype dtype);

// A dense array of the same values in memory of its own. The CPU must be able to read the source.
mlx::core::array copy_of(const mlx::core::array& dense);

// The dense memory of an evaluated array from element `offset` (of `dtype`) on, as an array of
// another shape and type.
mlx::core::array share(const mlx::core::array& dense, const mlx::core::Shape& shape,
                       mlx::core::Dtype dtype, int64_t offset = 0);

// How many mx::arrays are the same array: copies share a descriptor, and that one its memory, so
// counting the memory's users alone would miss them.
long handle_count(const mlx::core::array& array);
// Whether nothing but this handle holds the array and its memory.
bool is_exclusive(const mlx::core::array& array);

// Whether an array may be made over memory of the client at this address.
bool can_borrow(const void* data);
// An array over it, for native kernels only; `release` runs when its last user is gone.
mlx::core::array borrow(void* data, const mlx::core::Shape& shape, mlx::core::Dtype dtype,
                        std::function<void()> release);

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

}  // namespace jaxmps::exec
