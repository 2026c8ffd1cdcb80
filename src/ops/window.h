// Sliding windows of reduce_window and select_and_scatter. Plain values; any thread.
#pragma once

#include "kernels/cpu/pool.h"
#include "ops/op.h"

namespace jaxmps::ops {

using cpu::WindowDim;
using cpu::WindowDims;

// From the window attributes of the op; select_and_scatter has no dilations.
WindowDims window_dims(const ir::Op& op, const ir::Type& operand, const ir::Type& windows);

// The operand with dilation and padding filled by `value`.
mx::array pad_windows(const mx::array& a, const mx::array& value, const WindowDims& dims);

// With any functions that are scalar programs, on the host for every target.
Result<Lowering> general_windows(const OpContext& ctx, const WindowDims& dims);
Result<Lowering> general_select_and_scatter(const OpContext& ctx, const WindowDims& dims);

}  // namespace jaxmps::ops
