// Copies between arrays of any strides: transposes, slices, broadcasts, strided updates; and fills.
//
// Strides are in elements, may be zero in the source and negative in both. Runs on the pool of
// threads.h, callable from any thread; needs no memory of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace jaxmps::cpu {

// to[i * to_strides] = from[i * from_strides] for every index i of `extents`. The arrays may not
// overlap, and no two indices may name one element of `to`. Item sizes: 1, 2, 4, 8, 16.
void strided_copy(size_t item_size, std::span<const int64_t> extents,
                  std::span<const int64_t> from_strides, const void* from,
                  std::span<const int64_t> to_strides, void* to);

// n copies of one item.
void fill(size_t item_size, const void* item, int64_t n, void* to);

}  // namespace jaxmps::cpu
