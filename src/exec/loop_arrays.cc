// The arrays of loop code: where they lie, which may be overwritten, and the kernels on them.
#include <algorithm>
#include <cstring>

#include "exec/fused.h"
#include "exec/loop_builder.h"
#include "exec/reuse.h"
#include "kernels/cpu/gather.h"
#include "kernels/cpu/threads.h"
#include "kernels/llvm/fusion_text.h"

namespace jaxmps::exec {

using ir::DType;
using ir::Op;
using ir::OpId;
using kernels::CodeItem;
using kernels::Control;
using kernels::Opcode;
using kernels::ScalarValue;

namespace {

constexpr int64_t kSharedCopy = 1 << 20;  // bytes that several threads copy

}  // namespace

// --- memory -------------------------------------------------------------------------------------

// Gives an address register its place in the arena.
void LoopBuilder::place(int32_t address, int64_t bytes, bool is_shared) {
  program_->slots.push_back({address, program_->arena_bytes, bytes, is_shared});
  program_->arena_bytes += (std::max<int64_t>(bytes, 1) + 63) / 64 * 64;
}

int32_t LoopBuilder::new_slot(int64_t bytes, bool is_shared) {
  const int32_t address = new_address();
  place(address, bytes, is_shared);
  return address;
}

int LoopBuilder::new_root(int32_t address, int64_t bytes, int region, bool is_temporary) {
  roots_.push_back({address, bytes, region, -1, is_temporary, false});
  return static_cast<int>(roots_.size() - 1);
}

int LoopBuilder::new_temporary(int64_t bytes) {
  const int32_t address = new_address();
  slot_of_[address] = program_->slots.size();
  place(address, bytes);
  return new_root(address, bytes, region().id, true);
}

void LoopBuilder::bind(ir::Value* v, int32_t address, int root) {
  values_[v] = {std::nullopt, address, root, static_cast<int>(scopes_.size()) - 1};
  Root& memory = roots_[static_cast<size_t>(root)];
  if (memory.region != region().id) return;
  memory.last_use = std::max(memory.last_use, region().lifetimes.last_use(v));
}

// Whether the op may overwrite the memory of its operand: nothing else reads it from now on.
bool LoopBuilder::may_take(const Op& op, int operand) {
  const Value& v = value(op.operand(operand));
  if (v.root < 0 || !reuses_memory()) return false;
  const Root& root = roots_[static_cast<size_t>(v.root)];
  int readers = 0;
  for (ir::Value* other : op.operands()) readers += value(other).root == v.root;
  return root.region == region().id && v.address == root.address && readers == 1 &&
         op.operand(operand)->type.byte_count() == root.bytes && root.last_use <= region().position;
}

void LoopBuilder::copy_array(int32_t to, int32_t from, int64_t bytes) {
  cost_ += 0.02 * static_cast<double>(bytes);
  if (bytes == 0) return;
  if (bytes < kSharedCopy) {
    return control(Control::copy, to, from, -1, -1, static_cast<uint64_t>(bytes));
  }
  auto call = std::make_unique<KernelCall>();
  call->native = [bytes](const void* const* in, void* const* out) {
    if (in[0] != out[0]) cpu::parallel_copy(out[0], in[0], bytes);
  };
  call->inputs = {from};
  call->outputs = {to};
  append_call(std::move(call));
}

void LoopBuilder::store_parts(int32_t address, const ScalarValue& stored) {
  const uint64_t size = static_cast<uint64_t>(ir::byte_size(builder_.instr(stored.re).type));
  control(Control::store, -1, address, stored.re, -1, 0);
  if (stored.im >= 0) control(Control::store, -1, address, stored.im, -1, size);
}

// Appends to the end of an outer scope's code so far.
template <typename F>
void LoopBuilder::in_scope(int depth, F add) {
  std::vector<Scope> inner;
  for (int d = static_cast<int>(scopes_.size()) - 1; d > depth; --d) {
    inner.push_back(std::move(scopes_.back()));
    scopes_.pop_back();
  }
  add();
  for (; !inner.empty(); inner.pop_back()) scopes_.push_back(std::move(inner.back()));
}

// A scalar value in registers; loaded, as far outside as it is known, if a kernel has left it in
// memory.
ScalarValue LoopBuilder::as_scalar(ir::Value* v) {
  Value& known = value(v);
  if (known.scalar) return *known.scalar;
  flush();
  const int depth = std::max(known.depth, pin());
  const DType dtype = v->type.dtype, type = kernels::storage_machine_type(dtype);
  ScalarValue scalar;
  in_scope(depth, [&] {
    auto load = [&](int part) {
      const int32_t loaded = new_value(type, depth);
      const int64_t at = part * ir::byte_size(type);
      control(Control::load, loaded, known.address, -1, -1, static_cast<uint64_t>(at));
      return loaded;
    };
    const int32_t re = load(0), im = ir::is_complex(dtype) ? load(1) : -1;
    scalar = builder_.from_storage(dtype, re, im);
    flush();
  });
  if (known.depth == depth) known.scalar = scalar;
  return scalar;
}

// The address of the value; a scalar is stored where its registers are set.
int32_t LoopBuilder::as_memory(ir::Value* v) {
  Value& known = value(v);
  if (known.address >= 0) return known.address;
  const ScalarValue stored = builder_.to_storage(*known.scalar);
  flush();
  const int own = std::max(depth_of(stored.re), stored.im < 0 ? 0 : depth_of(stored.im));
  const int depth = std::max(own, pin());
  const int32_t address = new_slot(v->type.byte_count());
  in_scope(depth, [&] { store_parts(address, stored); });
  if (depth == own) known.address = address;
  return address;
}

// The address of words that stay as they are.
int32_t LoopBuilder::constant_words(std::unique_ptr<std::vector<uint64_t>> words) {
  const int32_t address = new_address(0);
  array_constants_.push_back(
      {address, words->data(), static_cast<int64_t>(words->size() * sizeof(uint64_t))});
  program_->constants.push_back(std::move(words));
  return address;
}

Status LoopBuilder::add_array_constant(const Op& op) {
  const ir::Dense& dense = op.dense("value");
  const size_t total = static_cast<size_t>(dense.type.byte_count());
  if (total > kLargestConstant) return ir::refuse(op, "the constant is too large");
  auto words = std::make_unique<std::vector<uint64_t>>(total / 8 + 1);
  const auto bytes = dense.bytes();
  auto* out = reinterpret_cast<uint8_t*>(words->data());
  for (size_t at = 0; at < total && !bytes.empty(); at += bytes.size()) {
    std::copy(bytes.begin(), bytes.end(), out + at);
  }
  const int32_t address = constant_words(std::move(words));
  bind(const_cast<Op&>(op).result(), address,
       new_root(address, static_cast<int64_t>(total), 0, false));
  return {};
}

// --- kernels ------------------------------------------------------------------------------------

void LoopBuilder::bind_alias(ir::Value* of, ir::Value* alias) {
  const int32_t address = as_memory(of);
  const int root = value(of).root;
  bind(alias, address, root >= 0 ? root : new_root(address, alias->type.byte_count(), 0, false));
}

// As the plan chooses: a special kernel of the op's block, a tile kernel, any kernel.
Status LoopBuilder::add_kernel(const Op& op) {
  auto lowering = ops::lower(op, ir::kCpu);
  const bool is_special = lowering.ok() && !lowering->is_general;
  if (is_special && lowering->alias) {
    bind_alias(op.operand(0), const_cast<Op&>(op).result());
    return {};
  }
  // What only moves elements is rather printed than called.
  if (for_machine_ && op.id != OpId::reduce) {
    auto tile = lower_tile(op);
    const auto description = describe(op);
    if (tile.ok() && description.ok() && prints(**description, *tile)) {
      const auto reuse = reusable(*tile, op);
      return add_tile(op, std::move(tile).value(), reuse);
    }
  }
  cost_ += lowering.ok() ? lowering->nanoseconds : 0;
  if (is_special && lowering->native) {
    return add_native(op, std::move(lowering->native), lowering->reuse);
  }
  if (auto tile = lower_tile(op); tile.ok()) {
    const auto reuse = reusable(tile.value(), op);
    return add_tile(op, std::move(tile).value(), reuse);
  }
  if (lowering.ok() && lowering->native) {
    return add_native(op, std::move(lowering->native), lowering->reuse);
  }
  return ir::refuse(op, "it has no native kernel");
}

Status LoopBuilder::add_native(const Op& op, ops::Native native, const std::vector<int>& reuse) {
  auto call = std::make_unique<KernelCall>();
  call->native = std::move(native);
  return add_call(op, std::move(call), reuse);
}

Status LoopBuilder::add_tile(const Op& op, cpu::TileKernel kernel, const std::vector<int>& reuse) {
  auto call = std::make_unique<KernelCall>();
  // Nanoseconds beside the loops; from the nearest cache these take half as long as the kernel
  // says.
  constexpr double kCall = 2, kSession = 10, kNear = 0.5;
  if (for_machine_) {
    TRY(auto description, describe(op));
    if (prints(*description, kernel)) {
      cost_ += kNear * kernel.loop_nanoseconds();
      CHECK_OK(bind_call(op, reuse, call.get()));
      append_fusion(std::move(description), *call);
      return {};
    }
  } else if (auto calls = kernel.calls()) {
    cost_ += kNear * kernel.loop_nanoseconds() + kCall * static_cast<double>(calls->calls.size());
    CHECK_OK(bind_call(op, reuse, call.get()));
    append_tile(std::move(*calls), *call);
    return {};
  }
  cost_ += kernel.nanoseconds() + kSession;
  if (kernel.is_small()) {
    call->session = new_slot(kernel.session_bytes(), true);
    call->tile = std::make_shared<cpu::TileKernel>(std::move(kernel));
  } else {
    call->native = [kernel = std::move(kernel)](const void* const* in, void* const* out) {
      kernel.run(in, out);
    };
  }
  return add_call(op, std::move(call), reuse);
}

Status LoopBuilder::add_call(const Op& op, std::unique_ptr<KernelCall> call,
                             const std::vector<int>& reuse) {
  CHECK_OK(bind_call(op, reuse, call.get()));
  append_call(std::move(call));
  return {};
}

// Sets the registers of the call's operands and results.
Status LoopBuilder::bind_call(const Op& op, const std::vector<int>& reuse, KernelCall* call) {
  call->op = &op;
  if (op.operand_count() > static_cast<int>(KernelCall::kMost) ||
      op.result_count() > static_cast<int>(KernelCall::kMost)) {
    return ir::refuse(op, "too many operands or results");
  }
  for (ir::Value* operand : op.operands()) call->inputs.push_back(as_memory(operand));
  for (int i = 0; i < op.result_count(); ++i) {
    const int reused = static_cast<size_t>(i) < reuse.size() ? reuse[static_cast<size_t>(i)] : -1;
    const bool takes = reused >= 0 && may_take(op, reused);
    const int root =
        takes ? value(op.operand(reused)).root : new_temporary(op.result(i)->type.byte_count());
    const int32_t address = roots_[static_cast<size_t>(root)].address;
    call->outputs.push_back(address);
    bind(const_cast<Op&>(op).result(i), address, root);
  }
  return {};
}

bool LoopBuilder::prints(const kernels::Fusion& fusion, const cpu::TileKernel& kernel) const {
  // Machine code runs on one thread, kernels on all: long ones are rather called. The bits are
  // equal.
  constexpr double kShared = 1e6, kLeast = 60e3;  // nanoseconds
  const int threads = cpu::thread_count();
  if (threads > 1 && kernel.nanoseconds() > std::max(kLeast, kShared / threads)) return false;
  return kernel.reduces_one_tile() && kernels::can_print(fusion);
}

void LoopBuilder::append_fusion(std::shared_ptr<const kernels::Fusion> fusion,
                                const KernelCall& places) {
  CodeItem item;
  item.kind = CodeItem::Kind::fusion;
  item.fusion = std::move(fusion);
  item.reads = places.inputs;
  item.read_count = item.reads.size();
  item.reads.insert(item.reads.end(), places.outputs.begin(), places.outputs.end());
  flush();
  append(std::move(item));
}

void LoopBuilder::append_call(std::unique_ptr<KernelCall> call) {
  CodeItem item;
  item.kind = CodeItem::Kind::call;
  item.fn = call->function();
  item.a = call->session;
  item.imm = reinterpret_cast<uint64_t>(call.get());
  item.number = static_cast<int64_t>(program_->calls.size());
  item.reads = call->inputs;
  item.read_count = item.reads.size();
  item.reads.insert(item.reads.end(), call->outputs.begin(), call->outputs.end());
  program_->calls.push_back(std::move(call));
  flush();
  append(std::move(item));
}

// The kernel's loops, called by the loop's code itself.
void LoopBuilder::append_tile(cpu::TileCalls tile, const KernelCall& places) {
  using In = cpu::TilePlace::In;
  const int64_t memory = program_->arena_bytes;
  program_->arena_bytes += (tile.memory_bytes + 63) / 64 * 64;
  program_->tiles.push_back(std::make_unique<cpu::TileCalls>(std::move(tile)));
  std::vector<std::pair<cpu::TilePlace, int32_t>> known;
  auto find = [&](const cpu::TilePlace& place) {
    if (place.in == In::input || place.in == In::output) {
      const auto& buffers = place.in == In::input ? places.inputs : places.outputs;
      const int32_t buffer = buffers[static_cast<size_t>(place.index)];
      if (place.offset == 0) return buffer;
      const int32_t offset = builder_.int_constant(DType::u64, place.offset).re;
      return builder_.emit(Opcode::add, DType::u64, buffer, offset);
    }
    if (place.in == In::memory) {
      const int32_t address = new_address();
      program_->slots.push_back({address, memory + place.offset});
      return address;
    }
    return constant_words(std::make_unique<std::vector<uint64_t>>(1, place.bits));
  };
  auto address_of = [&](const cpu::TilePlace& place) {
    for (const auto& [other, address] : known) {
      if (other == place) return address;
    }
    return known.emplace_back(place, find(place)).second;
  };
  for (const cpu::TileCall& call : program_->tiles.back()->calls) {
    CodeItem item;
    item.kind = CodeItem::Kind::call;
    item.fn = call_loop;
    item.imm = reinterpret_cast<uint64_t>(&call);
    item.value = address_of(call.dst);
    item.a = address_of(call.a);
    // Loops do not look at what they do not take.
    item.b = call.b.in == In::nothing ? item.a : address_of(call.b);
    item.c = call.c.in == In::nothing ? item.a : address_of(call.c);
    item.reads = {item.value};
    flush();
    append(std::move(item));
  }
}

// --- carried arrays -----------------------------------------------------------------------------

// The memory in which a carried array that was not computed in place is after a trip: the loop's
// own if no other carried array is there, else a copy.
int LoopBuilder::next_root(ir::Value* returned, const Carried& carried, std::vector<int>* claimed,
                           std::vector<int>* extra) {
  const int32_t from = as_memory(returned);
  int root = value(returned).root;
  bool is_ours = false;
  if (root >= 0 && std::count(claimed->begin(), claimed->end(), root) == 0) {
    const Root& memory = roots_[static_cast<size_t>(root)];
    is_ours = memory.region == region().id && memory.address == from &&
              memory.bytes == carried.bytes && (memory.is_temporary || memory.is_carried);
  }
  if (!is_ours) {
    root = new_temporary(carried.bytes);
    copy_array(roots_[static_cast<size_t>(root)].address, from, carried.bytes);
  }
  claimed->push_back(root);
  if (!roots_[static_cast<size_t>(root)].is_carried) extra->push_back(root);
  return root;
}

// Small arrays stay where they are: copies of what they become are set aside, to be moved there
// when nothing reads what they were.
std::vector<LoopBuilder::Copy> LoopBuilder::copy_local(const Op& op,
                                                       const std::vector<Carried>& all,
                                                       std::vector<int>* next,
                                                       std::vector<int>* claimed) {
  std::vector<Copy> copies;
  for (size_t k = 0; k < all.size(); ++k) {
    const Carried& carried = all[k];
    if (carried.start < 0 || (*next)[k] >= 0 || !is_local(carried.bytes)) continue;
    const int32_t from = as_memory(op.region(1).terminator()->operand(static_cast<int>(k)));
    const int32_t aside = new_slot(carried.bytes);
    copy_array(aside, from, carried.bytes);
    copies.push_back({carried.value.address, aside, carried.bytes});
    (*next)[k] = carried.value.root;
    claimed->push_back(carried.value.root);
  }
  return copies;
}

// Chooses where each carried array is after a trip. What the body has computed in place stays; what
// is in other memory of the loop changes places with it, so that the addresses rotate; what is not
// the loop's own is copied.
void LoopBuilder::rotate_arrays(const Op& op, std::vector<Carried>* all, kernels::CodeLoop* loop) {
  std::vector<int> next(all->size(), -1), claimed, extra;
  auto returned = [&](size_t k) { return op.region(1).terminator()->operand(static_cast<int>(k)); };
  for (size_t k = 0; k < all->size(); ++k) {
    const Value& own = (*all)[k].value;
    if ((*all)[k].start < 0) continue;
    const Value& result = value(returned(k));
    if (result.root != own.root || result.address != own.address) continue;
    next[k] = own.root;
    claimed.push_back(own.root);
  }
  const auto kept = copy_local(op, *all, &next, &claimed);
  for (size_t k = 0; k < all->size(); ++k) {
    if ((*all)[k].start < 0 || next[k] >= 0) continue;
    next[k] = next_root(returned(k), (*all)[k], &claimed, &extra);
    (*all)[k].is_fixed = false;
  }
  std::unordered_map<int, size_t> phi_of;  // temporaries that join the rotation
  for (int root : extra) {
    // The register of the address changes now: its first value comes from another one.
    const int32_t address = roots_[static_cast<size_t>(root)].address;
    const int32_t start = new_address(static_cast<int>(scopes_.size()) - 2);
    program_->slots[slot_of_.at(address)].value = start;
    phi_of[root] = loop->phis.size();
    loop->phis.push_back({address, start});
  }
  for (size_t k = 0; k < all->size(); ++k) {
    const Carried& carried = (*all)[k];
    if (carried.start < 0) continue;
    kernels::Phi& phi = loop->phis[carried.phi];
    phi.next = roots_[static_cast<size_t>(next[k])].address;
    if (std::count(claimed.begin(), claimed.end(), carried.value.root) > 0) continue;
    // What no one claims is what a temporary of the size is to write next; there are as many.
    const auto taker = std::find_if(extra.begin(), extra.end(), [&](int root) {
      return roots_[static_cast<size_t>(root)].bytes == carried.bytes;
    });
    loop->phis[phi_of.at(*taker)].next = phi.value;
    extra.erase(taker);
  }
  for (const auto& [to, from, bytes] : kept) copy_array(to, from, bytes);
}

}  // namespace jaxmps::exec
