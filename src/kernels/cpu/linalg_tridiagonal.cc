// Tridiagonal systems by Gaussian elimination with partial pivoting, as LAPACK's gtsv has it.
#include "kernels/cpu/linalg_impl.h"

namespace jaxmps::cpu {
namespace {

// LAPACK's size of a number: cheaper than the absolute value of a complex one, and never less.
template <typename T>
Real<T> size_of(const T& x) {
  return std::abs(std::real(x)) + std::abs(std::imag(x));
}

// One system of n equations for `columns` right-hand sides.
template <typename T>
class Tridiagonal {
 public:
  Tridiagonal(const T* lower, const T* diagonal, const T* upper, int64_t n)
      : lower_(lower, lower + n),
        diagonal_(diagonal, diagonal + n),
        upper_(upper, upper + n),
        fill_(n) {}

  // x, which holds the right-hand sides in rows of `columns`, becomes L^-1 P x. Below the diagonal
  // L has one element per column; U has the diagonal, `upper_` and, where rows were exchanged,
  // `fill_`. Answers the number of the first pivot that is zero, from 1, or 0.
  int eliminate(T* x, int64_t columns) {
    const int64_t n = static_cast<int64_t>(diagonal_.size());
    int64_t singular = 0;
    for (int64_t i = 0; i + 1 < n; ++i) {
      T* row = x + i * columns;
      T* below = row + columns;
      if (size_of(diagonal_[i]) < size_of(lower_[i + 1])) {
        exchange(i, n);
        std::swap_ranges(row, row + columns, below);
      }
      if (diagonal_[i] == T(0)) {
        if (singular == 0) singular = i + 1;
        continue;  // both are zero, so there is nothing to eliminate
      }
      const T factor = lower_[i + 1] / diagonal_[i];
      diagonal_[i + 1] -= factor * upper_[i];
      if (i + 2 < n) upper_[i + 1] -= factor * fill_[i];
      for (int64_t k = 0; k < columns; ++k) below[k] -= factor * row[k];
    }
    if (singular == 0 && n > 0 && diagonal_[n - 1] == T(0)) singular = n;
    return static_cast<int>(singular);
  }

  // Solves with U from below. With `perturb`, a pivot by which the quotient would overflow is
  // moved away from zero by eps max |U|, twice that and so on, as LAPACK's lagts does.
  void substitute(T* x, int64_t columns, bool perturb) const {
    const int64_t n = static_cast<int64_t>(diagonal_.size());
    const Real<T> step = perturb ? perturbation() : 0;
    for (int64_t i = n; i-- > 0;) {
      T* row = x + i * columns;
      for (int64_t k = 0; k < columns; ++k) {
        T value = row[k];
        if (i + 1 < n) value -= upper_[i] * row[columns + k];
        if (i + 2 < n) value -= fill_[i] * row[2 * columns + k];
        row[k] = perturb ? quotient(value, diagonal_[i], step) : value / diagonal_[i];
      }
    }
  }

 private:
  // Rows i and i + 1, whose element below the diagonal comes into it.
  void exchange(int64_t i, int64_t n) {
    std::swap(diagonal_[i], lower_[i + 1]);
    std::swap(upper_[i], diagonal_[i + 1]);
    if (i + 2 < n) {
      fill_[i] = upper_[i + 1];
      upper_[i + 1] = T(0);
    }
  }

  Real<T> perturbation() const {
    Real<T> largest = 0;
    for (const auto* values : {&diagonal_, &upper_, &fill_}) {
      for (const T& value : *values) largest = std::max(largest, size_of(value));
    }
    const Real<T> eps = std::numeric_limits<Real<T>>::epsilon();
    return largest > 0 ? eps * largest : eps;
  }

  static T quotient(const T& value, T pivot, Real<T> step) {
    const Real<T> largest = std::numeric_limits<Real<T>>::max() / 4;
    const auto overflows = [&] {
      const Real<T> size = size_of(pivot);
      return size < 1 &&
             (size < std::numeric_limits<Real<T>>::min() || size_of(value) > size * largest);
    };
    for (; std::isfinite(size_of(value)) && overflows(); step *= 2) {
      pivot += std::real(pivot) < 0 ? -step : step;
    }
    return value / pivot;
  }

  std::vector<T> lower_, diagonal_, upper_, fill_;
};

}  // namespace

Result<LinalgKernel> make_tridiagonal_solve(const Matrices& b, bool perturb, int info_at) {
  return for_type(b.dtype, [&]<typename T>(T) -> Result<LinalgKernel> {
    return LinalgKernel([=](const void* const* in, void* const* out) {
      for_matrices(b, in, out, [&](const At& at) {
        const int64_t n = b.m, columns = b.n;
        T* x = at.output<T>(0, n * columns);
        const T* right = at.input<T>(3, n * columns);
        if (x != right) std::copy(right, right + n * columns, x);
        Tridiagonal<T> system(at.input<T>(0, n), at.input<T>(1, n), at.input<T>(2, n), n);
        const int info = system.eliminate(x, columns);
        at.tell(info_at, info);
        if (info != 0 && !perturb) return fill_nan(x, n * columns);
        system.substitute(x, columns, perturb);
      });
    });
  });
}

}  // namespace jaxmps::cpu
