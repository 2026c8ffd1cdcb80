// The transpose of one small block, by the calling thread; internal to the kernels that copy or
// pack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace jaxmps::cpu {

// What is transposed in registers: as many elements as 16 bytes hold, along both dimensions.
#if defined(__SSE2__) || defined(__aarch64__)
template <typename T>
constexpr int64_t kTransposed = sizeof(T) < 8 ? static_cast<int64_t>(16 / sizeof(T)) : 0;
#else
template <typename T>
constexpr int64_t kTransposed = 0;
#endif

// `from` is read and `to` written along rows. Row i and the one half of all further on are taken
// element by element in turn; that as often as the number of rows can be halved.
template <typename T, size_t... I>
inline void transpose_square(const T* from, int64_t from_row, T* to, int64_t to_row,
                             std::index_sequence<I...>) {
  constexpr size_t kSize = sizeof...(I);
  typedef T Vec __attribute__((vector_size(16)));
  Vec rows[kSize], next[kSize];
#pragma GCC unroll 16
  for (size_t r = 0; r < kSize; ++r) {
    std::memcpy(&rows[r], from + static_cast<int64_t>(r) * from_row, sizeof(Vec));
  }
#pragma GCC unroll 4
  for (size_t round = kSize; round > 1; round /= 2) {
#pragma GCC unroll 8
    for (size_t r = 0; r < kSize / 2; ++r) {
      const Vec a = rows[r], b = rows[r + kSize / 2];
      next[2 * r] = __builtin_shufflevector(a, b, static_cast<int>(I / 2 + I % 2 * kSize)...);
      next[2 * r + 1] =
          __builtin_shufflevector(a, b, static_cast<int>(kSize / 2 + I / 2 + I % 2 * kSize)...);
    }
#pragma GCC unroll 16
    for (size_t r = 0; r < kSize; ++r) rows[r] = next[r];
  }
#pragma GCC unroll 16
  for (size_t r = 0; r < kSize; ++r) {
    std::memcpy(to + static_cast<int64_t>(r) * to_row, &rows[r], sizeof(Vec));
  }
}

// to[i][j] = from[j][i]: i runs along `from` (stride 1), j along `to` (stride 1).
template <typename T>
void transpose_block(const T* from, int64_t from_row, T* to, int64_t to_row, int64_t is,
                     int64_t js) {
  int64_t whole_i = 0, whole_j = 0;
  if constexpr (constexpr int64_t kSize = kTransposed<T>; kSize > 0) {
    using Bits =
        std::conditional_t<kSize == 4, uint32_t, std::conditional_t<kSize == 8, uint16_t, uint8_t>>;
    whole_i = is - is % kSize;
    whole_j = js - js % kSize;
    for (int64_t i = 0; i < whole_i; i += kSize) {
      for (int64_t j = 0; j < whole_j; j += kSize) {
        transpose_square(reinterpret_cast<const Bits*>(from + j * from_row + i), from_row,
                         reinterpret_cast<Bits*>(to + i * to_row + j), to_row,
                         std::make_index_sequence<kSize>());
      }
    }
  }
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
