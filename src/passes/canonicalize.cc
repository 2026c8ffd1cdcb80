// The driver: a worklist of ops. An op that changes puts those it affects back, so the cost follows
// the number of changes; an op is visited at most kMostVisits times, should rules ever disagree.
#include "passes/canonicalize.h"

#include <algorithm>
#include <unordered_map>

#include "ir/op_count.h"
#include "passes/fold.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

constexpr int kMostVisits = 64;

const CanonicalRules& all_rules() {
  static const auto* rules = new CanonicalRules;
  return *rules;
}

class Canonicalizer {
 public:
  void run(Region& body) {
    walk(body, [&](Op* op) { push(op); });
    // Processed from the back: definitions before their users.
    std::reverse(list_.begin(), list_.end());
    while (!list_.empty()) {
      Op* op = list_.back();
      list_.pop_back();
      auto found = state_.find(op);
      if (found == state_.end() || !found->second.pending) continue;
      found->second.pending = false;
      if (++found->second.visits <= kMostVisits) visit(op);
    }
  }

 private:
  struct State {
    bool pending = false;
    int visits = 0;
  };

  void push(Op* op) {
    if (op->is(ir::traits::terminator)) return;
    State& state = state_[op];
    if (state.pending) return;
    state.pending = true;
    list_.push_back(op);
  }

  void push_users(Value* value) {
    for (ir::Use* use = value->first_use(); use; use = use->next) push(use->owner);
  }

  // Erases an op that nothing uses, and what only it used. Entries of the worklist are forgotten.
  void erase(Op* first) {
    std::vector<Op*> dead{first};
    while (!dead.empty()) {
      Op* op = dead.back();
      dead.pop_back();
      for (const auto& region : op->regions()) {
        walk(*region, [&](Op* nested) { state_.erase(nested); });
      }
      const std::vector<Value*> operands = op->operands();
      state_.erase(op);
      op->erase();
      for (size_t i = 0; i < operands.size(); ++i) {
        Op* source = operands[i]->op();
        if (!source || !source->is(ir::traits::pure) || !source->unused()) continue;
        bool repeated = false;
        for (size_t k = 0; k < i; ++k) repeated = repeated || operands[k]->op() == source;
        for (Op* other : dead) repeated = repeated || other == source;
        if (!repeated) dead.push_back(source);
      }
    }
  }

  void visit(Op* op) {
    Op* before = op->previous();
    Replacement values = results_without_elements(op);
    if (values.empty()) values = fold_op(op);
    for (CanonicalRule rule : all_rules().of(op->id)) {
      if (!values.empty()) break;
      values = rule(op);
    }
    if (values.empty()) return;
    Region* region = op->parent();
    for (Op* fresh = before ? before->next() : region->first(); fresh != op;
         fresh = fresh->next()) {
      push(fresh);
    }
    const bool in_place = values[0] == op->result(0);
    if (in_place) {
      push(op);
      for (int i = 0; i < op->result_count(); ++i) push_users(op->result(i));
      return;
    }
    for (int i = 0; i < op->result_count(); ++i) {
      push_users(op->result(i));
      op->result(i)->replace_all_uses_with(values[i]);
    }
    erase(op);
  }

  std::vector<Op*> list_;
  std::unordered_map<Op*, State> state_;
};

}  // namespace

CanonicalRules::CanonicalRules() {
  rules_.resize(ir::kOpCount);
  add_arithmetic_rules(*this);
  add_shape_rules(*this);
  add_index_rules(*this);
  add_control_rules(*this);
  add_dot_rules(*this);
  add_empty_rules(*this);
}

Status canonicalize(ir::Module& module) {
  for (const auto& function : module.functions) Canonicalizer().run(function->body);
  return {};
}

}  // namespace jaxmps::passes
