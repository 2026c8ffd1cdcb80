// Loop invariants: carried values that the body hands on unchanged become outer values, and pure
// ops of a loop's regions that depend on outer values only move in front of the loop.
#include <vector>

#include "passes/pass.h"

namespace jaxmps::passes {
namespace {

// An op whose result is larger than this stays inside: outside it would be alive for the whole
// loop.
constexpr int64_t kLargestHoisted = int64_t(64) << 20;

bool is_defined_in(const Value* value, const Region& region) {
  const Region* at = value->is_argument() ? value->region() : value->op()->parent();
  while (at) {
    if (at == &region) return true;
    at = at->parent_op() ? at->parent_op()->parent() : nullptr;
  }
  return false;
}

// A carried value that comes back unchanged is the loop's operand throughout.
void release_unchanged(Op* loop) {
  Region& condition = loop->region(0);
  Region& body = loop->region(1);
  for (int i = 0; i < loop->result_count(); ++i) {
    if (body.terminator()->operand(i) != body.arg(i)) continue;
    loop->result(i)->replace_all_uses_with(loop->operand(i));
    condition.arg(i)->replace_all_uses_with(loop->operand(i));
    body.arg(i)->replace_all_uses_with(loop->operand(i));
    // Handing on the argument again lets dead code elimination drop the pair.
    body.terminator()->set_operand(i, body.arg(i));
  }
}

bool can_hoist(const Op& op) {
  if (!op.is(ir::traits::pure) || !op.regions().empty()) return false;
  int64_t bytes = 0;
  for (int i = 0; i < op.result_count(); ++i) {
    const ir::Type& type = op.result(i)->type;
    if (!type.is_static()) return false;
    bytes += type.byte_count();
  }
  return bytes <= kLargestHoisted;
}

// A broadcast or iota costs nothing inside a fusion but memory traffic outside of it, unless
// another hoisted op reads it; those follow their users in the fusion pass.
bool is_free_inside(const Op& op) {
  return op.result_count() == 1 && op.result()->type.size() > 1 &&
         (op.id == OpId::broadcast_in_dim || op.id == OpId::iota || op.id == OpId::reshape);
}

void hoist(Op* loop) {
  for (const auto& region : loop->regions()) {
    for (Op* op : *region) {
      if (op == region->terminator() || !can_hoist(*op) || is_free_inside(*op)) continue;
      bool invariant = true;
      for (Value* operand : op->operands()) {
        invariant = invariant && !is_defined_in(operand, *region);
      }
      if (invariant) op->move_before(loop);
    }
  }
}

void visit(Region& region) {
  for (Op* op : region) {
    for (const auto& nested : op->regions()) visit(*nested);
    if (op->id != OpId::while_) continue;
    release_unchanged(op);
    hoist(op);
  }
}

}  // namespace

Status hoist_loop_invariants(ir::Module& module) {
  for (const auto& function : module.functions) visit(function->body);
  return {};
}

}  // namespace jaxmps::passes
