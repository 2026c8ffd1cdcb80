// Index maps while a fusion is built: affine expressions of the iteration axes, one per dimension
// of a value. Values; single-threaded, internal to the building of fusions.
#pragma once

#include <optional>
#include <vector>

#include "fusion/fusion.h"

namespace jaxmps::fusion {

// offset + sum(coeffs[a] * i[a])
struct Affine {
  int64_t offset = 0;
  std::vector<int64_t> coeffs;
  bool operator==(const Affine&) const = default;
};

// Where a value is read at point i, and for which points the result matters at all.
struct Coord {
  std::vector<Affine> map;
  std::vector<Bound> bounds;
  int32_t shift = -1;  // an instruction: how many elements further on it is read
  bool operator==(const Coord&) const = default;
};

// Ask for iteration axis `axis` to become two, the inner one of extent `inner`.
struct Split {
  int axis;
  int64_t inner;
};

Affine constant_affine(int64_t value, size_t axes);
Affine scaled_sum(const std::vector<Affine>& map, const std::vector<int64_t>& strides, size_t axes);
// The coordinates of row-major position `linear` in a shape; nothing when they are not affine in
// the axes, with `split` set if splitting an axis may help.
std::optional<std::vector<Affine>> delinearize(const Affine& linear, const ir::Dims& shape,
                                               const ir::Dims& axes, std::optional<Split>* split);
// The axis on which `e` depends with coefficient 1 or -1 and no other; -1 if constant, -2
// otherwise.
int single_axis(const Affine& e);
// Points with lo <= e < hi, for an e of one axis.
Bound bound_of(const Affine& e, int axis, int64_t extent, int64_t lo, int64_t hi);

// Drops axes of extent 1 and merges neighbours that every access walks as one.
void collapse_axes(Fusion* fusion);

}  // namespace jaxmps::fusion
