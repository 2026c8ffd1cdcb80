#include "exec/fused.h"

#include <new>
#include <unordered_map>

#include "base/env.h"
#include "base/log.h"
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

// For each result, the operands whose memory it may overwrite in place.
std::vector<std::vector<int>> reusable(const cpu::TileKernel& kernel, const ir::Op& fusion) {
  std::vector<std::vector<int>> choices(fusion.result_count());
  for (int result = 0; result < fusion.result_count(); ++result) {
    const int64_t bytes = fusion.result(result)->type.byte_count();
    for (int operand = 0; operand < fusion.operand_count(); ++operand) {
      if (fusion.operand(operand)->type.byte_count() != bytes) continue;
      if (kernel.may_alias(operand, result)) choices[result].push_back(operand);
    }
  }
  return choices;
}

ops::Lowering as_lowering(cpu::TileKernel kernel, const ir::Op& op) {
  auto choices = reusable(kernel, op);
  const double nanoseconds = kernel.nanoseconds();
  auto run = [kernel = std::move(kernel)](const void* const* in, void* const* out) {
    if (!kernel.run(in, out)) throw std::bad_alloc();
  };
  ops::Lowering lowering = ops::native(std::move(run), nanoseconds);
  lowering.choices = std::move(choices);
  return lowering;
}

}  // namespace

bool uses_kernels() { return env::flag(env::Var::JAX_MPS_FUSION); }
bool is_strict() { return env::flag(env::Var::JAX_MPS_STRICT); }

Status fuse_module(ir::Module& module, ops::Target target) {
  if (target != ops::Target::cpu || !uses_kernels()) return {};
  passes::FuseOptions options;
  options.accept = accept;
  return passes::fuse(module, options);
}

Result<ops::Lowering> lower_fusion(const ir::Op& fusion, ops::Target target) {
  if (target != ops::Target::cpu) return ir::refuse(fusion, "there is no fused kernel for the GPU");
  TRY(cpu::TileKernel kernel, tile_kernel(fusion));
  return as_lowering(std::move(kernel), fusion);
}

Result<ops::Lowering> lower_alone(const ir::Op& op, ops::Target target) {
  if (target != ops::Target::cpu) return ir::refuse(op, "there is no fused kernel for the GPU");
  ir::Region body;
  std::unordered_map<ir::Value*, ir::Value*> map;
  for (ir::Value* operand : op.operands()) {
    ir::Value* argument = body.add_arg(operand->type);
    map.emplace(operand, argument);  // of equal operands the first argument is used
  }
  ir::Op* copy = body.append(op.clone(map));
  std::vector<ir::Value*> results;
  for (int i = 0; i < copy->result_count(); ++i) results.push_back(copy->result(i));
  body.append(ir::Op::create(ir::OpId::return_, results, {}));
  TRY(kernels::Fusion description, kernels::build_fusion(body));
  TRY(cpu::TileKernel kernel, cpu::compile_tile(description));
  return as_lowering(std::move(kernel), op);
}

void report_unfused(const ir::Op& fusion, const Error& why, ops::Target target) {
  const Level level = target == ops::Target::cpu ? Level::warning : Level::debug;
  log(level, "runs op by op: ", ir::brief(fusion), " at ", ir::brief(fusion.location), ": ",
      why.text);
}

}  // namespace jaxmps::exec
