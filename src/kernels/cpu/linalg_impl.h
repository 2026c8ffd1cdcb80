// What the LAPACK kernels share: names and types of LAPACK functions, matrices between row-major
// and LAPACK's column-major order, the loop over a batch. Included by linalg*.cc only.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <new>
#include <string>
#include <vector>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/linalg.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {

template <typename T>
struct Scalar {
  using Real = T;
  static constexpr bool kComplex = false;
  static constexpr const char* kPrefix = sizeof(T) == 4 ? "s" : "d";
};
template <typename R>
struct Scalar<std::complex<R>> {
  using Real = R;
  static constexpr bool kComplex = true;
  static constexpr const char* kPrefix = sizeof(R) == 4 ? "c" : "z";
};
template <typename T>
using Real = typename Scalar<T>::Real;

// A LAPACK function. Every argument is a pointer; the lengths of character arguments, which Fortran
// appends, are all 1.
class Lapack {
 public:
  explicit Lapack(void* address = nullptr) : address_(address) {}
  explicit operator bool() const { return address_ != nullptr; }
  template <typename... Args>
  void operator()(Args*... args) const {
    using Function = void (*)(Args * ..., size_t, size_t, size_t);
    reinterpret_cast<Function>(address_)(args..., size_t{1}, size_t{1}, size_t{1});
  }

 private:
  void* address_;
};

template <typename T>
Result<Lapack> lapack(const char* name) {
  const std::string symbol = str(Scalar<T>::kPrefix, name, "_");
  void* address = blas_symbol(symbol.c_str());
  if (!address) {
    const std::string& why = blas_error();
    return unimplemented(str("LAPACK's ", symbol, " is not there", why.empty() ? "" : ": ", why));
  }
  return Lapack(address);
}
// The function has one name for real and one for complex types.
template <typename T>
Result<Lapack> lapack(const char* real, const char* complex) {
  return lapack<T>(Scalar<T>::kComplex ? complex : real);
}

// make(T{}) for the C++ type of a dtype.
template <typename F>
Result<LinalgKernel> for_type(ir::DType dtype, F&& make) {
  switch (dtype) {
    case ir::DType::f32:
      return make(float{});
    case ir::DType::f64:
      return make(double{});
    case ir::DType::c64:
      return make(std::complex<float>{});
    case ir::DType::c128:
      return make(std::complex<double>{});
    default:
      return unimplemented(str("there is no LAPACK for ", ir::name(dtype)));
  }
}

// LAPACK's answer to a workspace query.
template <typename T>
int workspace(const T& answer) {
  return std::max(1, static_cast<int>(std::real(answer)));
}

template <typename T>
void transpose(const T* from, int64_t rows, int64_t columns, T* to) {
  constexpr int64_t kBlock = 32;
  for (int64_t i = 0; i < rows; i += kBlock) {
    for (int64_t j = 0; j < columns; j += kBlock) {
      for (int64_t r = i; r < std::min(rows, i + kBlock); ++r) {
        for (int64_t c = j; c < std::min(columns, j + kBlock); ++c) {
          to[c * rows + r] = from[r * columns + c];
        }
      }
    }
  }
}

// Column-major working copy of a row-major matrix, written back by store().
template <typename T>
struct Columns {
  int m, n;
  std::vector<T> data;
  Columns(int64_t rows, int64_t columns)
      : m(static_cast<int>(rows)), n(static_cast<int>(columns)), data(rows * columns) {}
  Columns(const T* from, int64_t rows, int64_t columns) : Columns(rows, columns) {
    transpose(from, rows, columns, data.data());
  }
  T* ptr() { return data.data(); }
  // The leading dimension.
  int ld() const { return std::max(1, m); }
  void store(T* to) const { transpose(data.data(), n, m, to); }
  // The first `columns` columns only.
  void store(T* to, int64_t columns) const { transpose(data.data(), columns, m, to); }
};

template <typename T>
void fill_nan(T* to, int64_t count) {
  const Real<T> nan = std::numeric_limits<Real<T>>::quiet_NaN();
  if constexpr (Scalar<T>::kComplex) {
    std::fill(to, to + count, T(nan, nan));
  } else {
    std::fill(to, to + count, nan);
  }
}

template <typename T>
bool is_finite(const T& x) {
  return std::isfinite(std::real(x)) && std::isfinite(std::imag(x));
}

// one(i) for every matrix, on all cores when there is enough work.
template <typename F>
void for_matrices(const Matrices& a, F&& one) {
  const int64_t work = std::max<int64_t>(1, a.m * a.n * std::min(a.m, a.n));
  const int64_t grain = std::max<int64_t>(1, (1 << 16) / work);
  parallel_for(a.batch, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) one(i);
  });
}

template <typename T>
const T* input(const void* const* in, int i, int64_t offset) {
  return static_cast<const T*>(in[i]) + offset;
}
template <typename T>
T* output(void* const* out, int i, int64_t offset) {
  return static_cast<T*>(out[i]) + offset;
}

// LAPACK's info of matrix i into result `at`, if there is one.
inline void tell(void* const* out, int at, int64_t i, int info) {
  if (at != kNoInfo) *output<int32_t>(out, at, i) = info;
}

}  // namespace jaxmps::cpu
