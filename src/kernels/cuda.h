// Fusions as CUDA: the text of kernels without any #include, and their compilation by NVRTC.
//
// Printing is a pure function of the fusion: shapes are constants of the text, so equal fusions
// print equal text, which is the key of the cache of compiled kernels. The cache belongs to the
// process and may be used from any thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "fusion/fusion.h"

namespace jaxmps::kernels {

// Parameters, all of them pointers to dense row-major arrays: the inputs, the scratch memory if it
// is read, the outputs, the scratch memory if it is written.
struct CudaKernel {
  std::string name;  // of the extern "C" kernel
  std::string source;
  int64_t blocks = 1;  // launch as <<<blocks, threads>>>, no dynamic shared memory
  int threads = 256;
  std::vector<int> inputs, outputs;  // of the fusion
  int64_t scratch_bytes = 0;         // that it writes for the next kernel
  bool reads_scratch = false;
};

// One kernel, or two for long reductions: the second reads what the first wrote to scratch memory.
struct CudaFusion {
  std::vector<CudaKernel> kernels;
};

// Loops, rows whose length one block of threads holds in registers, and reductions of any length
// and along any axes whose elements are not read again with their result; other fusions are
// refused.
Result<CudaFusion> print_cuda(const Fusion& fusion);

// Machine code for the architecture ("sm_90"), through libnvrtc.so, which is loaded when first
// needed. The result is shared by all that ask for the same text.
Result<std::shared_ptr<const std::string>> compile_cuda(const CudaKernel& kernel,
                                                        const std::string& architecture);

// Whether libnvrtc.so can be loaded.
bool has_cuda_compiler();

// Compiles several kernels as one program, which takes NVRTC much less time than one by one, and
// keeps the code for compile_cuda. A failure is left to be met there.
void compile_cuda_together(std::span<const CudaKernel> kernels, const std::string& architecture);

// Functions that kernels use, as CUDA text; part of every source that print_cuda returns.
std::string_view cuda_prelude();

}  // namespace jaxmps::kernels
