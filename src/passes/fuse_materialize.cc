// Groups become fusions.
#include <algorithm>

#include "passes/fuse_groups.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {

bool RegionFuser::is_worth_a_kernel(const OpInfo& info) {
  return info.kind == FuseClass::elementwise || info.kind == FuseClass::reduce ||
         info.kind == FuseClass::update || info.op->id == OpId::dynamic_slice;
}

bool RegionFuser::worthwhile(const Group& g) const {
  return std::any_of(g.members.begin(), g.members.end(), [&](const Member& m) {
    return is_worth_a_kernel(ops_[static_cast<size_t>(m.op)]);
  });
}

// Whether the op, a member of some group, is computed outside of it as well.
bool RegionFuser::is_elsewhere_too(const Op* op) const {
  const OpInfo& info = ops_[static_cast<size_t>(index_of(op))];
  return info.stays || info.groups.size() > 1;
}

// Shows the target what the fusion is.
Status RegionFuser::describe(Op* fusion) {
  TRY(fusion::Fusion description, fusion::build_fusion(*fusion, target_.turns_short_rows));
  return options_.accept ? options_.accept(*fusion, std::move(description), target_) : Status();
}

void RegionFuser::materialize(const Group& g) {
  std::vector<int> order;
  for (const Member& m : g.members) order.push_back(m.op);
  std::sort(order.begin(), order.end());
  std::unordered_set<const Op*> inside;
  for (int i : order) inside.insert(ops_[static_cast<size_t>(i)].op);
  std::vector<Value*> inputs, outputs;
  std::unordered_set<const Value*> seen;
  for (int i : order) {
    Op* op = ops_[static_cast<size_t>(i)].op;
    for (int k = 0; k < op->operand_count(); ++k) {
      Value* v = op->operand(k);
      if (!inside.count(v->op()) && seen.insert(v).second) inputs.push_back(v);
    }
    // Copies of an op have no results of their own: those who read it elsewhere have their copy.
    const OpInfo& info = ops_[static_cast<size_t>(i)];
    const bool copied = info.kind == FuseClass::constant || info.recomputed ||
                        (info.kind == FuseClass::movement && i != g.place);
    for (int r = 0; r < op->result_count() && !copied; ++r) {
      bool outside = false;
      for (const ir::Use* use = op->result(r)->first_use(); use; use = use->next) {
        outside |= !inside.count(use->owner) || is_elsewhere_too(use->owner);
      }
      if (outside) outputs.push_back(op->result(r));
    }
  }
  Op* last = ops_[static_cast<size_t>(g.place)].op;
  auto fusion = Op::create(OpId::fusion, inputs, ir::types_of(outputs), {}, last->location);
  Region* body = fusion->add_region();
  ir::ValueMap map;
  for (Value* v : inputs) map[v] = body->add_arg(v->type);
  for (int i : order) body->append(ops_[static_cast<size_t>(i)].op->clone(map));
  std::vector<Value*> returned;
  returned.reserve(outputs.size());
  for (Value* v : outputs) returned.push_back(map.at(v));
  body->append(Op::create(OpId::return_, returned, {}));
  std::string_view reason = worthwhile(g) ? "" : "no company";
  Status accepted;
  if (reason.empty()) accepted = describe(fusion.get());
  if (!accepted.ok()) reason = accepted.error().text;
  refused_group_ |= !accepted.ok() && g.members.size() > 1;
  for (const Member& m : g.members) {
    refused_gather_ |= !accepted.ok() && ops_[static_cast<size_t>(m.op)].kind == FuseClass::gather;
  }
  for (int i : order) {
    note(*ops_[static_cast<size_t>(i)].op,
         reason.empty() ? str("fusion at op ", g.place, " of ", order.size(), " ops")
                        : str("alone: ", reason));
  }
  Op* placed = region_.insert_before(last, std::move(fusion));
  for (size_t k = 0; k < outputs.size(); ++k) {
    outputs[k]->replace_all_uses_with(placed->result(static_cast<int>(k)));
  }
  // Even then the ops move to the group's place: what they read may be defined just before it.
  if (!reason.empty()) replace(placed, splice(placed->region(), placed->operands(), placed));
}

void RegionFuser::materialize() {
  std::vector<const Group*> order;
  for (const Group& g : groups_) order.push_back(&g);
  std::sort(order.begin(), order.end(),
            [](const Group* a, const Group* b) { return a->place < b->place; });
  for (const OpInfo& info : ops_) {
    if (info.groups.empty()) note(*info.op, str("alone: ", info.why));
  }
  for (const Group* g : order) materialize(*g);
  clean_up();
}

// Ops whose work moved into fusions have no users left.
void RegionFuser::clean_up() {
  for (auto info = ops_.rbegin(); info != ops_.rend(); ++info) {
    if (!info->groups.empty() && info->op->unused()) info->op->erase();
  }
}

}  // namespace jaxmps::passes
