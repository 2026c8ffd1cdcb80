// Micro-kernels: a small tile of C, held in registers, gathers the products of all its A and B.
//
// They are compiled once per instruction set and chosen at run time (micro.cc). A is read where it
// lies, through pointers and offsets, which is what lets a convolution run without an im2col copy.
// All functions are pure and may run on any thread; they own nothing.
#pragma once

#include <cstdint>

namespace jaxmps::cpu {

// One tile: C[r][j] (+)= sum over taps t and steps k of A(r, t, k) * B(t, k, j).
//   row form:     A(r, t, k) = rows[r][taps[t] + k]
//   column form:  A(r, t, k) = base[k * a_stride + taps[t] + r]
//   both:         B(t, k, j) = b[b_taps[t] + k * b_stride + j]
// Rows of B must be readable to the full width of the panel; only `columns` values are stored.
// A is one element type for f32 and f64; for the pair kernels it is two 16-bit values.
template <typename A, typename C>
struct Tile {
  const A* const* rows = nullptr;
  const A* base = nullptr;
  int64_t a_stride = 0;
  const int64_t* taps = nullptr;
  const int64_t* b_taps = nullptr;
  int64_t tap_count = 0;
  int64_t depth = 0;
  const A* b = nullptr;
  int64_t b_stride = 0;
  C* const* c = nullptr;
  int64_t columns = 0;
  bool accumulate = false;
};

template <typename A, typename C>
struct Micro {
  int rows;   // the most rows a tile may have
  int width;  // the columns of a packed panel of B
  void (*by_row)(int rows, const Tile<A, C>& tile);
  void (*by_column)(int rows, const Tile<A, C>& tile);
  // c[0][j] = sum over k and t of
  //   base[k * a_stride + taps[t] + j] * b[k * b_stride + b_taps[t] + j]
  void (*by_lane)(const Tile<A, C>& tile);
  // y[r * y_stride] = sum of a[r * stride + i] * x[i] over n, for all rows r.
  void (*dots)(C* y, int64_t y_stride, const A* a, int64_t stride, int64_t rows, const A* x,
               int64_t n);
  // y += sum of x[i * x_stride] * a[i * stride ...] over `count` rows of n, one after the other.
  void (*axpy)(C* y, const A* a, int64_t stride, const A* x, int64_t x_stride, int64_t count,
               int64_t n);
};

constexpr int kMaxMicroRows = 16;  // `rows` of no kernel is more

// The best kernels this processor runs.
const Micro<float, float>& micro_f32();
const Micro<double, double>& micro_f64();
template <typename T>
const Micro<T, T>& micro();
template <>
inline const Micro<float, float>& micro<float>() {
  return micro_f32();
}
template <>
inline const Micro<double, double>& micro<double>() {
  return micro_f64();
}
// Pairs of bf16, exact products summed in f32, and pairs of i16 summed in i32; null where the
// processor has no instruction for them. Of their functions only by_row is set.
const Micro<uint32_t, float>* micro_bf16();
const Micro<uint32_t, int32_t>* micro_i16();

// True when micro_f32 keeps up with a tuned BLAS.
bool micro_is_fast();

// Per instruction set, null when not compiled in; the choosing is micro.cc's.
struct MicroSet {
  Micro<float, float> f32;
  Micro<double, double> f64;
  const Micro<uint32_t, int32_t>* i16;
};
const MicroSet* micro_set_avx512();
const MicroSet* micro_set_avx2();
const MicroSet* micro_set_generic();
const Micro<uint32_t, float>* micro_bf16_avx512();

}  // namespace jaxmps::cpu
