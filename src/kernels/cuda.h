// The compilation of CUDA kernels by NVRTC. Any thread.
#pragma once

#include <string>

#include "base/result.h"

namespace jaxmps::kernels {

// Machine code for the architecture ("sm_90"), through libnvrtc.so, which is loaded when first
// needed.
Result<std::string> compile_cuda(const std::string& source, const std::string& architecture);

// Whether libnvrtc.so can be loaded.
bool has_cuda_compiler();

}  // namespace jaxmps::kernels
