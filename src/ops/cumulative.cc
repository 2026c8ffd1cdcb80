#include <cmath>

#include "kernels/cpu/scan.h"
#include "ops/host_call.h"

namespace jaxmps::ops {
namespace {

struct Named {
  std::string_view name;
  cpu::Scan scan;
};
constexpr Named kKinds[] = {{"add", cpu::Scan::add},
                            {"multiply", cpu::Scan::multiply},
                            {"maximum", cpu::Scan::maximum},
                            {"minimum", cpu::Scan::minimum}};

// The zero that wins, and where it is among the elements.
mx::array best_zero(const mx::array& a, bool maximum) { return scalar(maximum ? 0.0f : -0.0f, a); }
mx::array is_best_zero(const mx::array& a, bool maximum) {
  const mx::Dtype bits = unsigned_dtype(a.dtype());
  return mx::equal(mx::view(a, bits), mx::view(best_zero(a, maximum), bits));
}

// Maximum or minimum of what precedes along an axis in IEEE 754-2019's sense: NaN wins, and -0 is
// less than +0. MLX's own take either zero, and not every scan of it keeps NaN.
mx::array extreme_so_far(const mx::array& a, int axis, bool reverse, bool maximum) {
  mx::array best = maximum ? mx::cummax(a, axis, reverse) : mx::cummin(a, axis, reverse);
  if (!mx::issubdtype(a.dtype(), mx::floating)) return best;
  // What has been met: 1 for the zero, 2 for NaN.
  const auto met = mx::cummax(
      mx::where(mx::isnan(a), mx::array(2), mx::astype(is_best_zero(a, maximum), mx::int32)), axis,
      reverse);
  const auto is_zero =
      mx::logical_and(mx::equal(met, mx::array(1)), mx::equal(best, scalar(0, best)));
  return mx::where(mx::equal(met, mx::array(2)), scalar(NAN, a),
                   mx::where(is_zero, best_zero(best, maximum), best));
}

mx::array scan_graph(cpu::Scan scan, const mx::array& x, int axis, bool reverse) {
  switch (scan) {
    case cpu::Scan::add:
      // A sum begins with +0.
      return mx::add(mx::cumsum(x, axis, reverse, true, x.dtype()), scalar(0, x));
    case cpu::Scan::multiply:
      return mx::cumprod(x, axis, reverse, true, x.dtype());
    case cpu::Scan::maximum:
      return extreme_so_far(x, axis, reverse, true);
    default:
      return extreme_so_far(x, axis, reverse, false);
  }
}

// Of an axis of one element MLX's kernels write beyond the result on every GPU (docs/apple.md).
mx::array scan_safely(cpu::Scan scan, const mx::array& x, int axis, bool reverse, bool strided) {
  if (x.shape(axis) == 1) return scan == cpu::Scan::add ? mx::add(x, scalar(0, x)) : x;
  if (strided || axis + 1 == static_cast<int>(x.ndim())) return scan_graph(scan, x, axis, reverse);
  const auto dense = mx::contiguous(mx::moveaxis(x, axis, -1));
  return mx::moveaxis(scan_graph(scan, dense, static_cast<int>(x.ndim()) - 1, reverse), -1, axis);
}

}  // namespace

ANY_DTYPE_OP(cumulative) {
  if (auto why = not_runnable(ctx); !why.empty()) return ctx.fail(why);
  const std::string& kind = ctx.op.text("kind");
  const Named* named = nullptr;
  for (const Named& candidate : kKinds) {
    if (candidate.name == kind) named = &candidate;
  }
  if (!named) return ctx.fail(str("there is no scan of kind '", kind, "'"));
  const cpu::Scan scan = named->scan;
  const cpu::ScanKernel kernel = cpu::scan_kernel(scan, ctx.in(0).dtype);
  if (!kernel) return ctx.fail(str("there is no '", kind, "' scan of this type"));
  const bool reverse = ctx.op.flag("reverse");
  const int64_t dimension = ctx.op.i64("dimension");
  int64_t outer = 1, inner = 1;
  const ir::Dims& dims = ctx.in(0).dims;
  for (int64_t d = 0; d < dimension; ++d) outer *= dims[d];
  for (size_t d = dimension + 1; d < dims.size(); ++d) inner *= dims[d];
  Lowering lowering = native(
      [=, n = dims[dimension]](const void* const* in, void* const* out) {
        kernel(outer, n, inner, reverse, in[0], out[0]);
      },
      30 + static_cast<double>(ctx.in(0).size()), {0});
  lowering.on_host = ctx.in(0).dtype == DType::pred;
  if (!lowering.on_host) {
    lowering.graph = [=, axis = static_cast<int>(dimension),
                      strided = ctx.target.strided_scans](Inputs in) {
      return one(scan_safely(scan, in[0], axis, reverse, strided));
    };
  }
  return lowering;
}

}  // namespace jaxmps::ops
