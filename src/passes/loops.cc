// Counts loops: a `while` whose condition compares a carried integer with a constant, and whose body
// steps that integer by a constant from a constant start, runs a number of times known now. The
// number is noted on the op as the discardable attribute `mps.trip_count` (s64), so that the
// executor neither runs the condition nor waits for it. The condition becomes `true`, so that a
// counter that nothing else reads is dead.
#include "passes/loops.h"

#include <optional>

#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

using ir::Op;
using ir::OpId;
using ir::Value;

// Starts, limits and steps beyond this are left to the condition.
constexpr int64_t kLargestTripCount = int64_t(1) << 40;

struct Counter {
  int carried = 0;       // index among the carried values
  int64_t limit = 0;
  ir::CompareDirection direction = ir::CompareDirection::lt;
};

ir::CompareDirection mirrored(ir::CompareDirection direction) {
  using D = ir::CompareDirection;
  switch (direction) {
    case D::lt: return D::gt;
    case D::gt: return D::lt;
    case D::le: return D::ge;
    case D::ge: return D::le;
    default: return direction;
  }
}

// condition: return compare(arg, constant) or compare(constant, arg).
std::optional<Counter> find_counter(const ir::Region& condition) {
  using D = ir::CompareDirection;
  const Op* compare = condition.terminator()->operand(0)->op();
  if (!compare || compare->id != OpId::compare) return std::nullopt;
  D direction = compare->enum_attr<D>("comparison_direction");
  const Value* counter = compare->operand(0);
  auto limit = constant_integer(compare->operand(1));
  if (!limit) {
    counter = compare->operand(1);
    limit = constant_integer(compare->operand(0));
    direction = mirrored(direction);
  }
  if (!limit || counter->region() != &condition) return std::nullopt;
  return Counter{counter->index(), *limit, direction};
}

// body: the carried value is returned as add(arg, constant) or subtract(arg, constant).
std::optional<int64_t> step_of(const ir::Region& body, int carried) {
  const Op* step = body.terminator()->operand(carried)->op();
  if (!step || (step->id != OpId::add && step->id != OpId::subtract)) return std::nullopt;
  const Value* arg = body.arg(carried);
  const bool swapped = step->id == OpId::add && step->operand(1) == arg;
  if (step->operand(swapped ? 1 : 0) != arg) return std::nullopt;
  auto amount = constant_integer(step->operand(swapped ? 0 : 1));
  if (amount && step->id == OpId::subtract) amount = -*amount;
  return amount;
}

std::optional<int64_t> trip_count(const Op& loop) {
  using D = ir::CompareDirection;
  const auto counter = find_counter(loop.region(0));
  if (!counter) return std::nullopt;
  const ir::DType dtype = loop.operand(counter->carried)->type.dtype;
  const auto start = constant_integer(loop.operand(counter->carried));
  const auto step = step_of(loop.region(1), counter->carried);
  if (!start || !step) return std::nullopt;
  // Far from the ends of 64 bits, so that the sums below cannot overflow.
  const auto is_small = [](int64_t v) { return v <= kLargestTripCount && v >= -kLargestTripCount; };
  if (!is_small(*start) || !is_small(counter->limit) || !is_small(*step)) return std::nullopt;
  int64_t distance;
  if (counter->direction == D::lt && *step > 0) {
    distance = counter->limit - *start;
  } else if (counter->direction == D::gt && *step < 0) {
    distance = *start - counter->limit;
  } else {
    return std::nullopt;
  }
  if (distance <= 0) return 0;
  const int64_t stride = *step > 0 ? *step : -*step;
  const int64_t trips = (distance + stride - 1) / stride;
  // The counter must not wrap on its way to the limit.
  const int bits = ir::int_bits(dtype) - (ir::is_signed_int(dtype) ? 1 : 0);
  if (bits < 62) {
    const int64_t last = *start + trips * *step;
    const int64_t top = (int64_t(1) << bits) - 1;
    const int64_t bottom = ir::is_signed_int(dtype) ? -top - 1 : 0;
    if (last > top || last < bottom) return std::nullopt;
  }
  return trips;
}

void count(ir::Region& region) {
  for (Op* op : region) {
    for (const auto& nested : op->regions()) count(*nested);
    if (op->id != OpId::while_) continue;
    // Whoever sent the program may have noted anything.
    std::erase_if(op->discardable, [](const auto& attr) { return attr.name == "mps.trip_count"; });
    if (auto trips = trip_count(*op)) {
      op->discardable.push_back({"mps.trip_count", ir::Attr(*trips)});
      Op* end = op->region(0).terminator();
      end->set_operand(0, Builder(end).splat({ir::DType::pred, {}}, 1));
    }
  }
}

}  // namespace

void count_loops(ir::Module& module) {
  for (const auto& function : module.functions) {
    if (!function->is_declaration) count(function->body);
  }
}

}  // namespace jaxmps::passes
