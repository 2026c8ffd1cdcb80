// Linear algebra by custom call: the targets that JAX's default rules emit, and our own, which come
// from our rules (python/jax_plugins/mps/lowerings.py) and from passes/lapack.cc. Operands and
// results are batches of row-major matrices; results are those of the JAX primitive, NaN where
// LAPACK fails.
#include "ops/custom_call.h"
#include "ops/linalg.h"

namespace jaxmps::ops {
namespace {

using cpu::Matrices;

Matrices matrices(const CustomCall& call, int i = 0) { return Matrices::of(call.ctx.in(i)); }
// The result that takes LAPACK's info.
int info(const CustomCall& call) {
  return call.option("info") != 0 ? call.results() - 1 : cpu::kNoInfo;
}
int64_t taus(const CustomCall& call) { return call.ctx.in(1).dims.back(); }

}  // namespace

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
