// The order of the passes.
#include "passes/loops.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

struct Pass {
  std::string_view name;
  Status (*run)(ir::Module& module);
};

// What passes note on ops is theirs to say.
Status forget_notes(ir::Module& module) {
  walk(module, [](ir::Op* op) {
    std::erase_if(op->discardable, [](const auto& attr) { return attr.name.starts_with("mps."); });
  });
  return {};
}

constexpr Pass kPasses[] = {
    {"forget_notes", forget_notes},
    {"lower_sharding", lower_sharding},
    {"composites", recognize_composites},
    {"lapack", recognize_lapack},
    {"inline", inline_calls},
    // Shapes that are operands become constants first.
    {"canonicalize", canonicalize},
    {"decompose", decompose},
    {"hoist", hoist_loop_invariants},
    {"cse", eliminate_common_subexpressions},
    {"canonicalize", canonicalize},
    {"cumulative", recognize_cumulative},
    {"threefry", recognize_threefry},
    {"cse", eliminate_common_subexpressions},
    {"dce", eliminate_dead_code},
    {"sink", sink_constants},
    {"loops", count_loops},
    {"dce", eliminate_dead_code},
    {"loop_storage", share_loop_storage},
};

}  // namespace

Status run_passes(ir::Module& module, const Hook& after) {
  for (const Pass& pass : kPasses) {
    CHECK_OK(pass.run(module));
    if (after) after(pass.name, module);
  }
  return {};
}

}  // namespace jaxmps::passes
