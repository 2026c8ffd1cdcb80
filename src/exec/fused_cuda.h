// Fusions on NVIDIA GPUs: compiled kernels as nodes of MLX's graph. Thread-safe.
#pragma once

#include "kernels/cuda.h"
#include "ops/op.h"

namespace jaxmps::exec {

// Whether MLX's GPU is an NVIDIA one.
bool has_cuda();

// The fusion's kernels, or why it has none.
Result<kernels::CudaFusion> cuda_fusion(const ir::Op& fusion);

// Compiles the kernels of all fusions of the module on all cores into the process's cache, where
// lower_cuda finds them.
Status compile_cuda_fusions(const ir::Module& module);

Result<ops::Lowering> lower_cuda(const ir::Op& fusion);

}  // namespace jaxmps::exec
