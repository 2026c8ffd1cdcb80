// convolution on GPUs: MLX's for floats of up to three spatial dimensions, else one matrix product
// per position of the kernel, or of the result where that has fewer (gradients of kernels). On the
// CPU our own kernels.
#include "kernels/cpu/conv.h"

#include <algorithm>
#include <new>
#include <numeric>

#include "ops/dot.h"
#include "ops/elementwise.h"
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
    dim.input = dim.output = x.shape(d);
    if (d > 0) {
      dim.output = output[d];
      dim.size = w.shape(d);
      dim.stride = dims.stride[d - 1];
      dim.low = dims.low[d - 1];
      dim.base_dilation = dims.lhs_dilation[d - 1];
      dim.dilation = dims.rhs_dilation[d - 1];
    }
    all.push_back(dim);
  }
  all.emplace_back();
  all.back().input = all.back().output = x.shape(-1);
  return all;
}

// One product per kernel position, for any type and number of dimensions. `x` [n, spatial, g * c],
// `w` [o, spatial, c], `output` the result as [n, spatial, o].
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
      start[d] = k[d] * all[d].dilation;
      stop[d] = start[d] + (output[d] - 1) * all[d].stride + 1;
      strides[d] = all[d].stride;
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

// One product per position of the result. `x` [c, spatial, n], `w` [c, spatial, o], `output` the
// result as [n, spatial, o].
mx::array conv_by_outputs(const mx::array& x, const mx::array& w, const ConvDims& dims,
                          const mx::Shape& output, const ProductType& type) {
  const WindowDims all = windows(dims, x, w, output);
  const auto padded = pad_windows(x, scalar(0, x), all);
  const int batch = output.front(), results = output.back();
  const auto kernel = mx::reshape(w, {-1, results});
  int positions = 1;
  for (int d = 1; d <= dims.spatial; ++d) positions *= output[d];
  Arrays products;
  std::vector<int> at(dims.spatial + 2, 0);
  for (int i = 0; i < positions; ++i) {
    mx::Shape start(at.size(), 0), stop = padded.shape(), strides(at.size(), 1);
    for (int d = 1; d <= dims.spatial; ++d) {
      start[d] = at[d] * all[d].stride;
      stop[d] = start[d] + (all[d].size - 1) * all[d].dilation + 1;
      strides[d] = all[d].dilation;
    }
    const auto window = mx::reshape(mx::slice(padded, start, stop, strides), {-1, batch});
    const auto product = multiply_matrices(mx::transpose(window), kernel, type);
    products.push_back(mx::reshape(product, {batch, 1, results}));
    for (int d = dims.spatial; d > 0 && ++at[d] == output[d]; --d) at[d] = 0;
  }
  return mx::reshape(mx::concatenate(std::move(products), 1), output);
}

// Whether the result has few positions and the kernel many, as for the gradient of a kernel: MLX
// would convolve with the huge kernel.
bool has_few_outputs(const ConvDims& dims, const mx::Shape& output, const ir::Type& kernel) {
  constexpr int64_t kFew = 64;
  int64_t outputs = 1, window = 1;
  for (int d = 1; d <= dims.spatial; ++d) {
    outputs *= output[d];
    window *= kernel.dims[dims.kernel[d]];
  }
  return dims.feature_groups * dims.batch_groups == 1 && outputs > 0 && outputs <= kFew &&
         window > outputs;
}

// What MLX's convolution does not take is done to the input first: negative padding.
mx::array conv_by_mlx(mx::array x, const mx::array& w, ConvDims dims, int groups,
                      const mx::Shape& output) {
  const bool negative =
      std::any_of(dims.low.begin(), dims.low.end(), [](int v) { return v < 0; }) ||
      std::any_of(dims.high.begin(), dims.high.end(), [](int v) { return v < 0; });
  if (negative) {
    x = pad_windows(x, scalar(0, x), windows(dims, x, w, output));
    dims.low.assign(dims.spatial, 0);
    dims.high.assign(dims.spatial, 0);
    dims.lhs_dilation.assign(dims.spatial, 1);
  }
  return mx::conv_general(x, w, dims.stride, dims.low, dims.high, dims.rhs_dilation,
                          dims.lhs_dilation, groups);
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
        if (!cpu::run_conv(*plan, in[0], in[1], results[0])) throw std::bad_alloc();
      },
      0.02 * work + 200);
}

}  // namespace

ANY_DTYPE_OP(convolution) {
  TRY(ProductType type, product_type(ctx));
  const ConvDims dims = conv_dims(ctx.op);
  if (ctx.target.runs_native) {
    if (auto lowering = native_conv(ctx, dims)) return std::move(*lowering);
  }
  if (auto why = refused_types(ctx); !why.empty()) return ctx.fail(why);
  mx::Shape output;
  for (int d : dims.output) output.push_back(ctx.out_shape()[d]);
  const bool mlx_float =
      type.lhs == DType::f32 || type.lhs == DType::f16 || type.lhs == DType::bf16;
  const bool is_grouped = dims.feature_groups * dims.batch_groups > 1;
  const bool mlx = mlx_float && type.out == type.lhs && dims.spatial >= 1 &&
                   dims.spatial <= (is_grouped ? 2 : 3) && !type.splits;
  if (has_few_outputs(dims, output, ctx.in(1))) {
    return graph([=](Inputs in) {
      auto turned = [](std::vector<int> order) {
        std::swap(order.front(), order.back());
        return order;
      };
      const auto x = mx::transpose(in[0], turned(dims.input));
      auto w = mx::transpose(in[1], turned(dims.kernel));
      if (!dims.reversed.empty()) w = mx::flip(w, dims.reversed);
      return one(mx::transpose(conv_by_outputs(x, w, dims, output, type), inverse(dims.output)));
    });
  }
  return graph([=](Inputs in) {
    auto x = mx::transpose(in[0], dims.input);
    auto w = mx::transpose(in[1], dims.kernel);
    if (!dims.reversed.empty()) w = mx::flip(w, dims.reversed);
    if (dims.batch_groups > 1) x = batch_groups_as_features(x, dims.batch_groups);
    const int groups = dims.feature_groups * dims.batch_groups;
    const auto y = mlx ? conv_by_mlx(x, w, dims, groups, output)
                       : conv_by_products(x, w, dims, groups, output, type);
    return one(mx::transpose(y, inverse(dims.output)));
  });
}

}  // namespace jaxmps::ops
