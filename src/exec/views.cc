#include "exec/views.h"

#include <vector>

namespace jaxmps::exec {

using ir::Op;
using ir::OpId;
using ir::Value;

namespace {

bool is_reshape(const Op& op) { return op.id == OpId::reshape; }

}  // namespace

Views::Views(const ir::Region& region) : region_(region), lifetimes_(region, is_reshape) {
  std::vector<const Op*> reshapes;
  for (const Op* op : region) {
    if (is_reshape(*op)) reshapes.push_back(op);
  }
  for (size_t k = reshapes.size(); k-- > 0;) {
    if (leaves(reshapes[k]->result())) leaving_shapes_.insert(reshapes[k]->result());
  }
}

const Value* Views::whole_of(const Value* value) const {
  while (value->op() && is_reshape(*value->op()) && value->op()->parent() == &region_) {
    value = value->op()->operand(0);
  }
  return value;
}

bool Views::leaves(const Value* value) const {
  for (const ir::Use* use = value->first_use(); use; use = use->next) {
    const Op* user = use->owner;
    if (user == region_.terminator() || user->parent() != &region_ || user->id == OpId::while_ ||
        user->id == OpId::case_ || (is_reshape(*user) && leaving_shapes_.count(user->result()))) {
      return true;
    }
  }
  return false;
}

bool Views::may_be_view(const Op& op) {
  if (leaves(op.result())) return false;
  const Value* whole = whole_of(op.operand(0));
  // Nobody else uses the whole after this, or somebody does after the part is dead.
  const int end = lifetimes_.last_use(whole);
  const bool outlives = leaves(whole) || end > lifetimes_.last_use(op.result());
  if (end > lifetimes_.place(&op) && !outlives) return false;
  parts_.insert(op.result());
  return true;
}

}  // namespace jaxmps::exec
