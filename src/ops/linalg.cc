#include "ops/linalg.h"

#include <algorithm>

namespace jaxmps::ops {

Result<Lowering> linalg_lowering(const OpContext& ctx, Result<cpu::LinalgKernel> kernel,
                                 std::vector<int> reuse) {
  if (!kernel.ok()) return ctx.fail(kernel.error().text);
  // About 2 n^3 operations at a few per nanosecond, as an order of magnitude.
  const cpu::Matrices a = cpu::Matrices::of(ctx.in(0));
  const double work = static_cast<double>(a.batch) * static_cast<double>(a.m * a.n) *
                      static_cast<double>(std::max(a.m, a.n));
  return everywhere(ctx, std::move(kernel).value(), 500 + work, std::move(reuse));
}

namespace {

Result<Lowering> nothing(const OpContext& ctx) {
  return everywhere(
      ctx, [](const void* const*, void* const*) {}, 20);
}

}  // namespace

ANY_DTYPE_OP(cholesky) {
  if (ctx.in(0).size() == 0) return nothing(ctx);
  return linalg_lowering(
      ctx, cpu::make_cholesky(cpu::Matrices::of(ctx.in(0)), ctx.op.flag("lower")), {0});
}

ANY_DTYPE_OP(triangular_solve) {
  if (ctx.out().size() == 0) return nothing(ctx);
  const auto transpose = ctx.op.enum_attr<ir::Transpose>("transpose_a");
  const char trans = transpose == ir::Transpose::adjoint     ? 'C'
                     : transpose == ir::Transpose::transpose ? 'T'
                                                             : 'N';
  return linalg_lowering(
      ctx,
      cpu::make_triangular_solve(cpu::Matrices::of(ctx.in(1)), ctx.op.flag("left_side"),
                                 ctx.op.flag("lower"), ctx.op.flag("unit_diagonal"), trans),
      {1});
}

}  // namespace jaxmps::ops
