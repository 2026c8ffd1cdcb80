// The types that MLX stores as bytes but does not compute with: 2- and 4-bit integers and 4-, 6-
// and 8-bit floats. `widen` gives the values in a type MLX computes with (integers stay int8 or
// uint8, small floats become float32), `narrow` wraps or rounds the result back into storage. Both
// are the identity for every other type. Pure functions on lazy arrays; any thread.
#pragma once

#include <optional>

#include "ops/op.h"

namespace jaxmps::ops {

struct SmallFloat {
  int mantissa_bits, bias;
  uint8_t sign_mask;      // 0: there is no sign
  uint8_t max_code;       // the largest finite magnitude
  uint8_t overflow_code;  // what larger magnitudes become
  uint8_t nan_code;       // what NaN becomes
  bool signed_nan;        // the sign of a NaN is kept
  bool negative_zero;     // false: the code of -0 means NaN
};

// Nothing for types that are no small floats.
std::optional<SmallFloat> small_float(DType dtype);
// What the code means.
float decode_small_float(const SmallFloat& format, uint8_t code);

// The type that widened values have.
DType widened(DType dtype);
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
