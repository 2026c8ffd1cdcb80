#include "fusion/index_map.h"

#include <algorithm>

#include "ir/gather_dims.h"

namespace jaxmps::fusion {

Affine constant_affine(int64_t value, size_t axes) {
  return {value, std::vector<int64_t>(axes, 0)};
}

Affine scaled_sum(const IndexMap& map, const std::vector<int64_t>& strides, size_t axes) {
  Affine sum = constant_affine(0, axes);
  for (size_t k = 0; k < map.size(); ++k) {
    sum.offset += strides[k] * map[k].offset;
    for (size_t a = 0; a < axes; ++a) sum.strides[a] += strides[k] * map[k].strides[a];
  }
  return sum;
}

namespace {
int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
}  // namespace

std::optional<IndexMap> delinearize(const Affine& linear, const ir::Dims& shape,
                                    const ir::Dims& axes, std::optional<Split>* split) {
  const ir::Dims strides = ir::row_major_strides(shape);
  IndexMap map;
  Affine rest = linear;
  for (size_t k = 0; k < shape.size(); ++k) {
    Affine e = constant_affine(0, axes.size());
    const int64_t stride = strides[k];
    if (shape[k] == 1) {
      map.push_back(std::move(e));
      continue;
    }
    int64_t low = 0, high = 0;  // of the terms that stay inside of this dimension's stride
    for (size_t a = 0; a < axes.size(); ++a) {
      const int64_t c = rest.strides[a], span = c * (axes[a] - 1);
      if (c == 0 || axes[a] == 1) {
        rest.strides[a] = 0;
      } else if (c % stride == 0) {
        e.strides[a] = c / stride;
        rest.strides[a] = 0;
      } else {
        if (std::abs(c) > stride) return std::nullopt;
        if (std::abs(span) >= stride) {
          const int64_t inner = stride / std::abs(c);
          if (stride % std::abs(c) == 0 && inner > 1 && axes[a] % inner == 0) {
            *split = Split{static_cast<int>(a), inner};
          }
          return std::nullopt;
        }
        (span < 0 ? low : high) += span;
      }
    }
    e.offset = floor_div(rest.offset + low, stride);
    rest.offset -= e.offset * stride;
    if (rest.offset + high >= stride) return std::nullopt;
    map.push_back(std::move(e));
  }
  return map;
}

IndexMap identity_map(size_t rank) {
  IndexMap map(rank, constant_affine(0, rank));
  for (size_t d = 0; d < rank; ++d) map[d].strides[d] = 1;
  return map;
}

IndexMap compose(const IndexMap& outer, const IndexMap& inner, size_t axes) {
  IndexMap map;
  for (const Affine& e : outer) {
    map.push_back(scaled_sum(inner, e.strides, axes));
    map.back().offset += e.offset;
  }
  return map;
}

bool is_plain(const IndexMap& map, const ir::Dims& dims, const ir::Dims& axes) {
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] == 1) continue;
    const int axis = single_axis(map[d]);
    if (axis < 0 || map[d].offset != 0 || map[d].strides[static_cast<size_t>(axis)] != 1 ||
        axes[static_cast<size_t>(axis)] != dims[d])
      return false;
  }
  return true;
}

bool reads_alike(const IndexMap& a, const IndexMap& b, const ir::Dims& dims) {
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] != 1 && !(a[d] == b[d])) return false;
  }
  return true;
}

IndexMap indices_map(const ir::Op& gather, int64_t component, const IndexMap& at, size_t axes) {
  const int64_t rank = gather.operand(1)->type.rank();
  const ir::GatherDims dims = ir::GatherDims::of_gather(gather);
  const auto batch = dims.batch_dims(gather.result()->type.rank());
  const auto of_indices = dims.indices_batch(rank);
  IndexMap map(static_cast<size_t>(rank), constant_affine(component, axes));
  for (size_t k = 0; k < batch.size(); ++k)
    map[static_cast<size_t>(of_indices[k])] = at[static_cast<size_t>(batch[k])];
  return map;
}

std::optional<IndexMap> operand_map(const ir::Op& user, int operand, const IndexMap& at,
                                    const ir::Dims& axes, std::optional<Split>* split) {
  using ir::OpId;
  const ir::Dims& dims = user.operand(operand)->type.dims;
  if (dims.empty()) return IndexMap();
  IndexMap in(dims.size(), constant_affine(0, axes.size()));
  switch (user.id) {
    case OpId::broadcast_in_dim:
      for (size_t d = 0; d < dims.size(); ++d) {
        if (dims[d] != 1) in[d] = at[static_cast<size_t>(user.ints("broadcast_dimensions")[d])];
      }
      return in;
    case OpId::transpose:
      for (size_t d = 0; d < dims.size(); ++d)
        in[static_cast<size_t>(user.ints("permutation")[d])] = at[d];
      return in;
    case OpId::slice:
      for (size_t d = 0; d < dims.size(); ++d) {
        in[d] = at[d];
        in[d] *= user.ints("strides")[d];
        in[d].offset += user.ints("start_indices")[d];
      }
      return in;
    case OpId::reverse:
      in = at;
      for (int64_t d : user.ints("dimensions")) {
        Affine& e = in[static_cast<size_t>(d)];
        e *= -1;
        e.offset += dims[static_cast<size_t>(d)] - 1;
      }
      return in;
    case OpId::reshape: {
      const auto strides = ir::row_major_strides(user.result()->type.dims);
      return delinearize(scaled_sum(at, strides, axes.size()), dims, axes, split);
    }
    case OpId::gather:
      if (operand == 0 || user.ints("start_index_map").size() > 1) return std::nullopt;
      return indices_map(user, 0, at, axes.size());
    case OpId::dynamic_update_slice:
      return operand == 1 ? std::optional(at) : std::nullopt;
    case OpId::dynamic_slice:
    case OpId::reduce:
    case OpId::pad:
    case OpId::concatenate:
      return std::nullopt;
    default:
      return at;
  }
}

int single_axis(const Affine& e) {
  int axis = -1;
  for (size_t a = 0; a < e.strides.size(); ++a) {
    if (e.strides[a] == 0) continue;
    if (axis >= 0 || std::abs(e.strides[a]) != 1) return -2;
    axis = static_cast<int>(a);
  }
  return axis;
}

Bound bound_of(const Affine& e, int axis, int64_t extent, int64_t lo, int64_t hi) {
  Bound b{axis, 0, extent};
  if (e.strides[static_cast<size_t>(axis)] > 0) {
    b.lo = lo - e.offset;
    b.hi = hi - e.offset;
  } else {  // lo <= offset - i < hi
    b.lo = e.offset - hi + 1;
    b.hi = e.offset - lo + 1;
  }
  b.lo = std::clamp<int64_t>(b.lo, 0, extent);
  b.hi = std::clamp<int64_t>(b.hi, b.lo, extent);
  return b;
}

namespace {

bool has_bound(const Access& access, int axis) {
  return std::any_of(access.bounds.begin(), access.bounds.end(),
                     [&](const Bound& b) { return b.axis == axis; });
}

void erase_axis(Fusion* f, int axis) {
  auto erase = [&](std::vector<int64_t>* v) { v->erase(v->begin() + axis); };
  erase(&f->dims);
  for (Access& a : f->accesses) {
    erase(&a.strides);
    for (Bound& b : a.bounds) b.axis -= b.axis > axis;
  }
  for (FusionOutput& o : f->outputs) erase(&o.strides);
  f->reduced_begin -= f->reduced_begin > axis;
  f->reduced_end -= f->reduced_end > axis;
}

// Whether axis and axis + 1 are one walk for everything.
bool mergeable(const Fusion& f, int axis) {
  if (axis + 1 == f.reduced_begin || axis + 1 == f.reduced_end) return false;
  const size_t a = static_cast<size_t>(axis);
  const int64_t extent = f.dims[a + 1];
  for (const Access& access : f.accesses) {
    if (has_bound(access, axis + 1)) return false;
    if (access.strides[a] != access.strides[a + 1] * extent) return false;
  }
  for (const FusionOutput& o : f.outputs) {
    if (o.strides[a] != o.strides[a + 1] * extent) return false;
  }
  return true;
}

}  // namespace

void collapse_axes(Fusion* f) {
  for (int axis = static_cast<int>(f->dims.size()) - 1; axis >= 0; --axis) {
    if (f->dims[static_cast<size_t>(axis)] != 1) continue;
    bool bounded = false;
    for (Access& a : f->accesses) {
      // A bound that always holds says nothing.
      std::erase_if(a.bounds,
                    [&](const Bound& b) { return b.axis == axis && b.lo <= 0 && b.hi >= 1; });
      bounded |= has_bound(a, axis);
    }
    if (!bounded) erase_axis(f, axis);
  }
  for (int axis = static_cast<int>(f->dims.size()) - 2; axis >= 0; --axis) {
    if (!mergeable(*f, axis)) continue;
    const size_t a = static_cast<size_t>(axis);
    const int64_t extent = f->dims[a + 1];
    f->dims[a + 1] *= f->dims[a];
    for (Access& access : f->accesses) {
      for (Bound& b : access.bounds) {
        if (b.axis == axis) b = {axis + 1, b.lo * extent, b.hi * extent};
      }
    }
    erase_axis(f, axis);
  }
}

}  // namespace jaxmps::fusion
