// The transpose of one small block, by the calling thread; internal to the kernels that copy or
// pack.
#pragma once

#include <cstdint>
#include <cstring>

namespace jaxmps::cpu {

#if defined(__SSE2__) || defined(__aarch64__)
// A 4 by 4 transpose in registers; `from` is read and `to` written along rows.
inline void transpose4(const uint32_t* from, int64_t from_row, uint32_t* to, int64_t to_row) {
  typedef uint32_t V __attribute__((vector_size(16)));
  const auto load = [&](int64_t r) {
    V v;
    std::memcpy(&v, from + r * from_row, sizeof v);
    return v;
  };
  const V a = load(0), b = load(1), c = load(2), d = load(3);
  const V ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const V ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const V cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const V cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const auto store = [&](int64_t r, V v) { std::memcpy(to + r * to_row, &v, sizeof v); };
  store(0, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
  store(1, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
  store(2, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
  store(3, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
}
#endif

// to[i][j] = from[j][i]: i runs along `from` (stride 1), j along `to` (stride 1).
template <typename T>
void transpose_block(const T* from, int64_t from_row, T* to, int64_t to_row, int64_t is,
                     int64_t js) {
  int64_t whole_i = 0, whole_j = 0;
#if defined(__SSE2__) || defined(__aarch64__)
  if constexpr (sizeof(T) == 4) {
    whole_i = is & ~int64_t{3};
    whole_j = js & ~int64_t{3};
    for (int64_t i = 0; i < whole_i; i += 4) {
      for (int64_t j = 0; j < whole_j; j += 4) {
        transpose4(reinterpret_cast<const uint32_t*>(from + j * from_row + i), from_row,
                   reinterpret_cast<uint32_t*>(to + i * to_row + j), to_row);
      }
    }
  }
#endif
  // Of a few lines each is read as a whole; what they go to is in the nearest cache.
  constexpr int64_t kFew = 8;
  if (js - whole_j < kFew) {
    for (int64_t j = whole_j; j < js; ++j) {
      for (int64_t i = 0; i < is; ++i) to[i * to_row + j] = from[j * from_row + i];
    }
    js = whole_j;
  }
  for (int64_t i = 0; i < is; ++i) {
    for (int64_t j = i < whole_i ? whole_j : 0; j < js; ++j) {
      to[i * to_row + j] = from[j * from_row + i];
    }
  }
}

}  // namespace jaxmps::cpu
