// From IR to plans: slots, last uses, constants and control flow.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/log.h"
#include "exec/fused.h"
#include "exec/loop_program.h"
#include "exec/memory.h"
#include "exec/plan.h"
#include "exec/reuse.h"
#include "exec/views.h"

namespace jaxmps::exec {
namespace {

using ir::Op;
using ir::OpId;
using ir::Value;

// Splat constants of more elements than this are filled at run time instead of being kept.
constexpr int64_t kKeptSplat = 1024;

// The outer values that the regions of `op` use, each once, in order of first use.
std::vector<Value*> captured_values(const Op& op) {
  std::vector<Value*> captures;
  std::unordered_set<const Value*> inner, seen;
  std::vector<const ir::Region*> pending;
  for (const auto& region : op.regions()) pending.push_back(region.get());
  // Definitions first, so that uses of values of sibling regions are not taken for outer ones.
  for (size_t i = 0; i < pending.size(); ++i) {
    for (int a = 0; a < pending[i]->arg_count(); ++a) inner.insert(pending[i]->arg(a));
    for (Op* nested : *pending[i]) {
      for (int r = 0; r < nested->result_count(); ++r) inner.insert(nested->result(r));
      for (const auto& region : nested->regions()) pending.push_back(region.get());
    }
  }
  for (const ir::Region* region : pending) {
    for (Op* nested : *region) {
      for (Value* operand : nested->operands()) {
        if (!inner.count(operand) && seen.insert(operand).second) captures.push_back(operand);
      }
    }
  }
  return captures;
}

class Builder {
 public:
  Builder(const ir::Target& target, std::vector<Error>* refused)
      : target_(target), refused_(refused), plan_(std::make_unique<Plan>()) {}

  std::unique_ptr<Plan> build(const ir::Region& region, const std::vector<Value*>& captures) {
    std::vector<Value*> parameters;
    parameters.reserve(region.arg_count() + captures.size());
    for (int i = 0; i < region.arg_count(); ++i) parameters.push_back(region.arg(i));
    parameters.insert(parameters.end(), captures.begin(), captures.end());
    for (Value* parameter : parameters) {
      refs_[parameter] = plan_->slots;
      plan_->parameters.push_back(plan_->slots++);
    }
    views_.emplace(region);
    for (Op* op : region) {
      if (op == region.terminator()) break;
      add(*op);
    }
    for (Value* result : region.terminator()->operands()) plan_->results.push_back(ref(result));
    delay_updates(*plan_);
    find_last_uses();
    return std::move(plan_);
  }

 private:
  Ref ref(Value* value) { return refs_.at(value); }

  void add(const Op& op) {
    if (op.id == OpId::constant && add_constant(op)) return;
    Step step;
    step.op = &op;
    for (Value* operand : op.operands()) step.inputs.push_back(ref(operand));
    if (op.id == OpId::while_) {
      add_loop(op, step);
    } else if (op.id == OpId::case_) {
      add_branch(op, step);
    } else if (op.id == OpId::fusion) {
      if (!add_fusion(op, step)) return;
    } else {
      auto lowering = lower_op(op);
      if (!lowering.ok()) {
        refuse(op, std::move(lowering).error());
        return;
      }
      const bool is_view = target_.runs_native && lowering->view && views_->may_be_view(op);
      set_lowering(step, std::move(lowering).value());
      if (is_view) step.kind = Step::Kind::view;
    }
    // The memory of a part is not the step's to keep.
    for (auto& operands : step.reuse) {
      std::erase_if(operands, [&](int i) { return views_->is_part(op.operand(i)); });
    }
    append(op, std::move(step));
  }

  // On the CPU a kernel of ours, of the op's own block or of the fusion compiler, before MLX.
  Result<ops::Lowering> lower_op(const Op& op) {
    auto lowering = ops::lower(op, target_);
    const bool is_special = lowering.ok() && !lowering->is_general;
    if (is_special && (lowering->native || lowering->alias)) return lowering;
    // MLX's CPU computes functions of float64 in float32: those always run in kernels of ours.
    if (!target_.runs_native || !(uses_kernels() || uses_float64(op))) return lowering;
    auto alone = lower_alone(op, target_);
    return alone.ok() ? std::move(alone) : std::move(lowering);
  }

  void set_lowering(Step& step, ops::Lowering lowering) {
    plan_->nanoseconds += lowering.nanoseconds;
    step.reuse = std::move(lowering.choices);
    for (const int operand : lowering.reuse) {
      step.reuse.push_back(operand < 0 ? std::vector<int>() : std::vector{operand});
    }
    step.view = std::move(lowering.view);
    const bool native = target_.runs_native;
    const bool on_host = lowering.on_host && !lowering.graph;
    if (lowering.native && (native || on_host)) {
      step.kind = Step::Kind::native;
      step.native = std::move(lowering.native);
      if (!native) plan_->graph_free = false;
    } else {
      step.kind = lowering.alias ? Step::Kind::alias : Step::Kind::graph;
      step.graph = std::move(lowering.graph);
      if (!lowering.alias || !native) plan_->graph_free = false;
    }
  }

  // A fused op is one kernel, or, where the target has no kernel for it, its ops one by one.
  bool add_fusion(const Op& op, Step& step) {
    auto lowering = lower_fusion(op, target_);
    if (lowering.ok()) {
      set_lowering(step, std::move(lowering).value());
      return true;
    }
    if (is_strict()) {
      refuse(op, std::move(lowering).error());
      return false;
    }
    report_unfused(op, lowering.error());
    const ir::Region& body = op.region();
    for (int i = 0; i < body.arg_count(); ++i) refs_[body.arg(i)] = ref(op.operand(i));
    for (Op* inner : body) {
      if (inner != body.terminator()) add(*inner);
    }
    for (int i = 0; i < op.result_count(); ++i) {
      const auto found = refs_.find(body.terminator()->operand(i));
      if (found != refs_.end()) refs_[const_cast<Value*>(op.result(i))] = found->second;
    }
    return false;
  }

  void add_loop(const Op& op, Step& step) {
    const auto captures = captured_values(op);
    for (Value* capture : captures) step.inputs.push_back(ref(capture));
    if (target_.runs_native && uses_kernels()) {
      auto whole = lower_loop(op, captures);
      if (whole.ok()) return set_lowering(step, std::move(whole).value());
      if (is_strict() && whole.error().code == Code::internal) {
        refused_->push_back(std::move(whole).error());
        return;
      }
      log(Level::debug, "a loop of several steps: ", whole.error().text);
    }
    auto loop = std::make_unique<WhileStep>();
    loop->carried = op.operand_count();
    if (const ir::Attr* trips = ir::find(op.discardable, "mps.trip_count")) {
      loop->trip_count = std::get<ir::TypedInt>(trips->value).value;
    }
    loop->condition = build_plan(op.region(0), captures, target_, refused_);
    loop->body = build_plan(op.region(1), captures, target_, refused_);
    note_nested(*loop->condition, loop->trip_count.value_or(1000));
    note_nested(*loop->body, loop->trip_count.value_or(1000));
    step.kind = Step::Kind::loop;
    step.loop = std::move(loop);
  }

  void add_branch(const Op& op, Step& step) {
    step.kind = Step::Kind::branch;
    const auto captures = captured_values(op);
    for (Value* capture : captures) step.inputs.push_back(ref(capture));
    auto branch = std::make_unique<CaseStep>();
    for (const auto& region : op.regions()) {
      branch->branches.push_back(build_plan(*region, captures, target_, refused_));
      note_nested(*branch->branches.back(), 1);
    }
    step.branch = std::move(branch);
  }

  void note_nested(const Plan& nested, int64_t times) {
    plan_->graph_free = plan_->graph_free && nested.graph_free;
    plan_->nanoseconds += static_cast<double>(times) * (nested.nanoseconds + 500);
  }

  // Keeps a constant in the plan; false: large splats are made by a step at run time.
  bool add_constant(const Op& op) {
    const ir::Dense& value = op.dense("value");
    if (value.splat && value.type.size() > kKeptSplat) return false;
    const ir::Type& type = op.result()->type;
    refs_[const_cast<Value*>(op.result())] = ~static_cast<Ref>(plan_->constants.size());
    mx::array dense = new_array(ops::storage_shape(type), ops::storage_dtype(type.dtype));
    const auto bytes = value.bytes();
    auto* out = dense.data<uint8_t>();
    const size_t total = type.byte_count();
    if (!bytes.empty()) {
      for (size_t at = 0; at < total; at += bytes.size()) {
        std::copy(bytes.begin(), bytes.end(), out + at);
      }
    }
    plan_->constants.push_back(std::move(dense));
    return true;
  }

  void append(const Op& op, Step step) {
    for (int i = 0; i < op.result_count(); ++i) {
      const ir::Type& type = op.result(i)->type;
      if (!ops::fits_dimensions(type) && step.kind != Step::Kind::alias) {
        return refuse(op, ir::refuse(op, str("the result ", ir::brief(type),
                                             " has a dimension larger than ", ops::kLargestDim)));
      }
    }
    for (int i = 0; i < op.result_count(); ++i) {
      const ir::Type& type = op.result(i)->type;
      step.outputs.push_back(plan_->slots);
      step.shapes.push_back(ops::storage_shape(type));
      step.dtypes.push_back(ops::storage_dtype(type.dtype));
      refs_[const_cast<Value*>(op.result(i))] = plan_->slots++;
    }
    plan_->steps.push_back(std::move(step));
  }

  void refuse(const Op& op, Error error) {
    refused_->push_back(std::move(error));
    // Later ops still need a slot, so that all refusals are found.
    for (int i = 0; i < op.result_count(); ++i) {
      refs_[const_cast<Value*>(op.result(i))] = plan_->slots++;
    }
  }

  void find_last_uses() {
    std::vector<bool> live(plan_->slots, false);
    plan_->moved_results.assign(plan_->results.size(), false);
    for (size_t i = plan_->results.size(); i-- > 0;) {
      const Ref result = plan_->results[i];
      if (result < 0 || live[result]) continue;
      plan_->moved_results[i] = live[result] = true;
    }
    constexpr int kTwice = -1;
    std::vector<int> reader(plan_->slots);  // where the step reads what dies there
    for (size_t i = plan_->steps.size(); i-- > 0;) {
      Step& step = plan_->steps[i];
      for (int& output : step.outputs) {
        if (!live[output]) step.frees.push_back(output);
      }
      const size_t dead = step.frees.size();
      step.last_read.assign(step.inputs.size(), false);
      for (size_t k = 0; k < step.inputs.size(); ++k) {
        const Ref input = step.inputs[k];
        if (input < 0) continue;
        if (live[input]) {
          reader[input] = kTwice;
          continue;
        }
        live[input] = true;
        reader[input] = static_cast<int>(k);
        step.frees.push_back(input);
      }
      for (size_t k = dead; k < step.frees.size(); ++k) {
        if (const int at = reader[step.frees[k]]; at != kTwice) step.last_read[at] = true;
      }
    }
    for (int slot : plan_->parameters) {
      if (!live[slot]) plan_->dead_parameters.push_back(slot);
    }
    for (Step& step : plan_->steps) choose_reuse(step);
  }

  // Only operands that die at the step, and of these first the plan's parameters, whose slots are
  // the first.
  void choose_reuse(Step& step) const {
    for (auto& operands : step.reuse) {
      std::erase_if(operands, [&](int operand) { return !step.last_read[operand]; });
    }
    const auto parameters = static_cast<Ref>(plan_->parameters.size());
    step.reuse =
        order_choices(step.reuse, [&](int operand) { return step.inputs[operand] < parameters; });
  }

  const ir::Target& target_;
  std::vector<Error>* refused_;
  std::unique_ptr<Plan> plan_;
  std::unordered_map<const Value*, Ref> refs_;
  std::optional<Views> views_;
};

}  // namespace

std::unique_ptr<Plan> build_plan(const ir::Region& region, const std::vector<Value*>& captures,
                                 const ir::Target& target, std::vector<Error>* refused) {
  return Builder(target, refused).build(region, captures);
}

}  // namespace jaxmps::exec
