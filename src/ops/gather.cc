#include "ops/gather.h"

namespace jaxmps::ops {

WindowPlan plan_windows(const GatherDims& dims, const ir::Type& operand, const ir::Type& indices,
                        const ir::Type& windows) {
  const ir::Dims operand_strides = byte_strides(operand), window_strides = byte_strides(windows);
  const ir::Dims index_strides = ir::row_major_strides(indices.dims);
  std::vector<cpu::StartIndices::BatchDim> batch;
  const auto of_windows = dims.batch_dims(windows.rank());
  const auto of_indices = dims.indices_batch(indices.rank());
  for (size_t i = 0; i < of_windows.size(); ++i) {
    int64_t along = 0;
    for (size_t j = 0; j < dims.indices_batching.size(); ++j) {
      if (dims.indices_batching[j] == of_indices[i]) {
        along = operand_strides[dims.operand_batching[j]];
      }
    }
    batch.push_back({windows.dims[of_windows[i]], index_strides[of_indices[i]],
                     window_strides[of_windows[i]], along});
  }
  std::vector<cpu::StartIndices::Component> components;
  const bool vector = dims.index_vector_dim < indices.rank();
  for (size_t j = 0; j < dims.index_map.size(); ++j) {
    const int64_t d = dims.index_map[j];
    const int64_t step = vector ? index_strides[dims.index_vector_dim] : 0;
    components.push_back({static_cast<int64_t>(j) * step, operand.dims[d] - dims.slice_sizes[d],
                          operand_strides[d]});
  }
  WindowPlan plan{cpu::StartIndices(indices.dtype, batch, std::move(components)), {}, {}, {}};
  const auto kept = dims.kept_dims(operand.rank());
  for (size_t i = 0; i < kept.size(); ++i) {
    plan.sizes.push_back(dims.slice_sizes[kept[i]]);
    plan.operand_strides.push_back(operand_strides[kept[i]]);
    plan.window_strides.push_back(window_strides[dims.window_dims[i]]);
  }
  return plan;
}

mx::array signed_starts(const mx::array& starts) {
  if (starts.dtype() == mx::int32) return starts;
  if (starts.dtype() != mx::uint64) return mx::astype(starts, mx::int64);
  const mx::array beyond(uint64_t{1} << 62, mx::uint64);
  return mx::astype(mx::minimum(starts, beyond), mx::int64);
}

namespace {

// As int32, moved into [0, limit].
mx::array clamped_starts(const mx::array& starts, int64_t limit) {
  const mx::array wide = signed_starts(starts);
  const mx::array zero(0, wide.dtype()), last(limit, wide.dtype());
  return mx::astype(mx::minimum(mx::maximum(wide, zero), last), mx::int32);
}

}  // namespace

// MLX's kernels for CUDA take ten dimensions, those of the batch and of a window together.
constexpr int kMaxDimensions = 10;

bool flattens_batch(size_t batch_rank, int operand_rank) {
  return batch_rank > 1 && static_cast<int>(batch_rank) + operand_rank > kMaxDimensions;
}

std::string too_many_dimensions(const OpContext& ctx) {
  if (ctx.target.runs_native || ctx.in(0).rank() < kMaxDimensions) return "";
  return str("on GPUs the operand may have at most ", kMaxDimensions - 1, " dimensions");
}

StartArrays start_arrays(const GatherDims& dims, const ir::Type& operand, const mx::array& indices,
                         bool clamp, std::optional<mx::array>* inside) {
  StartArrays starts;
  const int rank = static_cast<int>(indices.ndim());
  const bool vector = dims.index_vector_dim < rank;
  const int axis = static_cast<int>(dims.index_vector_dim);
  for (size_t j = 0; j < dims.index_map.size(); ++j) {
    mx::array start = indices;
    if (vector) {
      mx::Shape begin(rank, 0), end = indices.shape();
      begin[axis] = static_cast<int>(j);
      end[axis] = static_cast<int>(j) + 1;
      start = mx::squeeze(mx::slice(indices, begin, end), axis);
    }
    const int64_t d = dims.index_map[j];
    const int64_t limit = operand.dims[d] - dims.slice_sizes[d];
    start = signed_starts(start);
    if (inside) {
      const mx::array zero(0, start.dtype()), last(limit, start.dtype());
      const mx::array ok =
          mx::logical_and(mx::greater_equal(start, zero), mx::less_equal(start, last));
      *inside = *inside ? mx::logical_and(**inside, ok) : ok;
    }
    starts.indices.push_back(clamp ? clamped_starts(start, limit) : mx::astype(start, mx::int32));
    starts.axes.push_back(static_cast<int>(d));
  }
  const auto batch = dims.indices_batch(rank);
  for (size_t j = 0; j < dims.operand_batching.size(); ++j) {
    mx::Shape shape(batch.size(), 1), full;
    for (size_t i = 0; i < batch.size(); ++i) {
      full.push_back(indices.shape(batch[i]));
      if (batch[i] == dims.indices_batching[j]) shape[i] = indices.shape(batch[i]);
    }
    const int size = indices.shape(static_cast<int>(dims.indices_batching[j]));
    starts.indices.push_back(
        mx::broadcast_to(mx::reshape(mx::arange(size, mx::int32), shape), full));
    starts.axes.push_back(static_cast<int>(dims.operand_batching[j]));
  }
  if (flattens_batch(batch.size(), operand.rank())) {
    for (mx::array& start : starts.indices) start = mx::flatten(start);
    if (inside && *inside) *inside = mx::flatten(**inside);
  }
  return starts;
}

namespace {

// The shape of the index batch, for gathers without any index component.
mx::Shape batch_shape(const GatherDims& dims, const ir::Type& indices) {
  mx::Shape shape;
  for (int d : dims.indices_batch(indices.rank())) {
    shape.push_back(static_cast<int>(indices.dims[d]));
  }
  return shape;
}

Graph gather_graph(const OpContext& ctx, const GatherDims& dims) {
  const ir::Type &operand = ctx.in(0), &indices = ctx.in(1);
  // From [batch..., operand dimensions...] to the result's order.
  const auto kept = dims.kept_dims(operand.rank());
  const auto batch = dims.batch_dims(ctx.out().rank());
  std::vector<int> permutation(ctx.out().dims.size());
  for (size_t i = 0; i < batch.size(); ++i) permutation[batch[i]] = static_cast<int>(i);
  for (size_t i = 0; i < kept.size(); ++i) {
    permutation[dims.window_dims[i]] = static_cast<int>(batch.size() + i);
  }
  mx::Shape squeezed = batch_shape(dims, indices);
  const mx::Shape batch_only = squeezed;
  for (int d : kept) squeezed.push_back(static_cast<int>(dims.slice_sizes[d]));
  const mx::Shape slice_sizes = to_shape(dims.slice_sizes);
  return [=](Inputs in) {
    StartArrays starts = start_arrays(dims, operand, in[1], true, nullptr);
    mx::array windows = in[0];
    if (starts.indices.empty()) {
      windows = mx::slice(windows, mx::Shape(slice_sizes.size(), 0), slice_sizes);
      mx::Shape ones(batch_only.size(), 1);
      for (int d : kept) ones.push_back(static_cast<int>(dims.slice_sizes[d]));
      windows = mx::broadcast_to(mx::reshape(windows, ones), squeezed);
    } else {
      windows =
          mx::reshape(mx::gather(windows, starts.indices, starts.axes, slice_sizes), squeezed);
    }
    return one(mx::transpose(windows, permutation));
  };
}

}  // namespace

ANY_DTYPE_OP(gather) {
  if (auto why = too_many_dimensions(ctx); !why.empty()) return ctx.fail(why);
  const GatherDims dims = GatherDims::of_gather(ctx.op);
  Lowering lowering = graph(gather_graph(ctx, dims));
  WindowPlan windows = plan_windows(dims, ctx.in(0), ctx.in(1), ctx.out());
  const cpu::GatherPlan plan{
      std::move(windows.starts),
      cpu::StridedCopy(windows.sizes, windows.operand_strides, windows.window_strides,
                       ir::byte_size(ctx.in(0).dtype))};
  lowering.native = [plan](const void* const* in, void* const* out) {
    cpu::gather(plan, in[0], in[1], out[0]);
  };
  lowering.nanoseconds = 30 + 2.0 * static_cast<double>(plan.starts.count()) +
                         0.2 * static_cast<double>(ctx.out().byte_count());
  return lowering;
}

}  // namespace jaxmps::ops
