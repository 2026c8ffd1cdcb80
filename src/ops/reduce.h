// Reductions that MLX has, shared by reduce and reduce_window: pure functions on lazy arrays; and the
// CPU kernels of those that neither MLX nor the fusion compiler has.
#pragma once

#include <vector>

#include "ops/region.h"

namespace jaxmps::ops {

// Whether MLX reduces this type with this combiner.
bool mlx_reduces(ir::OpId id, DType type);
// The reduction, in the type MLX chooses for it.
mx::array reduce_simple(const mx::array& a, const std::vector<int>& axes, ir::OpId id);

// The CPU kernel of an arg-max or arg-min of (values, indices); nothing for types it does not have.
Native native_arg_reduce(const OpContext& ctx, bool maximum);
// The CPU kernel of a reduce with any combiner that is a scalar program.
Result<Lowering> native_reduce(const OpContext& ctx);

}  // namespace jaxmps::ops
