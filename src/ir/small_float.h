// The formats of 4-, 6- and 8-bit floats: their codes and what they mean. Stateless; any thread.
#pragma once

#include <cstdint>
#include <optional>

#include "ir/type.h"

namespace jaxmps::ir {

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

}  // namespace jaxmps::ir
