// Combiners and comparators become closed: constants that their regions take from outside are copied
// into them, so that who runs a combiner sees all of it.
#include <unordered_map>

#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

using ir::Op;
using ir::OpId;
using ir::Value;

bool has_combiner(OpId id) {
  return id == OpId::reduce || id == OpId::reduce_window || id == OpId::scatter ||
         id == OpId::select_and_scatter || id == OpId::sort || id == OpId::map;
}

void close(ir::Region& region) {
  std::unordered_map<Value*, Value*> copies;
  for (Op* op : region) {
    for (int i = 0; i < op->operand_count(); ++i) {
      Value* operand = op->operand(i);
      const Op* source = operand->op();
      if (!source || source->id != OpId::constant || source->parent() == &region) continue;
      Value*& copy = copies[operand];
      if (!copy) {
        std::unordered_map<Value*, Value*> none;
        copy = region.insert_before(region.first(), source->clone(none))->result();
      }
      op->set_operand(i, copy);
    }
  }
}

}  // namespace

Status sink_constants(ir::Module& module) {
  walk(module, [](Op* op) {
    if (!has_combiner(op->id)) return;
    for (const auto& region : op->regions()) close(*region);
  });
  return {};
}

}  // namespace jaxmps::passes
