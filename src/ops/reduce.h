// CPU kernels of the reductions that the fusion compiler has not.
#pragma once

#include "ops/op.h"

namespace jaxmps::ops {

// The CPU kernel of an arg-max or arg-min of (values, indices); nothing for types it does not have.
Native native_arg_reduce(const OpContext& ctx, bool maximum);
// The CPU kernel of a reduce with any combiner that is a scalar program.
Result<Lowering> native_reduce(const OpContext& ctx);

}  // namespace jaxmps::ops
