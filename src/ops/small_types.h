// The types that MLX stores as bytes but does not compute with: 2- and 4-bit integers and 4-, 6-
// and 8-bit floats. `widen` gives the values in a type MLX computes with (integers stay int8 or
// uint8, small floats become float32), `narrow` wraps or rounds the result back into storage. Both
// are the identity for every other type. Pure functions on lazy arrays; any thread.
#pragma once

#include "ir/float_format.h"
#include "ops/op.h"

namespace jaxmps::ops {

using ir::is_small_float;

mx::array widen(const mx::array& a, DType dtype);
mx::array narrow(const mx::array& a, DType dtype);
// A scalar of the array's type.
template <typename T>
mx::array scalar(T value, const mx::array& like) {
  return mx::array(value, like.dtype());
}

// Why the op cannot run on the target because of its types, for blocks of kind ANY_DTYPE_OP that
// compute through `widen` and `narrow`; empty if it can.
std::string refused_types(const OpContext& ctx);

}  // namespace jaxmps::ops
