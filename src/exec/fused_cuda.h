// Fusions on NVIDIA GPUs: compiled kernels as launches. Thread-safe.
#pragma once

#include "kernels/cuda.h"
#include "ops/op.h"

namespace jaxmps::exec {

// The fusion's kernels, or why it has none.
Result<kernels::GpuFusion> print_cuda_fusion(const kernels::Fusion& description);

// Compiles kernels on all cores into the process's cache, where lower_cuda finds them.
Status compile_cuda_kernels(const std::vector<const kernels::GpuFusion*>& fusions);

// The kernels of a fusion, ready to be launched.
Result<ops::Lowering> lower_cuda(const kernels::GpuFusion& printed);

}  // namespace jaxmps::exec
