#include <algorithm>
#include <complex>
#include <limits>
#include <new>
#include <type_traits>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/combine.h"
#include "kernels/cpu/gemm_parts.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

template <typename In, typename Out>
void plain(const Gemm& g, const void* a_data, const void* b_data, void* c_data) {
  using S = Summed<Out>;
  const In* a = static_cast<const In*>(a_data);
  const In* b = static_cast<const In*>(b_data);
  Out* c = static_cast<Out*>(c_data);
  Scratch dense_b(static_cast<size_t>(g.k * g.n) * sizeof(S));
  S* rows_b = dense_b.as<S>();
  const int64_t b_grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, g.n));
  parallel_for(g.k, b_grain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      for (int64_t j = 0; j < g.n; ++j) {
        // NOLINTNEXTLINE(bugprone-signed-char-misuse): s8 is a number
        rows_b[k * g.n + j] = static_cast<S>(b[k * g.b_row + j * g.b_col]);
      }
    }
  });
  const int64_t grain = std::max<int64_t>(1, 65536 / std::max<int64_t>(1, g.n * g.k));
  parallel_for(g.m, grain, [&](int64_t begin, int64_t end) {
    constexpr int64_t kColumns = 256;
    S sums[kColumns];
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j0 = 0; j0 < g.n; j0 += kColumns) {
        const int64_t count = std::min(kColumns, g.n - j0);
        Out* to = c + i * g.c_row + j0;
        std::fill_n(sums, count, S{});
        for (int64_t k = 0; k < g.k; ++k) {
          // Integers wrap, with or without a sign.
          // NOLINTNEXTLINE(bugprone-signed-char-misuse)
          const S left = static_cast<S>(a[i * g.a_row + k * g.a_col]);
          const S* right = rows_b + k * g.n + j0;
          for (int64_t j = 0; j < count; ++j) multiply_add(sums[j], left, right[j]);
        }
        for (int64_t j = 0; j < count; ++j) to[j] = static_cast<Out>(sums[j]);
      }
    }
  });
}

template <typename In>
void plain_to_wide(const Gemm& g, const void* a, const void* b, void* c) {
  if (g.out == DType::s32 || g.out == DType::u32) return plain<In, int32_t>(g, a, b, c);
  plain<In, In>(g, a, b, c);
}

template <typename T>
void blas_call(const Gemm& g, int trans_a, int trans_b, int m, int n, int lda, int ldb, const T* a,
               const T* b, T* c) {
  const Blas& lib = *blas();
  const int k = static_cast<int>(g.k);
  const int ldc = static_cast<int>(g.c_row);
  const T one = T(1), beta = T(0);
  if constexpr (std::is_same_v<T, float>) {
    lib.sgemm(Blas::kRowMajor, trans_a, trans_b, m, n, k, one, a, lda, b, ldb, beta, c, ldc);
  } else if constexpr (std::is_same_v<T, double>) {
    lib.dgemm(Blas::kRowMajor, trans_a, trans_b, m, n, k, one, a, lda, b, ldb, beta, c, ldc);
  } else {
    auto* call = std::is_same_v<T, std::complex<float>> ? lib.cgemm : lib.zgemm;
    call(Blas::kRowMajor, trans_a, trans_b, m, n, k, &one, a, lda, b, ldb, &beta, c, ldc);
  }
}

// An operand as the BLAS wants it: dense in one direction, else copied.
template <typename T>
struct BlasOperand {
  BlasOperand(const T* data, int64_t rows, int64_t cols, int64_t row, int64_t col)
      : copy(dense(rows, cols, row, col) ? 0 : static_cast<size_t>(rows * cols) * sizeof(T)) {
    at = data;
    trans = col == 1 && row >= cols ? Blas::kNoTrans : Blas::kTrans;
    ld = trans == Blas::kNoTrans ? row : col;
    row_stride = row;
    col_stride = col;
    if (dense(rows, cols, row, col)) return;
    T* to = copy.template as<T>();
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < cols; ++j) to[i * cols + j] = data[i * row + j * col];
    }
    at = to;
    trans = Blas::kNoTrans;
    ld = row_stride = cols;
    col_stride = 1;
  }

  static bool dense(int64_t rows, int64_t cols, int64_t row, int64_t col) {
    const int64_t limit = std::numeric_limits<int>::max();
    return (col == 1 && row >= cols && row <= limit) || (row == 1 && col >= rows && col <= limit);
  }

  Scratch copy;
  const T* at;
  int trans;
  int64_t ld, row_stride, col_stride;
};

template <typename T>
void through_blas(const Gemm& g, const void* a_data, const void* b_data, void* c_data) {
  const BlasOperand<T> a(static_cast<const T*>(a_data), g.m, g.k, g.a_row, g.a_col);
  const BlasOperand<T> b(static_cast<const T*>(b_data), g.k, g.n, g.b_row, g.b_col);
  T* c = static_cast<T*>(c_data);
  constexpr int64_t kTile = 256;
  const int64_t down = (g.m + kTile - 1) / kTile;
  const int64_t across = (g.n + kTile - 1) / kTile;
  parallel_for(down * across, 1, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t i = tile % down * kTile;
      const int64_t j = tile / down * kTile;
      const int m = static_cast<int>(std::min(kTile, g.m - i));
      const int n = static_cast<int>(std::min(kTile, g.n - j));
      blas_call<T>(g, a.trans, b.trans, m, n, static_cast<int>(a.ld), static_cast<int>(b.ld),
                   a.at + i * a.row_stride, b.at + j * b.col_stride, c + i * g.c_row + j);
    }
  });
}

}  // namespace

bool blas_takes(const Gemm& g) {
  const int64_t limit = std::numeric_limits<int>::max();
  const bool type =
      g.in == DType::f32 || g.in == DType::f64 || g.in == DType::c64 || g.in == DType::c128;
  const bool size =
      g.k > 0 && g.m <= limit && g.n <= limit && g.k <= limit && g.c_row <= limit && g.c_row >= g.n;
  return type && size && g.m * g.n * g.k >= 4096 && blas() != nullptr;
}

void gemm_blas(const Gemm& g, const void* a, const void* b, void* c) {
  switch (g.in) {
    case DType::f32:
      return through_blas<float>(g, a, b, c);
    case DType::f64:
      return through_blas<double>(g, a, b, c);
    case DType::c64:
      return through_blas<std::complex<float>>(g, a, b, c);
    default:
      return through_blas<std::complex<double>>(g, a, b, c);
  }
}

void gemm_plain(const Gemm& g, const void* a, const void* b, void* c) {
  if (g.in == DType::pred) return plain<bool, bool>(g, a, b, c);
  with_element(g.in, [&](auto element) {
    using T = decltype(element);
    if constexpr (std::is_integral_v<T> && sizeof(T) < 4) {
      plain_to_wide<T>(g, a, b, c);
    } else if constexpr (std::is_unsigned_v<T>) {
      plain<std::make_signed_t<T>, std::make_signed_t<T>>(g, a, b, c);
    } else {
      plain<T, T>(g, a, b, c);
    }
  });
}

}  // namespace jaxmps::cpu
