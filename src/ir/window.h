// The windows of reduce_window and select_and_scatter, dimension by dimension. Pure functions of
// verified ops; any thread.
#pragma once

#include <string>
#include <vector>

#include "ir/module.h"

namespace jaxmps::ir {

struct WindowDim {
  int64_t in = 1, out = 1;  // extents of the operand, and of the array of windows
  int64_t window = 1;
  int64_t stride = 1;
  int64_t pad_low = 0;
  int64_t pad_high = 0;
  int64_t base_dilation = 1;
  int64_t window_dilation = 1;

  bool is_trivial() const {
    return window == 1 && stride == 1 && pad_low == 0 && pad_high == 0 && base_dilation == 1;
  }
  // The operand position of element `k` of window `i`, or -1.
  int64_t source(int64_t i, int64_t k) const {
    const int64_t at = i * stride + k * window_dilation - pad_low;
    if (at < 0 || at % base_dilation != 0) return -1;
    return at / base_dilation < in ? at / base_dilation : -1;
  }
  // From the first position that a window touches to the last; REQUIRES: there are windows.
  int64_t reach() const { return (out - 1) * stride + (window - 1) * window_dilation + 1; }
};
using WindowDims = std::vector<WindowDim>;

// select_and_scatter has no dilations.
WindowDims window_dims(const Op& op);
// Why the op's windows are too large; empty if all positions fit 31 bits.
std::string too_many_positions(const WindowDims& dims);

}  // namespace jaxmps::ir
