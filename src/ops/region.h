// Regions of scalar ops (combiners, comparators) applied to whole arrays at once, and recognised.
// Compile once with `region_function`; the function may then run on any thread.
#pragma once

#include <optional>
#include <string>

#include "ops/op.h"

namespace jaxmps::ops {

// What the region does to its scalar arguments, done to arrays elementwise. Arguments broadcast.
using RegionFunction = std::function<Arrays(const Arrays& arguments)>;

// Refuses regions with ops that are not elementwise on scalars or that read outer values other than
// constants.
Result<RegionFunction> region_function(const ir::Region& region, Target target);

// One of add, multiply, maximum, minimum, and_, or_, xor_ for each of the k results of a combiner
// with arguments (k accumulators, k elements), if that is all it computes.
std::optional<std::vector<ir::OpId>> simple_combiners(const ir::Region& region);

// Result `i` of the region as an expression of its arguments, "or(gt(0,2),ne(0,0))": equal
// expressions mean equal functions. Operands of commutative ops are sorted.
std::string expression(const ir::Region& region, int i);

// Reduces `axes` of all arrays (of one shape) with a combiner, in order, pairing neighbours: any
// association of the sequence along the axes. The axes disappear; none may have size 0.
Arrays fold(const Arrays& arrays, const std::vector<int>& axes, const RegionFunction& combiner);

}  // namespace jaxmps::ops
