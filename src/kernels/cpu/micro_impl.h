// The micro-kernels themselves, included once by the file of each instruction set.
//
// Everything is in an unnamed namespace and no standard function is called, so that no code built
// for one instruction set can be shared with, or linked in place of, that of another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/cpu/micro.h"

namespace jaxmps::cpu {
namespace {

// Vectors from and to any address.
template <typename Vec>
inline __attribute__((always_inline)) Vec load(const void* from) {
  Vec v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
template <typename Vec>
inline __attribute__((always_inline)) void store(void* to, const Vec& v) {
  __builtin_memcpy(to, &v, sizeof v);
}

// Arithmetic of plain floats: T elements, vectors of `Bytes`.
template <typename T, int Bytes>
struct FloatMath {
  using A = T;
  using C = T;
  static constexpr int kLanes = Bytes / static_cast<int>(sizeof(T));
  typedef T Vec __attribute__((vector_size(Bytes)));
  using BVec = Vec;
  static inline __attribute__((always_inline)) void step(Vec& acc, T a, const Vec& b) {
    acc += b * a;
  }
};

template <typename Math, int Rows, int Vecs>
inline __attribute__((always_inline)) void store_tile(
    const Tile<typename Math::A, typename Math::C>& tile, typename Math::Vec (&acc)[Rows][Vecs]) {
  using Vec = typename Math::Vec;
  using C = typename Math::C;
  constexpr int kLanes = Math::kLanes;
  const bool full = tile.columns >= Vecs * kLanes;
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    C* c = tile.c[r];
    if (full) {
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) {
        C* to = c + v * kLanes;
        store<Vec>(to, tile.accumulate ? load<Vec>(to) + acc[r][v] : acc[r][v]);
      }
      continue;
    }
    C line[Vecs * kLanes];
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) store(line + v * kLanes, acc[r][v]);
    for (int64_t j = 0; j < tile.columns; ++j) c[j] = tile.accumulate ? c[j] + line[j] : line[j];
  }
}

template <typename Math, int Rows, int Vecs>
void tile_by_row(const Tile<typename Math::A, typename Math::C>& tile) {
  using A = typename Math::A;
  using BVec = typename Math::BVec;
  typename Math::Vec acc[Rows][Vecs] = {};
  const int64_t stride = tile.b_stride;
  for (int64_t t = 0; t < tile.tap_count; ++t) {
    const A* a[Rows];
    for (int r = 0; r < Rows; ++r) a[r] = tile.rows[r] + tile.taps[t];
    const A* b = tile.b + tile.b_taps[t];
    for (int64_t k = 0; k < tile.depth; ++k, b += stride) {
      BVec bv[Vecs];
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) bv[v] = load<BVec>(b + v * Math::kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        A value;  // copied, since a pair may lie at any even address
        __builtin_memcpy(&value, a[r] + k, sizeof value);
#pragma GCC unroll 4
        for (int v = 0; v < Vecs; ++v) Math::step(acc[r][v], value, bv[v]);
      }
    }
  }
  store_tile<Math, Rows, Vecs>(tile, acc);
}

template <typename Math, int Rows, int Vecs>
void tile_by_column(const Tile<typename Math::A, typename Math::C>& tile) {
  using A = typename Math::A;
  using BVec = typename Math::BVec;
  typename Math::Vec acc[Rows][Vecs] = {};
  for (int64_t k = 0; k < tile.depth; ++k) {
    const A* base = tile.base + k * tile.a_stride;
    const A* panel = tile.b + k * tile.b_stride;
    for (int64_t t = 0; t < tile.tap_count; ++t) {
      const A* a = base + tile.taps[t];
      const A* b = panel + tile.b_taps[t];
      BVec bv[Vecs];
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) bv[v] = load<BVec>(b + v * Math::kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        const A value = a[r];
#pragma GCC unroll 4
        for (int v = 0; v < Vecs; ++v) Math::step(acc[r][v], value, bv[v]);
      }
    }
  }
  store_tile<Math, Rows, Vecs>(tile, acc);
}

template <typename Math, int Rows, int Vecs, bool Columns>
void choose_rows(int rows, const Tile<typename Math::A, typename Math::C>& tile) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return choose_rows<Math, Rows - 1, Vecs, Columns>(rows, tile);
  }
  if constexpr (Columns) {
    tile_by_column<Math, Rows, Vecs>(tile);
  } else {
    tile_by_row<Math, Rows, Vecs>(tile);
  }
}

// The narrowest kernel that covers the columns: a panel is padded, its padding is not computed.
template <typename Math, int Rows, int Vecs, bool Columns>
void run_tile(int rows, const Tile<typename Math::A, typename Math::C>& tile) {
  if constexpr (Vecs > 1) {
    if (tile.columns <= (Vecs - 1) * Math::kLanes) {
      return run_tile<Math, Rows, Vecs - 1, Columns>(rows, tile);
    }
  }
  choose_rows<Math, Rows, Vecs, Columns>(rows, tile);
}

template <typename T, int Bytes, int Vecs>
void lanes_at(const Tile<T, T>& tile, int64_t j) {
  constexpr int kLanes = FloatMath<T, Bytes>::kLanes;
  using Vec = typename FloatMath<T, Bytes>::Vec;
  Vec acc[Vecs] = {};
  for (int64_t k = 0; k < tile.depth; ++k) {
    const T* base = tile.base + k * tile.a_stride + j;
    const T* panel = tile.b + k * tile.b_stride + j;
    for (int64_t t = 0; t < tile.tap_count; ++t) {
      const T* a = base + tile.taps[t];
      const T* b = panel + tile.b_taps[t];
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v)
        acc[v] += load<Vec>(a + v * kLanes) * load<Vec>(b + v * kLanes);
    }
  }
  T* c = tile.c[0] + j;
#pragma GCC unroll 4
  for (int v = 0; v < Vecs; ++v) {
    T* to = c + v * kLanes;
    store<Vec>(to, acc[v]);
  }
}

template <typename T, int Bytes>
void tile_by_lane(const Tile<T, T>& tile) {
  constexpr int kLanes = FloatMath<T, Bytes>::kLanes;
  int64_t j = 0;
  for (; j + 4 * kLanes <= tile.columns; j += 4 * kLanes) lanes_at<T, Bytes, 4>(tile, j);
  for (; j + kLanes <= tile.columns; j += kLanes) lanes_at<T, Bytes, 1>(tile, j);
  for (; j < tile.columns; ++j) {
    T sum = 0;
    for (int64_t k = 0; k < tile.depth; ++k) {
      for (int64_t t = 0; t < tile.tap_count; ++t) {
        sum += tile.base[k * tile.a_stride + tile.taps[t] + j] *
               tile.b[k * tile.b_stride + tile.b_taps[t] + j];
      }
    }
    tile.c[0][j] = sum;
  }
}

template <typename T, int Bytes>
T vector_dot(const T* a, const T* b, int64_t n) {
  using Math = FloatMath<T, Bytes>;
  using Vec = typename Math::Vec;
  constexpr int kLanes = Math::kLanes;
  Vec acc[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      acc[v] += load<Vec>(a + i + v * kLanes) * load<Vec>(b + i + v * kLanes);
    }
  }
  for (; i + kLanes <= n; i += kLanes) {
    acc[0] += load<Vec>(a + i) * load<Vec>(b + i);
  }
  const Vec sum = (acc[0] + acc[1]) + (acc[2] + acc[3]);
  T total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += sum[lane];
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

// Lane i plus the one `distance` from it, of b where i has that bit and of a elsewhere.
template <int distance, typename Vec, std::size_t... I>
inline __attribute__((always_inline)) Vec fold_lanes(const Vec& a, const Vec& b,
                                                     std::index_sequence<I...>) {
  constexpr std::size_t n = sizeof...(I), d = distance;
  return __builtin_shufflevector(a, b, static_cast<int>(I & d ? n + I : I)...) +
         __builtin_shufflevector(a, b, static_cast<int>(I & d ? n + I - d : I + d)...);
}

// Leaves the sum of v[r]'s lanes in v[0], in the r-th group of as many lanes as are left for each.
template <typename T, int Bytes, int Rows, int Count = Rows>
inline __attribute__((always_inline)) void sum_lanes(typename FloatMath<T, Bytes>::Vec (&v)[Rows]) {
  constexpr int kLanes = FloatMath<T, Bytes>::kLanes, kHalf = Count / 2;
  if constexpr (kHalf > 0) {
#pragma GCC unroll 8
    for (int r = 0; r < kHalf; ++r) {
      v[r] =
          fold_lanes<kLanes / Rows * kHalf>(v[r], v[r + kHalf], std::make_index_sequence<kLanes>());
    }
    sum_lanes<T, Bytes, Rows, kHalf>(v);
  }
}

// As vector_dots, of all whole groups of kRows rows from `row` on; answers the first row left.
template <typename T, int Bytes, int kRows>
int64_t dots_of_rows(T* y, int64_t y_stride, const T* a, int64_t stride, int64_t row, int64_t rows,
                     const T* x, int64_t n) {
  using Vec = typename FloatMath<T, Bytes>::Vec;
  constexpr int kLanes = FloatMath<T, Bytes>::kLanes;
  for (; row + kRows <= rows; row += kRows) {
    const T* from = a + row * stride;
    Vec acc[kRows] = {};
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      const Vec xs = load<Vec>(x + i);
#pragma GCC unroll 16
      for (int k = 0; k < kRows; ++k) acc[k] += load<Vec>(from + k * stride + i) * xs;
    }
    sum_lanes<T, Bytes, kRows>(acc);
    T* to = y + row * y_stride;
    if (kRows == kLanes && y_stride == 1 && i == n) {
      store<Vec>(to, acc[0]);
      continue;
    }
    for (int k = 0; k < kRows; ++k, to += y_stride) {
      // Each row has kLanes / kRows neighbouring lanes.
      T sum = acc[0][k * (kLanes / kRows)];
      if constexpr (kLanes > kRows) sum += acc[0][k * 2 + 1];
      for (int64_t j = i; j < n; ++j) sum += from[k * stride + j] * x[j];
      *to = sum;
    }
  }
  return row;
}

template <typename T, int Bytes>
void vector_dots(T* y, int64_t y_stride, const T* a, int64_t stride, int64_t rows, const T* x,
                 int64_t n) {
  constexpr int kLanes = FloatMath<T, Bytes>::kLanes, kFew = kLanes < 8 ? kLanes : 8;
  int64_t r = dots_of_rows<T, Bytes, kLanes>(y, y_stride, a, stride, 0, rows, x, n);
  r = dots_of_rows<T, Bytes, kFew>(y, y_stride, a, stride, r, rows, x, n);
  for (; r < rows; ++r) {
    y[r * y_stride] = vector_dot<T, Bytes>(a + r * stride, x, n);
  }
}

// Of the columns from i on as many whole groups of Vecs vectors as there are; answers the first
// column left.
template <typename T, int Bytes, int Vecs>
int64_t axpy_columns(T* y, const T* a, int64_t stride, const T* x, int64_t x_stride, int64_t count,
                     int64_t i, int64_t n) {
  constexpr int kLanes = FloatMath<T, Bytes>::kLanes;
  using Vec = typename FloatMath<T, Bytes>::Vec;
  for (; i + Vecs * kLanes <= n; i += Vecs * kLanes) {
    Vec sum[Vecs];
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) sum[v] = load<Vec>(y + i + v * kLanes);
    const T* from = a + i;
#pragma GCC unroll 4
    for (int64_t r = 0; r < count; ++r, from += stride) {
      const T scale = x[r * x_stride];
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) sum[v] += load<Vec>(from + v * kLanes) * scale;
    }
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) store(y + i + v * kLanes, sum[v]);
  }
  return i;
}

template <typename T, int Bytes>
void axpy(T* y, const T* a, int64_t stride, const T* x, int64_t x_stride, int64_t count,
          int64_t n) {
  int64_t i = axpy_columns<T, Bytes, 4>(y, a, stride, x, x_stride, count, 0, n);
  i = axpy_columns<T, Bytes, 2>(y, a, stride, x, x_stride, count, i, n);
  i = axpy_columns<T, Bytes, 1>(y, a, stride, x, x_stride, count, i, n);
  for (; i < n; ++i) {
    T sum = y[i];
    for (int64_t r = 0; r < count; ++r) sum += a[r * stride + i] * x[r * x_stride];
    y[i] = sum;
  }
}

template <typename T, int Bytes, int Rows, int Vecs>
constexpr Micro<T, T> float_micro() {
  using Math = FloatMath<T, Bytes>;
  return {Rows,
          Vecs * Math::kLanes,
          run_tile<Math, Rows, Vecs, false>,
          run_tile<Math, Rows, Vecs, true>,
          tile_by_lane<T, Bytes>,
          vector_dots<T, Bytes>,
          axpy<T, Bytes>};
}

template <typename Math, int Rows, int Vecs>
constexpr Micro<typename Math::A, typename Math::C> pair_micro() {
  return {Rows,   Vecs * Math::kLanes, run_tile<Math, Rows, Vecs, false>, nullptr, nullptr, nullptr,
          nullptr};
}

}  // namespace
}  // namespace jaxmps::cpu
