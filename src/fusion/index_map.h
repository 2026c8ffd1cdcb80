// Index maps while fusions are found and built: where a value is read for each point of what is
// walked. Values and pure functions; any thread.
#pragma once

#include <optional>
#include <vector>

#include "fusion/fusion.h"

namespace jaxmps::fusion {

// Where a value is read: one expression for each of its dimensions.
using IndexMap = std::vector<Affine>;

// Where a value is read at point i, and for which points the result matters at all.
struct Coord {
  IndexMap map;
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
Affine scaled_sum(const IndexMap& map, const std::vector<int64_t>& strides, size_t axes);
// The coordinates of row-major position `linear` in a shape; nothing when they are not affine in
// the axes, with `split` set if splitting an axis may help.
std::optional<IndexMap> delinearize(const Affine& linear, const ir::Dims& shape,
                                    const ir::Dims& axes, std::optional<Split>* split);
// Each dimension is the axis of its number.
IndexMap identity_map(size_t rank);
// `outer`, whose axes are the dimensions of `inner`, in the axes of `inner`.
IndexMap compose(const IndexMap& outer, const IndexMap& inner, size_t axes);
// Whether a value of these dimensions is read in its own order and whole: each dimension of more
// than one element is an axis of as many.
bool is_plain(const IndexMap& map, const ir::Dims& dims, const ir::Dims& axes);
// Whether the maps agree in the dimensions of more than one element.
bool reads_alike(const IndexMap& a, const IndexMap& b, const ir::Dims& dims);
// Where `user`, computed at `at`, reads its operand, for ops that read it at one place for each
// point; nothing for others, and where that is not affine (see delinearize).
std::optional<IndexMap> operand_map(const ir::Op& user, int operand, const IndexMap& at,
                                    const ir::Dims& axes, std::optional<Split>* split);
// Where a gather reads a component of its indices.
IndexMap indices_map(const ir::Op& gather, int64_t component, const IndexMap& at, size_t axes);

// The axis on which `e` depends with coefficient 1 or -1 and no other; -1 if constant, -2
// otherwise.
int single_axis(const Affine& e);
// Points with lo <= e < hi, for an e of one axis.
Bound bound_of(const Affine& e, int axis, int64_t extent, int64_t lo, int64_t hi);

// Drops axes of extent 1 and merges neighbours that every access walks as one.
void collapse_axes(Fusion* fusion);

}  // namespace jaxmps::fusion
