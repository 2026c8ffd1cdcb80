#include "exec/fused.h"

#include <algorithm>
#include <new>
#include <unordered_map>

#include "base/env.h"
#include "base/log.h"
#include "exec/fused_cuda.h"
#include "kernels/cpu/tile.h"
#include "kernels/fusion.h"
#include "passes/fuse.h"

namespace jaxmps::exec {
namespace {

Result<cpu::TileKernel> tile_kernel(const ir::Op& fusion) {
  TRY(kernels::Fusion description, kernels::build_fusion(fusion));
  return cpu::compile_tile(description);
}

Status accept(const ir::Op& fusion) {
  auto kernel = tile_kernel(fusion);
  if (kernel.ok()) return {};
  log(Level::debug, "not fused: ", kernel.error().text);
  return std::move(kernel).error();
}

// A GPU walks a row again only if a block of threads can hold it.
bool rows_fit_a_block(const ir::Op& reduce) {
  const ir::Dims& dims = reduce.operand(0)->type.dims;
  std::vector<bool> is_reduced(dims.size(), false);
  int64_t length = 1;
  for (const int64_t d : reduce.ints("dimensions")) {
    is_reduced[static_cast<size_t>(d)] = true;
    length *= dims[static_cast<size_t>(d)];
  }
  // Nothing is kept behind the first reduced dimension.
  bool begun = false;
  for (size_t d = 0; d < dims.size(); ++d) {
    begun = begun || is_reduced[d];
    if (begun && !is_reduced[d] && dims[d] != 1) return false;
  }
  return length <= kernels::cuda_longest_row();
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

ops::Lowering as_lowering(cpu::TileKernel kernel, const ir::Op& op) {
  auto choices = reuse_choices(kernel, op);
  const double nanoseconds = kernel.nanoseconds();
  auto run = [kernel = std::move(kernel)](const void* const* in, void* const* out) {
    if (!kernel.run(in, out)) throw std::bad_alloc();
  };
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

bool uses_float64(const ir::Op& op) {
  auto is_wide = [](const ir::Value* v) { return ir::real_type(v->type.dtype) == ir::DType::f64; };
  bool found = false;
  for (int i = 0; i < op.operand_count(); ++i) found = found || is_wide(op.operand(i));
  for (int i = 0; i < op.result_count(); ++i) found = found || is_wide(op.result(i));
  return found;
}

bool uses_kernels() { return env::flag(env::Var::JAX_MPS_FUSION); }
bool is_strict() { return env::flag(env::Var::JAX_MPS_STRICT); }

Status fuse_module(ir::Module& module, ops::Target target, std::string* notes) {
  if (!uses_kernels()) return {};
  passes::FuseOptions options;
  options.dump = notes;
  if (target == ops::Target::cpu) {
    options.accept = accept;
    options.shortest_slice = 512;
    return passes::fuse(module, options);
  }
  if (!has_cuda()) return {};
  if (!kernels::has_cuda_compiler()) {
    log(Level::warning,
        "ops run one by one: libnvrtc.so is not found; install nvidia-cuda-nvrtc to fuse them");
    return {};
  }
  options.single_ops = false;  // MLX has kernels for them
  options.may_reread = rows_fit_a_block;
  options.accept = [](const ir::Op& fusion) -> Status {
    auto printed = cuda_fusion(fusion);
    if (printed.ok()) return {};
    log(Level::debug, "not fused: ", printed.error().text);
    return std::move(printed).error();
  };
  CHECK_OK(passes::fuse(module, options));
  return compile_cuda_fusions(module);
}

Result<ops::Lowering> lower_fusion(const ir::Op& fusion, ops::Target target) {
  if (target != ops::Target::cpu) return lower_cuda(fusion);
  TRY(cpu::TileKernel kernel, tile_kernel(fusion));
  return as_lowering(std::move(kernel), fusion);
}

std::string kernel_text(const ir::Op& fusion, ops::Target target) {
  std::string text;
  if (target == ops::Target::cpu) {
    auto description = kernels::build_fusion(fusion);
    if (description.ok()) {
      text = str("// ", ir::brief(fusion), '\n', kernels::print(*description), '\n');
    }
    return text;
  }
  if (auto printed = cuda_fusion(fusion); printed.ok()) {
    for (const auto& kernel : printed->kernels) {
      text += str("// ", ir::brief(fusion), "\n// <<<", kernel.blocks, ", ", kernel.threads,
                  ">>>\n", kernel.source.substr(kernels::cuda_prelude().size()), '\n');
    }
  }
  return text;
}

Result<cpu::TileKernel> lower_tile(const ir::Op& op) {
  if (op.id == ir::OpId::fusion) return tile_kernel(op);
  ir::Region body;
  std::unordered_map<ir::Value*, ir::Value*> map;
  for (ir::Value* operand : op.operands()) {
    ir::Value* argument = body.add_arg(operand->type);
    map.emplace(operand, argument);  // of equal operands the first argument is used
  }
  ir::Op* copy = body.append(op.clone(map));
  std::vector<ir::Value*> results;
  results.reserve(copy->result_count());
  for (int i = 0; i < copy->result_count(); ++i) results.push_back(copy->result(i));
  body.append(ir::Op::create(ir::OpId::return_, results, {}));
  TRY(kernels::Fusion description, kernels::build_fusion(body));
  return cpu::compile_tile(description);
}

Result<ops::Lowering> lower_alone(const ir::Op& op, ops::Target target) {
  if (target != ops::Target::cpu) return ir::refuse(op, "single ops are MLX's on the GPU");
  TRY(cpu::TileKernel kernel, lower_tile(op));
  return as_lowering(std::move(kernel), op);
}

void report_unfused(const ir::Op& fusion, const Error& why) {
  log(Level::warning, "runs op by op: ", ir::brief(fusion), " at ", ir::brief(fusion.location),
      ": ", why.text);
}

}  // namespace jaxmps::exec
