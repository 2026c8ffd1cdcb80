#include "ir/window.h"

#include <cmath>

namespace jaxmps::ir {

WindowDims window_dims(const Op& op) {
  const Ints &size = op.ints("window_dimensions"), &stride = op.ints("window_strides");
  const Ints& padding = op.ints("padding");
  const Dims& operand = op.operand(0)->type.dims;
  const bool scatters = op.id == OpId::select_and_scatter;
  const Dims& windows = scatters ? op.operand(1)->type.dims : op.result()->type.dims;
  WindowDims dims;
  for (size_t d = 0; d < operand.size(); ++d) {
    dims.push_back({operand[d], windows[d], size[d], stride[d], padding[2 * d], padding[2 * d + 1],
                    scatters ? 1 : op.ints("base_dilations")[d],
                    scatters ? 1 : op.ints("window_dilations")[d]});
  }
  return dims;
}

std::string too_many_positions(const WindowDims& dims) {
  constexpr double kMost = 2147483647;
  for (size_t d = 0; d < dims.size(); ++d) {
    const WindowDim& dim = dims[d];
    const auto size = [](int64_t n) { return std::abs(static_cast<double>(n)); };
    const double padded =
        size(dim.pad_low) + size(dim.in) * size(dim.base_dilation) + size(dim.pad_high);
    const double reach =
        size(dim.out) * size(dim.stride) + size(dim.window) * size(dim.window_dilation);
    if (padded > kMost || reach > kMost)
      return str("windows over more than 2^31 positions of dimension ", d, " are not supported");
  }
  return {};
}

}  // namespace jaxmps::ir
