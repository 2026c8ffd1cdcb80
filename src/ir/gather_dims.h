// The dimension numbers that gather and scatter share. Plain values, any thread.
#pragma once

#include <vector>

#include "ir/module.h"

namespace jaxmps::ir {

// "Windows" are gather's result or scatter's updates.
struct GatherDims {
  Ints window_dims;       // dimensions of the windows array that index inside a window
  Ints collapsed;         // operand dimensions that windows do not have
  Ints operand_batching;  // operand dimensions that go along with ...
  Ints indices_batching;  // ... these of the index array
  Ints index_map;         // operand dimension of each index component
  int64_t index_vector_dim = 0;
  Dims slice_sizes;  // in operand dimensions

  // What the attributes say, without sizes; of gather, dynamic_gather or scatter.
  static GatherDims numbers(const Op& op);
  static GatherDims of_gather(const Op& op);
  static GatherDims of_scatter(const Op& op);

  // Dimensions of the windows array that are not window dimensions, in order.
  std::vector<int> batch_dims(int64_t windows_rank) const;
  // Operand dimensions that windows have, in order.
  std::vector<int> kept_dims(int64_t operand_rank) const;
  // Dimensions of the index array without the index vector.
  std::vector<int> indices_batch(int64_t indices_rank) const;
};

}  // namespace jaxmps::ir
