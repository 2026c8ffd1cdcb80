// Kernels of the CPU in programs of every device: for ops that have no kernel on the GPU, and for
// calls that leave the program. Slower there, because the executor waits for the operands, but
// never refused.
#pragma once

#include "ops/op.h"

namespace jaxmps::ops {

// A lowering by a native kernel alone, on every device (Lowering::on_host).
Lowering everywhere(const OpContext& ctx, Native native, double nanoseconds,
                    std::vector<int> reuse = {});

// Why a block of kind ANY_DTYPE_OP whose native kernel takes every type cannot run on the target:
// an unknown shape, or float64 on a GPU. Empty if it can.
std::string not_runnable(const OpContext& ctx);

}  // namespace jaxmps::ops
