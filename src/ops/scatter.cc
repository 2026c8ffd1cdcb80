#include "kernels/cpu/scatter.h"

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>

#include "ir/combiner.h"
#include "ops/gather.h"
#include "ops/pieces.h"
#include "scalar/scalar.h"

namespace jaxmps::ops {
namespace {

using ir::Combination;
using ir::OpId;

struct Simple {
  std::vector<Combination> combine;
  std::vector<cpu::ScatterKernel> kernels;
};

std::optional<Simple> all_simple(const OpContext& ctx, int inputs) {
  Simple simple;
  for (int i = 0; i < inputs; ++i) {
    const auto combine = ir::combination(ctx.op.region(), i);
    if (!combine) return std::nullopt;
    const auto kernel = cpu::scatter_kernel(*combine, ctx.in(i).dtype);
    if (!kernel) return std::nullopt;
    simple.combine.push_back(*combine);
    simple.kernels.push_back(kernel);
  }
  return simple;
}

cpu::ScatterPlan plan_scatter(const GatherDims& dims, const ir::Type& operand,
                              const ir::Type& indices, const ir::Type& updates) {
  WindowPlan windows = plan_windows(dims, operand, indices, updates);
  return cpu::ScatterPlan(std::move(windows.starts), windows.sizes, windows.operand_strides,
                          windows.window_strides, ir::byte_size(operand.dtype),
                          operand.byte_count());
}

// out[i] starts as in[i].
void copy_operands(const std::vector<int64_t>& bytes, const void* const* in, void* const* out) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (out[i] != in[i]) cpu::parallel_copy(out[i], in[i], bytes[i]);
  }
}

std::vector<int64_t> operand_bytes(const OpContext& ctx, int inputs) {
  std::vector<int64_t> bytes;
  bytes.reserve(inputs);
  for (int i = 0; i < inputs; ++i) bytes.push_back(ctx.in(i).byte_count());
  return bytes;
}

Native simple_native(const OpContext& ctx, const GatherDims& dims, const Simple& simple) {
  const int inputs = static_cast<int>(simple.kernels.size());
  std::vector<cpu::ScatterPlan> plans;
  plans.reserve(inputs);
  for (int i = 0; i < inputs; ++i) {
    plans.push_back(plan_scatter(dims, ctx.in(i), ctx.in(inputs), ctx.in(inputs + 1 + i)));
  }
  return [=, kernels = simple.kernels, bytes = operand_bytes(ctx, inputs)](const void* const* in,
                                                                           void* const* out) {
    copy_operands(bytes, in, out);
    for (int i = 0; i < inputs; ++i) {
      plans[i].run(kernels[i], out[i], in[inputs], in[inputs + 1 + i]);
    }
  };
}

// Any combiner: the scalar program runs once per element, on all inputs together.
Result<Native> general_native(const OpContext& ctx, const GatherDims& dims, int inputs) {
  TRY(auto program, kernels::scalar_program(ctx.op.region()));
  // Offsets in elements, by planning for a type of one byte.
  auto plan = plan_scatter(dims, ctx.in(0).with(DType::u8), ctx.in(inputs),
                           ctx.in(inputs + 1).with(DType::u8));
  std::vector<int64_t> sizes;
  sizes.reserve(inputs);
  for (int i = 0; i < inputs; ++i) sizes.push_back(ir::byte_size(ctx.in(i).dtype));
  return Native([=, bytes = operand_bytes(ctx, inputs)](const void* const* in, void* const* out) {
    copy_operands(bytes, in, out);
    std::vector<const void*> arguments(2 * inputs);
    std::vector<void*> results(inputs);
    // Results are written to the side: an output may still be read for the next one.
    std::vector<std::array<char, 16>> values(inputs);
    for (int i = 0; i < inputs; ++i) results[i] = values[i].data();
    plan.for_elements(in[inputs], [&](int64_t to, int64_t from) {
      for (int i = 0; i < inputs; ++i) {
        arguments[i] = static_cast<char*>(out[i]) + to * sizes[i];
        arguments[inputs + i] = static_cast<const char*>(in[inputs + 1 + i]) + from * sizes[i];
      }
      kernels::evaluate(program, arguments.data(), results.data());
      for (int i = 0; i < inputs; ++i) {
        std::copy_n(values[i].data(), sizes[i], static_cast<char*>(out[i]) + to * sizes[i]);
      }
    });
  });
}

// Floats as integers of the same order, NaN beyond the infinity that wins; and back.
mx::array order_key(const mx::array& x, bool maximum) {
  const mx::array nan = mx::array(maximum ? 0x7fc00000 : static_cast<int>(0xffc00000), mx::int32);
  mx::array bits = mx::view(mx::astype(x, mx::float32), mx::int32);
  bits = mx::where(mx::isnan(x), nan, bits);
  const mx::array flipped = mx::bitwise_xor(bits, mx::array(0x7fffffff, mx::int32));
  return mx::where(mx::less(bits, mx::array(0, mx::int32)), flipped, bits);
}
mx::array from_order_key(const mx::array& key, mx::Dtype dtype) {
  const mx::array flipped = mx::bitwise_xor(key, mx::array(0x7fffffff, mx::int32));
  const mx::array bits = mx::where(mx::less(key, mx::array(0, mx::int32)), flipped, key);
  return mx::astype(mx::view(bits, mx::float32), dtype);
}

bool graph_supports(const Combination& combine, const ir::Type& operand, const Target& target) {
  const int bytes = ir::byte_size(operand.dtype);
  if (operand.dims.empty()) return false;
  if (bytes == 8 && !target.scatters_64_bits) return false;
  if (combine.kind != Combination::Kind::op) return true;
  const bool is_number = is_mlx_native(operand.dtype) && operand.dtype != DType::pred;
  switch (combine.op) {
    case OpId::add:
    case OpId::subtract:
    case OpId::multiply:
      return is_number;
    case OpId::minimum:
    case OpId::maximum:
      return is_number && !ir::is_complex(operand.dtype) && operand.dtype != DType::f64;
    default:
      return false;
  }
}

struct GraphScatter {
  GatherDims dims;
  ir::Type operand;
  Combination combine;
  ir::Pace pace;

  bool is(OpId op) const { return combine.kind == Combination::Kind::op && combine.op == op; }

  // The updates as [batch..., operand dimensions...], with 1 where windows have no dimension; the
  // batch is as start_arrays() has it.
  mx::array arranged(const mx::array& u) const {
    std::vector<int> order = dims.batch_dims(static_cast<int>(u.ndim()));
    mx::Shape shape;
    for (int d : order) shape.push_back(u.shape(d));
    if (flattens_batch(shape.size(), operand.rank())) {
      shape = {std::accumulate(shape.begin(), shape.end(), 1, std::multiplies<>())};
    }
    for (int64_t d : dims.window_dims) order.push_back(static_cast<int>(d));
    for (int64_t size : dims.slice_sizes) shape.push_back(static_cast<int>(size));
    return mx::reshape(mx::transpose(u, order), shape);
  }

  mx::array spread(const mx::array& mask) const {
    mx::Shape shape = mask.shape();
    shape.insert(shape.end(), dims.slice_sizes.size(), 1);
    return mx::reshape(mask, shape);
  }

  // Value of an update that changes nothing.
  mx::array identity(mx::Dtype dtype) const {
    if (is(OpId::multiply)) return mx::array(1, dtype);
    const bool real = is(OpId::add) && mx::issubdtype(dtype, mx::floating);
    return real ? mx::array(-0.0f, dtype) : mx::array(0, dtype);
  }

  mx::array run(mx::array a, const mx::array& indices, const mx::array& update_values) const {
    if (combine.kind == Combination::Kind::accumulator) return a;
    mx::array u = arranged(update_values);
    std::optional<mx::array> inside;
    if (combine.kind == Combination::Kind::element) return overwrite(std::move(a), indices, u);
    StartArrays starts = start_arrays(dims, operand, indices, true, &inside);
    const bool maximum = is(OpId::maximum), order = maximum || is(OpId::minimum);
    const bool keyed = order && ir::is_float(operand.dtype);
    const mx::Dtype dtype = a.dtype();
    if (keyed) {
      a = order_key(a, maximum);
      u = order_key(u, maximum);
    }
    if (is(OpId::subtract)) u = mx::negative(u);
    if (order && inside) {
      // The extreme value of the type loses against everything.
      const bool is_signed = mx::issubdtype(u.dtype(), mx::signedinteger);
      const int bits = 8 * static_cast<int>(u.itemsize());
      const uint64_t ones = ~uint64_t{0} >> (64 - bits + (is_signed ? 1 : 0));
      const mx::array highest = mx::array(ones, u.dtype());
      const mx::array lowest = is_signed ? mx::array(-static_cast<int64_t>(ones) - 1, u.dtype())
                                         : mx::array(0, u.dtype());
      u = mx::where(spread(*inside), u, maximum ? lowest : highest);
    } else if (inside) {
      u = mx::where(spread(*inside), u, identity(u.dtype()));
    }
    mx::array result = in_turns(std::move(a), starts, u);
    return keyed ? from_order_key(result, dtype) : result;
  }

  // Some of the updates after others, where all of them may take long.
  mx::array in_turns(mx::array a, const StartArrays& starts, const mx::array& u) const {
    const mx::array& windows = starts.indices[0];
    const int64_t wanted = pace.pieces(nanoseconds_of_turns(windows.size(), u.size()));
    const mx::Shape& batch = windows.shape();
    if (wanted == 1 || batch.empty()) return scatter(a, starts, u);
    const auto axis =
        static_cast<int>(std::max_element(batch.begin(), batch.end()) - batch.begin());
    const int64_t size = batch[axis], pieces = std::min(wanted, size);
    for (int64_t k = 0; k < pieces; ++k) {
      const auto from = static_cast<int>(size * k / pieces);
      const auto to = static_cast<int>(size * (k + 1) / pieces);
      StartArrays some = starts;
      for (mx::array& index : some.indices) index = part_of(index, axis, from, to);
      a = scatter(a, some, part_of(u, axis, from, to));
    }
    return a;
  }

  mx::array scatter(const mx::array& a, const StartArrays& starts, const mx::array& u) const {
    if (combine.kind == Combination::Kind::element) {
      return mx::scatter(a, starts.indices, u, starts.axes);
    }
    switch (combine.op) {
      case OpId::multiply:
        return mx::scatter_prod(a, starts.indices, u, starts.axes);
      case OpId::minimum:
        return mx::scatter_min(a, starts.indices, u, starts.axes);
      case OpId::maximum:
        return mx::scatter_max(a, starts.indices, u, starts.axes);
      default:
        return mx::scatter_add(a, starts.indices, u, starts.axes);
    }
  }

  // Windows outside go to padding behind the operand, which is cut off again.
  mx::array overwrite(mx::array a, const mx::array& indices, const mx::array& u) const {
    std::optional<mx::array> inside;
    StartArrays starts = start_arrays(dims, operand, indices, false, &inside);
    if (!inside) return scatter(a, starts, u);
    const int axis = starts.axes[0];
    const int width = static_cast<int>(dims.slice_sizes[axis]);
    const mx::Shape shape = a.shape();
    const mx::array beyond(shape[axis], mx::int32), zero(0, mx::int32);
    for (size_t i = 0; i < dims.index_map.size(); ++i) {
      starts.indices[i] = mx::where(*inside, starts.indices[i], i == 0 ? beyond : zero);
    }
    a = mx::pad(a, {axis}, {0}, {width}, mx::array(0, a.dtype()));
    return mx::slice(scatter(a, starts, u), mx::Shape(shape.size(), 0), shape);
  }
};

Graph simple_graph(const OpContext& ctx, const GatherDims& dims, const Simple& simple) {
  const int inputs = static_cast<int>(simple.combine.size());
  std::vector<GraphScatter> parts;
  parts.reserve(inputs);
  for (int i = 0; i < inputs; ++i) {
    parts.push_back({dims, ctx.in(i), simple.combine[i], ctx.target.pace});
  }
  return [=](Inputs in) {
    Arrays out;
    for (int i = 0; i < inputs; ++i) {
      out.push_back(parts[i].run(in[i], in[inputs], in[inputs + 1 + i]));
    }
    return out;
  };
}

}  // namespace

ANY_DTYPE_OP(scatter) {
  const int inputs = (ctx.op.operand_count() - 1) / 2;
  const GatherDims dims = GatherDims::of_scatter(ctx.op);
  std::vector<int> reuse;
  reuse.reserve(inputs);
  for (int i = 0; i < inputs; ++i) reuse.push_back(i);
  double cost = 50;
  for (int i = 0; i < inputs; ++i) {
    cost += 0.1 * static_cast<double>(ctx.in(i).byte_count()) +
            2.0 * static_cast<double>(ctx.in(inputs + 1 + i).size());
  }
  const auto simple = all_simple(ctx, inputs);
  if (!simple) {
    TRY(auto general, general_native(ctx, dims, inputs));
    return everywhere(ctx, std::move(general), 10 * cost, std::move(reuse));
  }
  Lowering lowering = everywhere(ctx, simple_native(ctx, dims, *simple), cost, std::move(reuse));
  // Without any index component every window is the whole operand.
  bool graphs = !dims.index_map.empty() && too_many_dimensions(ctx).empty();
  for (int i = 0; i < inputs; ++i) {
    graphs &= graph_supports(simple->combine[i], ctx.in(i), ctx.target);
  }
  if (graphs) lowering.graph = simple_graph(ctx, dims, *simple);
  return lowering;
}

}  // namespace jaxmps::ops
