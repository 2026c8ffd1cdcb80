#include "exec/fused_cuda.h"

#include <unordered_set>

#include "exec/encoder.h"
#include "exec/fused.h"
#include "kernels/cpu/threads.h"
#include "mlx/mlx.h"

namespace jaxmps::exec {
namespace {

namespace mx = mlx::core;
// "sm_90" of the device.
Result<std::string> architecture() {
  const auto& info = mx::device_info(mx::Device(mx::Device::gpu));
  auto number = [&](const char* key) -> int64_t {
    auto found = info.find(key);
    const auto* value = found == info.end() ? nullptr : std::get_if<size_t>(&found->second);
    return value ? static_cast<int64_t>(*value) : -1;
  };
  const int64_t major = number("compute_capability_major"),
                minor = number("compute_capability_minor");
  if (major < 0 || minor < 0) return internal("MLX does not tell the GPU's compute capability");
  return str("sm_", major, minor);
}

}  // namespace

Result<kernels::GpuFusion> print_cuda_fusion(const kernels::Fusion& description) {
  TRY(kernels::GpuFusion printed, kernels::print_gpu(description, kernels::cuda_dialect()));
  for (const auto& kernel : printed.kernels) {
    if (kernel.blocks > std::numeric_limits<int>::max()) {
      return unimplemented("a CUDA kernel of more blocks than a launch takes");
    }
  }
  return printed;
}

Status compile_cuda_kernels(const std::vector<const kernels::GpuFusion*>& fusions) {
  TRY(const std::string arch, architecture());
  std::vector<kernels::GpuKernel> all;
  std::unordered_set<std::string> seen;
  for (const kernels::GpuFusion* fusion : fusions) {
    for (const auto& kernel : fusion->kernels) {
      if (seen.insert(kernel.name).second) all.push_back(kernel);
    }
  }
  // Each program costs NVRTC some 30 ms before its first kernel; each module that MLX loads holds
  // the whole program.
  constexpr int64_t kTogether = 16;
  const auto count = static_cast<int64_t>(all.size());
  const bool ok = cpu::parallel_for(count, kTogether, [&](int64_t begin, int64_t end) {
    const auto first = static_cast<size_t>(begin), last = static_cast<size_t>(end);
    kernels::compile_cuda_together(std::span(all).subspan(first, last - first), arch);
  });
  if (!ok) return Error(Code::resource_exhausted, "out of memory");
  return {};
}

Result<ops::Lowering> lower_cuda(const kernels::GpuFusion& printed) {
  TRY(const std::string arch, architecture());
  ops::Lowering lowering;
  for (const kernels::GpuKernel& kernel : printed.kernels) {
    TRY(const auto code, kernels::compile_cuda(kernel, arch));
    TRY(auto function, load_cuda_kernel(code, kernel.name));
    lowering.launches.push_back({.name = kernel.name,
                                 .function = std::move(function),
                                 .blocks = kernel.blocks,
                                 .threads = kernel.threads,
                                 .inputs = kernel.inputs,
                                 .outputs = kernel.outputs,
                                 .reads_scratch = kernel.reads_scratch,
                                 .scratch_bytes = kernel.scratch_bytes});
  }
  return lowering;
}

}  // namespace jaxmps::exec
