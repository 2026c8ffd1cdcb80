// Reductions. Combiners MLX knows are its reductions; arg-max and arg-min are two of them; any
// other combiner is applied to neighbours until one element is left.
#include "ops/reduce.h"

#include <limits>

#include "ir/combiner.h"
#include "ops/elementwise.h"
#include "ops/host_call.h"
#include "ir/match.h"

namespace jaxmps::ops {

using ir::OpId;

mx::array reduce_simple(const mx::array& a, const std::vector<int>& axes, OpId id) {
  switch (id) {
    case OpId::add:
      return a.dtype() == mx::bool_ ? mx::any(a, axes, false) : mx::sum(a, axes, false);
    case OpId::multiply:
      return a.dtype() == mx::bool_ ? mx::all(a, axes, false) : mx::prod(a, axes, false);
    case OpId::maximum:
    case OpId::minimum:
      return extreme_along(a, axes, false, id == OpId::maximum);
    case OpId::and_:
      return mx::all(a, axes, false);
    default:
      return mx::any(a, axes, false);
  }
}

bool mlx_reduces(OpId id, DType type) {
  switch (id) {
    case OpId::add:
    case OpId::multiply:
      return true;
    case OpId::maximum:
    case OpId::minimum:
      return !ir::is_complex(type);
    case OpId::and_:
    case OpId::or_:
      return type == DType::pred;
    default:
      return false;
  }
}

namespace {

// The type partial results have: float32 for shorter floats.
mx::array accumulator(const mx::array& a, DType type, OpId id) {
  const bool sums = id == OpId::add || id == OpId::multiply;
  if (sums && (type == DType::f16 || type == DType::bf16)) return mx::astype(a, mx::float32);
  return widen(a, type);
}

mx::array combine(const mx::array& a, const mx::array& b, OpId id) {
  const bool logical = a.dtype() == mx::bool_;
  switch (id) {
    case OpId::add:
      return logical ? mx::logical_or(a, b) : mx::add(a, b);
    case OpId::multiply:
      return logical ? mx::logical_and(a, b) : mx::multiply(a, b);
    case OpId::maximum:
    case OpId::minimum:
      return extreme(a, b, id == OpId::maximum);
    case OpId::and_:
      return mx::logical_and(a, b);
    default:
      return mx::logical_or(a, b);
  }
}

mx::array reduce_one(const mx::array& operand, const mx::array& init, const std::vector<int>& axes,
                     OpId id, DType type) {
  const auto x = accumulator(operand, type, id);
  const auto start = accumulator(init, type, id);
  const auto reduced = mx::astype(reduce_simple(x, axes, id), start.dtype());
  const auto result = combine(start, reduced, id);
  return narrow(is_small_float(type) ? result : mx::astype(result, storage_dtype(type)), type);
}

// Whether the region is the reducer of an arg-max or arg-min over (values, indices): the better
// value wins, NaN beats all, and the lower index breaks ties.
std::optional<bool> arg_reducer(const ir::Region& region) {
  if (region.arg_count() != 4) return std::nullopt;
  const DType type = region.arg(0)->type.dtype;
  if (!ir::is_int(region.arg(1)->type.dtype) || ir::is_complex(type)) return std::nullopt;
  using namespace ir::match;  // NOLINT(google-build-using-namespace)
  using Direction = ir::CompareDirection;
  const auto x = same(region.arg(0)), i = same(region.arg(1));
  const auto y = same(region.arg(2)), j = same(region.arg(3));
  const ir::Op* end = region.terminator();
  const auto picks = [&](const auto& pick) {
    const auto tie = op(OpId::and_, compare(Direction::eq, x, y), compare(Direction::lt, i, j));
    return matches(end->operand(0), op(OpId::select, pick, x, y)) &&
           matches(end->operand(1), op(OpId::select, op(OpId::or_, pick, tie), i, j));
  };
  for (const bool maximum : {true, false}) {
    const auto better = compare(maximum ? Direction::gt : Direction::lt, x, y);
    const auto is_nan = compare(Direction::ne, x, x);
    if (picks(op(OpId::or_, better, is_nan))) return maximum;
    if (!ir::is_float(type) && picks(better)) return maximum;
  }
  return std::nullopt;
}

// The index beside the lowest value that wins; with NaN among the values, that of the first NaN.
Arrays arg_reduce(const mx::array& values, const mx::array& indices, const std::vector<int>& axes,
                  bool maximum) {
  const auto best = maximum ? mx::max(values, axes, true) : mx::min(values, axes, true);
  // The number of indices that can win is at least one, so the filler never does.
  const auto last = mx::max(indices, axes, true);
  auto index = mx::min(mx::where(mx::equal(values, best), indices, last), axes, false);
  const auto found = mx::squeeze(best, axes);
  if (mx::issubdtype(values.dtype(), mx::floating)) {
    const auto nans = mx::astype(reduced_last(mx::isnan(values), axes), mx::uint8);
    const auto first = mx::take_along_axis(reduced_last(indices, axes),
                                           mx::argmax(nans, -1, /*keepdims=*/true), -1);
    index = mx::where(mx::isnan(found), mx::squeeze(first, -1), index);
  }
  return {found, index};
}

Result<Lowering> lower_arg(const OpContext& ctx, bool maximum, const RegionFunction& combiner) {
  const auto axes = ctx.axes("dimensions");
  return graph([=, type = ctx.in(0).dtype](Inputs in) {
    const bool logical = in[0].dtype() == mx::bool_;
    const auto values = logical ? mx::astype(in[0], mx::uint8) : widen(in[0], type);
    auto found = arg_reduce(values, in[1], axes, maximum);
    found[0] = logical ? mx::astype(found[0], mx::bool_) : narrow(found[0], type);
    return combiner({in[2], in[3], found[0], found[1]});
  });
}

Result<Lowering> lower_fold(const OpContext& ctx, const RegionFunction& combiner) {
  const auto axes = ctx.axes("dimensions");
  std::vector<mx::Shape> shapes;
  shapes.reserve(ctx.op.result_count());
  for (int i = 0; i < ctx.op.result_count(); ++i) shapes.push_back(ctx.out_shape(i));
  return graph([=](Inputs in) {
    const size_t count = in.size() / 2;
    Arrays operands, arguments;
    for (size_t i = 0; i < count; ++i) operands.push_back(in[i]);
    for (size_t i = 0; i < count; ++i) arguments.push_back(in[count + i]);
    for (auto& a : fold(operands, axes, combiner)) arguments.push_back(std::move(a));
    Arrays results = combiner(arguments);
    for (size_t i = 0; i < count; ++i) results[i] = mx::broadcast_to(results[i], shapes[i]);
    return results;
  });
}

}  // namespace

ANY_DTYPE_OP(reduce) {
  if (auto why = ctx.target.runs_native ? not_runnable(ctx) : refused_types(ctx); !why.empty()) {
    return ctx.fail(why);
  }
  const auto axes = ctx.axes("dimensions");
  const int count = ctx.op.result_count();
  std::vector<DType> types;
  types.reserve(count);
  for (int i = 0; i < count; ++i) types.push_back(ctx.in(i).dtype);
  const ir::Region& region = ctx.op.region();
  std::optional<bool> maximum;
  if (!axes.empty()) maximum = arg_reducer(region);
  if (maximum && ctx.target.runs_native) {
    if (Native kernel = native_arg_reduce(ctx, *maximum)) {
      return native(std::move(kernel), static_cast<double>(ctx.in(0).size()));
    }
  }
  if (const auto ids = ir::simple_combiners(region); ids && !axes.empty()) {
    bool all = true;
    for (int i = 0; i < count; ++i) {
      all = all && types[i] != DType::c128 && mlx_reduces((*ids)[i], types[i]);
    }
    if (all) {
      return graph([=](Inputs in) {
        Arrays results;
        for (int i = 0; i < count; ++i) {
          results.push_back(reduce_one(in[i], in[count + i], axes, (*ids)[i], types[i]));
        }
        return results;
      });
    }
  }
  if (ctx.target.runs_native) {
    TRY(Lowering lowering, native_reduce(ctx));
    lowering.is_general = true;
    return lowering;
  }
  TRY(RegionFunction combiner, region_function(region, ctx.target));
  return maximum ? lower_arg(ctx, *maximum, combiner) : lower_fold(ctx, combiner);
}

}  // namespace jaxmps::ops
