// Windows for which the CPU has kernels; the others, and reductions with combiners that fusions do
// not fold with, are elementwise ops (passes/expand_combiners.cc) but for what cannot run.
#include "ops/window.h"

#include <algorithm>

#include "ir/combiner.h"
#include "ir/match.h"
#include "kernels/cpu/pool.h"
#include "ops/pieces.h"
#include "scalar/scalar.h"

namespace jaxmps::ops {

using ir::OpId;

namespace {

mx::array dilate(const mx::array& a, int axis, int step, const mx::array& value) {
  const int size = a.shape(axis);
  if (step == 1 || size <= 1) return a;
  auto gaps = a.shape();
  gaps.insert(gaps.begin() + axis + 1, step - 1);
  auto apart =
      mx::concatenate({mx::expand_dims(a, axis + 1), mx::broadcast_to(value, gaps)}, axis + 1);
  auto merged = a.shape();
  merged[axis] = size * step;
  return part_of(mx::reshape(apart, merged), axis, 0, (size - 1) * step + 1);
}

}  // namespace

mx::array pad_windows(const mx::array& a, const mx::array& value, const WindowDims& dims) {
  auto out = a;
  std::vector<int> axes;
  mx::Shape lows, highs, from, to;
  for (int d = 0; d < static_cast<int>(dims.size()); ++d) {
    const WindowDim& dim = dims[d];
    out = dilate(out, d, static_cast<int>(dim.base_dilation), value);
    // Only what some window touches.
    const int low = static_cast<int>(dim.pad_low);
    const int needed = dim.out == 0 ? 0 : static_cast<int>(dim.reach());
    const int high = needed - low - out.shape(d);
    from.push_back(std::max(-low, 0));
    to.push_back(from.back() + needed);
    if (low <= 0 && high <= 0) continue;
    axes.push_back(d);
    lows.push_back(std::max(low, 0));
    highs.push_back(std::max(high, 0));
  }
  if (!axes.empty()) out = mx::pad(out, axes, lows, highs, value);
  return mx::slice(out, from, to);
}

namespace {

// Whether the kernel may combine with the initial value as often as it likes: padding counts as
// cells of that value.
bool is_repeatable(OpId combiner, const ir::Value* init) {
  switch (combiner) {
    case OpId::maximum:
    case OpId::minimum:
    case OpId::and_:
    case OpId::or_:
      return true;
    case OpId::add:
    case OpId::multiply:
      return init->type.dtype == DType::pred ||
             ir::is_splat_of(init, combiner == OpId::add ? 0 : 1);
    default:
      return false;
  }
}

Error refused(const OpContext& ctx) {
  return ctx.fail("what it combines with is no function of scalars");
}

double cells_of(const WindowDims& dims) {
  double cells = 1;
  for (const WindowDim& dim : dims) cells *= static_cast<double>(dim.out * dim.window);
  return cells;
}

}  // namespace

ANY_DTYPE_OP(reduce) { return refused(ctx); }

ANY_DTYPE_OP(reduce_window) {
  const WindowDims dims = ir::window_dims(ctx.op);
  if (auto why = ir::too_many_positions(dims); !why.empty()) return ctx.fail(why);
  const auto simple = ir::simple_combiner(ctx.op.region());
  if (ctx.target.runs_native && simple && is_repeatable(*simple, ctx.op.operand(1))) {
    const auto kernel = cpu::make_reduce_window(*scalar::opcode_of(*simple), ctx.in(0).dtype, dims);
    if (kernel) {
      return native(
          [kernel](const void* const* in, void* const* out) { kernel(in[0], in[1], out[0]); },
          2 * cells_of(dims));
    }
  }
  return refused(ctx);
}

namespace {

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
  const WindowDims dims = ir::window_dims(ctx.op);
  if (auto why = ir::too_many_positions(dims); !why.empty()) return ctx.fail(why);
  const bool sums =
      ir::simple_combiner(ctx.op.region(1)) == OpId::add && is_mlx_native(ctx.in(0).dtype);
  const auto test = sums ? selection(ctx.op.region(0)) : std::nullopt;
  const auto kernel =
      test ? cpu::make_select_and_scatter(*test, ctx.in(0).dtype, dims) : cpu::SelectAndScatter();
  if (ctx.target.runs_native && kernel) {
    return native(
        [kernel](const void* const* in, void* const* out) { kernel(in[0], in[1], in[2], out[0]); },
        3 * cells_of(dims));
  }
  return refused(ctx);
}

}  // namespace jaxmps::ops
