// Linear algebra: the ops, and custom calls, the targets that JAX's default rules emit, and our
// own, which come from our rules (python/jax_plugins/mps/lowerings.py) and from passes/lapack.cc.
// Operands and results are batches of row-major matrices; results are those of the JAX primitive,
// NaN where LAPACK fails.
#include "kernels/cpu/linalg.h"

#include <algorithm>

#include "ops/custom_call.h"

namespace jaxmps::ops {
namespace {

using cpu::Matrices;

// Runs the kernel on the CPU whatever the target is; float64 only exists on the CPU.
Result<Lowering> linalg_lowering(const OpContext& ctx, Result<cpu::LinalgKernel> kernel,
                                 std::vector<int> reuse = {}) {
  if (!kernel.ok()) return ctx.fail(kernel.error().text);
  // About 2 n^3 operations at a few per nanosecond, as an order of magnitude.
  const Matrices a = Matrices::of(ctx.in(0));
  const double work = static_cast<double>(a.batch) * static_cast<double>(a.m * a.n) *
                      static_cast<double>(std::max(a.m, a.n));
  return everywhere(ctx, std::move(kernel).value(), 500 + work, std::move(reuse));
}

Result<Lowering> nothing(const OpContext& ctx) {
  return everywhere(
      ctx, [](const void* const*, void* const*) {}, 20);
}

Matrices matrices(const CustomCall& call, int i = 0) { return Matrices::of(call.ctx.in(i)); }
// The result that takes LAPACK's info.
int info(const CustomCall& call) {
  return call.option("info") != 0 ? call.results() - 1 : cpu::kNoInfo;
}
int64_t taus(const CustomCall& call) { return call.ctx.in(1).dims.back(); }

}  // namespace

ANY_DTYPE_OP(cholesky) {
  if (ctx.in(0).size() == 0) return nothing(ctx);
  return linalg_lowering(ctx, cpu::make_cholesky(Matrices::of(ctx.in(0)), ctx.op.flag("lower")),
                         {0});
}

ANY_DTYPE_OP(triangular_solve) {
  if (ctx.out().size() == 0) return nothing(ctx);
  const auto transpose = ctx.op.enum_attr<ir::Transpose>("transpose_a");
  const char trans = transpose == ir::Transpose::adjoint     ? 'C'
                     : transpose == ir::Transpose::transpose ? 'T'
                                                             : 'N';
  return linalg_lowering(
      ctx,
      cpu::make_triangular_solve(Matrices::of(ctx.in(1)), ctx.op.flag("left_side"),
                                 ctx.op.flag("lower"), ctx.op.flag("unit_diagonal"), trans),
      {1});
}

CUSTOM_CALL(qr, "Qr") { return linalg_lowering(call.ctx, cpu::make_geqrf(matrices(call))); }

CUSTOM_CALL(householder, "ProductOfElementaryHouseholderReflectors") {
  return linalg_lowering(call.ctx, cpu::make_householder_product(matrices(call), taus(call)));
}

CUSTOM_CALL(cholesky, "mps.cholesky") {
  return linalg_lowering(
      call.ctx, cpu::make_cholesky(matrices(call), call.option("lower", 1) != 0, info(call)));
}

CUSTOM_CALL(lu, "mps.lu") {
  return linalg_lowering(call.ctx, cpu::make_lu(matrices(call), info(call)));
}

CUSTOM_CALL(permutation, "mps.permutation") {
  const ir::Type& pivots = call.ctx.in(0);
  const int64_t count = pivots.dims.back();
  const int64_t batch = count == 0 ? 0 : pivots.size() / count;
  return linalg_lowering(call.ctx,
                         cpu::make_permutation(batch, count, call.ctx.out(0).dims.back()));
}

CUSTOM_CALL(geqp3, "mps.geqp3") {
  return linalg_lowering(call.ctx, cpu::make_geqp3(matrices(call)));
}

CUSTOM_CALL(ormqr, "mps.ormqr") {
  return linalg_lowering(call.ctx,
                         cpu::make_ormqr(matrices(call), taus(call), matrices(call, 2),
                                         call.option("left") != 0, call.option("transpose") != 0));
}

CUSTOM_CALL(eigh, "mps.eigh") {
  return linalg_lowering(call.ctx,
                         cpu::make_eigh(matrices(call), call.option("lower", 1) != 0, info(call)));
}

CUSTOM_CALL(svd, "mps.svd") {
  return linalg_lowering(call.ctx, cpu::make_svd(matrices(call), call.option("vectors") != 0,
                                                 call.option("full") != 0, info(call)));
}

CUSTOM_CALL(eig, "mps.eig") {
  return linalg_lowering(call.ctx, cpu::make_eig(matrices(call), call.option("left") != 0,
                                                 call.option("right") != 0, info(call)));
}

CUSTOM_CALL(schur, "mps.schur") {
  return linalg_lowering(call.ctx, cpu::make_schur(matrices(call), call.option("vectors") != 0,
                                                   call.option("values") != 0, info(call)));
}

CUSTOM_CALL(hessenberg, "mps.hessenberg") {
  return linalg_lowering(call.ctx, cpu::make_hessenberg(matrices(call)));
}

CUSTOM_CALL(tridiagonal, "mps.tridiagonal") {
  return linalg_lowering(call.ctx,
                         cpu::make_tridiagonal(matrices(call), call.option("lower", 1) != 0));
}

CUSTOM_CALL(tridiagonal_solve, "mps.tridiagonal_solve") {
  const cpu::Matrices b = matrices(call, 3);
  auto kernel = cpu::make_tridiagonal_solve(b, call.option("perturb") != 0, info(call));
  if (!kernel.ok()) return call.ctx.fail(kernel.error().text);
  const double work = 20.0 * static_cast<double>(b.batch * b.m * (b.n + 2));
  return everywhere(call.ctx, std::move(kernel).value(), work, {3});
}

}  // namespace jaxmps::ops
