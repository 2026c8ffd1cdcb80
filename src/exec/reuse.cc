#include "exec/reuse.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace jaxmps::exec {
namespace {

// Gives as many results as possible an operand of their own, by augmenting paths.
class Matching {
 public:
  explicit Matching(const std::vector<std::vector<int>>& choices) : choices_(choices) {
    for (int result = 0; result < static_cast<int>(choices.size()); ++result) {
      seen_.clear();
      place(result);
    }
  }

  // The operand of the result, or -1.
  int operand(int result) const {
    for (const auto& [operand, owner] : owners_) {
      if (owner == result) return operand;
    }
    return -1;
  }

 private:
  bool place(int result) {
    for (const int operand : choices_[result]) {
      if (!seen_.insert(operand).second) continue;
      const auto owner = owners_.find(operand);
      if (owner != owners_.end() && !place(owner->second)) continue;
      owners_[operand] = result;
      return true;
    }
    return false;
  }

  const std::vector<std::vector<int>>& choices_;
  std::unordered_map<int, int> owners_;
  std::unordered_set<int> seen_;
};

// The last step after `from` that reads the slot; `from` if there is none.
size_t last_reader(const Plan& plan, Ref slot, size_t from) {
  for (size_t i = plan.steps.size(); i-- > from + 1;) {
    const auto& inputs = plan.steps[i].inputs;
    if (std::find(inputs.begin(), inputs.end(), slot) != inputs.end()) return i;
  }
  return from;
}

bool is_parameter(const Plan& plan, Ref ref) {
  return std::find(plan.parameters.begin(), plan.parameters.end(), ref) != plan.parameters.end();
}

// Whether step `at` may run directly after step `target`.
bool can_wait(const Plan& plan, size_t at, size_t target) {
  const Step& step = plan.steps[at];
  for (size_t i = at + 1; i <= target; ++i) {
    for (const Ref input : plan.steps[i].inputs) {
      if (std::find(step.outputs.begin(), step.outputs.end(), input) != step.outputs.end()) {
        return false;
      }
    }
  }
  return std::all_of(step.inputs.begin(), step.inputs.end(), [&](Ref input) {
    return input < 0 || is_parameter(plan, input) || last_reader(plan, input, at) >= target;
  });
}

}  // namespace

std::vector<std::vector<int>> order_choices(const std::vector<std::vector<int>>& choices,
                                            const std::function<bool(int)>& preferred) {
  std::vector<std::vector<int>> first(choices.size()), second(choices.size());
  for (size_t i = 0; i < choices.size(); ++i) {
    for (const int operand : choices[i]) {
      (preferred(operand) ? first : second)[i].push_back(operand);
    }
  }
  const Matching of_first(first), of_second(second);
  std::vector<std::vector<int>> ordered(choices.size());
  for (size_t i = 0; i < choices.size(); ++i) {
    std::vector<int>& list = ordered[i];
    for (const Matching* matching : {&of_first, &of_second}) {
      if (const int own = matching->operand(static_cast<int>(i)); own >= 0) list.push_back(own);
    }
    for (const auto* rest : {&first[i], &second[i]}) {
      for (const int operand : *rest) {
        if (std::find(list.begin(), list.end(), operand) == list.end()) list.push_back(operand);
      }
    }
  }
  return ordered;
}

void delay_updates(Plan& plan) {
  for (size_t at = plan.steps.size(); at-- > 0;) {
    const Step& step = plan.steps[at];
    if (!step.op->is(ir::traits::pure)) continue;
    size_t target = at;
    for (size_t i = 0; i < step.reuse.size(); ++i) {
      const auto& results = plan.results;
      if (std::find(results.begin(), results.end(), step.outputs[i]) == results.end()) continue;
      for (const int operand : step.reuse[i]) {
        const Ref ref = step.inputs[operand];
        if (is_parameter(plan, ref)) target = std::max(target, last_reader(plan, ref, at));
      }
    }
    if (target == at || !can_wait(plan, at, target)) continue;
    const auto first = plan.steps.begin() + static_cast<int64_t>(at);
    std::rotate(first, first + 1, plan.steps.begin() + static_cast<int64_t>(target) + 1);
  }
}

}  // namespace jaxmps::exec
