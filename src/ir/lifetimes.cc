#include "ir/lifetimes.h"

#include <algorithm>
#include <vector>

namespace jaxmps::ir {

Lifetimes::Lifetimes(const Region& region, bool (*views)(const Op& op)) : region_(&region) {
  std::vector<const Op*> ops;
  for (const Op* op : region) {
    const int place = static_cast<int>(ops.size());
    places_[op] = place;
    read_all(*op, place);
    ops.push_back(op);
  }
  for (size_t k = ops.size(); views && k-- > 0;) {
    if (ops[k]->operand_count() == 0 || !views(*ops[k])) continue;
    int& last = last_[ops[k]->operand(0)];
    for (int i = 0; i < ops[k]->result_count(); ++i) {
      last = std::max(last, last_use(ops[k]->result(i)));
    }
  }
}

void Lifetimes::read_all(const Op& op, int place) {
  for (int i = 0; i < op.operand_count(); ++i) last_[op.operand(i)] = place;
  for (const auto& nested : op.regions()) {
    for (const Op* inner : *nested) read_all(*inner, place);
  }
}

int Lifetimes::place(const Op* op) const {
  while (op && op->parent() != region_) op = op->parent() ? op->parent()->parent_op() : nullptr;
  const auto found = places_.find(op);
  return found == places_.end() ? kNever : found->second;
}

int Lifetimes::last_use(const Value* value) const {
  const auto found = last_.find(value);
  return found == last_.end() ? kNever : found->second;
}

}  // namespace jaxmps::ir
