#include "exec/scalar_loop.h"

#include <array>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "kernels/scalar.h"

namespace jaxmps::exec {
namespace {

using ir::Value;

// Room for one element of any dtype.
struct alignas(16) Cell {
  std::array<uint8_t, 16> bytes;
};

using ValueMap = std::unordered_map<Value*, Value*>;

Value* mapped(const ValueMap& map, Value* value) {
  const auto found = map.find(value);
  return found == map.end() ? value : found->second;
}

// Appends the ops of `from`, fusions taken apart again.
void append_ops(const ir::Region& from, ir::Region& to, ValueMap& map) {
  for (ir::Op* op : from) {
    if (op->id != ir::OpId::fusion) {
      to.append(op->clone(map));
      continue;
    }
    const ir::Region& body = op->region();
    for (int i = 0; i < body.arg_count(); ++i) map[body.arg(i)] = mapped(map, op->operand(i));
    append_ops(body, to, map);
    auto returned = to.remove(to.last());
    for (int i = 0; i < op->result_count(); ++i) map[op->result(i)] = returned->operand(i);
  }
}

// A region of the loop whose captured values became arguments behind its own.
Result<kernels::ScalarProgram> program_of(const ir::Region& region,
                                          const std::vector<Value*>& captures) {
  ir::Region closed;
  ValueMap map;
  for (int i = 0; i < region.arg_count(); ++i) {
    map[region.arg(i)] = closed.add_arg(region.arg(i)->type);
  }
  for (Value* capture : captures) map[capture] = closed.add_arg(capture->type);
  append_ops(region, closed, map);
  return kernels::scalar_program(closed);
}

struct ScalarLoop {
  kernels::ScalarProgram condition, body;
  size_t carried = 0, captured = 0;
  std::vector<size_t> sizes;  // bytes of each carried value
  std::optional<int64_t> trip_count;

  void run(const void* const* in, void* const* out) const {
    std::vector<Cell> state(carried), next(carried);
    std::vector<const void*> from(carried + captured), from_next(carried + captured);
    std::vector<void*> to(carried), to_next(carried);
    for (size_t i = 0; i < carried; ++i) {
      std::memcpy(&state[i], in[i], sizes[i]);
      from[i] = to_next[i] = &state[i];
      from_next[i] = to[i] = &next[i];
    }
    for (size_t i = carried; i < carried + captured; ++i) from[i] = from_next[i] = in[i];
    for (int64_t trip = 0; goes_on(trip, from); ++trip) {
      kernels::evaluate(body, from.data(), to.data());
      from.swap(from_next);
      to.swap(to_next);
    }
    for (size_t i = 0; i < carried; ++i) std::memcpy(out[i], from[i], sizes[i]);
  }

  bool goes_on(int64_t trip, const std::vector<const void*>& from) const {
    if (trip_count) return trip < *trip_count;
    Cell verdict;
    void* to = &verdict;
    kernels::evaluate(condition, from.data(), &to);
    return verdict.bytes[0] != 0;
  }
};

}  // namespace

Result<ops::Lowering> lower_scalar_loop(const ir::Op& op, const std::vector<Value*>& captures) {
  auto check = [](const ir::Type& type) { return type.is_scalar() && !type.quantization; };
  for (Value* operand : op.operands()) {
    if (!check(operand->type)) return ir::refuse(op, "it carries more than scalars");
  }
  for (Value* capture : captures) {
    if (!check(capture->type)) return ir::refuse(op, "it uses more than scalars");
  }
  auto loop = std::make_shared<ScalarLoop>();
  TRY(loop->condition, program_of(op.region(0), captures));
  TRY(loop->body, program_of(op.region(1), captures));
  loop->carried = static_cast<size_t>(op.operand_count());
  loop->captured = captures.size();
  for (Value* operand : op.operands()) {
    loop->sizes.push_back(static_cast<size_t>(operand->type.byte_count()));
  }
  if (const ir::Attr* trips = ir::find(op.discardable, "mps.trip_count")) {
    loop->trip_count = std::get<ir::TypedInt>(trips->value).value;
  }
  // About 5 ns an instruction; loops of unknown length are taken for long ones.
  const double per_trip =
      5.0 * static_cast<double>(loop->body.instrs.size() + loop->condition.instrs.size());
  const double nanoseconds = per_trip * static_cast<double>(loop->trip_count.value_or(1 << 20));
  auto run = [loop](const void* const* in, void* const* out) { loop->run(in, out); };
  return ops::native(std::move(run), nanoseconds);
}

}  // namespace jaxmps::exec
