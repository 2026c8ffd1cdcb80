#include "kernels/cpu/linalg_impl.h"

namespace jaxmps::cpu {
namespace {

// syevd and heevd: vectors replace the matrix. Answers LAPACK's info.
template <typename T>
int run_eigh(const Lapack& evd, Columns<T>& a, bool lower, Real<T>* values) {
  const char job = 'V', uplo = lower ? 'L' : 'U';
  int info = 0, query = -1, best_int = 1;
  const int ld = a.ld();
  T best;
  Real<T> best_real = 1;
  auto call = [&](T* work, int* length, Real<T>* real_work, int* real_length, int* int_work,
                  int* int_length) {
    if constexpr (Scalar<T>::kComplex) {
      evd(&job, &uplo, &a.n, a.ptr(), &ld, values, work, length, real_work, real_length, int_work,
          int_length, &info);
    } else {
      evd(&job, &uplo, &a.n, a.ptr(), &ld, values, work, length, int_work, int_length, &info);
    }
  };
  call(&best, &query, &best_real, &query, &best_int, &query);
  int length = workspace(best), real_length = workspace(best_real);
  int int_length = std::max(1, best_int);
  std::vector<T> work(length);
  std::vector<Real<T>> real_work(real_length);
  std::vector<int> int_work(int_length);
  call(work.data(), &length, real_work.data(), &real_length, int_work.data(), &int_length);
  return info;
}

template <typename T>
int run_svd(const Lapack& gesdd, Columns<T>& a, char job, Real<T>* s, Columns<T>& u,
            Columns<T>& vt) {
  int info = 0;
  const int ld = a.ld(), ldu = u.ld(), ldvt = vt.ld();
  const int64_t small = std::min(a.m, a.n), large = std::max(a.m, a.n);
  std::vector<int> int_work(8 * small);
  std::vector<Real<T>> real_work;
  if (Scalar<T>::kComplex) {
    real_work.resize(std::max(small * (5 * small + 7), small * (2 * large + 2 * small + 1)) + 1);
  }
  with_workspace<T>([&](T* work, int* length) {
    if constexpr (Scalar<T>::kComplex) {
      gesdd(&job, &a.m, &a.n, a.ptr(), &ld, s, u.ptr(), &ldu, vt.ptr(), &ldvt, work, length,
            real_work.data(), int_work.data(), &info);
    } else {
      gesdd(&job, &a.m, &a.n, a.ptr(), &ld, s, u.ptr(), &ldu, vt.ptr(), &ldvt, work, length,
            int_work.data(), &info);
    }
  });
  return info;
}

// Real eigenvectors of LAPACK: a complex pair is two columns, real and imaginary part.
template <typename R>
void store_vectors(const Columns<R>& v, const std::vector<R>& imaginary, std::complex<R>* to) {
  const int64_t n = v.n;
  for (int64_t j = 0; j < n; ++j) {
    const bool pair = imaginary[j] != 0 && j + 1 < n;
    for (int64_t i = 0; i < n; ++i) {
      const R x = v.data[j * n + i];
      if (!pair) {
        to[i * n + j] = x;
      } else {
        const R y = v.data[(j + 1) * n + i];
        to[i * n + j] = {x, y};
        to[i * n + j + 1] = {x, -y};
      }
    }
    if (pair) ++j;
  }
}

template <typename T>
int run_eig(const Lapack& geev, Columns<T>& a, bool left, bool right, std::complex<Real<T>>* values,
            std::complex<Real<T>>* left_out, std::complex<Real<T>>* right_out) {
  using R = Real<T>;
  const char jobl = left ? 'V' : 'N', jobr = right ? 'V' : 'N';
  const int64_t n = a.n;
  Columns<T> vl(left ? n : 0, n), vr(right ? n : 0, n);
  const int ld = a.ld(), ldl = vl.ld(), ldr = vr.ld();
  int info = 0;
  std::vector<R> real(n), imaginary(n), real_work(2 * n);
  with_workspace<T>([&](T* work, int* length) {
    if constexpr (Scalar<T>::kComplex) {
      geev(&jobl, &jobr, &a.n, a.ptr(), &ld, values, vl.ptr(), &ldl, vr.ptr(), &ldr, work, length,
           real_work.data(), &info);
    } else {
      geev(&jobl, &jobr, &a.n, a.ptr(), &ld, real.data(), imaginary.data(), vl.ptr(), &ldl,
           vr.ptr(), &ldr, work, length, &info);
    }
  });
  if constexpr (Scalar<T>::kComplex) {
    if (left) vl.store(left_out);
    if (right) vr.store(right_out);
  } else {
    for (int64_t i = 0; i < n; ++i) values[i] = {real[i], imaginary[i]};
    if (left) store_vectors(vl, imaginary, left_out);
    if (right) store_vectors(vr, imaginary, right_out);
  }
  return info;
}

template <typename T>
int run_schur(const Lapack& gees, Columns<T>& a, Columns<T>& vectors, bool want,
              std::vector<std::complex<Real<T>>>& eigenvalues) {
  const char job = want ? 'V' : 'N', sort = 'N';
  const int ld = a.ld(), ldv = std::max(1, a.n);
  int info = 0, sorted = 0;
  std::vector<Real<T>> real(a.n), imaginary(a.n);
  std::vector<T> values(a.n);
  std::vector<int> flags(a.n);
  const void* no_function = nullptr;
  with_workspace<T>([&](T* work, int* length) {
    if constexpr (Scalar<T>::kComplex) {
      gees(&job, &sort, no_function, &a.n, a.ptr(), &ld, &sorted, values.data(), vectors.ptr(),
           &ldv, work, length, real.data(), flags.data(), &info);
    } else {
      gees(&job, &sort, no_function, &a.n, a.ptr(), &ld, &sorted, real.data(), imaginary.data(),
           vectors.ptr(), &ldv, work, length, flags.data(), &info);
    }
  });
  for (int i = 0; i < a.n; ++i) {
    if constexpr (Scalar<T>::kComplex) {
      eigenvalues[i] = values[i];
    } else {
      eigenvalues[i] = {real[i], imaginary[i]};
    }
  }
  return info;
}

}  // namespace

Result<LinalgKernel> make_eigh(const Matrices& a, bool lower, int info_at) {
  return lapack_kernel(a, "syevd", "heevd", [=]<typename T>(T, const Lapack& evd, const At& at) {
    const int64_t n = a.n;
    Columns<T> v(at.input<T>(0, n * n), n, n);
    T* vectors = at.output<T>(0, n * n);
    Real<T>* values = at.output<Real<T>>(1, n);
    const int info = run_eigh<T>(evd, v, lower, values);
    at.tell(info_at, info);
    v.store(vectors);
    if (info != 0) {
      fill_nan(vectors, n * n);
      fill_nan(values, n);
    }
  });
}

Result<LinalgKernel> make_svd(const Matrices& a, bool vectors, bool full, int info_at) {
  return lapack_kernel(a, "gesdd", [=]<typename T>(T, const Lapack& gesdd, const At& at) {
    const int64_t rank = std::min(a.m, a.n), uc = full ? a.m : rank, vr = full ? a.n : rank;
    const char job = !vectors ? 'N' : full ? 'A' : 'S';
    Columns<T> copy(at.input<T>(0, a.m * a.n), a.m, a.n);
    Columns<T> u(a.m, vectors ? uc : 0), vt(vectors ? vr : 1, vectors ? a.n : 0);
    Real<T>* s = at.output<Real<T>>(0, rank);
    const int info = run_svd<T>(gesdd, copy, job, s, u, vt);
    at.tell(info_at, info);
    if (info != 0) fill_nan(s, rank);
    if (!vectors) return;
    T* to_u = at.output<T>(1, a.m * uc);
    T* to_v = at.output<T>(2, vr * a.n);
    u.store(to_u);
    vt.store(to_v);
    if (info != 0) {
      fill_nan(to_u, a.m * uc);
      fill_nan(to_v, vr * a.n);
    }
  });
}

Result<LinalgKernel> make_eig(const Matrices& a, bool left, bool right, int info_at) {
  return lapack_kernel(a, "geev", [=]<typename T>(T, const Lapack& geev, const At& at) {
    using C = std::complex<Real<T>>;
    const int64_t n = a.n;
    Columns<T> copy(at.input<T>(0, n * n), n, n);
    C* values = at.output<C>(0, n);
    C* l = left ? at.output<C>(1, n * n) : nullptr;
    C* r = right ? at.output<C>(left ? 2 : 1, n * n) : nullptr;
    // Balancing an infinite matrix makes geev write out of its bounds. The info is what jaxlib
    // gives then.
    const bool regular = std::all_of(copy.data.begin(), copy.data.end(), is_finite<T>);
    const int info = regular ? run_eig<T>(geev, copy, left, right, values, l, r) : -4;
    at.tell(info_at, info);
    if (info == 0) return;
    fill_nan(values, n);
    if (l) fill_nan(l, n * n);
    if (r) fill_nan(r, n * n);
  });
}

Result<LinalgKernel> make_schur(const Matrices& a, bool vectors, bool values, int info_at) {
  return lapack_kernel(a, "gees", [=]<typename T>(T, const Lapack& gees, const At& at) {
    using C = std::complex<Real<T>>;
    const int64_t n = a.n;
    Columns<T> form(at.input<T>(0, n * n), n, n), z(n, n);
    std::vector<C> eigenvalues(n);
    const int info = run_schur<T>(gees, form, z, vectors, eigenvalues);
    at.tell(info_at, info);
    for (int k = 0; k < (vectors ? 2 : 1); ++k) {
      T* to = at.output<T>(k, n * n);
      (k == 0 ? form : z).store(to);
      if (info != 0) fill_nan(to, n * n);
    }
    if (!values) return;
    C* to = at.output<C>(vectors ? 2 : 1, n);
    std::copy(eigenvalues.begin(), eigenvalues.end(), to);
    if (info != 0) fill_nan(to, n);
  });
}

Result<LinalgKernel> make_hessenberg(const Matrices& a) {
  return lapack_kernel(a, "gehrd", [=]<typename T>(T, const Lapack& gehrd, const At& at) {
    const int64_t n = a.n;
    Columns<T> h(at.input<T>(0, n * n), n, n);
    T* taus = at.output<T>(1, std::max<int64_t>(0, n - 1));
    int info = 0;
    const int ld = h.ld(), low = 1;
    with_workspace<T>([&](T* work, int* length) {
      gehrd(&h.n, &low, &h.n, h.ptr(), &ld, taus, work, length, &info);
    });
    h.store(at.output<T>(0, n * n));
  });
}

Result<LinalgKernel> make_tridiagonal(const Matrices& a, bool lower) {
  return lapack_kernel(a, "sytrd", "hetrd", [=]<typename T>(T, const Lapack& trd, const At& at) {
    const int64_t n = a.n;
    Columns<T> t(at.input<T>(0, n * n), n, n);
    Real<T>* diagonal = at.output<Real<T>>(1, n);
    Real<T>* off = at.output<Real<T>>(2, n - 1);
    T* taus = at.output<T>(3, n - 1);
    const char uplo = lower ? 'L' : 'U';
    int info = 0;
    const int ld = t.ld();
    with_workspace<T>([&](T* work, int* length) {
      trd(&uplo, &t.n, t.ptr(), &ld, diagonal, off, taus, work, length, &info);
    });
    t.store(at.output<T>(0, n * n));
  });
}

}  // namespace jaxmps::cpu
