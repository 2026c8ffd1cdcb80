#include "exec/place.h"

#include <algorithm>
#include <optional>

#include "base/env.h"
#include "bytecode/reader.h"
#include "exec/device.h"
#include "exec/fused.h"
#include "ir/lifetimes.h"
#include "passes/pass.h"

namespace jaxmps::exec {
namespace {

// Nanoseconds of an Apple GPU. A chain of 3,200 tiny kernels took an M3 Ultra 8.8 ms, and each
// command buffer some 20 us (ml-explore/mlx#4521). Until the CPU hears that one has ended it takes
// longer: Apple's hints on tuning speak of up to 2.5 ms, this is a guess.
constexpr double kBegin = 20e3, kCall = 2.7e3, kWait = 100e3;
// Operations and bytes, of one trip: not worth a second look.
constexpr double kLargest = 4e6;

double op_flops(const ir::Op& op) {
  double flops = 0;
  if (op.id == ir::OpId::dot_general) {
    flops = 2.0 * op.result()->type.size();
    for (int64_t dim : op.ints("lhs_contracting_dimensions"))
      flops *= op.operand(0)->type.dims[dim];
  } else if (op.id == ir::OpId::convolution) {
    const ir::Type& kernel = op.operand(1)->type;
    const int64_t outputs = kernel.dims[op.i64("kernel_output_feature_dimension")];
    const int64_t per_output = outputs ? kernel.size() / outputs : 0;
    flops = 2.0 * op.result()->type.size() * per_output;
  } else if (op.is(ir::traits::elementwise)) {
    flops = op.result()->type.size();
  }
  for (const auto& region : op.regions()) {
    if (op.id != ir::OpId::while_ && op.id != ir::OpId::case_ && op.id != ir::OpId::fusion) break;
    for (const ir::Op* nested : *region) flops += op_flops(*nested);
  }
  return flops;
}

Work work_of(const ir::Op& op) {
  Work work{op_flops(op), 0};
  const auto add = [&](const ir::Type& type) {
    if (type.is_static()) work.bytes += static_cast<double>(type.byte_count());
  };
  for (int i = 0; i < op.operand_count(); ++i) add(op.operand(i)->type);
  for (int i = 0; i < op.result_count(); ++i) add(op.result(i)->type);
  return work;
}

bool is_large(const Work& work) { return work.flops + work.bytes > kLargest; }

// How long a GPU is busy with the calls alone: one for each op, and a wait where the CPU has to
// know a value.
double of_calls(const ir::Region& region) {
  double total = 0;
  for (const ir::Op* op : region) {
    if (op == region.terminator() || op->id == ir::OpId::constant) continue;
    if (op->id == ir::OpId::while_) {
      const ir::Attr* trips = ir::find(op->discardable, "mps.trip_count");
      constexpr double kUnknown = 1000;
      const double body = of_calls(op->region(1));
      total += trips ? static_cast<double>(std::get<ir::TypedInt>(trips->value).value) * body
                     : kUnknown * (of_calls(op->region(0)) + body + kWait);
    } else if (op->id == ir::OpId::case_) {
      double most = 0;
      for (const auto& branch : op->regions()) most = std::max(most, of_calls(*branch));
      total += most + kWait;
    } else {
      total += kCall;
    }
  }
  return total;
}

enum class Choice : int64_t { never, small, always };

// JAX_MPS_SMALL_ON_CPU, where there is a choice.
Choice choice(const ir::Target& target) {
  if (target.runs_native || !target.host_memory) return Choice::never;
  return static_cast<Choice>(env::number(env::Var::JAX_MPS_SMALL_ON_CPU));
}

// A plan of the module's main function for the CPU if it beats the GPU by what is given.
Result<std::unique_ptr<Plan>> plan_if_sooner(ir::Module& module, double on_gpu, double extra,
                                             Choice choice, std::string* why) {
  CHECK_OK(fuse_module(module, ir::kCpu));
  std::vector<Error> refused;
  TRY(const std::vector<Device*>* all, devices());
  const StreamScope scope(*all->front());
  auto plan = build_plan(module.main()->body, {}, ir::kCpu, &refused);
  const double on_cpu = plan->nanoseconds + extra;
  const bool is_possible = refused.empty() && plan->is_native;
  if (!refused.empty()) {
    *why = refused[0].text;
  } else if (!plan->is_native) {
    *why = "not all of its kernels are ours";
  } else {
    *why = str(on_cpu, " ns of work there, the GPU's calls take ", on_gpu, " ns");
  }
  const bool is_chosen = is_possible && (choice == Choice::always || on_cpu < on_gpu);
  *why = str(is_chosen ? "on the CPU: " : "not on the CPU: ", *why);
  if (!is_chosen) plan = nullptr;
  return plan;
}

// A module of nothing but a copy of the op.
std::unique_ptr<ir::Module> module_of(const ir::Op& op) {
  auto module = std::make_unique<ir::Module>();
  std::vector<ir::Value*> inputs = op.operands();
  const auto captures = captured_values(op);
  inputs.insert(inputs.end(), captures.begin(), captures.end());
  module->add_function("main")->body.copy_alone(op, inputs);
  return module;
}

Status place_in(ir::Region& region, Choice choice, std::string* notes) {
  for (ir::Op* op : region) {
    if (op->id != ir::OpId::while_ && op->id != ir::OpId::case_) continue;
    bool is_placed = false;
    if (choice == Choice::always || !is_large(work_of(*op))) {
      auto alone = module_of(*op);
      const double on_gpu = of_calls(alone->main()->body);
      std::string why;
      // It waits for the GPU first, at worst.
      TRY(const auto plan, plan_if_sooner(*alone, on_gpu, kWait, choice, &why));
      is_placed = plan != nullptr;
      if (notes) *notes += str(ir::brief(*op), " at ", ir::brief(op->location), ": ", why, '\n');
    }
    if (is_placed) {
      ir::run_on_cpu(*op);
    } else {
      for (const auto& nested : op->regions()) CHECK_OK(place_in(*nested, choice, notes));
    }
  }
  return {};
}

}  // namespace

Work work_of(const ir::Region& region) {
  Work work;
  for (const ir::Op* op : region) {
    const Work one = work_of(*op);
    work.flops += one.flops;
    work.bytes += one.bytes;
  }
  return work;
}

double gpu_nanoseconds(const ir::Region& region) {
  const Work work = work_of(region);
  return of_calls(region) + ir::kMetal.pace.nanoseconds(work.flops, work.bytes);
}

int64_t live_peak(const ir::Region& region) {
  const ir::Lifetimes lifetimes(region);
  const int end = lifetimes.place(region.terminator());
  std::vector<int64_t> freed(end + 1);
  int64_t live = 0, peak = 0;
  for (const ir::Op* op : region) {
    const int place = lifetimes.place(op);
    if (op->id == ir::OpId::constant || place == end) continue;
    int64_t nested = 0;
    for (const auto& inner : op->regions()) nested = std::max(nested, live_peak(*inner));
    for (int i = 0; i < op->result_count(); ++i) {
      const ir::Value* value = op->result(i);
      const int last = lifetimes.last_use(value);
      if (last == ir::Lifetimes::kNever || last == end || !value->type.is_static()) continue;
      live += value->type.byte_count();
      freed[last] += value->type.byte_count();
    }
    peak = std::max(peak, live + (op->id == ir::OpId::fusion ? 0 : nested));
    live -= freed[place];
  }
  return peak;
}

Result<PlacedProgram> place_program(std::shared_ptr<const std::string> artifact, const Work& work,
                                    const ir::Target& target, std::string* notes) {
  PlacedProgram program;
  const Choice chosen = choice(target);
  if (chosen == Choice::never || (is_large(work) && chosen != Choice::always)) return program;
  TRY(program.module, bytecode::read_artifact(std::move(artifact)));
  CHECK_OK(passes::run_passes(*program.module));
  std::string why;
  TRY(program.plan, plan_if_sooner(*program.module, kBegin + of_calls(program.module->main()->body),
                                   0, chosen, &why));
  if (notes) *notes += why + '\n';
  if (notes && program.plan) *notes += print(*program.plan);
  return program;
}

Status place_regions(ir::Module& module, const ir::Target& target, std::string* notes) {
  const Choice chosen = choice(target);
  if (chosen == Choice::never || !uses_kernels()) return {};
  return place_in(module.main()->body, chosen, notes);
}

}  // namespace jaxmps::exec
