// convolution on GPUs: MLX's for floats of up to three spatial dimensions, else a matrix product of
// the positions of the kernel side by side, or of those of the result where it has fewer (gradients
// of kernels). On the CPU our own kernels.
#include "kernels/cpu/conv.h"

#include <algorithm>
#include <functional>
#include <new>
#include <numeric>

#include "ops/dot.h"
#include "ops/pieces.h"
#include "ops/window.h"

namespace jaxmps::ops {
namespace {

struct ConvDims {
  // Orders that bring the operands and the result to [batch, spatial..., features] and the kernel
  // to [output features, spatial..., input features].
  std::vector<int> input, kernel, output;
  std::vector<int> stride, low, high, lhs_dilation, rhs_dilation, reversed;
  int feature_groups = 1, batch_groups = 1;
  int spatial = 0;
};

std::vector<int> to_ints(const ir::Ints& values) { return {values.begin(), values.end()}; }

std::vector<int> order(const ir::Op& op, const char* first, const char* spatial, const char* last) {
  std::vector<int> dims{static_cast<int>(op.i64(first))};
  for (int64_t d : op.ints(spatial)) dims.push_back(static_cast<int>(d));
  dims.push_back(static_cast<int>(op.i64(last)));
  return dims;
}

ConvDims conv_dims(const ir::Op& op) {
  ConvDims dims;
  dims.input =
      order(op, "input_batch_dimension", "input_spatial_dimensions", "input_feature_dimension");
  dims.kernel = order(op, "kernel_output_feature_dimension", "kernel_spatial_dimensions",
                      "kernel_input_feature_dimension");
  dims.output =
      order(op, "output_batch_dimension", "output_spatial_dimensions", "output_feature_dimension");
  dims.spatial = static_cast<int>(dims.input.size()) - 2;
  dims.stride = to_ints(op.ints("window_strides"));
  dims.lhs_dilation = to_ints(op.ints("lhs_dilation"));
  dims.rhs_dilation = to_ints(op.ints("rhs_dilation"));
  const ir::Ints &padding = op.ints("padding"), &reversal = op.ints("window_reversal");
  for (int d = 0; d < dims.spatial; ++d) {
    dims.low.push_back(static_cast<int>(padding[2 * d]));
    dims.high.push_back(static_cast<int>(padding[2 * d + 1]));
    if (reversal[d]) dims.reversed.push_back(d + 1);
  }
  dims.feature_groups = static_cast<int>(op.i64("feature_group_count"));
  dims.batch_groups = static_cast<int>(op.i64("batch_group_count"));
  return dims;
}

// The batch groups become feature groups: each sees its part of the batch only.
mx::array batch_groups_as_features(const mx::array& x, int groups) {
  const int batch = x.shape(0) / groups, features = x.shape(-1);
  mx::Shape shape{groups, batch};
  for (size_t i = 1; i < x.ndim(); ++i) shape.push_back(x.shape(static_cast<int>(i)));
  std::vector<int> order(shape.size());
  std::iota(order.begin(), order.end(), 0);
  order.erase(order.begin());
  order.insert(order.end() - 1, 0);
  auto merged = x.shape();
  merged[0] = batch;
  merged.back() = groups * features;
  return mx::reshape(mx::transpose(mx::reshape(x, shape), order), merged);
}

WindowDims windows(const ConvDims& dims, const mx::array& x, const mx::array& w,
                   const mx::Shape& output) {
  WindowDims all;
  for (int d = 0; d <= dims.spatial; ++d) {
    WindowDim dim;
    dim.in = dim.out = x.shape(d);
    if (d > 0) {
      dim.out = output[d];
      dim.window = w.shape(d);
      dim.stride = dims.stride[d - 1];
      dim.pad_low = dims.low[d - 1];
      dim.pad_high = dims.high[d - 1];
      dim.base_dilation = dims.lhs_dilation[d - 1];
      dim.window_dilation = dims.rhs_dilation[d - 1];
    }
    all.push_back(dim);
  }
  all.emplace_back();
  all.back().in = all.back().out = x.shape(-1);
  return all;
}

// One product of all kernel positions, for any type and number of dimensions. `x` [n, spatial, g *
// c], `w` [o, spatial, c], `output` the result as [n, spatial, o].
mx::array conv_by_products(const mx::array& x, const mx::array& w, const ConvDims& dims, int groups,
                           const mx::Shape& output, const ProductType& type) {
  const WindowDims all = windows(dims, x, w, output);
  const auto padded = pad_windows(x, scalar(0, x), all);
  const int features = w.shape(-1), results = w.shape(0) / groups;
  int positions = 1, points = output[0];
  for (int d = 1; d <= dims.spatial; ++d) {
    positions *= w.shape(d);
    points *= output[d];
  }
  // All positions side by side: [points, groups, positions * features] times the kernel.
  Arrays patches;
  std::vector<int> k(dims.spatial + 2, 0);
  for (int i = 0; i < positions; ++i) {
    mx::Shape start(k.size(), 0), stop = padded.shape(), strides(k.size(), 1);
    for (int d = 1; d <= dims.spatial; ++d) {
      start[d] = k[d] * dims.rhs_dilation[d - 1];
      stop[d] = start[d] + (output[d] - 1) * dims.stride[d - 1] + 1;
      strides[d] = dims.stride[d - 1];
    }
    patches.push_back(
        mx::reshape(mx::slice(padded, start, stop, strides), {points, groups, features}));
    for (int d = dims.spatial; d > 0 && ++k[d] == w.shape(d); --d) k[d] = 0;
  }
  const auto rows = mx::transpose(mx::concatenate(patches, -1), {1, 0, 2});
  const auto kernel =
      mx::transpose(mx::reshape(w, {groups, results, positions * features}), {0, 2, 1});
  return mx::reshape(mx::transpose(multiply_matrices(rows, kernel, type), {1, 0, 2}), output);
}

// The transpose that exchanges the first dimension and the last.
mx::array exchanged(const mx::array& x) { return mx::swapaxes(x, 0, -1); }

// For results of few positions: one product of the kernel and of the input as each position of the
// result sees it, all of them side by side; several where that would take much memory. `x`
// [c, spatial, n], `w` [o, spatial, n], `output` the result as [c, spatial, o].
mx::array conv_by_outputs(const mx::array& x, const mx::array& w, const ConvDims& dims,
                          const mx::Shape& output, const ProductType& type) {
  constexpr int64_t kMostBytes = int64_t{1} << 28;
  const auto from = exchanged(x), by = exchanged(w);
  const auto padded = pad_windows(from, scalar(0, x), windows(dims, from, w, output));
  const int columns = output.front(), results = output.back();
  const auto kernel = mx::reshape(by, {-1, results});
  mx::Strides strides(padded.ndim(), 1);
  for (int d = dims.spatial; d >= 0; --d) strides[d] = strides[d + 1] * padded.shape(d + 1);
  // [n, spatial of w, spatial of the result, c], of which one product takes some rows.
  mx::Shape shape(by.shape().begin(), by.shape().end() - 1);
  mx::Strides steps{strides[0]};
  for (int d = 1; d <= dims.spatial; ++d) steps.push_back(strides[d] * dims.rhs_dilation[d - 1]);
  for (int d = 1; d <= dims.spatial; ++d) steps.push_back(strides[d] * dims.stride[d - 1]);
  shape.insert(shape.end(), output.begin() + 1, output.end() - 1);
  shape.push_back(columns);
  steps.push_back(1);
  int& rows = shape[dims.spatial + 1];
  rows = 1;
  const int64_t bytes = static_cast<int64_t>(padded.itemsize()) *
                        std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies());
  const int at_once =
      static_cast<int>(std::clamp<int64_t>(kMostBytes / std::max<int64_t>(bytes, 1), 1, output[1]));
  Arrays products;
  for (int row = 0; row < output[1]; row += at_once) {
    rows = std::min(at_once, output[1] - row);
    const auto seen = mx::contiguous(
        mx::as_strided(padded, shape, steps, static_cast<size_t>(row * steps[dims.spatial + 1])));
    const auto left = mx::transpose(mx::reshape(seen, {kernel.shape(0), -1}));
    products.push_back(multiply_matrices(left, kernel, type));
  }
  mx::Shape moved(output.begin() + 1, output.end());
  moved.insert(moved.end() - 1, columns);
  const auto product = products.size() == 1 ? products[0] : mx::concatenate(std::move(products), 0);
  return mx::moveaxis(mx::reshape(product, moved), -2, 0);
}

// Whether the result has few positions and the kernel many, as for the gradient of a kernel.
// `w` is [.., spatial, ..], as is the result.
bool has_few_outputs(const mx::Shape& output, const mx::Shape& w) {
  constexpr int64_t kFew = 64;
  int64_t outputs = 1, window = 1;
  for (size_t d = 1; d + 1 < output.size(); ++d) {
    outputs *= output[d];
    window *= w[d];
  }
  return outputs > 0 && outputs <= kFew && window > outputs;
}

// Whether MLX, should it take the convolution for the gradient of a kernel, finds that of the
// convolution with as much padding behind as before.
bool is_gradient_of_even_padding(const ConvDims& dims, const mx::array& x, const mx::array& w,
                                 const mx::Shape& output) {
  for (int d = 1; d <= dims.spatial; ++d) {
    const int64_t room = int64_t{x.shape(d)} + 2 * int64_t{dims.low[d - 1]} -
                         int64_t{dims.stride[d - 1]} * (output[d] - 1) - 1;
    if (dims.lhs_dilation[d - 1] != 1 || room / dims.rhs_dilation[d - 1] + 1 != w.shape(d))
      return false;
  }
  return true;
}

bool all_are(const std::vector<int>& values, int value) {
  return std::all_of(values.begin(), values.end(), [&](int v) { return v == value; });
}

// As convolutions of parts of the images, of the filters or groups, or of the positions along one
// dimension, whatever there are most of. Of targets without gradients of convolutions.
mx::array conv_in_pieces(mx::array x, const mx::array& w, ConvDims dims, int groups,
                         const mx::Shape& output, int64_t pieces) {
  const auto convolve = [&](const mx::array& images, const mx::array& filters, int of_groups) {
    return mx::conv_general(images, filters, dims.stride, dims.low, dims.high, dims.rhs_dilation,
                            dims.lhs_dilation, of_groups);
  };
  const auto longest = std::max_element(output.begin() + 1, output.end() - 1);
  const int images = x.shape(0), filters = groups > 1 ? groups : w.shape(0);
  if (images >= std::max(filters, *longest)) {
    return in_pieces(images, pieces, 0, [&](int from, int to) {
      return convolve(part_of(x, 0, from, to), w, groups);
    });
  }
  if (filters >= *longest) {
    const int results = w.shape(0) / filters;  // of a filter or a group
    return in_pieces(filters, pieces, -1, [&](int from, int to) {
      const auto some = part_of(w, 0, from * results, to * results);
      if (groups == 1) return convolve(x, some, 1);
      const int features = w.shape(-1);
      return convolve(part_of(x, -1, from * features, to * features), some, to - from);
    });
  }
  x = pad_windows(x, scalar(0, x), windows(dims, x, w, output));
  for (auto* padding : {&dims.low, &dims.high}) padding->assign(dims.spatial, 0);
  dims.lhs_dilation.assign(dims.spatial, 1);
  const int along = static_cast<int>(longest - output.begin());
  const int step = dims.stride[along - 1];
  const int reach = dims.rhs_dilation[along - 1] * (w.shape(along) - 1) + 1;
  return in_pieces(*longest, pieces, along, [&](int from, int to) {
    return convolve(part_of(x, along, from * step, (to - 1) * step + reach), w, groups);
  });
}

// What MLX's convolution does not take is done to the input first: negative padding, and what its
// gradients do not say. Where it has gradients as such, they are known by their form: that of an
// input by its turned kernel, that of a kernel by operands that have their batch last.
mx::array conv_by_mlx(mx::array x, mx::array w, ConvDims dims, int groups, const mx::Shape& output,
                      bool gradients, const ir::Pace& pace) {
  const bool of_kernel = gradients && groups == 1 && has_few_outputs(output, w.shape());
  const auto is_negative = [](int v) { return v < 0; };
  if (std::any_of(dims.low.begin(), dims.low.end(), is_negative) ||
      std::any_of(dims.high.begin(), dims.high.end(), is_negative) ||
      (of_kernel && !is_gradient_of_even_padding(dims, x, w, output))) {
    // In the order of memory, where the batch is last.
    if (of_kernel) x = exchanged(x);
    x = pad_windows(x, scalar(0, x), windows(dims, x, w, output));
    if (of_kernel) x = exchanged(x);
    for (auto* padding : {&dims.low, &dims.high}) padding->assign(dims.spatial, 0);
    dims.lhs_dilation.assign(dims.spatial, 1);
  }
  const bool of_input =
      gradients && groups == 1 && all_are(dims.stride, 1) &&
      (static_cast<int>(dims.reversed.size()) == dims.spatial || !all_are(dims.lhs_dilation, 1));
  std::vector<int> turned;
  for (int d = 1; d <= dims.spatial; ++d) {
    const bool is_reversed =
        std::find(dims.reversed.begin(), dims.reversed.end(), d) != dims.reversed.end();
    if (is_reversed != of_input) turned.push_back(d);
  }
  if (!turned.empty()) w = mx::flip(w, turned);  // convolutions of MLX copy such filters
  double flops = 2.0 * static_cast<double>(w.size()) / w.shape(0);
  for (const int size : output) flops *= size;
  const int64_t pieces = pace.pieces(pace.nanoseconds(flops, 0));
  if (pieces > 1) return conv_in_pieces(x, w, std::move(dims), groups, output, pieces);
  return mx::conv_general(x, w, dims.stride, dims.low, dims.high, dims.rhs_dilation,
                          dims.lhs_dilation, groups, of_input);
}

std::vector<int> inverse(const std::vector<int>& order) {
  std::vector<int> out(order.size());
  for (size_t i = 0; i < order.size(); ++i) out[order[i]] = static_cast<int>(i);
  return out;
}

// The kernel takes any dimension order through strides.
std::optional<Lowering> native_conv(const OpContext& ctx, const ConvDims& dims) {
  const ir::Type &lhs = ctx.in(0), &rhs = ctx.in(1), &out = ctx.out();
  if (!cpu::is_computed(lhs.dtype) || lhs.dtype != rhs.dtype || lhs.dtype != out.dtype)
    return std::nullopt;
  const ir::Dims a = ir::row_major_strides(lhs.dims), b = ir::row_major_strides(rhs.dims);
  const ir::Dims c = ir::row_major_strides(out.dims);
  const size_t last = dims.input.size() - 1;
  cpu::ConvShape shape;
  shape.type = lhs.dtype;
  shape.batch = lhs.dims[dims.input[0]];
  shape.in_features = lhs.dims[dims.input[last]];
  shape.out_features = rhs.dims[dims.kernel[0]];
  shape.feature_groups = dims.feature_groups;
  shape.batch_groups = dims.batch_groups;
  shape.lhs_batch = a[dims.input[0]];
  shape.lhs_feature = a[dims.input[last]];
  shape.rhs_out = b[dims.kernel[0]];
  shape.rhs_in = b[dims.kernel[last]];
  shape.out_batch = c[dims.output[0]];
  shape.out_feature = c[dims.output[last]];
  double work = static_cast<double>(out.size()) * static_cast<double>(rhs.dims[dims.kernel[last]]);
  for (int d = 0; d < dims.spatial; ++d) {
    const int from = dims.input[d + 1], window = dims.kernel[d + 1], to = dims.output[d + 1];
    const bool reversal =
        std::find(dims.reversed.begin(), dims.reversed.end(), d + 1) != dims.reversed.end();
    shape.spatial.push_back({lhs.dims[from], rhs.dims[window], dims.stride[d], dims.low[d],
                             dims.high[d], dims.lhs_dilation[d], dims.rhs_dilation[d], reversal,
                             a[from], b[window], c[to]});
    work *= static_cast<double>(rhs.dims[window]);
  }
  const int64_t bytes = out.byte_count();
  return native(
      [plan = cpu::make_conv_plan(shape), bytes](const void* const* in, void* const* results) {
        if (bytes == 0) return;
        cpu::run_conv(*plan, in[0], in[1], results[0]);
      },
      0.02 * work + 200);
}

}  // namespace

ANY_DTYPE_OP(convolution) {
  TRY(ProductType type, product_type(ctx));
  const ConvDims dims = conv_dims(ctx.op);
  if (ctx.target.runs_native) {
    if (auto lowering = native_conv(ctx, dims)) return std::move(*lowering);
    return ctx.fail("products of these types are not supported");
  }
  mx::Shape output;
  for (int d : dims.output) output.push_back(ctx.out_shape()[d]);
  const bool mlx_float =
      type.lhs == DType::f32 || type.lhs == DType::f16 || type.lhs == DType::bf16;
  const bool is_grouped = dims.feature_groups * dims.batch_groups > 1;
  const bool mlx = mlx_float && type.out == type.lhs && dims.spatial >= 1 &&
                   dims.spatial <= (is_grouped ? 2 : 3) && !type.splits;
  const bool gradients = ctx.target.gradient_convolutions;
  return graph([=](Inputs in) {
    auto x = mx::transpose(in[0], dims.input);
    auto w = mx::transpose(in[1], dims.kernel);
    if (dims.batch_groups > 1) x = batch_groups_as_features(x, dims.batch_groups);
    const int groups = dims.feature_groups * dims.batch_groups;
    const auto result = [&] {
      if (mlx && (gradients || groups > 1 || !has_few_outputs(output, w.shape())))
        return conv_by_mlx(x, w, dims, groups, output, gradients, type.pace);
      w = flipped(w, dims.reversed);
      if (groups == 1 && has_few_outputs(output, w.shape()))
        return conv_by_outputs(x, w, dims, output, type);
      return conv_by_products(x, w, dims, groups, output, type);
    };
    return one(mx::transpose(result(), inverse(dims.output)));
  });
}

}  // namespace jaxmps::ops
