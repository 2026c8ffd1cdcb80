// From IR to loop code: scalars, control flow and the scopes that code is placed in. An instruction
// belongs to the outermost scope that has its operands, so that what does not change moves out of
// loops; it never leaves a branch, which may not run.
#include <algorithm>
#include <limits>
#include <numeric>

#include "base/env.h"
#include "base/log.h"
#include "exec/fused.h"
#include "exec/loop_builder.h"

namespace jaxmps::exec {

using ir::DType;
using ir::Op;
using ir::OpId;
using kernels::CodeBlock;
using kernels::CodeItem;
using kernels::CodeLoop;
using kernels::Control;
using kernels::Opcode;
using kernels::ScalarValue;

namespace {

// Memory beyond this stays with the plan: its kernels take so long that a loop costs nothing.
constexpr int64_t kLargestArena = 512 << 10, kLargestMachineArena = 8 << 20;
constexpr size_t kMostInstructions = 4096;
constexpr int64_t kKnownConstant = 1024;  // bytes
constexpr int64_t kMostStack = 64 << 10;  // for arrays of machine code
constexpr int64_t kUnknownTrips = 1 << 20;
constexpr double kInstruction = 1.5, kTrip = 1;  // nanoseconds

bool all_scalars(const Op& op) {
  for (ir::Value* operand : op.operands()) {
    if (!operand->type.is_scalar()) return false;
  }
  for (int i = 0; i < op.result_count(); ++i) {
    if (!op.result(i)->type.is_scalar()) return false;
  }
  return true;
}

bool is_all_scalar_fusion(const Op& op) {
  if (!all_scalars(op)) return false;
  for (const Op* inner : op.region()) {
    if (inner != op.region().terminator() && !all_scalars(*inner)) return false;
  }
  return true;
}

Status check(const Op& op, const ir::Type& type) {
  if (!type.is_tensor() || !type.is_static() || type.quantization) {
    return ir::refuse(op, "a loop of this form has plain arrays only");
  }
  return {};
}

}  // namespace

bool LoopBuilder::may_be_view(const Op& op) {
  return op.id == OpId::reshape || op.id == OpId::dynamic_slice;
}

// --- scopes -------------------------------------------------------------------------------------

void LoopBuilder::enter(bool is_branch) {
  flush();
  scopes_.push_back({{}, is_branch});
}

CodeBlock LoopBuilder::leave() {
  flush();
  CodeBlock block = std::move(scopes_.back().block);
  scopes_.pop_back();
  const int left = static_cast<int>(scopes_.size());
  builder_.forget([&](int32_t v) { return depth_of(v) >= left; });
  return block;
}

int LoopBuilder::pin() const {
  for (size_t d = scopes_.size(); d-- > 0;) {
    if (scopes_[d].is_branch) return static_cast<int>(d);
  }
  return 0;
}

// Places the instructions that the builder has appended.
void LoopBuilder::flush() {
  for (size_t v = depth_.size(); v < scalars_.instrs.size(); ++v) {
    const kernels::ScalarInstr& i = scalars_.instrs[v];
    if (i.op == Opcode::constant) {
      depth_.push_back(0);
      continue;
    }
    int depth = pin();
    for (int32_t operand : {i.a, i.b, i.c, i.d}) {
      if (operand >= 0) depth = std::max(depth, depth_of(operand));
    }
    depth_.push_back(depth);
    CodeItem item;
    item.value = static_cast<int32_t>(v);
    scopes_[static_cast<size_t>(depth)].block.push_back(std::move(item));
    cost_ += kInstruction;
  }
}

int32_t LoopBuilder::new_value(DType type, int depth) {
  flush();
  const int32_t v = builder_.emit(Opcode::input, type, -1, -1, -1, inputs_++);
  depth_.push_back(depth);
  return v;
}

int32_t LoopBuilder::new_address(int depth) {
  addresses_.push_back(new_value(DType::u64, depth));
  return addresses_.back();
}

// A scalar as registers hold it, not yet defined by anything.
ScalarValue LoopBuilder::new_scalar(DType dtype) {
  const int depth = static_cast<int>(scopes_.size()) - 1;
  const DType type = kernels::machine_type(dtype);
  ScalarValue scalar{dtype, new_value(type, depth), -1};
  if (ir::is_complex(dtype)) scalar.im = new_value(type, depth);
  return scalar;
}

void LoopBuilder::control(Control control, int32_t value, int32_t a, int32_t b, int32_t c,
                          uint64_t imm) {
  flush();
  CodeItem item;
  item.kind = CodeItem::Kind::control;
  item.control = control;
  item.value = value;
  item.a = a, item.b = b, item.c = c;
  item.imm = imm;
  append(std::move(item));
  cost_ += kInstruction;
}

// --- ops ----------------------------------------------------------------------------------------

// All ops but the terminator, whose position is the region's then.
Status LoopBuilder::add_region(const ir::Region& ir_region) {
  for (const Op* op : ir_region) {
    if (op == ir_region.terminator()) break;
    CHECK_OK(add_op(*op));
    if (scalars_.instrs.size() > kMostInstructions) return ir::refuse(*op, "the loop is too long");
    ++region().position;
  }
  return {};
}

Status LoopBuilder::add_op(const Op& op) {
  for (ir::Value* operand : op.operands()) CHECK_OK(check(op, operand->type));
  for (int i = 0; i < op.result_count(); ++i) CHECK_OK(check(op, op.result(i)->type));
  switch (op.id) {
    case OpId::while_:
      return add_loop(op, false);
    case OpId::case_:
      return add_branch(op);
    case OpId::fusion:
      return add_fusion(op);
    case OpId::constant:
      if (!all_scalars(op)) return add_array_constant(op);
      break;
    case OpId::optimization_barrier:
      for (int i = 0; i < op.operand_count(); ++i) {
        ir::Value *of = op.operand(i), *alias = const_cast<Op&>(op).result(i);
        if (of->type.is_scalar()) {
          values_[alias] = value(of);
        } else {
          bind_alias(of, alias);
        }
      }
      return {};
    case OpId::dynamic_slice:
      if (add_dynamic_slice(op)) return {};
      break;
    case OpId::dynamic_update_slice:
      if (add_dynamic_update_slice(op)) return {};
      break;
    case OpId::scatter: {
      TRY(const bool added, add_scatter(op));
      if (added) return {};
      break;
    }
    default:
      break;
  }
  if (all_scalars(op) && op.regions().empty() && add_scalar_op(op).ok()) return {};
  return add_kernel(op);
}

Status LoopBuilder::add_scalar_op(const Op& op) {
  std::vector<ScalarValue> results;
  const int depth = static_cast<int>(scopes_.size()) - 1;
  if (op.id == OpId::constant) {
    results.push_back(builder_.constant(op.dense("value"), 0));
  } else {
    std::vector<ScalarValue> operands;
    for (ir::Value* operand : op.operands()) operands.push_back(as_scalar(operand));
    if (op.id == OpId::reshape || op.id == OpId::broadcast_in_dim) {
      results.push_back(operands[0]);
    } else {
      TRY(results, builder_.apply(op, operands));
    }
  }
  flush();
  for (int i = 0; i < op.result_count(); ++i) {
    values_[op.result(i)] = {results[static_cast<size_t>(i)], -1, -1, depth};
  }
  return {};
}

Status LoopBuilder::add_fusion(const Op& op) {
  if (!is_all_scalar_fusion(op)) {
    TRY(cpu::TileKernel kernel, lower_tile(op));
    const auto reuse = reusable(kernel, op);
    return add_tile(op, std::move(kernel), reuse);
  }
  const ir::Region& body = op.region();
  for (int i = 0; i < body.arg_count(); ++i) values_[body.arg(i)] = value(op.operand(i));
  for (const Op* inner : body) {
    if (inner != body.terminator()) CHECK_OK(add_op(*inner));
  }
  for (int i = 0; i < op.result_count(); ++i) {
    values_[op.result(i)] = value(body.terminator()->operand(i));
  }
  return {};
}

// --- control flow -------------------------------------------------------------------------------

// Before the loop's scope is entered: what the carried values start with. Arrays are copied to
// where the loop keeps them. Machine code that goes on with a loop starts from what it is given,
// whatever else is known of that value.
void LoopBuilder::start_carried(const Op& op, bool is_outermost, std::vector<Carried>* all) {
  const bool as_given = is_outermost && for_machine_ && !ir::find(op.discardable, "mps.trip_count");
  for (ir::Value* operand : op.operands()) {
    const Value known = value(operand);
    if (as_given) value(operand) = starts_[all->size()];
    Carried& carried = all->emplace_back();
    if (operand->type.is_scalar()) {
      carried.first = as_scalar(operand);
    } else {
      carried.bytes = operand->type.byte_count();
      carried.start = new_address();
      copy_array(carried.start, as_memory(operand), carried.bytes);
    }
    if (as_given) value(operand) = known;
  }
}

// Inside: the arguments of the loop's regions.
void LoopBuilder::bind_carried(const Op& op, CodeLoop* loop, std::vector<Carried>* all) {
  const int depth = static_cast<int>(scopes_.size()) - 1;
  for (int i = 0; i < op.operand_count(); ++i) {
    Carried& carried = (*all)[static_cast<size_t>(i)];
    carried.phi = loop->phis.size();
    if (carried.start < 0) {
      const ScalarValue scalar = new_scalar(op.operand(i)->type.dtype);
      loop->phis.push_back({scalar.re, carried.first.re});
      if (scalar.im >= 0) loop->phis.push_back({scalar.im, carried.first.im});
      carried.value = {scalar, -1, -1, depth};
      values_[op.region(1).arg(i)] = carried.value;
    } else {
      const int32_t address = new_address();
      loop->phis.push_back({address, carried.start});
      const int root = new_root(address, carried.bytes, region().id, false);
      roots_[static_cast<size_t>(root)].is_carried = true;
      bind(op.region(1).arg(i), address, root);
      carried.value = value(op.region(1).arg(i));
    }
    values_[op.region(0).arg(i)] = carried.value;
  }
}

Status LoopBuilder::add_loop(const Op& op, bool is_outermost) {
  auto loop = std::make_unique<CodeLoop>();
  if (const ir::Attr* trips = ir::find(op.discardable, "mps.trip_count")) {
    loop->trips = std::get<ir::TypedInt>(trips->value).value;
  }
  const double cost_before = std::exchange(cost_, 0);
  std::vector<Carried> all;
  start_carried(op, is_outermost, &all);
  enter(false);
  regions_.push_back({++region_count_, 0, ir::Lifetimes(op.region(1), may_be_view)});
  bind_carried(op, loop.get(), &all);
  if (!loop->trips) CHECK_OK(add_condition(op, is_outermost, loop.get()));
  CHECK_OK(add_region(op.region(1)));
  for (int i = 0; i < op.operand_count(); ++i) {
    const Carried& carried = all[static_cast<size_t>(i)];
    if (carried.start >= 0) continue;
    const ScalarValue next = as_scalar(op.region(1).terminator()->operand(i));
    loop->phis[carried.phi].next = next.re;
    if (next.im >= 0) loop->phis[carried.phi + 1].next = next.im;
  }
  rotate_arrays(op, &all, loop.get());
  regions_.pop_back();
  loop->body = leave();
  const int depth = static_cast<int>(scopes_.size()) - 1;
  cost_ = cost_before + static_cast<double>(loop->trips.value_or(kUnknownTrips)) * (cost_ + kTrip);
  for (const kernels::Phi& phi : loop->phis) depth_[static_cast<size_t>(phi.value)] = depth;
  CodeItem item;
  item.kind = CodeItem::Kind::loop;
  item.loop = std::move(loop);
  append(std::move(item));
  for (int i = 0; i < op.operand_count(); ++i) {
    Carried& carried = all[static_cast<size_t>(i)];
    ir::Value* result = const_cast<Op&>(op).result(i);
    if (carried.start < 0) {
      values_[result] = {carried.value.scalar, -1, -1, depth};
      continue;
    }
    if (is_outermost && carried.is_fixed && !is_local(carried.bytes)) {
      program_->outputs.emplace_back(carried.start, i);
    } else {
      place(carried.start, carried.bytes);
    }
    const int32_t address = carried.value.address;
    bind(result, address, new_root(address, carried.bytes, region().id, false));
  }
  return {};
}

// The verdict, and that there is no machine code yet: a loop of nobody knows how many trips goes on
// as such from the state that it is left in.
int32_t LoopBuilder::unless_ready(int32_t verdict) {
  program_->ready = constant_words(std::make_unique<std::vector<uint64_t>>(1, 0));
  const int32_t word = new_value(DType::u64, static_cast<int>(scopes_.size()) - 1);
  control(Control::load, word, program_->ready, -1, -1, 0);
  const int32_t zero = builder_.emit(Opcode::constant, DType::u64, -1, -1, -1, 0);
  const int32_t waits = builder_.emit(Opcode::eq, DType::pred, word, zero);
  return builder_.emit(Opcode::bit_and, DType::pred, verdict, waits);
}

Status LoopBuilder::add_condition(const Op& op, bool is_outermost, CodeLoop* loop) {
  regions_.push_back({++region_count_, 0, ir::Lifetimes(op.region(0), may_be_view)});
  CHECK_OK(add_region(op.region(0)));
  loop->verdict = as_scalar(op.region(0).terminator()->operand(0)).re;
  if (is_outermost && !for_machine_) loop->verdict = unless_ready(loop->verdict);
  flush();
  loop->condition = std::exchange(scopes_.back().block, {});
  regions_.pop_back();
  return {};
}

// Scalars that a branch returns are moved to the results' registers, arrays copied to their memory.
Status LoopBuilder::add_branch_region(const ir::Region& ir_region,
                                      const std::vector<Value>& results,
                                      std::vector<int32_t>* scalars) {
  region().lifetimes = ir::Lifetimes(ir_region, may_be_view);
  CHECK_OK(add_region(ir_region));
  for (size_t k = 0; k < results.size(); ++k) {
    ir::Value* returned = ir_region.terminator()->operand(static_cast<int>(k));
    if (!results[k].scalar) {
      copy_array(results[k].address, as_memory(returned), returned->type.byte_count());
      continue;
    }
    const ScalarValue scalar = as_scalar(returned);
    scalars->push_back(scalar.re);
    if (scalar.im >= 0) scalars->push_back(scalar.im);
  }
  return {};
}

Status LoopBuilder::add_branch(const Op& op) {
  auto branch = std::make_unique<kernels::CodeBranch>();
  branch->index = as_scalar(op.operand(0)).re;
  flush();
  const int depth = static_cast<int>(scopes_.size()) - 1;
  std::vector<Value> results;
  for (int i = 0; i < op.result_count(); ++i) {
    const ir::Type& type = op.result(i)->type;
    if (type.is_scalar()) {
      const ScalarValue scalar = new_scalar(type.dtype);
      branch->values.push_back(scalar.re);
      if (scalar.im >= 0) branch->values.push_back(scalar.im);
      results.push_back({scalar, -1, -1, depth});
    } else {
      const int root = new_temporary(type.byte_count());
      results.push_back({std::nullopt, roots_[static_cast<size_t>(root)].address, root, depth});
    }
  }
  for (const auto& ir_region : op.regions()) {
    enter(true);
    regions_.push_back({++region_count_, 0, {}});
    CHECK_OK(add_branch_region(*ir_region, results, &branch->results.emplace_back()));
    regions_.pop_back();
    branch->blocks.push_back(leave());
  }
  CodeItem item;
  item.kind = CodeItem::Kind::branch;
  item.branch = std::move(branch);
  append(std::move(item));
  for (int i = 0; i < op.result_count(); ++i) {
    ir::Value* result = const_cast<Op&>(op).result(i);
    const Value& made = results[static_cast<size_t>(i)];
    if (made.scalar) {
      values_[result] = made;
    } else {
      bind(result, made.address, made.root);
    }
  }
  return {};
}

// --- the whole loop -----------------------------------------------------------------------------

Result<std::shared_ptr<LoopProgram>> LoopBuilder::build(const Op& loop,
                                                        const std::vector<ir::Value*>& captures) {
  program_ = std::make_shared<LoopProgram>();
  scopes_.emplace_back();
  regions_.emplace_back();
  std::vector<ir::Value*> inputs = loop.operands();
  inputs.insert(inputs.end(), captures.begin(), captures.end());
  for (ir::Value* input : inputs) {
    CHECK_OK(check(loop, input->type));
    const int32_t address = new_address();
    program_->inputs.push_back(address);
    input_bytes_.push_back(input->type.byte_count());
    starts_.push_back({std::nullopt, address, new_root(address, input_bytes_.back(), 0, false), 0});
    // Known numbers are rather seen than read.
    const Op* source = input->op();
    if (source && source->id == OpId::constant && input->type.byte_count() <= kKnownConstant) {
      if (values_.count(input) == 0) CHECK_OK(add_op(*source));
      continue;
    }
    values_[input] = {std::nullopt, address, new_root(address, input->type.byte_count(), 0, false),
                      0};
    if (input->type.is_scalar()) as_scalar(input);
  }
  std::vector<int32_t> outputs;
  for (int i = 0; i < loop.result_count(); ++i) {
    outputs.push_back(new_address());
    program_->outputs.emplace_back(outputs.back(), i);
  }
  CHECK_OK(add_loop(loop, true));
  for (int i = 0; i < loop.result_count(); ++i) {
    const Value& result = value(const_cast<Op&>(loop).result(i));
    const int32_t to = outputs[static_cast<size_t>(i)];
    if (result.scalar) {
      store_parts(to, builder_.to_storage(*result.scalar));
    } else {
      copy_array(to, result.address, loop.result(i)->type.byte_count());
    }
  }
  flush();
  if (program_->arena_bytes > (for_machine_ ? kLargestMachineArena : kLargestArena)) {
    return ir::refuse(loop, "the arrays are too large");
  }
  if (for_machine_) {
    CHECK_OK(generate(scopes_[0].block));
    return program_;
  }
  program_->code = kernels::emit_code(scalars_, std::move(scopes_[0].block), {});
  for (const Constant& constant : array_constants_) {
    program_->code.registers[static_cast<size_t>(constant.address)] =
        reinterpret_cast<uint64_t>(constant.words);
  }
  return program_;
}

Status LoopBuilder::generate(const CodeBlock& block) {
  kernels::LlvmLoop loop;
  int64_t stack = kMostStack;
  for (const LoopProgram::Slot& slot : program_->slots) {
    const bool fits = !slot.is_shared && is_local(slot.bytes) && slot.bytes <= stack;
    if (fits) stack -= slot.bytes;
    loop.slots.push_back({slot.value, slot.bytes, slot.offset, fits});
    for (const auto& call : program_->calls) {
      if (call->session == slot.value) program_->sessions.emplace_back(call.get(), slot.offset);
    }
  }
  for (size_t k = 0; k < program_->inputs.size(); ++k) {
    loop.inputs.push_back({program_->inputs[k], input_bytes_[k], static_cast<int64_t>(k)});
  }
  for (const auto& [value, k] : program_->outputs) loop.outputs.push_back({value, 0, k});
  for (const Constant& constant : array_constants_) {
    const auto number = static_cast<int64_t>(program_->constant_words.size());
    loop.constants.push_back({{constant.address, constant.bytes, number}, constant.words});
    program_->constant_words.push_back(constant.words);
  }
  loop.is_address.assign(scalars_.instrs.size(), false);
  for (const int32_t v : addresses_) loop.is_address[static_cast<size_t>(v)] = true;
  loop.call = call_from_machine;
  loop.stop = stop_from_machine;
  kernels::LlvmModule module = kernels::print_loop(scalars_, block, loop);
  log(Level::debug, "a loop as machine code, of ", module.text.size(), " bytes of text");
  program_->machine = kernels::MachineCode::of(std::move(module));
  return {};
}

namespace {

// The loop as machine code, or null if it is not worth that; `threaded` is how long it takes so. It
// is waited for where threaded code would take long and cannot be left.
Result<std::shared_ptr<LoopProgram>> for_machine(const Op& loop, double threaded, bool can_leave,
                                                 const std::vector<ir::Value*>& captures,
                                                 double* nanoseconds) {
  constexpr double kShort = 20e3;  // nanoseconds
  const bool is_wanted = threaded > kShort || env::number(env::Var::JAX_MPS_LLVM) == 2;
  if (!kernels::has_code_generator() || !is_wanted) return std::shared_ptr<LoopProgram>();
  LoopBuilder builder(true);
  TRY(auto program, builder.build(loop, captures));
  *nanoseconds = builder.nanoseconds();
  if ((threaded > kernels::MachineCode::kLong && !can_leave) ||
      env::number(env::Var::JAX_MPS_LLVM) == 2 || is_strict()) {
    CHECK_OK(program->machine->compile());
  }
  return program;
}

// A loop in its two tiers; either may be missing.
struct LoopTiers {
  std::shared_ptr<LoopProgram> threaded, machine;
  double nanoseconds;                  // of threaded code
  std::vector<int64_t> carried_bytes;  // of the carried values
  size_t input_count;

  void operator()(const void* const* in, void* const* out) const {
    if (!machine) return threaded->run(in, out);
    if (machine->machine->address()) return machine->run(in, out);
    machine->machine->spend(nanoseconds);
    threaded->run(in, out);
    if (threaded->ready >= 0 && machine->machine->address()) go_on(in, out);
  }

  // From the state in `out`; if that was the end the condition says so.
  void go_on(const void* const* in, void* const* out) const {
    log(Level::debug, "a loop goes on as machine code");
    std::vector<const void*> inputs(in, in + input_count);
    std::vector<std::vector<char>> state;
    for (size_t k = 0; k < carried_bytes.size(); ++k) {
      const char* from = static_cast<const char*>(out[k]);
      inputs[k] = state.emplace_back(from, from + carried_bytes[k]).data();
    }
    machine->run(inputs.data(), out);
  }
};

}  // namespace

Result<ops::Lowering> lower_loop(const Op& loop, const std::vector<ir::Value*>& captures) {
  LoopBuilder builder(false);
  auto threaded = builder.build(loop, captures);
  double nanoseconds = builder.nanoseconds();
  const double each = threaded.ok() ? nanoseconds : std::numeric_limits<double>::infinity();
  const bool can_leave = threaded.ok() && (*threaded)->ready >= 0;
  auto machine = for_machine(loop, each, can_leave, captures, &nanoseconds);
  if (!machine.ok()) {
    if (is_strict() && machine.error().code == Code::internal) return std::move(machine).error();
    log(Level::debug, "a loop without machine code: ", machine.error().text);
  }
  if (!threaded.ok() && !(machine.ok() && *machine)) return std::move(threaded).error();
  std::vector<int> reuse(static_cast<size_t>(loop.result_count()));
  std::iota(reuse.begin(), reuse.end(), 0);
  LoopTiers run{
      threaded.ok() ? *threaded : nullptr, machine.ok() ? *machine : nullptr, each, {}, 0};
  for (ir::Value* carried : loop.operands()) {
    run.carried_bytes.push_back(carried->type.byte_count());
  }
  run.input_count = run.carried_bytes.size() + captures.size();
  if (can_leave && run.machine) {
    run.threaded->code.registers[static_cast<size_t>(run.threaded->ready)] =
        reinterpret_cast<uint64_t>(run.machine->machine->place_of_address());
  }
  return ops::native(std::move(run), nanoseconds, std::move(reuse));
}

}  // namespace jaxmps::exec
