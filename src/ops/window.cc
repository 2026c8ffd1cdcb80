// reduce_window and select_and_scatter.
#include "ops/window.h"

#include <algorithm>
#include <cstdlib>

#include "ir/combiner.h"
#include "ops/elementwise.h"
#include "ops/host_call.h"
#include "ops/region.h"
#include "ir/match.h"

namespace jaxmps::ops {

using ir::OpId;

WindowDims window_dims(const ir::Op& op, const ir::Type& operand, const ir::Type& windows) {
  const ir::Ints &size = op.ints("window_dimensions"), &stride = op.ints("window_strides");
  const ir::Ints& padding = op.ints("padding");
  const bool dilates = op.find("base_dilations") != nullptr;
  WindowDims dims;
  for (size_t d = 0; d < operand.dims.size(); ++d) {
    WindowDim dim;
    dim.input = static_cast<int>(operand.dims[d]);
    dim.output = static_cast<int>(windows.dims[d]);
    dim.size = static_cast<int>(size[d]);
    dim.stride = static_cast<int>(stride[d]);
    dim.low = static_cast<int>(padding[2 * d]);
    dim.high = static_cast<int>(padding[2 * d + 1]);
    if (dilates) {
      dim.base_dilation = static_cast<int>(op.ints("base_dilations")[d]);
      dim.dilation = static_cast<int>(op.ints("window_dilations")[d]);
    }
    dims.push_back(dim);
  }
  return dims;
}

namespace {

// Why the op's windows are too large; empty if positions fit 32 bits and cells can be counted.
std::string too_large(const ir::Op& op) {
  constexpr double kMost = 2147483647, kMostCells = 1e15;
  const ir::Ints &size = op.ints("window_dimensions"), &stride = op.ints("window_strides");
  const ir::Ints &padding = op.ints("padding"), &input = op.operand(0)->type.dims;
  const bool dilates = op.find("base_dilations") != nullptr;
  double cells = static_cast<double>(op.operand(0)->type.size());
  for (size_t d = 0; d < size.size(); ++d) {
    const double base = dilates ? static_cast<double>(op.ints("base_dilations")[d]) : 1;
    const double step = dilates ? static_cast<double>(op.ints("window_dilations")[d]) : 1;
    const double reach = static_cast<double>(std::abs(padding[2 * d])) +
                         static_cast<double>(input[d]) * base +
                         static_cast<double>(std::abs(padding[2 * d + 1]));
    if (reach > kMost || static_cast<double>(size[d]) * step > kMost || stride[d] > kMost) {
      return str("windows over more than 2^31 positions of dimension ", d, " are not supported");
    }
    cells *= static_cast<double>(size[d]);
  }
  return cells > kMostCells ? "windows of so many elements are not supported" : "";
}

// Elements start, start + step, ... along the axis.
mx::array strided(const mx::array& a, int axis, int start, int step, int count) {
  mx::Shape from(a.ndim(), 0), to = a.shape(), strides(a.ndim(), 1);
  from[axis] = start;
  to[axis] = count == 0 ? start : start + (count - 1) * step + 1;
  strides[axis] = step;
  return mx::slice(a, from, to, strides);
}

mx::array dilate(const mx::array& a, int axis, int step, const mx::array& value) {
  const int size = a.shape(axis);
  if (step == 1 || size <= 1) return a;
  auto gaps = a.shape();
  gaps.insert(gaps.begin() + axis + 1, step - 1);
  auto apart =
      mx::concatenate({mx::expand_dims(a, axis + 1), mx::broadcast_to(value, gaps)}, axis + 1);
  auto merged = a.shape();
  merged[axis] = size * step;
  return strided(mx::reshape(apart, merged), axis, 0, 1, (size - 1) * step + 1);
}

}  // namespace

mx::array pad_windows(const mx::array& a, const mx::array& value, const WindowDims& dims) {
  auto out = a;
  std::vector<int> axes;
  mx::Shape lows, highs, from, to;
  for (int d = 0; d < static_cast<int>(dims.size()); ++d) {
    const WindowDim& dim = dims[d];
    out = dilate(out, d, dim.base_dilation, value);
    // Only what some window touches.
    const int needed =
        dim.output == 0 ? 0 : (dim.output - 1) * dim.stride + (dim.size - 1) * dim.dilation + 1;
    const int high = needed - dim.low - out.shape(d);
    from.push_back(std::max(-dim.low, 0));
    to.push_back(from.back() + needed);
    if (dim.low <= 0 && high <= 0) continue;
    axes.push_back(d);
    lows.push_back(std::max(dim.low, 0));
    highs.push_back(std::max(high, 0));
  }
  if (!axes.empty()) out = mx::pad(out, axes, lows, highs, value);
  return mx::slice(out, from, to);
}

Arrays fold_windows(const Arrays& padded, const WindowDims& dims, Arrays total,
                    const std::function<Arrays(const Arrays&)>& combine) {
  mx::Shape shape;
  int64_t cells = 1;
  for (const WindowDim& dim : dims) {
    shape.push_back(dim.output);
    cells *= dim.size;
  }
  for (auto& a : total) a = mx::broadcast_to(a, shape);
  for (int64_t cell = 0; cell < cells; ++cell) {
    Arrays arguments = total;
    for (mx::array a : padded) {
      int64_t rest = cell;
      for (int d = static_cast<int>(dims.size()) - 1; d >= 0; --d) {
        const WindowDim& dim = dims[d];
        a = strided(a, d, static_cast<int>(rest % dim.size) * dim.dilation, dim.stride, dim.output);
        rest /= dim.size;
      }
      arguments.push_back(a);
    }
    total = total.empty() ? std::move(arguments) : combine(arguments);
    for (auto& a : total) a = mx::broadcast_to(a, shape);
  }
  return total;
}

namespace {

// The same for combiners that may be regrouped and reordered: dimension by dimension from the last.
Arrays fold_separably(Arrays padded, const WindowDims& dims,
                      const std::function<Arrays(const Arrays&)>& combine) {
  for (int d = static_cast<int>(dims.size()) - 1; d >= 0; --d) {
    const WindowDim& dim = dims[d];
    // Element k of every window along this axis, as a queue of partial results joined pairwise.
    std::vector<Arrays> parts;
    for (int k = 0; k < dim.size; ++k) {
      Arrays part;
      for (const auto& a : padded) {
        part.push_back(strided(a, d, k * dim.dilation, dim.stride, dim.output));
      }
      parts.push_back(std::move(part));
    }
    while (parts.size() > 1) {
      std::vector<Arrays> joined;
      for (size_t i = 0; i + 1 < parts.size(); i += 2) {
        Arrays arguments = parts[i];
        arguments.insert(arguments.end(), parts[i + 1].begin(), parts[i + 1].end());
        joined.push_back(combine(arguments));
      }
      if (parts.size() % 2) joined.push_back(parts.back());
      parts = std::move(joined);
    }
    padded = std::move(parts[0]);
  }
  return padded;
}

// Cells of one window whose fold is worth a node each in a graph; beyond, the host folds.
constexpr int64_t kMostCells = 256;

// Sums of short floats are kept in float32 until the end.
bool accumulates_in_float32(DType type) { return type == DType::f16 || type == DType::bf16; }

Result<Lowering> window_graph(const OpContext& ctx, const WindowDims& dims) {
  const auto simple = ir::simple_combiners(ctx.op.region());
  double cells = 1;
  for (const WindowDim& dim : dims) cells *= dim.size;
  if (!simple && cells > kMostCells) return general_windows(ctx, dims);
  TRY(RegionFunction combine, region_function(ctx.op.region(), ctx.target));
  const DType type = ctx.in(0).dtype;
  const bool sums = simple && simple->size() == 1 && (*simple)[0] == OpId::add;
  if (sums && accumulates_in_float32(type)) {
    return graph([=](Inputs in) {
      const auto value = mx::astype(in[1], mx::float32);
      auto add = [](const Arrays& a) { return one(mx::add(a[0], a[1])); };
      const auto padded = pad_windows(mx::astype(in[0], mx::float32), value, dims);
      const auto sum = mx::add(value, fold_separably(one(padded), dims, add)[0]);
      return one(mx::astype(sum, in[0].dtype()));
    });
  }
  return graph([=, regroups = simple.has_value()](Inputs in) {
    const size_t count = in.size() / 2;
    Arrays padded, init;
    for (size_t i = 0; i < count; ++i) {
      padded.push_back(pad_windows(in[i], in[count + i], dims));
      init.push_back(in[count + i]);
    }
    if (!regroups) return fold_windows(padded, dims, std::move(init), combine);
    for (auto& a : fold_separably(std::move(padded), dims, combine)) init.push_back(std::move(a));
    return combine(init);
  });
}

}  // namespace

ANY_DTYPE_OP(reduce_window) {
  if (auto why = not_runnable(ctx); !why.empty()) return ctx.fail(why);
  if (auto why = too_large(ctx.op); !why.empty()) return ctx.fail(why);
  const WindowDims dims = window_dims(ctx.op, ctx.in(0), ctx.out());
  const auto simple = ir::simple_combiner(ctx.op.region());
  if (ctx.target.runs_native && simple) {
    if (Native kernel = native_reduce_window(ctx, dims, *simple)) {
      double work = static_cast<double>(ctx.out().size());
      for (const WindowDim& dim : dims) work *= dim.size;
      return native(std::move(kernel), 2 * work);
    }
  }
  // MLX's CPU computes functions of float64 in float32, so its graphs are for GPUs.
  if (ctx.target.runs_native) return general_windows(ctx, dims);
  if (auto why = refused_types(ctx); !why.empty()) return ctx.fail(why);
  return window_graph(ctx, dims);
}

namespace {

// The flat position of the selected operand element of each window, -1 where a window has none.
mx::array selected_positions(const mx::array& operand, const WindowDims& dims,
                             const RegionFunction& select) {
  const auto positions =
      mx::reshape(mx::arange(0, static_cast<int>(operand.size()), 1), operand.shape());
  const auto none = mx::array(-1, mx::int32);
  auto pick = [&](const Arrays& a) {
    const auto keeps =
        mx::logical_and(mx::greater_equal(a[1], mx::array(0)),
                        mx::logical_or(mx::less(a[3], mx::array(0)), select({a[0], a[2]})[0]));
    return Arrays{mx::where(keeps, a[0], a[2]), mx::where(keeps, a[1], a[3])};
  };
  Arrays padded{pad_windows(operand, scalar(0, operand), dims), pad_windows(positions, none, dims)};
  return fold_windows(padded, dims, {}, pick)[1];
}

using Direction = ir::CompareDirection;

// By which order of the two elements the region selects the first; nothing if by another criterion.
std::optional<Direction> selection(const ir::Region& region) {
  namespace match = ir::match;
  Direction direction;
  const auto first = match::same(region.arg(0)), second = match::same(region.arg(1));
  if (!match::matches(region.terminator()->operand(0), match::compare(&direction, first, second)) ||
      direction == Direction::eq || direction == Direction::ne) {
    return std::nullopt;
  }
  return direction;
}

}  // namespace

ANY_DTYPE_OP(select_and_scatter) {
  if (auto why = not_runnable(ctx); !why.empty()) return ctx.fail(why);
  if (auto why = too_large(ctx.op); !why.empty()) return ctx.fail(why);
  const DType type = ctx.in(0).dtype;
  const WindowDims dims = window_dims(ctx.op, ctx.in(0), ctx.in(1));
  const bool sums = ir::simple_combiner(ctx.op.region(1)) == OpId::add && is_mlx_native(type);
  if (!sums) return general_select_and_scatter(ctx, dims);
  if (ctx.target.runs_native) {
    if (const auto test = selection(ctx.op.region(0))) {
      const bool greater = *test == Direction::gt || *test == Direction::ge;
      const bool equal = *test == Direction::le || *test == Direction::ge;
      if (Native kernel = native_select_and_scatter(ctx, dims, greater, equal)) {
        double work = static_cast<double>(ctx.in(1).size());
        for (const WindowDim& dim : dims) work *= dim.size;
        return native(std::move(kernel), 3 * work);
      }
    }
    return general_select_and_scatter(ctx, dims);
  }
  TRY(RegionFunction select, region_function(ctx.op.region(0), ctx.target));
  return graph([=](Inputs in) {
    const auto positions = mx::flatten(selected_positions(in[0], dims, select));
    const auto some = mx::greater_equal(positions, mx::array(0));
    const bool widens = accumulates_in_float32(type);
    auto source = mx::flatten(in[1]);
    if (widens) source = mx::astype(source, mx::float32);
    const auto values = mx::where(some, source, scalar(0, source));
    const auto where_to = mx::where(some, positions, mx::array(0));
    const auto start =
        mx::full({static_cast<int>(in[0].size())}, mx::astype(in[2], values.dtype()));
    const auto result = mx::scatter_add_axis(start, where_to, values, 0);
    return one(mx::reshape(mx::astype(result, in[0].dtype()), in[0].shape()));
  });
}

}  // namespace jaxmps::ops
