#include "exec/reuse.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include "base/env.h"

namespace jaxmps::exec {
namespace {

// Gives as many results as possible an operand of their own, by augmenting paths.
class Matching {
 public:
  explicit Matching(const std::vector<std::vector<int>>& choices)
      : choices_(choices), operands_(choices.size(), -1) {
    for (int result = 0; result < static_cast<int>(choices.size()); ++result) {
      seen_.clear();
      place(result);
    }
  }

  // The operand of the result, or -1.
  int operand(int result) const { return operands_[result]; }

 private:
  bool place(int result) {
    for (const int operand : choices_[result]) {
      if (!seen_.insert(operand).second) continue;
      const auto owner = owners_.find(operand);
      if (owner != owners_.end() && !place(owner->second)) continue;
      owners_[operand] = result;
      operands_[result] = operand;
      return true;
    }
    return false;
  }

  const std::vector<std::vector<int>>& choices_;
  std::vector<int> operands_;
  std::unordered_map<int, int> owners_;
  std::unordered_set<int> seen_;
};

// The steps of a plan in an order that changes: a list whose members carry growing labels.
class Order {
 public:
  explicit Order(int size) : next_(size + 1), previous_(size + 1), labels_(size + 1), end_(size) {
    for (int i = 0; i <= size; ++i) link(i == 0 ? end_ : i - 1, i);
    label();
  }

  bool is_before(int a, int b) const { return labels_[a] < labels_[b]; }
  int first() const { return next_[end_]; }
  int next(int step) const { return next_[step]; }
  int end() const { return end_; }

  void move_behind(int step, int target) {
    link(previous_[step], next_[step]);
    link(step, next_[target]);
    link(target, step);
    const int64_t low = labels_[target], high = labels_[next_[step]];
    labels_[step] = low + (high - low) / 2;
    if (labels_[step] == low) label();
  }

 private:
  void link(int a, int b) {
    next_[a] = b;
    previous_[b] = a;
  }

  void label() {
    int64_t label = 0;
    for (int i = first(); i != end_; i = next_[i]) labels_[i] = label += kGap;
    labels_[end_] = label + kGap * (end_ + 1);
  }

  static constexpr int64_t kGap = int64_t{1} << 32;
  std::vector<int> next_, previous_;
  std::vector<int64_t> labels_;
  const int end_;  // behind the last step and in front of the first
};

// Delays the updates of parameters: `order` tells where the steps go.
class Delay {
 public:
  explicit Delay(const Plan& plan)
      : plan_(plan),
        order_(static_cast<int>(plan.steps.size())),
        readers_(plan.slots),
        last_(plan.slots, -1),
        is_result_(plan.slots, false) {
    for (const Ref result : plan.results) {
      if (result >= 0) is_result_[result] = true;
    }
    for (int at = 0; at < order_.end(); ++at) {
      for (const Ref input : plan.steps[at].inputs) {
        if (input < 0 || last_[input] == at) continue;
        readers_[input].push_back(at);
        last_[input] = at;
      }
    }
    for (int at = order_.end(); at-- > 0;) visit(at);
  }

  const Order& order() const { return order_; }

 private:
  bool is_parameter(Ref ref) const {
    return ref >= 0 && ref < static_cast<Ref>(plan_.parameters.size());
  }

  void visit(int at) {
    const Step& step = plan_.steps[at];
    if (!step.op->is(ir::traits::pure)) return;
    int target = at;
    for (size_t i = 0; i < step.reuse.size(); ++i) {
      if (!is_result_[step.outputs[i]]) continue;
      for (const int operand : step.reuse[i]) {
        const Ref ref = step.inputs[operand];
        if (is_parameter(ref) && order_.is_before(target, last_[ref])) target = last_[ref];
      }
    }
    if (target == at || !can_wait(step, target)) return;
    order_.move_behind(at, target);
    for (const Ref input : step.inputs) {
      if (input >= 0 && order_.is_before(last_[input], at)) last_[input] = at;
    }
  }

  // Whether the step may run directly behind `target`: what it makes is not read until then, and
  // what it reads lives until then.
  bool can_wait(const Step& step, int target) const {
    for (const int output : step.outputs) {
      for (const int reader : readers_[output]) {
        if (!order_.is_before(target, reader)) return false;
      }
    }
    return std::all_of(step.inputs.begin(), step.inputs.end(), [&](Ref input) {
      return input < 0 || is_parameter(input) || !order_.is_before(last_[input], target);
    });
  }

  const Plan& plan_;
  Order order_;
  std::vector<std::vector<int>> readers_;
  std::vector<int> last_;  // the last reader of each slot
  std::vector<bool> is_result_;
};

}  // namespace

bool reuses_memory() { return env::flag(env::Var::JAX_MPS_REUSE); }

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
  const Delay delay(plan);
  const Order& order = delay.order();
  std::vector<Step> steps;
  steps.reserve(plan.steps.size());
  for (int i = order.first(); i != order.end(); i = order.next(i)) {
    steps.push_back(std::move(plan.steps[i]));
  }
  plan.steps = std::move(steps);
}

void find_overwritten(Plan& plan) {
  std::vector<int> whole(plan.slots);  // whose memory a slot sees
  std::iota(whole.begin(), whole.end(), 0);
  for (const Step& step : plan.steps) {
    if (!is_view(step) || step.inputs[0] < 0) continue;
    for (const int output : step.outputs) whole[output] = whole[step.inputs[0]];
  }
  std::vector<bool> overwritten(plan.slots);
  for (size_t at = plan.steps.size(); at-- > 0;) {
    Step& step = plan.steps[at];
    for (const Ref input : step.inputs) {
      step.overwritten.push_back(input >= 0 && overwritten[whole[input]]);
    }
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      if (!updates_in_place(step, i)) continue;
      const Ref input = step.inputs[static_cast<size_t>(updated_operand(step, i))];
      if (input >= 0) overwritten[whole[input]] = true;
    }
  }
}

}  // namespace jaxmps::exec
