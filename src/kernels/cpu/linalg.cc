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
  return for_type(a.dtype, [&]<typename T>(T) -> Result<LinalgKernel> {
    TRY(const Lapack potrf, lapack<T>("potrf"));
    return LinalgKernel([=](const void* const* in, void* const* out) {
      const int n = static_cast<int>(a.n);
      for_matrices(a, [&](int64_t i) {
        const T* from = input<T>(in, 0, i * n * n);
        T* to = output<T>(out, 0, i * n * n);
        // In column-major order the matrix is its transpose, and so is the factor.
        for (int64_t r = 0; r < n; ++r) {
          for (int64_t c = 0; c < n; ++c) {
            to[r * n + c] = (lower ? c <= r : c >= r) ? from[r * n + c] : T(0);
          }
        }
        int info = 0;
        const char uplo = lower ? 'U' : 'L';
        potrf(&uplo, &n, to, &n, &info);
        tell(out, info_at, i, info);
        if (info != 0) fill_nan(to, int64_t{n} * n);
      });
    });
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
  return for_type(b.dtype, [&]<typename T>(T) -> Result<LinalgKernel> {
    TRY(const Lapack trsm, lapack<T>("trsm"));
    return LinalgKernel([=](const void* const* in, void* const* out) {
      const int m = static_cast<int>(b.m), n = static_cast<int>(b.n), k = left ? m : n;
      const char side = left ? 'R' : 'L', uplo = lower ? 'U' : 'L', diagonal = unit ? 'U' : 'N';
      const T one(1);
      for_matrices(b, [&](int64_t i) {
        const T* a = input<T>(in, 0, i * int64_t{k} * k);
        const T* from = input<T>(in, 1, i * m * n);
        T* x = output<T>(out, 0, i * m * n);
        if (x != from) std::copy(from, from + int64_t{m} * n, x);
        const Triangle<T> triangle(a, k, left, lower, unit, transpose_a);
        if (!triangle.regular()) {
          for (int64_t c = 0; c < (left ? n : m); ++c) {
            triangle.substitute(left ? x + c : x + c * n, left ? n : 1);
          }
          return;
        }
        // In column-major order all matrices are their transposes: x^T op(a)^T = b^T.
        trsm(&side, &uplo, &transpose_a, &diagonal, &n, &m, &one, a, &k, x, &n);
      });
    });
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
    for (int64_t i = 0; i < batch; ++i) {
      permute(static_cast<const int32_t*>(in[0]) + i * pivots, std::min(pivots, rows),
              output<int32_t>(out, 0, i * rows), rows);
    }
  };
}

Result<LinalgKernel> make_lu(const Matrices& a, int info_at) {
  return for_type(a.dtype, [&]<typename T>(T) -> Result<LinalgKernel> {
    TRY(const Lapack getrf, lapack<T>("getrf"));
    return LinalgKernel([=](const void* const* in, void* const* out) {
      const int64_t size = a.m * a.n, pivots = std::min(a.m, a.n);
      for_matrices(a, [&](int64_t i) {
        Columns<T> lu(input<T>(in, 0, i * size), a.m, a.n);
        int info = 0;
        const int ld = lu.ld();
        int32_t* pivot = output<int32_t>(out, 1, i * pivots);
        getrf(&lu.m, &lu.n, lu.ptr(), &ld, pivot, &info);
        tell(out, info_at, i, info);
        lu.store(output<T>(out, 0, i * size));
        for (int64_t p = 0; p < pivots; ++p) --pivot[p];
        permute(pivot, pivots, output<int32_t>(out, 2, i * a.m), a.m);
      });
    });
  });
}

Result<LinalgKernel> make_geqrf(const Matrices& a) {
  return for_type(a.dtype, [&]<typename T>(T) -> Result<LinalgKernel> {
    TRY(const Lapack geqrf, lapack<T>("geqrf"));
    return LinalgKernel([=](const void* const* in, void* const* out) {
      const int64_t size = a.m * a.n, count = std::min(a.m, a.n);
      for_matrices(a, [&](int64_t i) {
        Columns<T> qr(input<T>(in, 0, i * size), a.m, a.n);
        int info = 0, query = -1;
        const int ld = qr.ld();
        T* taus = output<T>(out, 1, i * count);
        T best;
        geqrf(&qr.m, &qr.n, qr.ptr(), &ld, taus, &best, &query, &info);
        int length = workspace(best);
        std::vector<T> work(length);
        geqrf(&qr.m, &qr.n, qr.ptr(), &ld, taus, work.data(), &length, &info);
        qr.store(output<T>(out, 0, i * size));
      });
    });
  });
}

namespace {

template <typename T>
void run_geqp3(const Lapack& geqp3, Columns<T>& qr, int32_t* pivots, T* taus) {
  int info = 0, query = -1;
  const int ld = qr.ld();
  T best;
  std::vector<Real<T>> real_work(2 * qr.n + 1);
  auto call = [&](T* work, int* length) {
    if constexpr (Scalar<T>::kComplex) {
      geqp3(&qr.m, &qr.n, qr.ptr(), &ld, pivots, taus, work, length, real_work.data(), &info);
    } else {
      geqp3(&qr.m, &qr.n, qr.ptr(), &ld, pivots, taus, work, length, &info);
    }
  };
  call(&best, &query);
  int length = workspace(best);
  std::vector<T> work(length);
  call(work.data(), &length);
}

}  // namespace

Result<LinalgKernel> make_geqp3(const Matrices& a) {
  return for_type(a.dtype, [&]<typename T>(T) -> Result<LinalgKernel> {
    TRY(const Lapack geqp3, lapack<T>("geqp3"));
    return LinalgKernel([=](const void* const* in, void* const* out) {
      const int64_t size = a.m * a.n;
      for_matrices(a, [&](int64_t i) {
        Columns<T> qr(input<T>(in, 0, i * size), a.m, a.n);
        const int32_t* asked = input<int32_t>(in, 1, i * a.n);
        int32_t* pivots = output<int32_t>(out, 1, i * a.n);
        std::copy(asked, asked + a.n, pivots);
        run_geqp3<T>(geqp3, qr, pivots, output<T>(out, 2, i * std::min(a.m, a.n)));
        qr.store(output<T>(out, 0, i * size));
      });
    });
  });
}

Result<LinalgKernel> make_householder_product(const Matrices& a, int64_t taus) {
  return for_type(a.dtype, [&]<typename T>(T) -> Result<LinalgKernel> {
    TRY(const Lapack orgqr, lapack<T>("orgqr", "ungqr"));
    return LinalgKernel([=](const void* const* in, void* const* out) {
      const int64_t size = a.m * a.n;
      for_matrices(a, [&](int64_t i) {
        // LAPACK wants no more columns than rows; the rest of the result is unspecified: zero.
        const int64_t columns = std::min(a.m, a.n);
        Columns<T> q(input<T>(in, 0, i * size), a.m, a.n);
        const T* tau = input<T>(in, 1, i * taus);
        int info = 0, query = -1;
        const int ld = q.ld(), n = static_cast<int>(columns);
        const int k = static_cast<int>(std::min(taus, columns));
        T best;
        orgqr(&q.m, &n, &k, q.ptr(), &ld, tau, &best, &query, &info);
        int length = workspace(best);
        std::vector<T> work(length);
        orgqr(&q.m, &n, &k, q.ptr(), &ld, tau, work.data(), &length, &info);
        std::fill(q.data.begin() + a.m * columns, q.data.end(), T(0));
        T* to = output<T>(out, 0, i * size);
        q.store(to);
        if (info != 0) fill_nan(to, size);
      });
    });
  });
}

Result<LinalgKernel> make_ormqr(const Matrices& a, int64_t taus, const Matrices& c, bool left,
                                bool transpose_q) {
  return for_type(a.dtype, [&]<typename T>(T) -> Result<LinalgKernel> {
    TRY(const Lapack ormqr, lapack<T>("ormqr", "unmqr"));
    return LinalgKernel([=](const void* const* in, void* const* out) {
      const char side = left ? 'L' : 'R';
      const char trans = !transpose_q ? 'N' : Scalar<T>::kComplex ? 'C' : 'T';
      for_matrices(c, [&](int64_t i) {
        Columns<T> q(input<T>(in, 0, i * a.m * a.n), a.m, a.n);
        Columns<T> product(input<T>(in, 2, i * c.m * c.n), c.m, c.n);
        const T* tau = input<T>(in, 1, i * taus);
        int info = 0, query = -1;
        const int ld = q.ld(), ldc = product.ld(), k = static_cast<int>(taus);
        T best;
        ormqr(&side, &trans, &product.m, &product.n, &k, q.ptr(), &ld, tau, product.ptr(), &ldc,
              &best, &query, &info);
        int length = workspace(best);
        std::vector<T> work(length);
        ormqr(&side, &trans, &product.m, &product.n, &k, q.ptr(), &ld, tau, product.ptr(), &ldc,
              work.data(), &length, &info);
        T* to = output<T>(out, 0, i * c.m * c.n);
        product.store(to);
        if (info != 0) fill_nan(to, c.m * c.n);
      });
    });
  });
}

}  // namespace jaxmps::cpu
