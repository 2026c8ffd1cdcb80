#include "exec/gpu.h"

#include <atomic>
#include <limits>
#include <unordered_set>

#include "exec/device.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::exec {
namespace {

using kernels::GpuFusion;
using kernels::GpuKernel;

std::atomic<Gpu*>& slot_of(const ir::Target& target) {
  const auto own = [](const ir::Target& wanted) {
    Gpu* gpu = system_gpu();
    return &gpu->target() == &wanted ? gpu : nullptr;
  };
  static std::atomic<Gpu*> cuda{own(ir::kCuda)}, metal{own(ir::kMetal)};
  return &target == &ir::kCuda ? cuda : metal;
}

}  // namespace

Gpu* gpu_of(const ir::Target& target) {
  return target.runs_native ? nullptr : slot_of(target).load();
}

Gpu* use_gpu(const ir::Target& target, Gpu* gpu) { return slot_of(target).exchange(gpu); }

std::string gpu_name() {
  try {
    const auto& info = mx::device_info(mx::Device(mx::Device::gpu));
    const auto found = info.find("device_name");
    return found == info.end() ? "gpu" : std::get<std::string>(found->second);
  } catch (const std::exception& error) {  // on a Mac this is where MLX looks for the GPU
    throw Failure{unusable_gpu(error.what())};
  }
}

// Small whole numbers: their sums are exact in float32, whatever the order, and in TF32.
Status check_products(const Product& product) {
  struct Shape {
    int rows, terms, columns;
  };
  // More rows than eight; one that is cut along its terms.
  for (const auto& [rows, terms, columns] : {Shape{64, 64, 64}, Shape{16, 512, 32}}) {
    const auto numbers = [](int m, int n, int step, int modulus) {
      const auto all = mx::multiply(mx::arange(0, m * n), mx::array(step));
      const auto small =
          mx::subtract(mx::remainder(all, mx::array(modulus)), mx::array(modulus / 2));
      return mx::astype(mx::reshape(small, {m, n}), mx::float32);
    };
    const auto a = numbers(rows, terms, 7, 11), b = numbers(terms, columns, 5, 13);
    const auto wanted = mx::sum(mx::multiply(mx::expand_dims(a, 2), mx::expand_dims(b, 0)), 1);
    const auto allowed = mx::add(mx::array(2.0f), mx::multiply(mx::abs(wanted), mx::array(0.02f)));
    for (const mx::Dtype dtype : {mx::float32, mx::float16, mx::bfloat16}) {
      const auto got = mx::astype(product(mx::astype(a, dtype), mx::astype(b, dtype)), mx::float32);
      const auto error = mx::abs(mx::subtract(got, wanted));
      if (mx::all(mx::less_equal(error, allowed)).item<bool>()) continue;
      return Error(
          Code::failed_precondition,
          str("MLX multiplies matrices wrongly on this GPU, as builds of it do whose kernels "
              "for the M5 were compiled locally: pip install --force-reinstall mlx-metal==",
              JAXMPS_MLX_VERSION, ", or set JAX_PLATFORMS=cpu to use JAX's own CPU backend"));
    }
  }
  return {};
}

Result<GpuFusion> Gpu::print(const kernels::Fusion& description) const {
  TRY(GpuFusion printed, kernels::print_gpu(description, dialect()));
  for (const GpuKernel& kernel : printed.kernels) {
    if (kernel.blocks > std::numeric_limits<int>::max()) {
      return unimplemented("a GPU kernel of more blocks than a launch takes");
    }
  }
  return printed;
}

Gpu::Function Gpu::find(const GpuKernel& kernel) {
  std::lock_guard lock(mutex_);
  const auto found = functions_.find(kernel.source);
  return found == functions_.end() ? nullptr : found->second;
}

// Their texts differ behind the prelude only, which stands there once.
Status Gpu::build_together(const Kernels& kernels) {
  std::string source(dialect().prelude);
  for (const GpuKernel* kernel : kernels) {
    source += std::string_view(kernel->source).substr(dialect().prelude.size());
  }
  TRY(auto functions, build(source, kernels));
  std::lock_guard lock(mutex_);
  for (size_t k = 0; k < kernels.size(); ++k) {
    functions_.emplace(kernels[k]->source, std::move(functions[k]));
  }
  return {};
}

void Gpu::compile(const std::vector<const GpuFusion*>& fusions) {
  Kernels wanted;
  std::unordered_set<std::string_view> seen;
  for (const GpuFusion* fusion : fusions) {
    for (const GpuKernel& kernel : fusion->kernels) {
      if (seen.insert(kernel.name).second && !find(kernel)) wanted.push_back(&kernel);
    }
  }
  // The first kernel of each text costs tens of milliseconds; what is loaded holds the whole text.
  constexpr int64_t kTogether = 16;
  const auto count = static_cast<int64_t>(wanted.size());
  cpu::parallel_for(count, kTogether, [&](int64_t begin, int64_t end) {
    (void)build_together({wanted.begin() + begin, wanted.begin() + end});
  });
}

Result<ops::Lowering> Gpu::lower(const GpuFusion& printed) {
  ops::Lowering lowering;
  for (const GpuKernel& kernel : printed.kernels) {
    if (!find(kernel)) CHECK_OK(build_together({&kernel}));
    lowering.launches.push_back({.name = kernel.name,
                                 .function = find(kernel),
                                 .blocks = kernel.blocks,
                                 .threads = kernel.threads,
                                 .inputs = kernel.inputs,
                                 .outputs = kernel.outputs,
                                 .updates = kernel.updates,
                                 .reads_scratch = kernel.reads_scratch,
                                 .scratch_bytes = kernel.scratch_bytes,
                                 .has_counters = kernel.has_counters,
                                 .reads = kernel.reads,
                                 .nanoseconds = kernel.nanoseconds,
                                 .pieces = kernel.pieces});
  }
  return lowering;
}

}  // namespace jaxmps::exec
