// From IR to plans: slots, last uses, constants and control flow.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/log.h"
#include "exec/epilogue.h"
#include "exec/fused.h"
#include "exec/layouts.h"
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

class Builder {
 public:
  Builder(const ir::Target& target, std::vector<Error>* refused)
      : target_(target), refused_(refused), plan_(std::make_unique<Plan>()) {
    plan_->is_native = target.runs_native;
  }

  std::unique_ptr<Plan> build(const ir::Region& region, const std::vector<Value*>& captures) {
    std::vector<Value*> parameters;
    parameters.reserve(region.arg_count() + captures.size());
    for (int i = 0; i < region.arg_count(); ++i) parameters.push_back(region.arg(i));
    parameters.insert(parameters.end(), captures.begin(), captures.end());
    for (Value* parameter : parameters) {
      refs_[parameter] = plan_->slots;
      plan_->parameters.push_back(plan_->slots++);
      const bool is_known = parameter->type.is_tensor() && parameter->type.is_static();
      plan_->parameter_bytes.push_back(is_known ? parameter->type.byte_count() : 0);
    }
    views_.emplace(region);
    for (Op* op : region) {
      if (op == region.terminator()) break;
      add(*op);
    }
    for (Value* result : region.terminator()->operands()) plan_->results.push_back(ref(result));
    if (reuses_memory()) {
      fold_views(*plan_, parameters);
      delay_updates(*plan_);
    }
    find_last_uses();
    find_overwritten(*plan_);
    find_small_parts();
    return std::move(plan_);
  }

 private:
  Ref ref(Value* value) { return refs_.at(value); }

  void add(const Op& op) {
    if (op.id == OpId::constant && add_constant(op)) return;
    if (op.id == OpId::optimization_barrier) return pass_on(op);
    if (op.id == OpId::while_) return add_loop(op);
    if (op.id == OpId::case_) return add_branch(op);
    if (join_of(op)) return;
    if (const Op* product = joined_by(op)) return add_product(*product, op);
    add_op(op);
  }

  void add_op(const Op& op) {
    if (op.id == OpId::fusion) return add_fusion(op);
    auto lowering = lower_op(op);
    if (!lowering.ok()) return refuse(op, std::move(lowering).error());
    add_lowering(op, std::move(lowering).value());
  }

  Step step_of(const Op& op, Step::Kind kind) {
    Step step;
    step.kind = kind;
    step.op = &op;
    for (Value* operand : op.operands()) step.inputs.push_back(ref(operand));
    return step;
  }

  // On the CPU a kernel of ours, of the op's own block or of the fusion compiler, before MLX.
  Result<ops::Lowering> lower_op(const Op& op) {
    auto lowering = ops::lower(op, target_);
    const bool is_special = lowering.ok() && !lowering->is_general;
    if (is_special && (lowering->native || lowering->alias)) return lowering;
    // MLX counts in 32 bits, kernels of ours in 64.
    if (!target_.runs_native && lowering.ok() && operands_fit(op)) return lowering;
    auto alone = lower_alone(op);
    const bool is_scalar =
        op.is(ir::traits::elementwise) || op.id == OpId::select || op.id == OpId::clamp;
    return alone.ok() || is_scalar ? std::move(alone) : std::move(lowering);
  }

  // A kernel of its own; where a GPU's compiler refuses it, the CPU's.
  Result<ops::Lowering> lower_alone(const Op& op) {
    auto alone = lower_fused(op, target_);
    if (alone.ok() || target_.runs_native || alone.error().code != Code::internal) return alone;
    if (is_strict()) return ir::refuse(op, alone.error().text);
    report_refused(op, "on the CPU", alone.error());
    TRY(auto on_cpu, lower_fused(op, ir::kCpu));
    on_cpu.on_host = true;
    return on_cpu;
  }

  void add_lowering(const Op& op, ops::Lowering lowering) {
    plan_->nanoseconds += lowering.nanoseconds;
    const bool on_host = lowering.on_host && !lowering.graph;
    if (!lowering.launches.empty()) {
      add_launches(op, std::move(lowering.launches));
    } else if (lowering.native && (target_.runs_native || on_host)) {
      add_native(op, step_of(op, Step::Kind::native), std::move(lowering));
    } else if (lowering.alias) {
      add_alias(op);
    } else {
      add_graph(op, lowering.graph);
    }
  }

  // No array of MLX shows a result with a dimension that MLX cannot count. Only kernels of ours
  // read one, and they need but the memory: the operand's.
  void add_alias(const Op& op) {
    if (ops::fits_dimensions(op.result()->type)) return append(op, step_of(op, Step::Kind::alias));
    pass_on(op);
  }

  void add_native(const Op& op, Step step, ops::Lowering lowering) {
    const bool is_view =
        target_.runs_native && lowering.view && reuses_memory() && views_->may_be_view(op);
    step.kind = is_view ? Step::Kind::view : Step::Kind::native;
    step.native = std::move(lowering.native);
    step.view = std::move(lowering.view);
    step.reuse = std::move(lowering.choices);
    for (const int operand : lowering.reuse) {
      step.reuse.push_back(operand < 0 ? std::vector<int>() : std::vector{operand});
    }
    // The memory of a part is not the step's to keep.
    for (auto& operands : step.reuse) {
      std::erase_if(operands, [&](int i) { return views_->is_part(op.operand(i)); });
    }
    append(op, std::move(step));
  }

  void add_launches(const Op& op, std::vector<ops::Launch> launches) {
    if (!check_sizes(op)) return;
    std::vector<int> results;
    results.reserve(static_cast<size_t>(op.result_count()));
    for (int i = 0; i < op.result_count(); ++i) results.push_back(new_result(op, i));
    int scratch = -1;
    for (ops::Launch& launch : launches) {
      Step step;
      step.kind = Step::Kind::launch;
      step.op = &op;
      for (const int i : launch.inputs) step.inputs.push_back(ref(op.operand(i)));
      if (launch.reads_scratch) step.inputs.push_back(scratch);
      for (const int i : launch.outputs) add_output(step, op.result(i)->type, results[i]);
      if (launch.scratch_bytes) {
        scratch = plan_->slots++;
        step.outputs.push_back(scratch);
        step.shapes.push_back({static_cast<mx::ShapeElem>(launch.scratch_bytes)});
        step.dtypes.push_back(mx::uint8);
      }
      step.launch = std::move(launch);
      plan_->steps.push_back(std::move(step));
    }
  }

  // A step for each primitive of the graph, which is built once, of stand-ins for the operands.
  void add_graph(const Op& op, const ops::Graph& graph) {
    if (!check_sizes(op, true)) return;
    plan_->is_native = false;
    std::vector<mx::array> operands;
    std::vector<const mx::array*> inputs;
    std::unordered_map<std::uintptr_t, Ref> known;
    for (Value* operand : op.operands()) {
      const ir::Type& type = operand->type;
      operands.emplace_back(ops::storage_shape(type), ops::storage_dtype(type.dtype), nullptr,
                            std::vector<mx::array>());
      known.emplace(operands.back().id(), ref(operand));
    }
    inputs.reserve(operands.size());
    for (const mx::array& operand : operands) inputs.push_back(&operand);
    ops::Arrays results;
    try {
      results = graph(ops::Inputs(inputs));
    } catch (const std::bad_alloc&) {  // says nothing about the op
      throw;
    } catch (const std::exception& error) {
      return refuse(op, ir::refuse(op, error.what()));
    }
    const auto ref_of = [&](const mx::array& array) {
      const auto [found, is_new] =
          known.emplace(array.id(), ~static_cast<Ref>(plan_->constants.size()));
      if (is_new) plan_->constants.push_back(array);  // no operand, not computed: a constant
      return found->second;
    };
    for (TracedCall& traced : trace(results, target_.pace)) {
      Step step;
      step.kind = Step::Kind::call;
      step.op = &op;
      for (const mx::array& input : traced.inputs) step.inputs.push_back(ref_of(input));
      for (const mx::array& output : traced.outputs) {
        known[output.id()] = plan_->slots;
        step.outputs.push_back(plan_->slots++);
        step.shapes.push_back(output.shape());
        step.dtypes.push_back(output.dtype());
      }
      step.call = std::move(traced.call);
      plan_->steps.push_back(std::move(step));
    }
    for (int i = 0; i < op.result_count(); ++i) {
      refs_[const_cast<Value*>(op.result(i))] = ref_of(results[static_cast<size_t>(i)]);
    }
  }

  // A fused op is one kernel, or, where the target has no kernel for it, its ops one by one.
  void add_fusion(const Op& op) {
    auto lowering = lower_fused(op, target_);
    if (lowering.ok()) return add_lowering(op, std::move(lowering).value());
    if (is_strict()) return refuse(op, ir::refuse(op, lowering.error().text));
    report_refused(op, "op by op", lowering.error());
    const ir::Region& body = op.region();
    for (int i = 0; i < body.arg_count(); ++i) refs_[body.arg(i)] = ref(op.operand(i));
    for (Op* inner : body) {
      if (inner != body.terminator()) add(*inner);
    }
    for (int i = 0; i < op.result_count(); ++i) {
      const auto found = refs_.find(body.terminator()->operand(i));
      if (found != refs_.end()) refs_[const_cast<Value*>(op.result(i))] = found->second;
    }
  }

  // A product and its sum: one call, if it is one of matrices.
  void add_product(const Op& product, const Op& sum) {
    const size_t first = plan_->steps.size();
    add_op(product);
    Value* const result = const_cast<Value*>(product.result());
    Step* call = nullptr;
    for (size_t i = first; i < plan_->steps.size(); ++i) {
      Step& step = plan_->steps[i];
      if (is_view(step)) continue;
      if (call || step.call.operation != Operation::product) return add_op(sum);
      call = &step;
    }
    const Joined& joined = join_of(product)->joined;
    auto layout = call ? layout_for(joined, call->shapes[0], call->dtypes[0]) : std::nullopt;
    if (!layout) return add_op(sum);
    call->call = with_epilogue(std::move(call->call), joined.epilogue, *std::move(layout));
    call->inputs.push_back(ref(const_cast<Value*>(sum.operand(joined.other))));
    Step alias;
    alias.kind = Step::Kind::alias;
    alias.op = &sum;
    alias.inputs = {ref(result)};
    append(sum, std::move(alias));
  }

  void add_loop(const Op& op) {
    Step step = step_of(op, Step::Kind::loop);
    const auto captures = captured_values(op);
    for (Value* capture : captures) step.inputs.push_back(ref(capture));
    const ir::Target& target = ir::target_of(op, target_);
    if (target.runs_native && uses_kernels()) {
      auto whole = lower_loop(op, captures);
      if (whole.ok()) {
        plan_->nanoseconds += whole->nanoseconds;
        return add_native(op, std::move(step), std::move(whole).value());
      }
      if (is_strict() && whole.error().code == Code::internal) {
        return refuse(op, std::move(whole).error());
      }
      log(Level::debug, "a loop of several steps: ", whole.error().text);
    }
    auto loop = std::make_unique<WhileStep>();
    loop->carried = op.operand_count();
    if (const ir::Attr* trips = ir::find(op.discardable, "mps.trip_count")) {
      loop->trip_count = std::get<ir::TypedInt>(trips->value).value;
    }
    loop->condition = build_plan(op.region(0), captures, target, refused_);
    loop->body = build_plan(op.region(1), captures, target, refused_);
    note_nested(*loop->condition, loop->trip_count.value_or(1000));
    note_nested(*loop->body, loop->trip_count.value_or(1000));
    step.loop = std::move(loop);
    append(op, std::move(step));
  }

  void add_branch(const Op& op) {
    Step step = step_of(op, Step::Kind::branch);
    const auto captures = captured_values(op);
    for (Value* capture : captures) step.inputs.push_back(ref(capture));
    auto branch = std::make_unique<CaseStep>();
    for (const auto& region : op.regions()) {
      branch->branches.push_back(
          build_plan(*region, captures, ir::target_of(op, target_), refused_));
      note_nested(*branch->branches.back(), 1);
    }
    step.branch = std::move(branch);
    append(op, std::move(step));
  }

  void note_nested(const Plan& nested, int64_t times) {
    plan_->is_native = plan_->is_native && nested.is_native;
    plan_->nanoseconds += static_cast<double>(times) * (nested.nanoseconds + 500);
  }

  // The results are the operands.
  void pass_on(const Op& op) {
    for (int i = 0; i < op.result_count(); ++i)
      refs_[const_cast<Value*>(op.result(i))] = ref(const_cast<Value*>(op.operand(i)));
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

  static bool operands_fit(const Op& op) {
    const auto operands = op.operands();
    return std::all_of(operands.begin(), operands.end(),
                       [](Value* operand) { return ops::fits_dimensions(operand->type); });
  }

  // Refuses what is too large for MLX.
  bool check_sizes(const Op& op, bool with_operands = false) {
    const auto check = [&](std::string_view what, const ir::Type& type) {
      if (ops::fits_dimensions(type)) return true;
      refuse(op, ir::refuse(op, str("the ", what, " ", ir::brief(type),
                                    " has a dimension larger than ", ops::kLargestDim)));
      return false;
    };
    for (int i = 0; i < op.result_count(); ++i) {
      if (!check("result", op.result(i)->type)) return false;
    }
    if (!with_operands) return true;
    const auto operands = op.operands();
    return std::all_of(operands.begin(), operands.end(),
                       [&](Value* operand) { return check("operand", operand->type); });
  }

  int new_result(const Op& op, int i) {
    refs_[const_cast<Value*>(op.result(i))] = plan_->slots;
    return plan_->slots++;
  }

  static void add_output(Step& step, const ir::Type& type, int slot) {
    step.outputs.push_back(slot);
    step.shapes.push_back(ops::storage_shape(type));
    step.dtypes.push_back(ops::storage_dtype(type.dtype));
  }

  void append(const Op& op, Step step) {
    if (!check_sizes(op)) return;
    for (int i = 0; i < op.result_count(); ++i) {
      add_output(step, op.result(i)->type, new_result(op, i));
    }
    plan_->steps.push_back(std::move(step));
  }

  void refuse(const Op& op, Error error) {
    refused_->push_back(std::move(error));
    // Later ops still need a slot, so that all refusals are found.
    for (int i = 0; i < op.result_count(); ++i) new_result(op, i);
  }

  void find_last_uses() {
    std::vector<bool> live(plan_->slots, false);
    plan_->moved_results.assign(plan_->results.size(), false);
    for (size_t i = plan_->results.size(); i-- > 0;) {
      const Ref result = plan_->results[i];
      if (result < 0 || live[result]) continue;
      plan_->moved_results[i] = live[result] = true;
    }
    // Parameters have the first slots.
    const auto first = static_cast<Ref>(plan_->parameters.size());
    for (size_t i = 0; i < plan_->results.size(); ++i) {
      plan_->passed_on.push_back(!plan_->moved_results[i] || plan_->results[i] < first);
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
        const int at = reader[step.frees[k]];
        if (at != kTwice && reuses_memory()) step.last_read[at] = true;
      }
    }
    for (int slot : plan_->parameters) {
      if (!live[slot]) plan_->dead_parameters.push_back(slot);
    }
    for (Step& step : plan_->steps) choose_reuse(step);
  }

  // MLX copies what has sixteen KiB more than is seen of it.
  void find_small_parts() {
    constexpr int64_t kLittle = 64 << 10;
    std::vector<int64_t> bytes(plan_->slots), memory(plan_->slots);
    for (size_t i = 0; i < plan_->parameters.size(); ++i) {
      const int slot = plan_->parameters[i];
      bytes[slot] = memory[slot] = plan_->parameter_bytes[i];
    }
    for (const Step& step : plan_->steps) {
      for (size_t i = 0; i < step.outputs.size(); ++i) {
        const int slot = step.outputs[i];
        bytes[slot] = result_bytes(step, i);
        const bool is_part = is_view(step) && step.inputs[0] >= 0;
        memory[slot] = is_part ? std::max(bytes[slot], memory[step.inputs[0]]) : bytes[slot];
      }
    }
    for (const Ref ref : plan_->results) {
      plan_->small_parts.push_back(ref >= 0 && memory[ref] > 2 * bytes[ref] + kLittle);
    }
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

std::unique_ptr<Plan> build_plan(const ir::Region& region, const std::vector<Value*>& captures,
                                 const ir::Target& target, std::vector<Error>* refused) {
  return Builder(target, refused).build(region, captures);
}

}  // namespace jaxmps::exec
