#include "kernels/cpu/linalg.h"

#include <numeric>

#include "kernels/cpu/linalg_impl.h"

namespace jaxmps::cpu {

Matrices Matrices::of(const ir::Type& type) {
  const size_t rank = type.dims.size();
  Matrices matrices{type.dtype, 1, type.dims[rank - 2], type.dims[rank - 1]};
  for (size_t d = 0; d + 2 < rank; ++d) matrices.batch *= type.dims[d];
  return matrices;
}

Result<LinalgKernel> make_cholesky(const Matrices& a, bool lower, int info_at) {
  return lapack_kernel(a, "potrf", [=]<typename T>(T, const Lapack& potrf, const At& at) {
    const int n = static_cast<int>(a.n);
    const int64_t size = a.n * a.n;
    const T* from = at.input<T>(0, size);
    T* to = at.output<T>(0, size);
    // In column-major order the matrix is its transpose, and so is the factor.
    for (int64_t r = 0; r < n; ++r) {
      for (int64_t c = 0; c < n; ++c) {
        to[r * n + c] = (lower ? c <= r : c >= r) ? from[r * n + c] : T(0);
      }
    }
    int info = 0;
    const char uplo = lower ? 'U' : 'L';
    potrf(&uplo, &n, to, &n, &info);
    at.tell(info_at, info);
    if (info != 0) fill_nan(to, size);
  });
}

namespace {

// One triangular system e x = b seen from the left: e is op(a), transposed if it stood on the
// right.
template <typename T>
class Triangle {
 public:
  Triangle(const T* a, int64_t n, bool left, bool lower, bool unit, char op)
      : a_(a),
        n_(n),
        across_(left == (op == 'N')),
        conjugate_(op == 'C'),
        lower_(lower == across_),
        unit_(unit) {}

  // Whether blocked BLAS gives what the equations say: it multiplies by reciprocals of the diagonal
  // and by blocks of the triangle, so that what is not finite spreads over its blocks.
  bool regular() const {
    const bool below = lower_ == across_;  // the triangle as a has it
    bool all = true;
    for (int64_t r = 0; r < n_ && all; ++r) {
      const T* row = a_ + r * n_;
      for (int64_t c = below ? 0 : r + 1; c < (below ? r : n_); ++c) all &= is_finite(row[c]);
      all &= unit_ || is_finite(T(1) / row[r]);
    }
    return all;
  }

  // x, whose elements lie `step` apart, holds b and becomes the solution.
  void substitute(T* x, int64_t step) const {
    for (int64_t k = 0; k < n_; ++k) {
      const int64_t i = lower_ ? k : n_ - 1 - k;
      T value = x[i * step];
      for (int64_t j = begin(i); j < end(i); ++j) value -= at(i, j) * x[j * step];
      x[i * step] = unit_ ? value : value / at(i, i);
    }
  }

 private:
  // Row i of e without its diagonal.
  int64_t begin(int64_t i) const { return lower_ ? 0 : i + 1; }
  int64_t end(int64_t i) const { return lower_ ? i : n_; }
  T at(int64_t i, int64_t j) const {
    const T value = across_ ? a_[i * n_ + j] : a_[j * n_ + i];
    if constexpr (Scalar<T>::kComplex) return conjugate_ ? std::conj(value) : value;
    return value;
  }

  const T* a_;
  int64_t n_;
  bool across_, conjugate_, lower_, unit_;
};

}  // namespace

Result<LinalgKernel> make_triangular_solve(const Matrices& b, bool left, bool lower, bool unit,
                                           char transpose_a) {
  return lapack_kernel(b, "trsm", [=]<typename T>(T, const Lapack& trsm, const At& at) {
    const int m = static_cast<int>(b.m), n = static_cast<int>(b.n), k = left ? m : n;
    const T* a = at.input<T>(0, int64_t{k} * k);
    const T* from = at.input<T>(1, b.m * b.n);
    T* x = at.output<T>(0, b.m * b.n);
    if (x != from) std::copy(from, from + b.m * b.n, x);
    const Triangle<T> triangle(a, k, left, lower, unit, transpose_a);
    if (!triangle.regular()) {
      for (int64_t c = 0; c < (left ? n : m); ++c) {
        triangle.substitute(left ? x + c : x + c * n, left ? n : 1);
      }
      return;
    }
    // In column-major order all matrices are their transposes: x^T op(a)^T = b^T.
    const char side = left ? 'R' : 'L', uplo = lower ? 'U' : 'L', diagonal = unit ? 'U' : 'N';
    const T one(1);
    trsm(&side, &uplo, &transpose_a, &diagonal, &n, &m, &one, a, &k, x, &n);
  });
}

namespace {

// What the exchanges of rows, pivot by pivot, make of their order.
void permute(const int32_t* pivots, int64_t count, int32_t* permutation, int64_t rows) {
  std::iota(permutation, permutation + rows, 0);
  for (int64_t p = 0; p < count; ++p) {
    if (pivots[p] >= 0 && pivots[p] < rows) std::swap(permutation[p], permutation[pivots[p]]);
  }
}

}  // namespace

LinalgKernel make_permutation(int64_t batch, int64_t pivots, int64_t rows) {
  return [=](const void* const* in, void* const* out) {
    for (At at{in, out, 0}; at.i < batch; ++at.i) {
      permute(at.input<int32_t>(0, pivots), std::min(pivots, rows), at.output<int32_t>(0, rows),
              rows);
    }
  };
}

Result<LinalgKernel> make_lu(const Matrices& a, int info_at) {
  return lapack_kernel(a, "getrf", [=]<typename T>(T, const Lapack& getrf, const At& at) {
    const int64_t size = a.m * a.n, pivots = std::min(a.m, a.n);
    Columns<T> lu(at.input<T>(0, size), a.m, a.n);
    int info = 0;
    const int ld = lu.ld();
    int32_t* pivot = at.output<int32_t>(1, pivots);
    getrf(&lu.m, &lu.n, lu.ptr(), &ld, pivot, &info);
    at.tell(info_at, info);
    lu.store(at.output<T>(0, size));
    for (int64_t p = 0; p < pivots; ++p) --pivot[p];
    permute(pivot, pivots, at.output<int32_t>(2, a.m), a.m);
  });
}

Result<LinalgKernel> make_geqrf(const Matrices& a) {
  return lapack_kernel(a, "geqrf", [=]<typename T>(T, const Lapack& geqrf, const At& at) {
    const int64_t size = a.m * a.n;
    Columns<T> qr(at.input<T>(0, size), a.m, a.n);
    int info = 0;
    const int ld = qr.ld();
    T* taus = at.output<T>(1, std::min(a.m, a.n));
    with_workspace<T>([&](T* work, int* length) {
      geqrf(&qr.m, &qr.n, qr.ptr(), &ld, taus, work, length, &info);
    });
    qr.store(at.output<T>(0, size));
  });
}

Result<LinalgKernel> make_geqp3(const Matrices& a) {
  return lapack_kernel(a, "geqp3", [=]<typename T>(T, const Lapack& geqp3, const At& at) {
    const int64_t size = a.m * a.n;
    Columns<T> qr(at.input<T>(0, size), a.m, a.n);
    const int32_t* asked = at.input<int32_t>(1, a.n);
    int32_t* pivots = at.output<int32_t>(1, a.n);
    std::copy(asked, asked + a.n, pivots);
    T* taus = at.output<T>(2, std::min(a.m, a.n));
    int info = 0;
    const int ld = qr.ld();
    std::vector<Real<T>> real_work(2 * qr.n + 1);
    with_workspace<T>([&](T* work, int* length) {
      if constexpr (Scalar<T>::kComplex) {
        geqp3(&qr.m, &qr.n, qr.ptr(), &ld, pivots, taus, work, length, real_work.data(), &info);
      } else {
        geqp3(&qr.m, &qr.n, qr.ptr(), &ld, pivots, taus, work, length, &info);
      }
    });
    qr.store(at.output<T>(0, size));
  });
}

Result<LinalgKernel> make_householder_product(const Matrices& a, int64_t taus) {
  return lapack_kernel(a, "orgqr", "ungqr", [=]<typename T>(T, const Lapack& orgqr, const At& at) {
    // LAPACK wants no more columns than rows; the rest of the result is unspecified: zero.
    const int64_t size = a.m * a.n, columns = std::min(a.m, a.n);
    Columns<T> q(at.input<T>(0, size), a.m, a.n);
    const T* tau = at.input<T>(1, taus);
    int info = 0;
    const int ld = q.ld(), n = static_cast<int>(columns);
    const int k = static_cast<int>(std::min(taus, columns));
    with_workspace<T>(
        [&](T* work, int* length) { orgqr(&q.m, &n, &k, q.ptr(), &ld, tau, work, length, &info); });
    std::fill(q.data.begin() + a.m * columns, q.data.end(), T(0));
    T* to = at.output<T>(0, size);
    q.store(to);
    if (info != 0) fill_nan(to, size);
  });
}

Result<LinalgKernel> make_ormqr(const Matrices& a, int64_t taus, const Matrices& c, bool left,
                                bool transpose_q) {
  return lapack_kernel(c, "ormqr", "unmqr", [=]<typename T>(T, const Lapack& ormqr, const At& at) {
    const char side = left ? 'L' : 'R';
    const char trans = !transpose_q ? 'N' : Scalar<T>::kComplex ? 'C' : 'T';
    Columns<T> q(at.input<T>(0, a.m * a.n), a.m, a.n);
    Columns<T> product(at.input<T>(2, c.m * c.n), c.m, c.n);
    const T* tau = at.input<T>(1, taus);
    int info = 0;
    const int ld = q.ld(), ldc = product.ld(), k = static_cast<int>(taus);
    with_workspace<T>([&](T* work, int* length) {
      ormqr(&side, &trans, &product.m, &product.n, &k, q.ptr(), &ld, tau, product.ptr(), &ldc, work,
            length, &info);
    });
    T* to = at.output<T>(0, c.m * c.n);
    product.store(to);
    if (info != 0) fill_nan(to, c.m * c.n);
  });
}

}  // namespace jaxmps::cpu
