// Linear algebra by custom call: the targets that JAX's default rules emit, and those of our own
// rules (python/jax_plugins/mps/lowerings.py). Operands and results are batches of row-major
// matrices; results are those of the JAX primitive, NaN where LAPACK fails.
#include "ops/custom_call.h"
#include "ops/linalg.h"

namespace jaxmps::ops {
namespace {

using cpu::Matrices;

// Whether the call has these counts and every operand is a batch of matrices or vectors of floats.
Status check(const CustomCall& call, int operands, int results, bool square = false) {
  const OpContext& ctx = call.ctx;
  if (call.operands() != operands || call.results() != results) {
    return ctx.fail(str("it must have ", operands, " operands and ", results, " results"));
  }
  const ir::Type& a = ctx.in(0);
  if (!a.is_tensor() || a.rank() < 2) return ctx.fail("its first operand must be a matrix");
  if (square && a.dims[a.rank() - 1] != a.dims[a.rank() - 2]) {
    return ctx.fail("the matrix must be square");
  }
  return {};
}

// A type of the batch of operand 0 with other last dimensions.
ir::Type batch_of(const OpContext& ctx, DType dtype, std::initializer_list<int64_t> last) {
  ir::Dims dims(ctx.in(0).dims.begin(), ctx.in(0).dims.end() - 2);
  dims.insert(dims.end(), last.begin(), last.end());
  return ir::Type(dtype, std::move(dims));
}

Status check_result(const OpContext& ctx, int i, const ir::Type& expected) {
  if (ctx.out(i) == expected) return {};
  return ctx.fail(str("result ", i, " must be ", ir::brief(expected)));
}
Status check_operand(const OpContext& ctx, int i, const ir::Type& expected) {
  if (ctx.in(i) == expected) return {};
  return ctx.fail(str("operand ", i, " must be ", ir::brief(expected)));
}

DType complex_of(DType dtype) {
  return ir::real_type(dtype) == DType::f64 ? DType::c128 : DType::c64;
}

struct Shape {
  int64_t m, n, rank;
  DType dtype, real;
  explicit Shape(const ir::Type& a)
      : m(a.dims[a.dims.size() - 2]),
        n(a.dims.back()),
        rank(std::min(m, n)),
        dtype(a.dtype),
        real(ir::real_type(a.dtype)) {}
};

}  // namespace

CUSTOM_CALL(qr, "Qr") {
  const OpContext& ctx = call.ctx;
  CHECK_OK(check(call, 1, 2));
  const Shape s(ctx.in(0));
  CHECK_OK(check_result(ctx, 0, ctx.in(0)));
  CHECK_OK(check_result(ctx, 1, batch_of(ctx, s.dtype, {s.rank})));
  return linalg_lowering(ctx, cpu::make_geqrf(Matrices::of(ctx.in(0))));
}

CUSTOM_CALL(householder, "ProductOfElementaryHouseholderReflectors") {
  const OpContext& ctx = call.ctx;
  CHECK_OK(check(call, 2, 1));
  const Shape s(ctx.in(0));
  const int64_t taus = ctx.in(1).dims.empty() ? 0 : ctx.in(1).dims.back();
  CHECK_OK(check_operand(ctx, 1, batch_of(ctx, s.dtype, {taus})));
  CHECK_OK(check_result(ctx, 0, ctx.in(0)));
  if (taus > s.rank) return ctx.fail("there are more reflectors than columns");
  return linalg_lowering(ctx, cpu::make_householder_product(Matrices::of(ctx.in(0)), taus));
}

CUSTOM_CALL(lu, "mps.lu") {
  const OpContext& ctx = call.ctx;
  CHECK_OK(check(call, 1, 3));
  const Shape s(ctx.in(0));
  CHECK_OK(check_result(ctx, 0, ctx.in(0)));
  CHECK_OK(check_result(ctx, 1, batch_of(ctx, DType::s32, {s.rank})));
  CHECK_OK(check_result(ctx, 2, batch_of(ctx, DType::s32, {s.m})));
  return linalg_lowering(ctx, cpu::make_lu(Matrices::of(ctx.in(0))));
}

CUSTOM_CALL(geqp3, "mps.geqp3") {
  const OpContext& ctx = call.ctx;
  CHECK_OK(check(call, 2, 3));
  const Shape s(ctx.in(0));
  const ir::Type pivots = batch_of(ctx, DType::s32, {s.n});
  CHECK_OK(check_operand(ctx, 1, pivots));
  CHECK_OK(check_result(ctx, 0, ctx.in(0)));
  CHECK_OK(check_result(ctx, 1, pivots));
  CHECK_OK(check_result(ctx, 2, batch_of(ctx, s.dtype, {s.rank})));
  return linalg_lowering(ctx, cpu::make_geqp3(Matrices::of(ctx.in(0))));
}

CUSTOM_CALL(ormqr, "mps.ormqr") {
  const OpContext& ctx = call.ctx;
  CHECK_OK(check(call, 3, 1));
  const Shape s(ctx.in(0));
  const int64_t taus = ctx.in(1).dims.empty() ? 0 : ctx.in(1).dims.back();
  CHECK_OK(check_operand(ctx, 1, batch_of(ctx, s.dtype, {taus})));
  const bool left = call.option("left") != 0;
  if (ctx.in(2).rank() != ctx.in(0).rank()) return ctx.fail("operand 2 must be a matrix");
  const Shape c(ctx.in(2));
  CHECK_OK(check_operand(ctx, 2, batch_of(ctx, s.dtype, {c.m, c.n})));
  CHECK_OK(check_result(ctx, 0, ctx.in(2)));
  if (s.m != (left ? c.m : c.n) || taus > s.rank) return ctx.fail("the sizes do not match");
  return linalg_lowering(
      ctx, cpu::make_ormqr(Matrices::of(ctx.in(0)), taus, Matrices::of(ctx.in(2)), left,
                           call.option("transpose") != 0));
}

CUSTOM_CALL(eigh, "mps.eigh") {
  const OpContext& ctx = call.ctx;
  CHECK_OK(check(call, 1, 2, true));
  const Shape s(ctx.in(0));
  CHECK_OK(check_result(ctx, 0, ctx.in(0)));
  CHECK_OK(check_result(ctx, 1, batch_of(ctx, s.real, {s.n})));
  return linalg_lowering(ctx,
                         cpu::make_eigh(Matrices::of(ctx.in(0)), call.option("lower", 1) != 0));
}

CUSTOM_CALL(svd, "mps.svd") {
  const OpContext& ctx = call.ctx;
  const bool vectors = call.option("vectors") != 0, full = call.option("full") != 0;
  CHECK_OK(check(call, 1, vectors ? 3 : 1));
  const Shape s(ctx.in(0));
  if (s.rank == 0) return ctx.fail("the matrix is empty");
  CHECK_OK(check_result(ctx, 0, batch_of(ctx, s.real, {s.rank})));
  if (vectors) {
    CHECK_OK(check_result(ctx, 1, batch_of(ctx, s.dtype, {s.m, full ? s.m : s.rank})));
    CHECK_OK(check_result(ctx, 2, batch_of(ctx, s.dtype, {full ? s.n : s.rank, s.n})));
  }
  return linalg_lowering(ctx, cpu::make_svd(Matrices::of(ctx.in(0)), vectors, full));
}

CUSTOM_CALL(eig, "mps.eig") {
  const OpContext& ctx = call.ctx;
  const bool left = call.option("left") != 0, right = call.option("right") != 0;
  CHECK_OK(check(call, 1, 1 + left + right, true));
  const Shape s(ctx.in(0));
  const DType complex = complex_of(s.dtype);
  CHECK_OK(check_result(ctx, 0, batch_of(ctx, complex, {s.n})));
  for (int i = 1; i < call.results(); ++i) {
    CHECK_OK(check_result(ctx, i, ctx.in(0).with(complex)));
  }
  return linalg_lowering(ctx, cpu::make_eig(Matrices::of(ctx.in(0)), left, right));
}

CUSTOM_CALL(schur, "mps.schur") {
  const OpContext& ctx = call.ctx;
  const bool vectors = call.option("vectors") != 0;
  CHECK_OK(check(call, 1, vectors ? 2 : 1, true));
  for (int i = 0; i < call.results(); ++i) CHECK_OK(check_result(ctx, i, ctx.in(0)));
  return linalg_lowering(ctx, cpu::make_schur(Matrices::of(ctx.in(0)), vectors));
}

CUSTOM_CALL(hessenberg, "mps.hessenberg") {
  const OpContext& ctx = call.ctx;
  CHECK_OK(check(call, 1, 2, true));
  const Shape s(ctx.in(0));
  if (s.n == 0) return ctx.fail("the matrix is empty");
  CHECK_OK(check_result(ctx, 0, ctx.in(0)));
  CHECK_OK(check_result(ctx, 1, batch_of(ctx, s.dtype, {s.n - 1})));
  return linalg_lowering(ctx, cpu::make_hessenberg(Matrices::of(ctx.in(0))));
}

CUSTOM_CALL(tridiagonal, "mps.tridiagonal") {
  const OpContext& ctx = call.ctx;
  CHECK_OK(check(call, 1, 4, true));
  const Shape s(ctx.in(0));
  if (s.n == 0) return ctx.fail("the matrix is empty");
  CHECK_OK(check_result(ctx, 0, ctx.in(0)));
  CHECK_OK(check_result(ctx, 1, batch_of(ctx, s.real, {s.n})));
  CHECK_OK(check_result(ctx, 2, batch_of(ctx, s.real, {s.n - 1})));
  CHECK_OK(check_result(ctx, 3, batch_of(ctx, s.dtype, {s.n - 1})));
  return linalg_lowering(
      ctx, cpu::make_tridiagonal(Matrices::of(ctx.in(0)), call.option("lower", 1) != 0));
}

}  // namespace jaxmps::ops
