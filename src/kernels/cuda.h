// Fusions as CUDA: the text of one kernel without any #include, and its compilation by NVRTC.
//
// Printing is a pure function of the fusion: shapes are constants of the text, so equal fusions
// print equal text, which is the key of the cache of compiled kernels. The cache belongs to the
// process and may be used from any thread.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "kernels/fusion.h"

namespace jaxmps::kernels {

struct CudaKernel {
  std::string name;  // of the extern "C" kernel
  std::string source;
  int64_t blocks = 1;  // launch as <<<blocks, threads>>>, no dynamic shared memory
  int threads = 256;
};

// The kernel takes one pointer per input of the fusion, then one per output, in order, to dense
// row-major arrays. Loops, and rows whose length one block of threads handles; other fusions are
// refused.
Result<CudaKernel> print_cuda(const Fusion& fusion);

// Machine code for the architecture ("sm_90"), through libnvrtc.so, which is loaded when first
// needed. The result is shared by all that ask for the same text.
Result<std::shared_ptr<const std::string>> compile_cuda(const CudaKernel& kernel,
                                                        const std::string& architecture);

// Functions that kernels use, as CUDA text; part of every source that print_cuda returns.
std::string_view cuda_prelude();

}  // namespace jaxmps::kernels
