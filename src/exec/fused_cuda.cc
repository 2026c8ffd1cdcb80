#include "exec/fused_cuda.h"

#include <unordered_set>

#include "exec/fused.h"
#include "kernels/cpu/threads.h"
#include "mlx/fast.h"

namespace jaxmps::exec {
namespace {

namespace mx = mlx::core;
using ops::Arrays;
using ops::Inputs;

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

// One kernel with what MLX needs to launch it. The primitive is made once, for the stream of the
// thread that compiles; another virtual device gets one of its own at each call.
class Launch {
 public:
  static Result<Launch> create(const kernels::GpuKernel& kernel, const ir::Op& fusion) {
    TRY(const std::string arch, architecture());
    Launch launch;
    TRY(launch.code_, kernels::compile_cuda(kernel, arch));
    launch.kernel_ = kernel;
    launch.kernel_.source.clear();
    for (int o : kernel.outputs) {
      const ir::Type& type = fusion.result(o)->type;
      launch.shapes_.push_back(ops::storage_shape(type));
      launch.dtypes_.push_back(ops::storage_dtype(type.dtype));
    }
    if (kernel.scratch_bytes) {
      launch.shapes_.push_back({static_cast<mx::ShapeElem>(kernel.scratch_bytes)});
      launch.dtypes_.push_back(mx::uint8);
    }
    std::vector<mx::array> inputs;
    for (int i : kernel.inputs) {
      const ir::Type& type = fusion.operand(i)->type;
      inputs.push_back(
          mx::array(ops::storage_shape(type), ops::storage_dtype(type.dtype), nullptr, {}));
    }
    if (kernel.reads_scratch) inputs.push_back(mx::array(mx::Shape{1}, mx::uint8, nullptr, {}));
    launch.stream_ = mx::default_stream(mx::Device(mx::Device::gpu)).index;
    launch.primitive_ = launch.build(inputs)[0].primitive_ptr();
    return launch;
  }

  Arrays operator()(const std::vector<mx::array>& inputs) const {
    if (mx::default_stream(mx::Device(mx::Device::gpu)).index != stream_) return build(inputs);
    return mx::array::make_arrays(shapes_, dtypes_, primitive_, inputs);
  }

  const kernels::GpuKernel& kernel() const { return kernel_; }

 private:
  Arrays build(const std::vector<mx::array>& inputs) const {
    // MLX counts threads, not blocks.
    const int threads = kernel_.threads;
    return mx::fast::precompiled_cuda_kernel(kernel_.name, *code_, inputs, shapes_, dtypes_, {},
                                             {static_cast<int>(kernel_.blocks * threads), 1, 1},
                                             {threads, 1, 1}, 0, std::nullopt, true);
  }

  kernels::GpuKernel kernel_;
  std::shared_ptr<const std::string> code_;
  std::vector<mx::Shape> shapes_;
  std::vector<mx::Dtype> dtypes_;
  int stream_ = -1;
  std::shared_ptr<mx::Primitive> primitive_;
};

}  // namespace

Result<kernels::GpuFusion> print_cuda_fusion(const kernels::Fusion& description) {
  TRY(kernels::GpuFusion printed, kernels::print_gpu(description, kernels::cuda_dialect()));
  for (const auto& kernel : printed.kernels) {
    if (kernel.blocks * kernel.threads > std::numeric_limits<int>::max()) {
      return unimplemented("a CUDA kernel of more threads than MLX launches");
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

Result<ops::Lowering> lower_cuda(const ir::Op& fusion, const kernels::GpuFusion& printed) {
  std::vector<Launch> launches;
  for (const auto& kernel : printed.kernels) {
    TRY(Launch launch, Launch::create(kernel, fusion));
    launches.push_back(std::move(launch));
  }
  return ops::graph([launches = std::move(launches), count = fusion.result_count()](Inputs in) {
    std::vector<std::optional<mx::array>> results(static_cast<size_t>(count));
    std::optional<mx::array> scratch;
    for (const Launch& launch : launches) {
      std::vector<mx::array> inputs;
      inputs.reserve(launch.kernel().inputs.size() + 1);
      for (int i : launch.kernel().inputs) inputs.push_back(in[static_cast<size_t>(i)]);
      if (launch.kernel().reads_scratch) inputs.push_back(*scratch);
      Arrays out = launch(inputs);
      const auto& outputs = launch.kernel().outputs;
      for (size_t o = 0; o < outputs.size(); ++o) {
        results[static_cast<size_t>(outputs[o])].emplace(std::move(out[o]));
      }
      if (launch.kernel().scratch_bytes) scratch.emplace(std::move(out.back()));
    }
    Arrays all;
    all.reserve(results.size());
    for (auto& result : results) all.push_back(std::move(*result));
    return all;
  });
}

}  // namespace jaxmps::exec
