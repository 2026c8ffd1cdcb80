#include "kernels/cpu/gemm.h"

#include <algorithm>
#include <new>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/gemm_packed.h"
#include "kernels/cpu/gemm_parts.h"

namespace jaxmps::cpu {
namespace {

constexpr int64_t kSmallWork = 1 << 18;  // products worth one task of a batch

// y[rows] = M[rows, k] * x[k]
template <typename T>
struct MatrixVector {
  const T* matrix;
  int64_t rows, k, row, col;
  const T* x;
  int64_t x_stride;
  T* y;
  int64_t y_stride;
};

template <typename T>
void by_dots(const Micro<T, T>& micro, const MatrixVector<T>& v, const T* x) {
  const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 16) / std::max<int64_t>(v.k, 1));
  parallel_for(v.rows, grain, [&](int64_t begin, int64_t end) {
    micro.dots(v.y + begin * v.y_stride, v.y_stride, v.matrix + begin * v.row, v.row, end - begin,
               x, v.k);
  });
}

template <typename T>
void by_axpy(const Micro<T, T>& micro, const MatrixVector<T>& v, const T* x) {
  constexpr int64_t kRows = 512;
  const bool small = v.rows * v.k <= kSmallWork / 4;
  parallel_for(v.rows, small ? v.rows : kRows, [&](int64_t begin, int64_t end) {
    T sums[kRows];
    for (int64_t r0 = begin; r0 < end; r0 += kRows) {
      const int64_t count = std::min(kRows, end - r0);
      std::fill_n(sums, count, T(0));
      // A large matrix is read in long runs, a few rows at a time.
      const int64_t most = small ? v.k : 4;
      for (int64_t k = 0; k < v.k; k += most) {
        const int64_t steps = std::min(most, v.k - k);
        micro.axpy(sums, v.matrix + r0 + k * v.col, v.col, x + k, 1, steps, count);
      }
      for (int64_t r = 0; r < count; ++r) v.y[(r0 + r) * v.y_stride] = sums[r];
    }
  });
}

// False when the layout suits neither way.
template <typename T>
bool matrix_vector(const Micro<T, T>& micro, const MatrixVector<T>& v) {
  if (v.col != 1 && v.row != 1) return false;
  const bool gather = v.x_stride != 1;
  Scratch block(gather ? static_cast<size_t>(v.k) * sizeof(T) : 0);
  const T* x = v.x;
  if (gather) {
    T* dense = block.as<T>();
    for (int64_t k = 0; k < v.k; ++k) dense[k] = v.x[k * v.x_stride];
    x = dense;
  }
  if (v.col == 1) {
    by_dots(micro, v, x);
  } else {
    by_axpy(micro, v, x);
  }
  return true;
}

// A few rows times a transposed B, as when a model generates one token: B's rows are read in place
// as the left operand, A's few are packed, and the small result is turned.
template <typename Src, typename A, typename C, typename Out>
void gemm_turned(const Micro<A, C>& micro, const Gemm& g, const Src* a, const Src* b, Out* c) {
  const Operands<Src> o{b, a, g.n, g.m, g.k, g.b_col, g.b_row, g.a_col, g.a_row};
  Scratch block(static_cast<size_t>(g.m * g.n) * sizeof(C));
  C* sums = block.as<C>();
  PackedGemm<Src, A, C>(micro, o, sums, g.m).run();
  for (int64_t i = 0; i < g.m; ++i) {
    Out* to = c + i * g.c_row;
    for (int64_t j = 0; j < g.n; ++j) to[j] = Out(sums[j * g.m + i]);
  }
}

bool worth_turning(const Gemm& g) { return g.b_row == 1 && g.b_col != 1 && g.m <= 16 && g.n >= 64; }

template <typename T>
void gemm_float(const Micro<T, T>& micro, const Gemm& g, const T* a, const T* b, T* c) {
  if (g.n == 1 &&
      matrix_vector<T>(micro, {a, g.m, g.k, g.a_row, g.a_col, b, g.b_row, c, g.c_row})) {
    return;
  }
  if (g.m == 1 && matrix_vector<T>(micro, {b, g.n, g.k, g.b_col, g.b_row, a, g.a_col, c, 1})) {
    return;
  }
  if (worth_turning(g)) return gemm_turned<T, T, T, T>(micro, g, a, b, c);
  const Operands<T> o{a, b, g.m, g.n, g.k, g.a_row, g.a_col, g.b_row, g.b_col};
  PackedGemm<T, T, T>(micro, o, c, g.c_row).run();
}

// Products of Src summed in C, rounded once to Out at the end.
template <typename Src, typename A, typename C, typename Out>
void gemm_mixed(const Micro<A, C>& micro, const Gemm& g, const void* a, const void* b, void* c) {
  if (worth_turning(g)) {
    return gemm_turned<Src, A, C, Out>(micro, g, static_cast<const Src*>(a),
                                       static_cast<const Src*>(b), static_cast<Out*>(c));
  }
  const Operands<Src> o{static_cast<const Src*>(a),
                        static_cast<const Src*>(b),
                        g.m,
                        g.n,
                        g.k,
                        g.a_row,
                        g.a_col,
                        g.b_row,
                        g.b_col};
  if constexpr (std::is_same_v<C, Out>) {
    PackedGemm<Src, A, C>(micro, o, static_cast<C*>(c), g.c_row).run();
  } else {
    Scratch block(static_cast<size_t>(g.m * g.n) * sizeof(C));
    C* sums = block.as<C>();
    PackedGemm<Src, A, C>(micro, o, sums, g.n).run();
    Out* out = static_cast<Out*>(c);
    const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, g.n));
    parallel_for(g.m, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        Out* to = out + i * g.c_row;
        const C* from = sums + i * g.n;
        for (int64_t j = 0; j < g.n; ++j) to[j] = Out(from[j]);
      }
    });
  }
}

template <typename Src>
void gemm_half(const Gemm& g, const void* a, const void* b, void* c) {
  if constexpr (std::is_same_v<Src, BF16>) {
    if (const auto* micro = micro_bf16()) {
      if (g.out == DType::f32) return gemm_mixed<Src, uint32_t, float, float>(*micro, g, a, b, c);
      return gemm_mixed<Src, uint32_t, float, Src>(*micro, g, a, b, c);
    }
  }
  const auto& micro = micro_f32();
  if (g.out == DType::f32) return gemm_mixed<Src, float, float, float>(micro, g, a, b, c);
  gemm_mixed<Src, float, float, Src>(micro, g, a, b, c);
}

bool gemm_bytes(const Gemm& g, const void* a, const void* b, void* c) {
  const auto* micro = micro_i16();
  if (micro == nullptr || (g.out != DType::s32 && g.out != DType::u32)) return false;
  if (g.in == DType::s8) {
    gemm_mixed<int8_t, uint32_t, int32_t, int32_t>(*micro, g, a, b, c);
  } else {
    gemm_mixed<uint8_t, uint32_t, int32_t, int32_t>(*micro, g, a, b, c);
  }
  return true;
}

// Whether the product is one of a matrix that matrix_vector reads where it lies. OpenBLAS would
// pack all of it for one row or column; what Accelerate does is left to it.
bool is_ours_to_walk([[maybe_unused]] const Gemm& g) {
#if defined(__APPLE__)
  return false;
#else
  return (g.n == 1 && (g.a_row == 1 || g.a_col == 1)) ||
         (g.m == 1 && (g.b_row == 1 || g.b_col == 1));
#endif
}

// One product; REQUIRES: m and n positive.
void gemm_one(const Gemm& g, const void* a, const void* b, void* c) {
  const bool same = g.in == g.out;
  const bool complex = g.in == DType::c64 || g.in == DType::c128;
  const bool is_ours = !complex && (micro_is_fast() || is_ours_to_walk(g));
  if (same && !is_ours && blas_takes(g)) return gemm_blas(g, a, b, c);
  if (g.in == DType::f32 && same) {
    return gemm_float(micro_f32(), g, static_cast<const float*>(a), static_cast<const float*>(b),
                      static_cast<float*>(c));
  }
  if (g.in == DType::f64 && same) {
    return gemm_float(micro_f64(), g, static_cast<const double*>(a), static_cast<const double*>(b),
                      static_cast<double*>(c));
  }
  if (g.in == DType::bf16) return gemm_half<BF16>(g, a, b, c);
  if (g.in == DType::f16) return gemm_half<F16>(g, a, b, c);
  if ((g.in == DType::s8 || g.in == DType::u8) && gemm_bytes(g, a, b, c)) return;
  gemm_plain(g, a, b, c);
}

}  // namespace

bool gemm_supported(DType in, DType out) {
  if (in == out) return true;
  const bool small_int = in == DType::s8 || in == DType::u8 || in == DType::s16 || in == DType::u16;
  if (in == DType::bf16 || in == DType::f16) return out == DType::f32;
  return small_int && (out == DType::s32 || out == DType::u32);
}

void gemm(const Gemm& g, const void* a, const void* b, void* c) {
  if (g.m <= 0 || g.n <= 0) return;
  const auto in = static_cast<int64_t>(ir::byte_size(g.in));
  const auto out = static_cast<int64_t>(ir::byte_size(g.out));
  int64_t count = 1;
  for (const GemmBatch& dim : g.batch) count *= dim.size;
  if (count == 1) return gemm_one(g, a, b, c);
  const int64_t work = std::max<int64_t>(1, g.m * g.n * std::max<int64_t>(g.k, 1));
  // Large products spread over the pool one after another, small ones side by side.
  const bool one_by_one = work >= 16 * kSmallWork && count < 64;
  const int64_t grain = one_by_one ? count : std::max<int64_t>(1, kSmallWork / work);
  const auto body = [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      int64_t rest = index, at_a = 0, at_b = 0, at_c = 0;
      for (size_t d = g.batch.size(); d-- > 0;) {
        const GemmBatch& dim = g.batch[d];
        const int64_t i = rest % dim.size;
        rest /= dim.size;
        at_a += i * dim.a;
        at_b += i * dim.b;
        at_c += i * dim.c;
      }
      gemm_one(g, static_cast<const char*>(a) + at_a * in, static_cast<const char*>(b) + at_b * in,
               static_cast<char*>(c) + at_c * out);
    }
  };
  parallel_for(count, grain, body);
}

}  // namespace jaxmps::cpu
