// LAPACK kernels as lowerings, for the ops and custom calls of linear algebra. Used when a program
// is compiled; any thread.
#pragma once

#include "kernels/cpu/linalg.h"
#include "ops/host_call.h"

namespace jaxmps::ops {

// Runs the kernel on the CPU whatever the target is; float64 only exists on the CPU.
Result<Lowering> linalg_lowering(const OpContext& ctx, Result<cpu::LinalgKernel> kernel,
                                 std::vector<int> reuse = {});

}  // namespace jaxmps::ops
