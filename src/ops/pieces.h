// Work that may take long, cut into calls of MLX that do not (ir::Pace): a GPU may end what runs
// for seconds. Pure functions on lazy arrays; any thread.
#pragma once

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

}  // namespace jaxmps::ops
