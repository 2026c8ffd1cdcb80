#include <algorithm>

#include "kernels/cpu/gather.h"
#include "ops/gather.h"

namespace jaxmps::ops {
namespace {

// The scalar starts of a window, clamped so that it lies inside.
struct Starts {
  DType dtype = DType::s32;
  int first_operand = 1;
  ir::Dims limits;
  ir::Dims strides;  // bytes

  Starts(const OpContext& ctx, const ir::Dims& sizes, int first) : first_operand(first) {
    const ir::Type& operand = ctx.in(0);
    strides = byte_strides(operand);
    for (size_t d = 0; d < sizes.size(); ++d) limits.push_back(operand.dims[d] - sizes[d]);
    if (!sizes.empty()) dtype = ctx.in(first).dtype;
  }

  int64_t offset(const void* const* in) const {
    int64_t bytes = 0;
    for (size_t d = 0; d < limits.size(); ++d) {
      int64_t start = 0;
      cpu::load_indices(dtype, in[first_operand + d], 0, 1, 1, &start);
      bytes += std::clamp<int64_t>(start, 0, limits[d]) * strides[d];
    }
    return bytes;
  }
};

cpu::StridedCopy window_copy(const ir::Type& from, const ir::Type& to, const ir::Dims& sizes) {
  return cpu::StridedCopy(sizes, byte_strides(from), byte_strides(to), ir::byte_size(from.dtype));
}

Error of_fusions(const OpContext& ctx) {
  return ctx.fail(str("on ", ctx.target.name, " it is a fusion, or it does not run"));
}

}  // namespace

ANY_DTYPE_OP(dynamic_slice) {
  if (!ctx.target.runs_native) return of_fusions(ctx);
  const ir::Dims sizes = ctx.out().dims;
  const Starts starts(ctx, sizes, 1);
  const cpu::StridedCopy window = window_copy(ctx.in(0), ctx.out(), sizes);
  Lowering lowering = native(
      [=](const void* const* in, void* const* out) {
        window.copy(static_cast<const char*>(in[0]) + starts.offset(in),
                    static_cast<char*>(out[0]));
      },
      20 + 0.15 * static_cast<double>(ctx.out().byte_count()));
  if (is_one_run(sizes, ctx.in(0).dims)) {
    const auto item = static_cast<int64_t>(ctx.out_dtype().size());
    lowering.view = [starts, item](const void* const* in) { return starts.offset(in) / item; };
  }
  return lowering;
}

ANY_DTYPE_OP(dynamic_update_slice) {
  if (!ctx.target.runs_native) return of_fusions(ctx);
  const Starts starts(ctx, ctx.in(1).dims, 2);
  const cpu::StridedCopy window = window_copy(ctx.in(1), ctx.in(0), ctx.in(1).dims);
  const int64_t bytes = ctx.in(0).byte_count();
  return native(
      [=](const void* const* in, void* const* out) {
        if (out[0] != in[0]) cpu::parallel_copy(out[0], in[0], bytes);
        window.copy(static_cast<const char*>(in[1]),
                    static_cast<char*>(out[0]) + starts.offset(in));
      },
      20 + 0.1 * static_cast<double>(ctx.in(1).byte_count() + bytes), {0});
}

}  // namespace jaxmps::ops
