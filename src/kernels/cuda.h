// The compilation of CUDA kernels by NVRTC, with a cache of the process that any thread may use.
#pragma once

#include <memory>
#include <span>

#include "kernels/gpu.h"

namespace jaxmps::kernels {

// Machine code for the architecture ("sm_90"), through libnvrtc.so, which is loaded when first
// needed. The result is shared by all that ask for the same text.
Result<std::shared_ptr<const std::string>> compile_cuda(const GpuKernel& kernel,
                                                        const std::string& architecture);

// Whether libnvrtc.so can be loaded.
bool has_cuda_compiler();

// Compiles several kernels as one program, which takes NVRTC much less time than one by one, and
// keeps the code for compile_cuda. A failure is left to be met there.
void compile_cuda_together(std::span<const GpuKernel> kernels, const std::string& architecture);

}  // namespace jaxmps::kernels
