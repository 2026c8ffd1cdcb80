// Combiners and comparators become closed: constants that their regions take from outside are
// copied into them, so that who runs a combiner sees all of it. Arrays of one value are copied into
// the loops and branches whose elementwise ops read them: fusions take them in, where they cost
// nothing.
#include <unordered_map>

#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

bool has_combiner(OpId id) {
  return id == OpId::reduce || id == OpId::reduce_window || id == OpId::scatter ||
         id == OpId::select_and_scatter || id == OpId::sort || id == OpId::map;
}

bool is_control_flow(OpId id) { return id == OpId::while_ || id == OpId::case_; }

bool is_splat_array(const Op& constant) {
  const ir::Dense& value = constant.dense("value");
  return value.splat && value.type.size() > 1;
}

void close(ir::Region& region, bool only_splats) {
  ir::ValueMap copies;
  for (Op* op : region) {
    for (int i = 0; i < op->operand_count(); ++i) {
      Value* operand = op->operand(i);
      const Op* source = operand->op();
      if (!source || source->id != OpId::constant || source->parent() == &region) continue;
      if (only_splats && !(op->is(ir::traits::elementwise) && is_splat_array(*source))) continue;
      Value*& copy = copies[operand];
      if (!copy) {
        ir::ValueMap none;
        copy = region.insert_before(region.first(), source->clone(none))->result();
      }
      op->set_operand(i, copy);
    }
  }
}

}  // namespace

Status sink_constants(ir::Module& module) {
  walk(module, [](Op* op) {
    const bool branches = is_control_flow(op->id);
    if (!branches && !has_combiner(op->id)) return;
    for (const auto& region : op->regions()) close(*region, branches);
  });
  return {};
}

}  // namespace jaxmps::passes
