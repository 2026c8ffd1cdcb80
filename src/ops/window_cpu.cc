// CPU kernels of reduce_window and select_and_scatter: the op's windows as kernels/cpu/pool.h wants
// them.
#include <new>

#include "kernels/cpu/pool.h"
#include "ops/dot.h"
#include "ops/window.h"

namespace jaxmps::ops {
namespace {

using ir::OpId;

std::optional<cpu::Reduction> pool_reduction(OpId id, DType type) {
  switch (id) {
    case OpId::add:
      return cpu::Reduction::kAdd;
    case OpId::multiply:
      return cpu::Reduction::kMul;
    case OpId::maximum:
      return cpu::Reduction::kMax;
    case OpId::minimum:
      return cpu::Reduction::kMin;
    case OpId::or_:
      if (type == DType::pred) return cpu::Reduction::kMax;
      return std::nullopt;
    case OpId::and_:
      if (type == DType::pred) return cpu::Reduction::kMin;
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

std::vector<cpu::WindowDim> pool_dims(const WindowDims& dims) {
  std::vector<cpu::WindowDim> out;
  for (const WindowDim& d : dims) {
    out.push_back({d.input, d.size, d.stride, d.low, d.high, d.base_dilation, d.dilation, 0});
  }
  int64_t stride = 1;
  for (size_t d = out.size(); d-- > 0; stride *= out[d].in) out[d].in_stride = stride;
  return out;
}

}  // namespace

Native native_reduce_window(const OpContext& ctx, const WindowDims& dims, OpId combiner) {
  const DType type = ctx.in(0).dtype;
  const auto reduction = pool_reduction(combiner, type);
  const bool is_known = reduction && (type == DType::pred || cpu::is_computed(type));
  if (!is_known || !cpu::reduce_window_supported(type, *reduction)) return nullptr;
  return [windows = cpu::ReduceWindow{type, *reduction, pool_dims(dims)}](const void* const* in,
                                                                          void* const* out) {
    cpu::reduce_window(windows, in[0], in[1], out[0]);
  };
}

Native native_select_and_scatter(const OpContext& ctx, const WindowDims& dims, bool select_greater,
                                 bool select_equal) {
  const DType type = ctx.in(0).dtype;
  if (!cpu::is_computed(type) || ir::is_complex(type)) return nullptr;
  cpu::SelectAndScatter windows;
  windows.type = type;
  windows.select = select_greater ? (select_equal ? cpu::Select::kGe : cpu::Select::kGt)
                                  : (select_equal ? cpu::Select::kLe : cpu::Select::kLt);
  windows.dims = pool_dims(dims);
  windows.source_strides = ir::row_major_strides(ctx.in(1).dims);
  return [windows](const void* const* in, void* const* out) {
    cpu::select_and_scatter(windows, in[0], in[1], in[2], out[0]);
  };
}

}  // namespace jaxmps::ops
