// Reductions that MLX has, shared by reduce and reduce_window. Pure functions on lazy arrays.
#pragma once

#include <vector>

#include "ops/region.h"

namespace jaxmps::ops {

// Whether MLX reduces this type with this combiner.
bool mlx_reduces(ir::OpId id, DType type);
// The reduction, in the type MLX chooses for it.
mx::array reduce_simple(const mx::array& a, const std::vector<int>& axes, ir::OpId id);

}  // namespace jaxmps::ops
