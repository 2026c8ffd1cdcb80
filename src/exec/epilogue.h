// Sums that join the product before them: MLX computes alpha * product + beta * other in one call.
// Pure functions; any thread.
#pragma once

#include <optional>

#include "exec/call.h"
#include "fusion/fusion.h"

namespace jaxmps::exec {

struct Joined {
  Epilogue epilogue;
  int other;             // input of the fusion
  fusion::Affine where;  // its element for each point of the fusion
};

// If all that the fusion does is to add another input to `product`, or to subtract one from the
// other: which. Both are read as they are stored, and each element of the product once, in its
// place.
std::optional<Joined> joined_sum(const fusion::Fusion& fusion, int product);

// How a product of this shape and type sees the other input, all of which is read; nothing if its
// elements do not lie evenly along the product's dimensions.
std::optional<Layout> layout_for(const Joined& sum, const fusion::Fusion& fusion,
                                 const mx::Shape& shape, mx::Dtype dtype);

}  // namespace jaxmps::exec
