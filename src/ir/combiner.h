// What the combiner of a reduction, window or scatter does, read off its form. A combiner takes n
// accumulators, then n elements, and returns n values. Nothing is concluded from trying values:
// where the form proves nothing, callers apply the combiner in the order that StableHLO names.
// Pure functions of verified regions; any thread.
#pragma once

#include <optional>
#include <vector>

#include "ir/module.h"

namespace jaxmps::ir {

// How result `i` is made of accumulator i and element i alone.
struct Combination {
  enum class Kind : uint8_t { accumulator, element, op };
  Kind kind = Kind::op;
  OpId op = OpId::add;  // for Kind::op: op(accumulator, element)
};
std::optional<Combination> combination(const Region& region, int i);

// One of add, multiply, maximum, minimum, and_, or_, xor_ for each result, if that is all that the
// combiner computes. These commute and associate (sums and products of floats but for rounding,
// as XLA takes them), so they may be grouped and reordered.
std::optional<std::vector<OpId>> simple_combiners(const Region& region);
// The same for a combiner of one result.
std::optional<OpId> simple_combiner(const Region& region);

}  // namespace jaxmps::ir
