#include "exec/fused.h"

#include <algorithm>
#include <new>

#include "base/env.h"
#include "base/log.h"
#include "exec/epilogue.h"
#include "exec/fusion_tiers.h"
#include "exec/gpu.h"
#include "fusion/fusion.h"
#include "kernels/cpu/tile.h"
#include "kernels/llvm/compiler.h"
#include "passes/fuse.h"
#include "passes/products.h"

namespace jaxmps::exec {
namespace {

// What runs a fusion: made once, when the pass that builds the fusion asks whether it can run.
struct FusionKernel : ir::Attachment {
  kernels::Fusion description;
  std::optional<cpu::TileKernel> tile;        // on the CPU
  std::optional<kernels::GpuFusion> printed;  // on a GPU
};

Result<std::shared_ptr<const FusionKernel>> make_kernel(kernels::Fusion description,
                                                        const ir::Target& target) {
  auto kernel = std::make_shared<FusionKernel>();
  kernel->description = std::move(description);
  if (target.runs_native) {
    TRY(kernel->tile, cpu::compile_tile(kernel->description));
  } else if (const Gpu* gpu = gpu_of(target)) {
    TRY(kernel->printed, gpu->print(kernel->description));
  } else {
    return unimplemented(str("this system has no ", target.name, " kernels"));
  }
  return std::shared_ptr<const FusionKernel>(std::move(kernel));
}

// Of any op but a fusion: what a fusion of it alone computes.
Result<kernels::Fusion> describe_alone(const ir::Op& op, const ir::Target& target) {
  ir::Region body;
  ir::Op* copy = body.copy_alone(op, op.operands());
  // The sums of a product are halved, as the kernel for it does (gemm_halved).
  const bool is_product = passes::is_small_product(op);
  if (is_product) passes::expand_small_product(copy);
  return kernels::build_fusion(body, target.turns_short_rows && !is_product);
}

// Of a fusion, or of an op as a fusion of its own.
Result<std::shared_ptr<const FusionKernel>> kernel_of(const ir::Op& op, const ir::Target& target) {
  if (op.id == ir::OpId::fusion && op.attachment)
    return std::static_pointer_cast<const FusionKernel>(op.attachment);
  TRY(auto description, op.id == ir::OpId::fusion
                            ? kernels::build_fusion(op, target.turns_short_rows)
                            : describe_alone(op, target));
  return make_kernel(std::move(description), target);
}

Status attach_kernel(ir::Op& fusion, kernels::Fusion description, const ir::Target& target) {
  auto kernel = make_kernel(std::move(description), target);
  if (!kernel.ok()) {
    log(Level::debug, "not fused: ", kernel.error().text);
    return std::move(kernel).error();
  }
  fusion.attachment = std::move(kernel).value();
  return {};
}

// For each result, the operands whose memory it may overwrite in place.
std::vector<std::vector<int>> reuse_choices(const cpu::TileKernel& kernel, const ir::Op& op) {
  std::vector<std::vector<int>> choices(op.result_count());
  for (int result = 0; result < op.result_count(); ++result) {
    const int64_t bytes = op.result(result)->type.byte_count();
    for (int operand = 0; operand < op.operand_count(); ++operand) {
      if (op.operand(operand)->type.byte_count() != bytes) continue;
      if (kernel.may_alias(operand, result)) choices[result].push_back(operand);
    }
  }
  return choices;
}

Result<ops::Lowering> as_lowering(cpu::TileKernel kernel,
                                  std::shared_ptr<const kernels::Fusion> description,
                                  const ir::Op& op) {
  auto choices = reuse_choices(kernel, op);
  const double nanoseconds = kernel.nanoseconds();
  ops::Native run;
  if (kernels::has_code_generator()) {
    auto tiers = std::make_shared<FusionTiers>(std::move(kernel), std::move(description));
    if (env::number(env::Var::JAX_MPS_LLVM) == 2) CHECK_OK(tiers->compile());
    run = [tiers](const void* const* in, void* const* out) { tiers->run(in, out); };
  } else {
    run = [kernel = std::move(kernel)](const void* const* in, void* const* out) {
      kernel.run(in, out);
    };
  }
  ops::Lowering lowering = ops::native(std::move(run), nanoseconds);
  lowering.choices = std::move(choices);
  return lowering;
}

}  // namespace

std::vector<int> reusable(const cpu::TileKernel& kernel, const ir::Op& op) {
  std::vector<int> reuse(op.result_count(), -1);
  std::vector<bool> taken(op.operand_count(), false);
  const auto choices = reuse_choices(kernel, op);
  for (size_t result = 0; result < choices.size(); ++result) {
    for (const int operand : choices[result]) {
      if (taken[operand]) continue;
      reuse[result] = operand;
      taken[operand] = true;
      break;
    }
  }
  return reuse;
}

bool uses_kernels() { return env::flag(env::Var::JAX_MPS_FUSION); }
bool is_strict() { return env::flag(env::Var::JAX_MPS_STRICT); }

Status fuse_module(ir::Module& module, const ir::Target& target, std::string* notes) {
  Gpu* const gpu = gpu_of(target);
  if (gpu && !gpu->why_no_compiler().empty())
    return Error(Code::failed_precondition, gpu->why_no_compiler());
  passes::FuseOptions options;
  options.joins = uses_kernels();
  options.dump = notes;
  options.accept = attach_kernel;
  passes::expand_combiners(module, target, [](const ir::Op& op, const ir::Target& of) {
    return ops::lower(op, of).ok();
  });
  if (target.runs_native) {
    passes::expand_filters(module);
  } else if (uses_kernels() && !target.vector_epilogues) {
    passes::expand_vector_products(module);
  }
  CHECK_OK(passes::eliminate_dead_code(module));  // operands that a combiner does not read
  CHECK_OK(passes::fuse(module, target, options));
  if (!gpu) return {};
  std::vector<const kernels::GpuFusion*> printed;
  for (const auto& function : module.functions) {
    for_fusions(function->body, [&](ir::Op& fusion) {
      const auto& kernel = static_cast<const FusionKernel&>(*fusion.attachment);
      if (!kernel.printed) return;
      const bool is_joined = uses_kernels() && join_product(fusion, kernel.description, target);
      if (!is_joined) printed.push_back(&*kernel.printed);
    });
  }
  gpu->compile(printed);
  return {};
}

void release_kernels(const ir::Module& module) {
  for (const auto& function : module.functions) {
    for_fusions(function->body, [](ir::Op& fusion) { fusion.attachment = nullptr; });
  }
}

Result<ops::Lowering> lower_fused(const ir::Op& op, const ir::Target& target) {
  TRY(const auto kernel, kernel_of(op, target));
  if (kernel->printed) return gpu_of(target)->lower(*kernel->printed);
  return as_lowering(*kernel->tile, {kernel, &kernel->description}, op);
}

std::string kernel_text(const ir::Op& fusion, const ir::Target& target) {
  const auto kernel = kernel_of(fusion, target);
  if (!kernel.ok()) return {};
  if (!(*kernel)->printed) {
    return str("// ", ir::brief(fusion), '\n', kernels::print((*kernel)->description), '\n');
  }
  std::string text;
  for (const auto& printed : (*kernel)->printed->kernels) {
    text += str("// ", ir::brief(fusion), "\n// <<<", printed.blocks, ", ", printed.threads,
                ">>>\n", printed.source.substr(gpu_of(target)->dialect().prelude.size()), '\n');
  }
  return text;
}

Result<std::shared_ptr<const kernels::Fusion>> describe(const ir::Op& op) {
  if (op.id == ir::OpId::fusion) {
    TRY(auto kernel, kernel_of(op, ir::kCpu));
    return std::shared_ptr<const kernels::Fusion>(kernel, &kernel->description);
  }
  TRY(kernels::Fusion description, describe_alone(op, ir::kCpu));
  return std::make_shared<const kernels::Fusion>(std::move(description));
}

Result<cpu::TileKernel> lower_tile(const ir::Op& op) {
  TRY(const auto kernel, kernel_of(op, ir::kCpu));
  return *kernel->tile;
}

void report_refused(const ir::Op& op, std::string_view how, const Error& why) {
  log(Level::warning, "runs ", how, ": ", ir::brief(op), " at ", ir::brief(op.location), ": ",
      why.text);
}

}  // namespace jaxmps::exec
