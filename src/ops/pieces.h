// Work that may take long, cut into calls of MLX that do not (ir::Pace): a GPU may end what runs
// for seconds. Pure functions on lazy arrays; any thread.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>

#include "ops/op.h"

namespace jaxmps::ops {

// Elements [from, to) along an axis.
mx::array part_of(const mx::array& a, int axis, int from, int to);
// Work on `size` elements that may take too long: f(from, to) of so many parts, joined along
// `axis`.
mx::array in_pieces(int64_t size, int64_t pieces, int axis,
                    const std::function<mx::array(int from, int to)>& f);

// What a sort or a search moves, by what it reads and writes: it passes over memory again and
// again, at times over fast memory.
inline double bytes_of_sort(double bytes, size_t elements) {
  return bytes * std::log2(static_cast<double>(elements) + 2);
}

// A scatter whose updates wait for one another, all at the same place in the worst case: of those
// on an M1 of seven cores (docs/apple.md).
inline double nanoseconds_of_turns(size_t windows, size_t elements) {
  return std::max(640.0 * static_cast<double>(windows), 2.3 * static_cast<double>(elements));
}

}  // namespace jaxmps::ops
