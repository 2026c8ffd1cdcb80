// Dense linear algebra through the LAPACK of the machine (kernels/cpu/blas.h), for batches of
// row-major matrices of f32, f64, complex64 or complex128, spread over all cores by matrix.
// A matrix for which LAPACK reports failure gives NaN, as JAX defines it.
// The makers run when a program is compiled and fail when no LAPACK is found; the kernels they
// return are immutable, take dense row-major memory and may run on any thread. `info` is the result
// that takes LAPACK's info of each matrix, kNoInfo if none does.
#pragma once

#include <functional>

#include "base/result.h"
#include "ir/type.h"

namespace jaxmps::cpu {

inline constexpr int kNoInfo = -1;
using LinalgKernel = std::function<void(const void* const* in, void* const* out)>;

// `batch` matrices of m rows and n columns.
struct Matrices {
  ir::DType dtype = ir::DType::f32;
  int64_t batch = 1, m = 0, n = 0;
  static Matrices of(const ir::Type& type);
};

// (a) -> (l): only the triangle that is asked for is read; the other one of the result is zero.
Result<LinalgKernel> make_cholesky(const Matrices& a, bool lower, int info = kNoInfo);
// (a, b) -> (x): op(a) x = b, or x op(a) = b. `transpose`: 'N', 'T' or 'C'.
Result<LinalgKernel> make_triangular_solve(const Matrices& b, bool left, bool lower, bool unit,
                                           char transpose);
// (a) -> (lu, pivots, permutation), pivots from 0.
Result<LinalgKernel> make_lu(const Matrices& a, int info = kNoInfo);
// (pivots) -> (permutation): those of make_lu, for `rows` rows.
LinalgKernel make_permutation(int64_t batch, int64_t pivots, int64_t rows);
// (a) -> (reflectors and r, taus).
Result<LinalgKernel> make_geqrf(const Matrices& a);
// (a, pivots) -> (reflectors and r, pivots, taus); pivots as LAPACK counts them, 0 for free
// columns.
Result<LinalgKernel> make_geqp3(const Matrices& a);
// (reflectors, taus) -> (q), with the shape of the reflectors.
Result<LinalgKernel> make_householder_product(const Matrices& a, int64_t taus);
// (reflectors, taus, c) -> (q c), (c q) and so on.
Result<LinalgKernel> make_ormqr(const Matrices& a, int64_t taus, const Matrices& c, bool left,
                                bool transpose);
// (a) -> (vectors, values), values ascending.
Result<LinalgKernel> make_eigh(const Matrices& a, bool lower, int info = kNoInfo);
// (a) -> (s) or (s, u, v^h).
Result<LinalgKernel> make_svd(const Matrices& a, bool vectors, bool full, int info = kNoInfo);
// (a) -> (values, left vectors if asked, right vectors if asked), complex.
Result<LinalgKernel> make_eig(const Matrices& a, bool left, bool right, int info = kNoInfo);
// (a) -> (t, vectors if asked, complex eigenvalues if asked).
Result<LinalgKernel> make_schur(const Matrices& a, bool vectors, bool values = false,
                                int info = kNoInfo);
// (a) -> (h with reflectors, taus).
Result<LinalgKernel> make_hessenberg(const Matrices& a);
// (a) -> (a with reflectors, diagonal, off-diagonal, taus).
Result<LinalgKernel> make_tridiagonal(const Matrices& a, bool lower);
// (dl, d, du, b) -> (x), with the shape of b; dl[0] and du[n - 1] do not count. With `perturb`,
// pivots near zero are moved away from it instead of giving NaN. Needs no LAPACK.
Result<LinalgKernel> make_tridiagonal_solve(const Matrices& b, bool perturb, int info = kNoInfo);

}  // namespace jaxmps::cpu
