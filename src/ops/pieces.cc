#include "ops/pieces.h"

#include <algorithm>

namespace jaxmps::ops {

mx::array part_of(const mx::array& a, int axis, int from, int to) {
  mx::Shape start(a.ndim(), 0), stop = a.shape();
  const int at = axis < 0 ? axis + static_cast<int>(a.ndim()) : axis;
  start[at] = from;
  stop[at] = to;
  return mx::slice(a, start, stop);
}

mx::array in_pieces(int64_t size, int64_t pieces, int axis,
                    const std::function<mx::array(int from, int to)>& f) {
  pieces = std::min(pieces, size);
  if (pieces <= 1) return f(0, static_cast<int>(size));
  Arrays parts;
  for (int64_t k = 0; k < pieces; ++k) {
    parts.push_back(
        f(static_cast<int>(size * k / pieces), static_cast<int>(size * (k + 1) / pieces)));
  }
  return mx::concatenate(std::move(parts), axis);
}

}  // namespace jaxmps::ops
