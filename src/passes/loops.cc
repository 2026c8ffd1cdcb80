// Counts loops: a `while` whose condition compares a carried integer with a constant, and whose
// body steps that integer by a constant from a constant start, runs a number of times known now.
// The number is noted on the op as the discardable attribute `mps.trip_count` (s64), so that the
// executor neither runs the condition nor waits for it. The condition becomes `true`, so that a
// counter that nothing else reads is dead.
#include "passes/loops.h"

#include "ir/match.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

namespace match = ir::match;
using match::matches;

// Starts, limits and steps beyond this are left to the condition.
constexpr int64_t kLargestTripCount = int64_t(1) << 40;

struct Counter {
  int carried = 0;  // index among the carried values
  int64_t limit = 0;
  ir::CompareDirection direction = ir::CompareDirection::lt;
};

// condition: return compare(arg, constant).
std::optional<Counter> find_counter(const ir::Region& condition) {
  Counter counter;
  const Value* carried;
  if (!matches(condition.terminator()->operand(0),
               match::compare(&counter.direction, match::any(&carried),
                              match::integer(&counter.limit))) ||
      carried->region() != &condition) {
    return std::nullopt;
  }
  counter.carried = carried->index();
  return counter;
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
  const int bits = ir::bit_width(dtype) - (ir::is_signed_int(dtype) ? 1 : 0);
  if (bits < 62) {
    const int64_t last = *start + trips * *step;
    const int64_t top = (int64_t(1) << bits) - 1;
    const int64_t bottom = ir::is_signed_int(dtype) ? -top - 1 : 0;
    if (last > top || last < bottom) return std::nullopt;
  }
  return trips;
}

}  // namespace

std::optional<int64_t> step_of(const ir::Region& body, int carried) {
  const Value* next = body.terminator()->operand(carried);
  const auto arg = match::same(body.arg(carried));
  int64_t amount;
  if (matches(next, match::op(OpId::add, arg, match::integer(&amount)))) return amount;
  if (matches(next, match::op(OpId::subtract, arg, match::integer(&amount)))) return -amount;
  return std::nullopt;
}

Status count_loops(ir::Module& module) {
  walk(module, [](Op* op) {
    const auto trips = op->id == OpId::while_ ? trip_count(*op) : std::nullopt;
    if (!trips) return;
    op->discardable.push_back({"mps.trip_count", ir::Attr(*trips)});
    Op* end = op->region(0).terminator();
    end->set_operand(0, Builder(end).splat({ir::DType::pred, {}}, 1));
  });
  return {};
}

}  // namespace jaxmps::passes
