#include "exec/views.h"

#include <algorithm>

namespace jaxmps::exec {

using ir::Op;
using ir::OpId;
using ir::Value;

Views::Views(const ir::Region& region) : region_(region) {
  int64_t place = 0;
  for (const Op* op : region) places_[op] = place++;
}

int64_t Views::place(const Op* op) const {
  while (op && op->parent() != &region_) op = op->parent() ? op->parent()->parent_op() : nullptr;
  auto found = places_.find(op);
  return found == places_.end() ? kOutside : found->second;
}

int64_t Views::last_use(const Value* value, const Op* except) const {
  int64_t last = -1;
  for (const ir::Use* use = value->first_use(); use; use = use->next) {
    const Op* user = use->owner;
    if (user == except) continue;
    const bool leaves = user == region_.terminator() || user->parent() != &region_ ||
                        user->id == OpId::while_ || user->id == OpId::case_;
    if (leaves) return kOutside;
    last = std::max(last, place(user));
    if (user->id == OpId::reshape) last = std::max(last, last_use(user->result(), except));
  }
  return last;
}

bool Views::may_be_view(const Op& op) {
  const int64_t dead = last_use(op.result(), nullptr);
  if (dead == kOutside) return false;
  // The whole is what has been given other shapes before.
  const Value* whole = op.operand(0);
  while (whole->op() && whole->op()->id == OpId::reshape && whole->op()->parent() == &region_) {
    whole = whole->op()->operand(0);
  }
  const int64_t end = last_use(whole, &op);
  // Nobody else uses the whole any more, or somebody does later.
  if (end > place(&op) && end <= dead) return false;
  parts_.insert(op.result());
  std::vector<const Value*> pending{op.result()};
  while (!pending.empty()) {
    const Value* value = pending.back();
    pending.pop_back();
    for (const ir::Use* use = value->first_use(); use; use = use->next) {
      if (use->owner->id != OpId::reshape) continue;
      parts_.insert(use->owner->result());
      pending.push_back(use->owner->result());
    }
  }
  return true;
}

}  // namespace jaxmps::exec
