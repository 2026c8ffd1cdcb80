// An MLX graph taken apart: the primitives that compute it, in an order in which they can be
// called.
#pragma once

#include <memory>
#include <vector>

#include "ir/target.h"
#include "mlx/mlx.h"

namespace jaxmps::exec {

// Arrays are told apart by their id(). Inputs are outputs of earlier calls, or leaves: arrays that
// have no primitive, or a value already.
struct PrimitiveCall {
  std::shared_ptr<mlx::core::Primitive> primitive;
  std::vector<mlx::core::array> inputs, outputs;
};
std::vector<PrimitiveCall> primitive_calls(const std::vector<mlx::core::array>& results);

// About how long it takes.
double nanoseconds_of(const PrimitiveCall& call, const ir::Pace& pace);

// Whether it only lets an array see the memory of another, as a rule.
bool is_view(mlx::core::Primitive& primitive);

}  // namespace jaxmps::exec
