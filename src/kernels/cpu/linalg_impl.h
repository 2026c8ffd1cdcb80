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

// One matrix of a batch: the arrays, and its number.
struct At {
  const void* const* in;
  void* const* out;
  int64_t i;

  // Its part of an operand or result that has `size` elements for each matrix.
  template <typename T>
  const T* input(int operand, int64_t size) const {
    return static_cast<const T*>(in[operand]) + i * size;
  }
  template <typename T>
  T* output(int result, int64_t size) const {
    return static_cast<T*>(out[result]) + i * size;
  }
  // LAPACK's info into a result, if there is one.
  void tell(int result, int info) const {
    if (result != kNoInfo) *output<int32_t>(result, 1) = info;
  }
};

// one(At) for every matrix, on all cores when there is enough work.
template <typename F>
void for_matrices(const Matrices& a, const void* const* in, void* const* out, F&& one) {
  const int64_t work = std::max<int64_t>(1, a.m * a.n * std::min(a.m, a.n));
  const int64_t grain = std::max<int64_t>(1, (1 << 16) / work);
  parallel_for(a.batch, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) one(At{in, out, i});
  });
}

// The kernel that calls body(T(), LAPACK's function of this name, At) for every matrix; the
// function of complex types may have a name of its own.
template <typename Body>
Result<LinalgKernel> lapack_kernel(const Matrices& a, const char* name, const char* complex_name,
                                   Body body) {
  return for_type(a.dtype, [&]<typename T>(T) -> Result<LinalgKernel> {
    TRY(const Lapack function, lapack<T>(Scalar<T>::kComplex ? complex_name : name));
    return LinalgKernel([=](const void* const* in, void* const* out) {
      for_matrices(a, in, out, [&](const At& at) { body(T(), function, at); });
    });
  });
}
template <typename Body>
Result<LinalgKernel> lapack_kernel(const Matrices& a, const char* name, Body body) {
  return lapack_kernel(a, name, name, std::move(body));
}

// call(work, &length), with as much memory as LAPACK asks for.
template <typename T, typename Call>
void with_workspace(Call call) {
  T best;
  int length = -1;
  call(&best, &length);
  length = workspace(best);
  std::vector<T> work(length);
  call(work.data(), &length);
}

}  // namespace jaxmps::cpu
