// Reductions and windows whose combiners no kernel of a GPU folds with: the combiner becomes
// elementwise ops on slices, which the fusion compiler takes. Elements are combined in their order.
// What has no such form stays, for the CPU.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "ir/combiner.h"
#include "ir/float_format.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

using Values = std::vector<Value*>;
using Direction = ir::CompareDirection;

// Combines arrays of one shape: so many accumulators, then as many elements.
using Combine = std::function<Values(const Values&)>;

constexpr int64_t kMostPositions = std::numeric_limits<int32_t>::max();
constexpr int64_t kMostCells = 256;  // of a window, which are ops each
constexpr int64_t kUnrolled = 16;    // cells along an axis of windows that are folded by doubling

int64_t op_count(const Region& region) {
  int64_t count = 0;
  for ([[maybe_unused]] const Op* op : region) ++count;
  return count;
}

Combine lifted(const Builder& build, const Region& region) {
  return [&build, &region](const Values& v) { return lift(build, region, v, v[0]->type.dims); };
}

// Elements start, start + step, ... along the axis.
Value* part(const Builder& build, Value* v, size_t axis, int64_t start, int64_t step,
            int64_t count) {
  Dims dims = v->type.dims;
  Ints from(dims.size(), 0), to = dims, strides(dims.size(), 1);
  from[axis] = start;
  to[axis] = start + (count - 1) * step + 1;
  strides[axis] = step;
  dims[axis] = count;
  return build.value(OpId::slice, {v}, v->type.with(dims),
                     attributes({{"start_indices", Attr(from)},
                                 {"limit_indices", Attr(to)},
                                 {"strides", Attr(strides)}}));
}

Values parts(const Builder& build, const Values& v, size_t axis, int64_t start, int64_t step,
             int64_t count) {
  Values all;
  for (Value* value : v) all.push_back(part(build, value, axis, start, step, count));
  return all;
}

Values joined(Values a, const Values& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Neighbours are combined, then neighbours of these.
Values fold(std::vector<Values> all, const Combine& combine) {
  while (all.size() > 1) {
    std::vector<Values> fewer;
    for (size_t i = 0; i + 1 < all.size(); i += 2)
      fewer.push_back(combine(joined(all[i], all[i + 1])));
    if (all.size() % 2) fewer.push_back(all.back());
    all = std::move(fewer);
  }
  return all[0];
}

// Behind it nothing is computed once more for each of its readers.
Values computed(const Builder& build, const Values& v) {
  std::vector<Type> types;
  types.reserve(v.size());
  for (const Value* value : v) types.push_back(value->type);
  Op* barrier = build.op(OpId::optimization_barrier, v, types);
  Values results;
  for (int i = 0; i < barrier->result_count(); ++i) results.push_back(barrier->result(i));
  return results;
}

// --- reduce -------------------------------------------------------------------------------------

// Leaves one element of the axis. What is left over of each step comes behind all of the later
// ones.
Values fold_axis(const Builder& build, Values v, size_t axis, int64_t each,
                 const Combine& combine) {
  std::vector<Values> rests;
  while (v[0]->type.dims[axis] > 1) {
    const int64_t size = v[0]->type.dims[axis], k = std::min(size, each), count = size / k;
    std::vector<Values> rest, all;
    for (int64_t i = count * k; i < size; ++i) rest.push_back(parts(build, v, axis, i, 1, 1));
    for (int64_t i = 0; i < k; ++i) all.push_back(parts(build, v, axis, i, k, count));
    if (!rest.empty()) rests.push_back(fold(std::move(rest), combine));
    v = fold(std::move(all), combine);
    if (count > 1) v = computed(build, v);
  }
  for (; !rests.empty(); rests.pop_back()) v = combine(joined(std::move(v), rests.back()));
  return v;
}

bool is_folded_by_kernels(OpId combiner, DType dtype) {
  return combiner == OpId::add || !ir::is_complex(dtype);
}

void expand_reduce(Op* op) {
  const Region& region = op->region();
  const int count = op->result_count();
  const Dims& dims = op->operand(0)->type.dims;
  if (ir::element_count(dims) == 0) return;
  const Builder build(op);
  const auto operands = op->operands();
  if (const auto simple = ir::simple_combiners(region)) {
    bool all = true;
    for (int i = 0; i < count; ++i)
      all = all && is_folded_by_kernels((*simple)[i], operands[i]->type.dtype);
    if (all && count == 1) return;
    if (all) {
      Values results;
      for (int i = 0; i < count; ++i)
        results.push_back(build.reduce_onto(operands[count + i], (*simple)[i], operands[i],
                                            op->ints("dimensions")));
      return replace(op, results);
    }
  }
  if (!is_liftable(region)) return;
  const Combine combine = lifted(build, region);
  constexpr int64_t kOps = 160;  // of one step
  const int64_t each = std::clamp<int64_t>(kOps / op_count(region), 4, 64);
  Values v(operands.begin(), operands.begin() + count), init;
  Ints axes = op->ints("dimensions");
  std::sort(axes.rbegin(), axes.rend());
  for (const int64_t axis : axes)
    v = fold_axis(build, std::move(v), static_cast<size_t>(axis), each, combine);
  for (int i = 0; i < count; ++i) {
    v[i] = build.reshape(v[i], op->result(i)->type.dims);
    init.push_back(build.broadcast(operands[count + i], op->result(i)->type.dims, {}));
  }
  replace(op, combine(joined(std::move(init), v)));
}

// --- windows ------------------------------------------------------------------------------------

struct Window {
  int64_t size, stride, low, base, dilation, input, output;

  int64_t reach() const { return (output - 1) * stride + (size - 1) * dilation + 1; }
};

// Of every dimension; nothing where there are more positions than can be counted.
std::vector<Window> windows_of(const Op& op, const Dims& input, const Dims& output) {
  std::vector<Window> windows;
  const bool dilates = op.find("base_dilations") != nullptr;
  for (size_t d = 0; d < input.size(); ++d) {
    const Window w{op.ints("window_dimensions")[d],
                   op.ints("window_strides")[d],
                   op.ints("padding")[2 * d],
                   dilates ? op.ints("base_dilations")[d] : 1,
                   dilates ? op.ints("window_dilations")[d] : 1,
                   input[d],
                   output[d]};
    constexpr auto kMost = static_cast<double>(kMostPositions);
    const double reach = static_cast<double>(w.output) * static_cast<double>(w.stride) +
                         static_cast<double>(w.size) * static_cast<double>(w.dilation);
    const double padded = std::abs(static_cast<double>(w.low)) +
                          static_cast<double>(w.input) * static_cast<double>(w.base);
    if (reach > kMost || padded > kMost) return {};
    windows.push_back(w);
  }
  return windows;
}

// What the windows touch, with dilation and padding filled by `value`.
Value* padded(const Builder& build, Value* v, Value* value, const std::vector<Window>& windows) {
  Ints low, high, interior;
  Dims dims;
  bool changes = false;
  for (const Window& w : windows) {
    low.push_back(w.low);
    high.push_back(w.reach() - w.low - ((w.input - 1) * w.base + 1));
    interior.push_back(w.base - 1);
    dims.push_back(w.reach());
    changes |= low.back() != 0 || high.back() != 0 || interior.back() != 0;
  }
  if (!changes) return v;
  return build.value(OpId::pad, {v, value}, v->type.with(dims),
                     attributes({{"edge_padding_low", Attr(low)},
                                 {"edge_padding_high", Attr(high)},
                                 {"interior_padding", Attr(interior)}}));
}

// Cell by cell in row-major order, onto `total` if it is not empty.
Values fold_cells(const Builder& build, const Values& v, const std::vector<Window>& windows,
                  Values total, const Combine& combine) {
  int64_t cells = 1;
  for (const Window& w : windows) cells *= w.size;
  for (int64_t cell = 0; cell < cells; ++cell) {
    Values elements = v;
    int64_t rest = cell;
    for (size_t d = windows.size(); d-- > 0;) {
      const Window& w = windows[d];
      elements = parts(build, elements, d, rest % w.size * w.dilation, w.stride, w.output);
      rest /= w.size;
    }
    total = total.empty() ? std::move(elements) : combine(joined(std::move(total), elements));
  }
  return total;
}

// Windows of 1, 2, 4, ... cells at every position, of which those of any size are made.
Values fold_doubling(const Builder& build, Values power, size_t axis, const Window& w,
                     const Combine& combine) {
  Values total;
  int64_t done = 0;
  const auto both = [&](const Values& a, const Values& b, int64_t apart) {
    const int64_t count = b[0]->type.dims[axis] - apart;
    return combine(
        joined(parts(build, a, axis, 0, 1, count), parts(build, b, axis, apart, 1, count)));
  };
  for (int64_t width = 1; width <= w.size; width *= 2) {
    if (w.size & width) {
      total = total.empty() ? power : both(total, power, done * w.dilation);
      done += width;
    }
    if (2 * width <= w.size) power = computed(build, both(power, power, width * w.dilation));
  }
  return parts(build, total, axis, 0, w.stride, w.output);
}

// For combiners that may be regrouped and reordered: dimension by dimension from the last.
Values fold_separably(const Builder& build, Values v, const std::vector<Window>& windows,
                      const Combine& combine) {
  int64_t cells = 1;  // of which each value is made since they were computed
  for (size_t d = windows.size(); d-- > 0;) {
    const Window& w = windows[d];
    const bool is_short = w.size <= kUnrolled;
    if (cells > 1 && cells * w.size > kUnrolled) {
      v = computed(build, v);
      cells = 1;
    }
    cells *= w.size;
    if (!is_short) {
      v = fold_doubling(build, std::move(v), d, w, combine);
      continue;
    }
    std::vector<Values> all;
    for (int64_t k = 0; k < w.size; ++k)
      all.push_back(parts(build, v, d, k * w.dilation, w.stride, w.output));
    v = fold(std::move(all), combine);
  }
  return v;
}

void expand_window(Op* op) {
  const Region& region = op->region();
  const int count = op->result_count();
  const Dims& dims = op->result()->type.dims;
  const auto operands = op->operands();
  const auto windows = windows_of(*op, operands[0]->type.dims, dims);
  const auto simple = ir::simple_combiners(region);
  double cells = 1;
  for (const Window& w : windows) cells *= static_cast<double>(w.size);
  const bool is_empty = ir::element_count(dims) == 0 || operands[0]->type.size() == 0;
  if (windows.empty() || is_empty || !is_liftable(region)) return;
  if (!simple && cells > kMostCells) return;
  const Builder build(op);
  const Combine combine = lifted(build, region);
  // Sums of short floats are kept in float32 until the end.
  const DType dtype = operands[0]->type.dtype;
  const bool widens = simple && count == 1 && (*simple)[0] == OpId::add && is_half(dtype);
  const Combine add = [&](const Values& v) { return Values{build.binary(OpId::add, v[0], v[1])}; };
  Values v, init;
  for (int i = 0; i < count; ++i) {
    const auto wide = [&](Value* x) { return widens ? build.convert(x, DType::f32) : x; };
    v.push_back(padded(build, wide(operands[i]), wide(operands[count + i]), windows));
    init.push_back(build.broadcast(wide(operands[count + i]), dims, {}));
  }
  const Combine& used = widens ? add : combine;
  if (simple) {
    v = used(joined(std::move(init), fold_separably(build, std::move(v), windows, used)));
  } else {
    v = fold_cells(build, v, windows, std::move(init), used);
  }
  if (widens) v[0] = build.convert(v[0], dtype);
  replace(op, v);
}

// --- select_and_scatter -------------------------------------------------------------------------

// The flat position of the selected element of each window, -1 where a window has none.
Value* selected(const Builder& build, Value* operand, const std::vector<Window>& windows,
                const Region& select) {
  const Type flat(DType::s32, {operand->type.size()});
  Value* positions = build.reshape(
      build.value(OpId::iota, {}, flat, attributes({{"iota_dimension", Attr(int64_t{0})}})),
      operand->type.dims);
  const Combine pick = [&](const Values& v) {
    Value* zero = build.splat(v[1]->type, 0);
    Value* is_better = lift(build, select, {v[0], v[2]}, v[0]->type.dims)[0];
    Value* other_is_none = build.compare(Direction::lt, v[3], zero);
    Value* keeps = build.binary(OpId::and_, build.compare(Direction::ge, v[1], zero),
                                build.binary(OpId::or_, other_is_none, is_better));
    return Values{build.select(keeps, v[0], v[2]), build.select(keeps, v[1], v[3])};
  };
  const Values all{padded(build, operand, build.splat(operand->type.with(Dims{}), 0), windows),
                   padded(build, positions, build.splat(Type(DType::s32, {}), -1), windows)};
  return fold_cells(build, all, windows, {}, pick)[1];
}

void expand_select_and_scatter(Op* op) {
  Value *operand = op->operand(0), *source = op->operand(1), *init = op->operand(2);
  const Type type = op->result()->type;
  const auto windows = windows_of(*op, operand->type.dims, source->type.dims);
  double cells = 1;
  for (const Window& w : windows) cells *= static_cast<double>(w.size);
  const bool is_empty = type.size() == 0 || source->type.size() == 0;
  if (ir::simple_combiner(op->region(1)) != OpId::add || type.dtype == DType::pred) return;
  if (windows.empty() || is_empty || cells > kMostCells || type.size() > kMostPositions) return;
  if (!is_liftable(op->region(0))) return;
  const Builder build(op);
  Value* positions = selected(build, operand, windows, op->region(0));
  const DType dtype = is_half(type.dtype) ? DType::f32 : type.dtype;
  const int64_t count = source->type.size();
  Value* result = build.broadcast(build.convert(init, dtype), {type.size()}, {});
  Op* scatter = build.op(OpId::scatter,
                         {result, build.reshape(positions, {count, 1}),
                          build.reshape(build.convert(source, dtype), {count})},
                         {result->type},
                         attributes({{"update_window_dims", Attr(Ints{})},
                                     {"inserted_window_dims", Attr(Ints{0})},
                                     {"input_batching_dims", Attr(Ints{})},
                                     {"scatter_indices_batching_dims", Attr(Ints{})},
                                     {"scatter_dims_to_operand_dims", Attr(Ints{0})},
                                     {"index_vector_dim", Attr(int64_t{1})},
                                     {"indices_are_sorted", Attr(Attr::Value(false))},
                                     {"unique_indices", Attr(Attr::Value(false))}}));
  build.add_combiner(scatter, OpId::add, result->type.with(Dims{}));
  replace(op, build.convert(build.reshape(scatter->result(), type.dims), type.dtype));
}

// --- types that MLX has not ---------------------------------------------------------------------

bool is_narrow(DType dtype) {
  return ir::is_small_float(dtype) || (ir::is_int(dtype) && ir::bit_width(dtype) < 8);
}

// The op gives a wider type, which is then converted.
void widen_result(Op* op, DType wide) {
  const Type type = op->result()->type;
  const Builder build(op);
  replace(op, build.convert(build.value(op->id, op->operands(), type.with(wide), op->attrs),
                            type.dtype));
}

void expand(Op* op) {
  switch (op->id) {
    case OpId::reduce:
      return expand_reduce(op);
    case OpId::reduce_window:
      return expand_window(op);
    case OpId::select_and_scatter:
      return expand_select_and_scatter(op);
    case OpId::iota:
      if (is_narrow(op->result()->type.dtype)) widen_result(op, DType::s32);
      return;
    case OpId::dot_general:
    case OpId::convolution: {
      const DType dtype = op->result()->type.dtype;
      if (ir::is_int(dtype) && is_narrow(dtype))
        widen_result(op, ir::is_signed_int(dtype) ? DType::s8 : DType::u8);
      return;
    }
    default:
      return;
  }
}

void expand_in(Region& region, const ir::Target& target) {
  for (Op* op : region) {
    const ir::Target& inside = ir::target_of(*op, target);
    if (inside.runs_native) continue;
    if (op->id == OpId::while_ || op->id == OpId::case_) {
      for (const auto& nested : op->regions()) expand_in(*nested, inside);
    } else {
      expand(op);
    }
  }
}

}  // namespace

void expand_combiners(ir::Module& module, const ir::Target& target) {
  for (const auto& function : module.functions) expand_in(function->body, target);
}

}  // namespace jaxmps::passes
