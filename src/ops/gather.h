// The dimension numbers that gather and scatter share, resolved into byte strides.
// Used when a program is compiled; plain values, any thread.
#pragma once

#include "kernels/cpu/gather.h"
#include "ops/op.h"

namespace jaxmps::ops {

// "Windows" are gather's result or scatter's updates.
struct GatherDims {
  ir::Ints window_dims;       // dimensions of the windows array that index inside a window
  ir::Ints collapsed;         // operand dimensions that windows do not have
  ir::Ints operand_batching;  // operand dimensions that go along with ...
  ir::Ints indices_batching;  // ... these of the index array
  ir::Ints index_map;         // operand dimension of each index component
  int64_t index_vector_dim = 0;
  ir::Dims slice_sizes;  // in operand dimensions

  static GatherDims of_gather(const OpContext& ctx);
  static GatherDims of_scatter(const OpContext& ctx);

  // Dimensions of the windows array that are not window dimensions, in order.
  std::vector<int> batch_dims(int64_t windows_rank) const;
  // Operand dimensions that windows have, in order.
  std::vector<int> kept_dims(int64_t operand_rank) const;
  // Dimensions of the index array without the index vector.
  std::vector<int> indices_batch(int64_t indices_rank) const;
};

struct WindowPlan {
  cpu::StartIndices starts;
  ir::Dims sizes, operand_strides, window_strides;  // of one window, strides in bytes
};
WindowPlan plan_windows(const GatherDims& dims, const ir::Type& operand, const ir::Type& indices,
                        const ir::Type& windows);

// The start of every window as one index array per entry of `axes` (operand dimensions), shaped as
// the batch dimensions of the windows array: clamped, or as they are. Batching dimensions are
// included. `inside` is set to the mask of starts in bounds if it is not null.
struct StartArrays {
  Arrays indices;
  std::vector<int> axes;
};
StartArrays start_arrays(const GatherDims& dims, const ir::Type& operand, const mx::array& indices,
                         bool clamp, std::optional<mx::array>* inside);

}  // namespace jaxmps::ops
