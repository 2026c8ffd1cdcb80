// Sliding windows of reduce_window and select_and_scatter. Plain values; any thread.
#pragma once

#include "ops/op.h"

namespace jaxmps::ops {

struct WindowDim {
  int input = 1, output = 1;
  int size = 1, stride = 1, low = 0, high = 0;
  int base_dilation = 1, dilation = 1;

  bool trivial() const {
    return size == 1 && stride == 1 && low == 0 && high == 0 && base_dilation == 1;
  }
  // The operand position of window element k of window i, or -1.
  int source(int i, int k) const {
    const int at = i * stride + k * dilation - low;
    if (at < 0 || at % base_dilation != 0) return -1;
    return at / base_dilation < input ? at / base_dilation : -1;
  }
};
using WindowDims = std::vector<WindowDim>;

// From the window attributes of the op; select_and_scatter has no dilations.
WindowDims window_dims(const ir::Op& op, const ir::Type& operand, const ir::Type& windows);

// The operand with dilation and padding filled by `value`.
mx::array pad_windows(const mx::array& a, const mx::array& value, const WindowDims& dims);

// CPU kernels; nothing where there is none for the op.
Native native_reduce_window(const OpContext& ctx, const WindowDims& dims, ir::OpId combiner);
// With any functions that are scalar programs, on the host for every target.
Result<Lowering> general_windows(const OpContext& ctx, const WindowDims& dims);
Result<Lowering> general_select_and_scatter(const OpContext& ctx, const WindowDims& dims);
Native native_select_and_scatter(const OpContext& ctx, const WindowDims& dims, bool select_greater,
                                 bool select_equal);

}  // namespace jaxmps::ops
