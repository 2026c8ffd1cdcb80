// Ops that move elements without looking at them.
#include <algorithm>

#include "kernels/cpu/strided_copy.h"
#include "ops/window.h"

namespace jaxmps::ops {
ANY_DTYPE_OP(reshape) {
  Lowering lowering =
      graph([shape = ctx.out_shape()](Inputs in) { return one(mx::reshape(in[0], shape)); });
  lowering.alias = true;
  return lowering;
}

MOVEMENT_OP(broadcast_in_dim) {
  const ir::Ints& dims = ctx.op.ints("broadcast_dimensions");
  const mx::Shape from = ctx.in_shape(0), to = ctx.out_shape();
  // MLX aligns dimensions from the right: order them as the result has them, then fill in ones.
  std::vector<int> order;
  mx::Shape aligned(to.size(), 1);
  for (size_t d = 0; d < to.size(); ++d) {
    for (size_t i = 0; i < dims.size(); ++i) {
      if (dims[i] != static_cast<int64_t>(d)) continue;
      order.push_back(static_cast<int>(i));
      aligned[d] = from[i];
    }
  }
  const bool sorted = std::is_sorted(order.begin(), order.end());
  return graph([=](Inputs in) {
    const auto a = sorted ? in[0] : mx::transpose(in[0], order);
    return one(mx::broadcast_to(mx::reshape(a, aligned), to));
  });
}

MOVEMENT_OP(transpose) {
  return graph(
      [order = ctx.axes("permutation")](Inputs in) { return one(mx::transpose(in[0], order)); });
}

ANY_DTYPE_OP(slice) {
  const ir::Type &from = ctx.in(0), &to = ctx.out();
  const ir::Ints &first = ctx.op.ints("start_indices"), &steps = ctx.op.ints("strides");
  Lowering lowering;
  if (ctx.target.runs_native) {
    const int64_t item = ir::byte_size(from.dtype);
    const ir::Dims strides = byte_strides(from);
    ir::Dims source;
    int64_t offset = 0;  // bytes
    bool plain = to.size() > 0 && is_one_run(to.dims, from.dims);
    for (size_t d = 0; d < strides.size(); ++d) {
      offset += first[d] * strides[d];
      source.push_back(strides[d] * steps[d]);
      plain = plain && (steps[d] == 1 || to.dims[d] == 1);
    }
    lowering = native(
        [=, copy = cpu::StridedCopy(to.dims, source, byte_strides(to), item)](const void* const* in,
                                                                              void* const* out) {
          copy.copy(static_cast<const char*>(in[0]) + offset, static_cast<char*>(out[0]));
        },
        20 + 0.15 * static_cast<double>(to.byte_count()));
    const auto stored = static_cast<int64_t>(storage_dtype(from.dtype).size());
    if (plain) lowering.view = [at = offset / stored](const void* const*) { return at; };
  }
  if (from.dtype == DType::c128) return lowering;
  lowering.graph = [start = ctx.shape("start_indices"), stop = ctx.shape("limit_indices"),
                    step = ctx.shape("strides")](Inputs in) {
    return one(mx::slice(in[0], start, stop, step));
  };
  return lowering;
}

MOVEMENT_OP(concatenate) {
  return graph([axis = static_cast<int>(ctx.op.i64("dimension"))](Inputs in) {
    Arrays parts;
    for (size_t i = 0; i < in.size(); ++i) parts.push_back(in[i]);
    return one(mx::concatenate(std::move(parts), axis));
  });
}

MOVEMENT_OP(reverse) {
  return graph([axes = ctx.axes("dimensions")](Inputs in) { return one(flipped(in[0], axes)); });
}

namespace {

// Fills the result, then copies the part of the operand that is not cut away to its places.
Native pad_native(const OpContext& ctx) {
  const ir::Ints &low = ctx.op.ints("edge_padding_low"),
                 &interior = ctx.op.ints("interior_padding");
  const ir::Type &from = ctx.in(0), &to = ctx.out();
  const int64_t item = ir::byte_size(from.dtype);
  const ir::Dims from_strides = byte_strides(from), to_strides = byte_strides(to);
  ir::Dims sizes, source, target;
  int64_t from_offset = 0, to_offset = 0;
  bool some = true;
  for (size_t d = 0; d < low.size(); ++d) {
    const int64_t step = interior[d] + 1;
    const int64_t first = low[d] < 0 ? (-low[d] + step - 1) / step : 0;
    const int64_t room = to.dims[d] - low[d];  // element i lands at low + i * step
    const int64_t last = std::min(from.dims[d], room <= 0 ? 0 : (room + step - 1) / step);
    some = some && first < last;
    sizes.push_back(std::max<int64_t>(0, last - first));
    source.push_back(from_strides[d]);
    target.push_back(to_strides[d] * step);
    from_offset += first * from_strides[d];
    to_offset += (low[d] + first * step) * to_strides[d];
  }
  const int64_t count = to.size();
  if (!some) {
    return [=](const void* const* in, void* const* out) {
      cpu::fill(static_cast<size_t>(item), in[1], count, out[0]);
    };
  }
  return [=, copy = cpu::StridedCopy(sizes, source, target, item)](const void* const* in,
                                                                   void* const* out) {
    cpu::fill(static_cast<size_t>(item), in[1], count, out[0]);
    copy.copy(static_cast<const char*>(in[0]) + from_offset,
              static_cast<char*>(out[0]) + to_offset);
  };
}

}  // namespace

ANY_DTYPE_OP(pad) {
  if (ctx.target.runs_native) {
    const double bytes = static_cast<double>(ctx.out().byte_count());
    Lowering lowering = native(pad_native(ctx), 0.2 * bytes);
    lowering.is_general = true;
    return lowering;
  }
  WindowDims dims;
  for (size_t d = 0; d < ctx.out().dims.size(); ++d) {
    WindowDim& dim = dims.emplace_back();
    dim.in = ctx.in(0).dims[d];
    dim.out = ctx.out().dims[d];
    dim.pad_low = ctx.op.ints("edge_padding_low")[d];
    dim.base_dilation = ctx.op.ints("interior_padding")[d] + 1;
  }
  return graph([=](Inputs in) { return one(pad_windows(in[0], in[1], dims)); });
}

}  // namespace jaxmps::ops
