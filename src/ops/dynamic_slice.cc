#include <algorithm>

#include "ir/match.h"
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
  std::vector<std::optional<int64_t>> known;
  bool in_range = false;

  Starts(const OpContext& ctx, const ir::Dims& sizes, int first) : first_operand(first) {
    const ir::Type& operand = ctx.in(0);
    strides = byte_strides(operand);
    for (size_t d = 0; d < sizes.size(); ++d) {
      limits.push_back(operand.dims[d] - sizes[d]);
      known.push_back(ir::constant_integer(ctx.op.operand(first + static_cast<int>(d))));
      if (known[d]) known[d] = std::clamp<int64_t>(*known[d], 0, limits[d]);
      if (limits[d] == 0) known[d] = 0;
    }
    if (!sizes.empty()) dtype = ctx.in(first).dtype;
    in_range = ir::find(ctx.op.discardable, "mps.starts_in_range") != nullptr;
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

  // For MLX's dynamic slices: the axes along which the window may lie elsewhere than at 0, and
  // where it starts there, as one int32 vector.
  std::vector<int> axes() const {
    std::vector<int> axes;
    for (size_t d = 0; d < limits.size(); ++d) {
      if (known[d] != 0) axes.push_back(static_cast<int>(d));
    }
    return axes;
  }
  mx::array vector(Inputs in) const {
    Arrays starts;
    for (const int d : axes()) {
      const auto at = static_cast<size_t>(d);
      if (known[at]) {
        starts.push_back(mx::array({static_cast<int32_t>(*known[at])}));
        continue;
      }
      const mx::array& start = in[first_operand + at];
      starts.push_back(mx::reshape(in_range ? start : clamped_starts(start, limits[at]), {1}));
    }
    return starts.size() == 1 ? starts[0] : mx::concatenate(std::move(starts));
  }
};

cpu::StridedCopy window_copy(const ir::Type& from, const ir::Type& to, const ir::Dims& sizes) {
  return cpu::StridedCopy(sizes, byte_strides(from), byte_strides(to), ir::byte_size(from.dtype));
}

}  // namespace

ANY_DTYPE_OP(dynamic_slice) {
  const ir::Dims sizes = ctx.out().dims;
  const Starts starts(ctx, sizes, 1);
  const mx::Shape shape = ctx.out_shape();
  const mx::Dtype dtype = ctx.out_dtype();
  Lowering lowering = graph([=](Inputs in) {
    if (starts.axes().empty()) return one(mx::slice(in[0], mx::Shape(shape.size(), 0), shape));
    return one(mx::slice(in[0], starts.vector(in), starts.axes(), shape));
  });
  const cpu::StridedCopy window = window_copy(ctx.in(0), ctx.out(), sizes);
  lowering.native = [=](const void* const* in, void* const* out) {
    window.copy(static_cast<const char*>(in[0]) + starts.offset(in), static_cast<char*>(out[0]));
  };
  lowering.nanoseconds = 20 + 0.15 * static_cast<double>(ctx.out().byte_count());
  if (is_one_run(sizes, ctx.in(0).dims)) {
    lowering.view = [starts, item = static_cast<int64_t>(dtype.size())](const void* const* in) {
      return starts.offset(in) / item;
    };
  }
  return lowering;
}

ANY_DTYPE_OP(dynamic_update_slice) {
  const Starts starts(ctx, ctx.in(1).dims, 2);
  Lowering lowering = graph([=](Inputs in) {
    if (starts.axes().empty()) {
      return one(mx::slice_update(in[0], in[1], mx::Shape(in[1].ndim(), 0), in[1].shape()));
    }
    return one(mx::slice_update(in[0], in[1], starts.vector(in), starts.axes()));
  });
  const cpu::StridedCopy window = window_copy(ctx.in(1), ctx.in(0), ctx.in(1).dims);
  const int64_t bytes = ctx.in(0).byte_count();
  lowering.native = [=](const void* const* in, void* const* out) {
    if (out[0] != in[0]) cpu::parallel_copy(out[0], in[0], bytes);
    window.copy(static_cast<const char*>(in[1]), static_cast<char*>(out[0]) + starts.offset(in));
  };
  lowering.reuse = {0};
  lowering.nanoseconds = 20 + 0.1 * static_cast<double>(ctx.in(1).byte_count() + bytes);
  return lowering;
}

}  // namespace jaxmps::ops
