#include <algorithm>
#include <cmath>

#include "kernels/cpu/scan.h"
#include "ops/pieces.h"

namespace jaxmps::ops {
namespace {

using scalar::Opcode;

struct Named {
  std::string_view name;
  Opcode scan;
};
constexpr Named kKinds[] = {{"add", Opcode::add},
                            {"multiply", Opcode::mul},
                            {"maximum", Opcode::max},
                            {"minimum", Opcode::min}};

// The zero that wins, and where it is among the elements.
mx::array best_zero(const mx::array& a, bool maximum) { return scalar(maximum ? 0.0f : -0.0f, a); }
mx::array is_best_zero(const mx::array& a, bool maximum) {
  const mx::Dtype bits = unsigned_dtype(a.dtype());
  return mx::equal(mx::view(a, bits), mx::view(best_zero(a, maximum), bits));
}

mx::array scan_by_mlx(Opcode scan, const mx::array& x, int axis, bool reverse, bool inclusive) {
  switch (scan) {
    case Opcode::add:
      return mx::cumsum(x, axis, reverse, inclusive, x.dtype());
    case Opcode::mul:
      return mx::cumprod(x, axis, reverse, inclusive, x.dtype());
    case Opcode::max:
      return mx::cummax(x, axis, reverse, inclusive);
    default:
      return mx::cummin(x, axis, reverse, inclusive);
  }
}

mx::array combined(Opcode scan, const mx::array& a, const mx::array& b) {
  switch (scan) {
    case Opcode::add:
      return mx::add(a, b);
    case Opcode::mul:
      return mx::multiply(a, b);
    case Opcode::max:
      return mx::maximum(a, b);
    default:
      return mx::minimum(a, b);
  }
}

// On Metal one block of threads walks a row of MLX's scans, in trips of so many bytes.
double nanoseconds_of_row(const mx::array& x, int axis) {
  constexpr double kTrip = 2000, kTripBytes = 4 * 4096;
  return x.shape(axis) * kTrip / (kTripBytes / std::max<double>(4, x.itemsize()));
}

// A scan along the last axis. Where a row takes long, its parts are scanned as rows, and what comes
// before each part is added. What fills the parts up comes behind all others in the scan's order.
mx::array prefixes(Opcode scan, const mx::array& x, int axis, bool reverse, const ir::Pace& pace) {
  constexpr int kParts = 256;
  const int n = x.shape(axis);
  if (pace.pieces(nanoseconds_of_row(x, axis)) == 1 || n < 2 * kParts) {
    return scan_by_mlx(scan, x, axis, reverse, true);
  }
  const int length = (n - 1) / kParts + 1, rest = length * kParts - n;
  mx::Shape shape = x.shape();
  shape.back() = kParts;
  shape.push_back(length);
  const auto filled =
      mx::pad(x, std::vector<int>{axis}, {reverse ? rest : 0}, {reverse ? 0 : rest}, scalar(0, x));
  const auto parts = scan_by_mlx(scan, mx::reshape(filled, shape), axis + 1, reverse, true);
  const int end = reverse ? 0 : length - 1;
  const auto totals = mx::contiguous(mx::squeeze(part_of(parts, -1, end, end + 1), axis + 1));
  const auto before = scan_by_mlx(scan, totals, axis, reverse, false);
  shape.pop_back();
  shape.back() = length * kParts;
  const auto whole = mx::reshape(combined(scan, parts, mx::expand_dims(before, -1)), shape);
  return part_of(whole, axis, reverse ? rest : 0, reverse ? rest + n : n);
}

// Maximum or minimum of what precedes along an axis in IEEE 754-2019's sense: NaN wins, and -0 is
// less than +0. MLX's own take either zero, and not every scan of it keeps NaN.
mx::array extreme_so_far(Opcode scan, const mx::array& a, int axis, bool reverse,
                         const ir::Pace& pace) {
  const bool maximum = scan == Opcode::max;
  mx::array best = prefixes(scan, a, axis, reverse, pace);
  if (!mx::issubdtype(a.dtype(), mx::floating)) return best;
  // What has been met: 1 for the zero, 2 for NaN.
  const auto met = prefixes(
      Opcode::max,
      mx::where(mx::isnan(a), mx::array(2), mx::astype(is_best_zero(a, maximum), mx::int32)), axis,
      reverse, pace);
  const auto is_zero =
      mx::logical_and(mx::equal(met, mx::array(1)), mx::equal(best, scalar(0, best)));
  return mx::where(mx::equal(met, mx::array(2)), scalar(NAN, a),
                   mx::where(is_zero, best_zero(best, maximum), best));
}

mx::array scan_graph(Opcode scan, const mx::array& x, int axis, bool reverse,
                     const ir::Pace& pace) {
  if (scan == Opcode::max || scan == Opcode::min) {
    return extreme_so_far(scan, x, axis, reverse, pace);
  }
  const auto result = prefixes(scan, x, axis, reverse, pace);
  // A sum begins with +0.
  return scan == Opcode::add ? mx::add(result, scalar(0, x)) : result;
}

// Of an axis of one element MLX's kernels write beyond the result on every GPU (docs/apple.md).
mx::array scan_safely(Opcode scan, const mx::array& x, int axis, bool reverse,
                      const ir::Target& target) {
  if (x.shape(axis) == 1) return scan == Opcode::add ? mx::add(x, scalar(0, x)) : x;
  const int last = static_cast<int>(x.ndim()) - 1;
  if (target.strided_scans || axis == last) {
    return scan_graph(scan, x, axis, reverse, target.pace);
  }
  const auto dense = mx::contiguous(mx::moveaxis(x, axis, -1));
  return mx::moveaxis(scan_graph(scan, dense, last, reverse, target.pace), -1, axis);
}

}  // namespace

ANY_DTYPE_OP(cumulative) {
  const std::string& kind = ctx.op.text("kind");
  const Opcode scan = std::find_if(std::begin(kKinds), std::end(kKinds), [&](const Named& named) {
                        return named.name == kind;
                      })->scan;
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
    lowering.graph = [=, axis = static_cast<int>(dimension), &target = ctx.target](Inputs in) {
      return one(scan_safely(scan, in[0], axis, reverse, target));
    };
  }
  return lowering;
}

}  // namespace jaxmps::ops
