#include "fusion/index_map.h"

#include <algorithm>

namespace jaxmps::fusion {

Affine constant_affine(int64_t value, size_t axes) {
  return {value, std::vector<int64_t>(axes, 0)};
}

Affine scaled_sum(const std::vector<Affine>& map, const std::vector<int64_t>& strides,
                  size_t axes) {
  Affine sum = constant_affine(0, axes);
  for (size_t k = 0; k < map.size(); ++k) {
    sum.offset += strides[k] * map[k].offset;
    for (size_t a = 0; a < axes; ++a) sum.coeffs[a] += strides[k] * map[k].coeffs[a];
  }
  return sum;
}

namespace {
int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
}  // namespace

std::optional<std::vector<Affine>> delinearize(const Affine& linear, const ir::Dims& shape,
                                               const ir::Dims& axes, std::optional<Split>* split) {
  const ir::Dims strides = ir::row_major_strides(shape);
  std::vector<Affine> map;
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
      const int64_t c = rest.coeffs[a], span = c * (axes[a] - 1);
      if (c == 0 || axes[a] == 1) {
        rest.coeffs[a] = 0;
      } else if (c % stride == 0) {
        e.coeffs[a] = c / stride;
        rest.coeffs[a] = 0;
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

int single_axis(const Affine& e) {
  int axis = -1;
  for (size_t a = 0; a < e.coeffs.size(); ++a) {
    if (e.coeffs[a] == 0) continue;
    if (axis >= 0 || std::abs(e.coeffs[a]) != 1) return -2;
    axis = static_cast<int>(a);
  }
  return axis;
}

Bound bound_of(const Affine& e, int axis, int64_t extent, int64_t lo, int64_t hi) {
  Bound b{axis, 0, extent};
  if (e.coeffs[static_cast<size_t>(axis)] > 0) {
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
