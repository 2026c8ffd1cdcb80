// Sums that join the product before them: MLX computes alpha * product + beta * other in one call.
// Pure functions; any thread.
#pragma once

#include <optional>

#include "exec/call.h"
#include "fusion/fusion.h"
#include "ir/target.h"

namespace jaxmps::exec {

// The other input of such a sum.
struct Joined {
  Epilogue epilogue;
  int other;             // input of the fusion
  int64_t size;          // its elements
  ir::Dims dims;         // of the fusion
  fusion::Affine where;  // the element of the other input for each point of the fusion
};

// How a product of this shape and type sees the other input, all of which is read; nothing if its
// elements do not lie evenly along the product's dimensions.
std::optional<Layout> layout_for(const Joined& sum, const mx::Shape& shape, mx::Dtype dtype);

// Attached to a product: the fusion that only adds something to it, which it waits for.
struct Join : ir::Attachment {
  const ir::Op* sum;
  Joined joined;

  Join(const ir::Op* by, Joined how) : sum(by), joined(std::move(how)) {}
};

// Attaches a Join to the product that `sum`, a fusion of this description, can join on the target;
// of two products that are added to the first. Whether there is one.
bool join_product(ir::Op& sum, const fusion::Fusion& description, const ir::Target& target);
// That of a product, or null.
const Join* join_of(const ir::Op& op);
// The product that the sum joins, or null.
const ir::Op* joined_by(const ir::Op& sum);

}  // namespace jaxmps::exec
