// Sliding windows on MLX. Plain values; any thread.
#pragma once

#include "ir/window.h"
#include "ops/op.h"

namespace jaxmps::ops {

using ir::WindowDim;
using ir::WindowDims;

// The operand with dilation and padding filled by `value`.
mx::array pad_windows(const mx::array& a, const mx::array& value, const WindowDims& dims);

}  // namespace jaxmps::ops
