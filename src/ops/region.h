// Regions of scalar ops (combiners, comparators) applied to whole arrays at once.
// Compile once with `region_function`; the function may then run on any thread.
#pragma once

#include "ops/op.h"

namespace jaxmps::ops {

// What the region does to its scalar arguments, done to arrays elementwise. Arguments broadcast.
using RegionFunction = std::function<Arrays(const Arrays& arguments)>;

// Refuses regions with ops that are not elementwise on scalars or that read outer values other than
// constants.
Result<RegionFunction> region_function(const ir::Region& region, const Target& target);

// The reduced axes, in their order, as one last axis.
mx::array reduced_last(const mx::array& a, std::vector<int> axes);

// Reduces `axes` of all arrays (of one shape) with a combiner, in order, pairing neighbours:
// StableHLO leaves the association to whoever runs a reduction. The axes disappear; none may have
// size 0.
Arrays fold(const Arrays& arrays, const std::vector<int>& axes, const RegionFunction& combiner);

}  // namespace jaxmps::ops
