// Dead code: ops without side effects whose results nobody uses, results of loops that only feed
// themselves, unused results of branches, and functions that are no longer called.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "passes/pass.h"

namespace jaxmps::passes {
namespace {

bool region_has_side_effect(const Region& region) {
  for (const Op* op : region) {
    if (!op->is(ir::traits::terminator) && has_side_effect(*op)) return true;
  }
  return false;
}

}  // namespace

// Control flow is as pure as what it runs. (Whether a loop ends is not a side effect.)
bool has_side_effect(const Op& op) {
  switch (op.id) {
    case OpId::while_:
    case OpId::case_:
      for (const auto& region : op.regions()) {
        if (region_has_side_effect(*region)) return true;
      }
      return false;
    case OpId::custom_call: {
      const ir::Attr* effect = op.find("has_side_effect");
      return effect && std::get<bool>(effect->value);
    }
    case OpId::optimization_barrier:
    case OpId::rng:
      return false;
    default:
      return !op.is(ir::traits::pure);
  }
}

namespace {

// A copy of `op` without the operands and results marked in `dropped_*`; regions move over.
Op* rebuild(Op* op, const std::vector<bool>& dropped_operands,
            const std::vector<bool>& dropped_results) {
  std::vector<Value*> operands;
  std::vector<ir::Type> types;
  for (int i = 0; i < op->operand_count(); ++i) {
    if (!dropped_operands[i]) operands.push_back(op->operand(i));
  }
  for (int i = 0; i < op->result_count(); ++i) {
    if (!dropped_results[i]) types.push_back(op->result(i)->type);
  }
  auto fresh = Op::create(op->id, operands, types, op->attrs, op->location);
  fresh->discardable = op->discardable;
  for (const auto& region : op->regions()) {
    ir::ValueMap map;
    fresh->add_region()->copy_from(*region, map);
  }
  Op* placed = op->parent()->insert_before(op, std::move(fresh));
  for (int i = 0, k = 0; i < op->result_count(); ++i) {
    if (!dropped_results[i]) op->result(i)->replace_all_uses_with(placed->result(k++));
  }
  return placed;
}

void drop_returned(Region& region, const std::vector<bool>& dropped) {
  std::vector<Value*> kept;
  for (int i = 0; i < region.terminator()->operand_count(); ++i) {
    if (!dropped[i]) kept.push_back(region.terminator()->operand(i));
  }
  region.terminator()->set_operands(kept);
}

// Carried values of a loop that neither the result, the condition nor another live carried value
// needs.
std::vector<bool> dead_carried(Op* loop) {
  const Region& condition = loop->region(0);
  const Region& body = loop->region(1);
  const int count = loop->result_count();
  std::vector<bool> live(count, false);
  // Which arguments each value of the body depends on, by walking back from live results.
  std::vector<Value*> pending;
  std::unordered_set<const Value*> seen;
  auto mark = [&](int i) {
    if (live[i]) return;
    live[i] = true;
    pending.push_back(body.terminator()->operand(i));
  };
  for (int i = 0; i < count; ++i) {
    if (!loop->result(i)->unused() || !condition.arg(i)->unused()) mark(i);
  }
  std::unordered_set<const Op*> roots;
  auto visit_op = [&](const Op* op, auto&& self) -> void {
    for (Value* operand : op->operands()) pending.push_back(operand);
    for (const auto& region : op->regions()) {
      for (const Op* nested : *region) self(nested, self);
    }
  };
  for (const Op* op : body) {
    if (op != body.terminator() && has_side_effect(*op)) visit_op(op, visit_op);
  }
  while (!pending.empty()) {
    Value* value = pending.back();
    pending.pop_back();
    if (!seen.insert(value).second) continue;
    if (value->region() == &body) {
      mark(value->index());
    } else if (value->op() && roots.insert(value->op()).second) {
      visit_op(value->op(), visit_op);
    }
  }
  live.flip();
  return live;
}

bool has_dead(const std::vector<bool>& dead) {
  return std::find(dead.begin(), dead.end(), true) != dead.end();
}

bool trim_loop(Op* op) {
  const auto dead = dead_carried(op);
  if (!has_dead(dead)) return false;
  Op* fresh = rebuild(op, dead, dead);
  Region& condition = fresh->region(0);
  Region& body = fresh->region(1);
  drop_returned(body, dead);
  // What the dead values were computed from goes before their arguments do.
  for (std::vector<Op*> ops; true; ops.clear()) {
    for (Op* inner : body) ops.push_back(inner);
    bool erased = false;
    for (size_t i = ops.size(); i-- > 0;) {
      if (ops[i] == body.terminator() || !ops[i]->unused() || has_side_effect(*ops[i])) continue;
      ops[i]->erase();
      erased = true;
    }
    if (!erased) break;
  }
  for (int i = static_cast<int>(dead.size()); i-- > 0;) {
    if (!dead[i]) continue;
    condition.erase_arg(i);
    body.erase_arg(i);
  }
  op->erase();
  return true;
}

bool trim_branch(Op* op) {
  std::vector<bool> dead;
  for (const Value* result : op->results()) dead.push_back(result->unused());
  if (!has_dead(dead)) return false;
  Op* fresh = rebuild(op, std::vector<bool>(op->operand_count(), false), dead);
  for (const auto& region : fresh->regions()) drop_returned(*region, dead);
  op->erase();
  return true;
}

// Back to front, so that one sweep removes whole chains. True if anything changed.
bool sweep(Region& region) {
  bool changed = false;
  for (Op* op = region.last(); op;) {
    Op* before = op->previous();
    if (op != region.terminator()) {
      if (op->unused() && !has_side_effect(*op)) {
        op->erase();
        changed = true;
        op = before;
        continue;
      }
      if ((op->id == OpId::while_ && trim_loop(op)) || (op->id == OpId::case_ && trim_branch(op))) {
        changed = true;
        // The trimmed copy stands where the op stood.
        op = before ? before->next() : region.first();
      }
    }
    for (const auto& nested : op->regions()) changed = sweep(*nested) || changed;
    op = before;
  }
  return changed;
}

}  // namespace

Status eliminate_dead_code(ir::Module& module) {
  for (const auto& function : module.functions) {
    while (sweep(function->body)) {
    }
  }
  return {};
}

}  // namespace jaxmps::passes
