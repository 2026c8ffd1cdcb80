// Reductions and windows whose combiners no kernel folds with: the combiner becomes elementwise ops
// on slices, which the fusion compiler takes. Elements are combined in their order.
#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <unordered_map>

#include "ir/combiner.h"
#include "ir/float_format.h"
#include "ir/window.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

using Values = std::vector<Value*>;
using Direction = ir::CompareDirection;
using ir::WindowDim;
using ir::WindowDims;

// Combines arrays of one shape: so many accumulators, then as many elements.
using Combine = std::function<Values(const Values&)>;

constexpr int64_t kMostPositions = std::numeric_limits<int32_t>::max();
constexpr int64_t kUnrolled = 16;  // cells along an axis of windows that are folded by doubling

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
  return build.slice(v, v->type.with(dims), from, to, strides);
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
  return build.op(OpId::optimization_barrier, v, ir::types_of(v))->results();
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

// Whether the region is the reducer of an arg-max or arg-min over (values, indices): the better
// value wins, NaN beats all, and the lower index breaks ties.
std::optional<OpId> arg_reducer(const Region& region) {
  const DType type = region.arg(0)->type.dtype;
  if (region.arg_count() != 4 || ir::is_complex(type)) return std::nullopt;
  using namespace ir::match;  // NOLINT(google-build-using-namespace)
  const auto x = same(region.arg(0)), i = same(region.arg(1));
  const auto y = same(region.arg(2)), j = same(region.arg(3));
  const auto tie = op(OpId::and_, compare(Direction::eq, x, y), compare(Direction::lt, i, j));
  const auto picks = [&](const auto& pick) {
    const Op* end = region.terminator();
    return matches(end->operand(0), op(OpId::select, pick, x, y)) &&
           matches(end->operand(1), op(OpId::select, op(OpId::or_, pick, tie), i, j));
  };
  for (const bool is_max : {true, false}) {
    const auto better = compare(is_max ? Direction::gt : Direction::lt, x, y);
    if (picks(op(OpId::or_, better, compare(Direction::ne, x, x))) ||
        (!ir::is_float(type) && picks(better)))
      return is_max ? OpId::maximum : OpId::minimum;
  }
  return std::nullopt;
}

// The position of the largest or smallest element along one dimension: the smallest of those whose
// elements are the extremum, or NaN. Only what numbers the elements from 0 on is read so, and the
// extremum itself is for the other forms, where it may be another zero.
bool expand_arg_reduce(Op* op) {
  const Ints& axes = op->ints("dimensions");
  const auto extremum = arg_reducer(op->region());
  if (!extremum || axes.size() != 1 || !op->result(0)->unused()) return false;
  Value *x = op->operand(0), *indices = op->operand(1), *init = op->operand(2);
  const Op* numbers = indices->op();
  const int64_t length = x->type.dims[static_cast<size_t>(axes[0])];
  const DType dtype = indices->type.dtype;
  if (!numbers || numbers->id != OpId::iota || numbers->i64("iota_dimension") != axes[0] ||
      (dtype != DType::s32 && dtype != DType::s64) || length > kMostPositions ||
      !ir::is_splat_of(op->operand(3), 0))
    return false;
  const Builder build(op);
  const Dims dims = op->result(1)->type.dims;
  Value* best = build.reduce_onto(init, *extremum, x, axes);
  const auto is_best = [&](Value* value, Value* found) {
    return build.binary(OpId::or_, build.compare(Direction::eq, value, found),
                        build.compare(Direction::ne, value, value));
  };
  Ints kept = iota(x->type.rank());
  kept.erase(kept.begin() + axes[0]);
  Value* spread = build.broadcast(best, x->type.dims, kept);
  Value* none = build.splat(indices->type, static_cast<double>(length));
  Value* first = build.reduce(OpId::minimum, build.select(is_best(x, spread), indices, none),
                              static_cast<double>(length), axes);
  Value* from_init = is_best(build.broadcast(init, dims, {}), best);
  Value* zero = build.splat(first->type, 0);
  op->result(1)->replace_all_uses_with(build.select(from_init, zero, first));
  op->erase();
  return true;
}

// One element after the other onto the initial values, in a loop.
void fold_in_order(Op* op) {
  const int count = op->result_count();
  const auto operands = op->operands();
  const Dims kept = op->result()->type.dims;
  Ints order = op->ints("dimensions");
  std::sort(order.begin(), order.end());
  const Ints reduced = order;
  int64_t length = 1;
  for (const int64_t axis : reduced) length *= operands[0]->type.dims[static_cast<size_t>(axis)];
  for (const int64_t axis : iota(operands[0]->type.rank())) {
    if (!std::binary_search(reduced.begin(), reduced.end(), axis)) order.push_back(axis);
  }
  Dims all = kept, one = kept;
  all.insert(all.begin(), length);
  one.insert(one.begin(), 1);
  const Builder build(op);
  const Type index(DType::s64, {});
  Values carried{build.splat(index, 0)}, elements;
  for (int i = 0; i < count; ++i) {
    carried.push_back(build.broadcast(operands[count + i], kept, {}));
    elements.push_back(build.reshape(build.transpose(operands[i], order), all));
  }
  const std::vector<Type> types = ir::types_of(carried);
  Op* loop = build.op(OpId::while_, carried, types);
  loop->discardable.push_back({"mps.trip_count", Attr(length)});
  const auto add_region = [&](const Values& returned) {
    Region* region = loop->add_region();
    for (const Type& type : types) region->add_arg(type);
    return region->append(Op::create(OpId::return_, returned, {}, {}, op->location));
  };
  Op* verdict = add_region({carried[0]});
  verdict->set_operand(0, Builder(verdict).splat(Type(DType::pred, {}), 1));
  Op* end = add_region(carried);
  const Builder inside(end);
  const Region& body = *end->parent();
  Values next{inside.binary(OpId::add, body.arg(0), inside.splat(index, 1))}, v, results;
  for (int i = 0; i < count; ++i) v.push_back(body.arg(i + 1));
  for (Value* whole : elements) {
    Values sliced{whole, body.arg(0)};
    sliced.resize(1 + all.size(), inside.splat(index, 0));
    v.push_back(inside.reshape(inside.value(OpId::dynamic_slice, sliced, whole->type.with(one),
                                            {{"slice_sizes", Attr(Ints(one))}}),
                               kept));
  }
  end->set_operands(joined(std::move(next), lift(inside, op->region(), v, kept)));
  for (int i = 0; i < count; ++i) results.push_back(loop->result(i + 1));
  replace(op, results);
}

void expand_reduce(Op* op, bool in_order) {
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
  if (!is_liftable(region) || expand_arg_reduce(op)) return;
  if (in_order) return fold_in_order(op);
  const Combine combine = lifted(build, region);
  constexpr int64_t kOps = 160;  // of one step
  const int64_t each = std::clamp<int64_t>(kOps / region.op_count(), 4, 64);
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

// Whether an op for each cell would be too many.
bool are_many(const WindowDims& windows) {
  double cells = 1;
  for (const WindowDim& w : windows) cells *= static_cast<double>(w.window);
  return cells > 256;
}

// What the windows touch, with dilation and padding filled by `value`.
Value* padded(const Builder& build, Value* v, Value* value, const WindowDims& windows) {
  Ints low, high, interior;
  bool changes = false;
  for (const WindowDim& w : windows) {
    low.push_back(w.pad_low);
    high.push_back(w.reach() - w.pad_low - ((w.in - 1) * w.base_dilation + 1));
    interior.push_back(w.base_dilation - 1);
    changes |= low.back() != 0 || high.back() != 0 || interior.back() != 0;
  }
  return changes ? build.pad(v, value, low, high, interior) : v;
}

// Cell by cell in row-major order, onto `total` if it is not empty.
Values fold_cells(const Builder& build, const Values& v, const WindowDims& windows, Values total,
                  const Combine& combine) {
  int64_t cells = 1;
  for (const WindowDim& w : windows) cells *= w.window;
  for (int64_t cell = 0; cell < cells; ++cell) {
    Values elements = v;
    int64_t rest = cell;
    for (size_t d = windows.size(); d-- > 0;) {
      const WindowDim& w = windows[d];
      elements = parts(build, elements, d, rest % w.window * w.window_dilation, w.stride, w.out);
      rest /= w.window;
    }
    total = total.empty() ? std::move(elements) : combine(joined(std::move(total), elements));
  }
  return total;
}

// Windows of 1, 2, 4, ... cells at every position, of which those of any size are made.
Values fold_doubling(const Builder& build, Values power, size_t axis, const WindowDim& w,
                     const Combine& combine) {
  Values total;
  int64_t done = 0;
  const auto both = [&](const Values& a, const Values& b, int64_t apart) {
    const int64_t count = b[0]->type.dims[axis] - apart;
    return combine(
        joined(parts(build, a, axis, 0, 1, count), parts(build, b, axis, apart, 1, count)));
  };
  for (int64_t width = 1; width <= w.window; width *= 2) {
    if (w.window & width) {
      total = total.empty() ? power : both(total, power, done * w.window_dilation);
      done += width;
    }
    if (2 * width <= w.window)
      power = computed(build, both(power, power, width * w.window_dilation));
  }
  return parts(build, total, axis, 0, w.stride, w.out);
}

// Where the cells may be regrouped: dimension by dimension from the last.
Values fold_separably(const Builder& build, Values v, const WindowDims& windows,
                      const Combine& combine) {
  int64_t cells = 1;  // of which each value is made since they were computed
  for (size_t d = windows.size(); d-- > 0;) {
    const WindowDim& w = windows[d];
    const bool is_short = w.window <= kUnrolled;
    if (cells > 1 && cells * w.window > kUnrolled) {
      v = computed(build, v);
      cells = 1;
    }
    cells *= w.window;
    if (!is_short) {
      v = fold_doubling(build, std::move(v), d, w, combine);
      continue;
    }
    std::vector<Values> all;
    for (int64_t k = 0; k < w.window; ++k)
      all.push_back(parts(build, v, d, k * w.window_dilation, w.stride, w.out));
    v = fold(std::move(all), combine);
  }
  return v;
}

void expand_window(Op* op) {
  const Region& region = op->region();
  const int count = op->result_count();
  const Dims& dims = op->result()->type.dims;
  const auto operands = op->operands();
  const auto windows = ir::window_dims(*op);
  const auto simple = ir::simple_combiners(region);
  const bool is_empty = ir::element_count(dims) == 0 || operands[0]->type.size() == 0;
  if (is_empty || !ir::too_many_positions(windows).empty() || !is_liftable(region)) return;
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
  if (simple || are_many(windows)) {
    v = used(joined(std::move(init), fold_separably(build, std::move(v), windows, used)));
  } else {
    v = fold_cells(build, v, windows, std::move(init), used);
  }
  if (widens) v[0] = build.convert(v[0], dtype);
  replace(op, v);
}

// --- select_and_scatter -------------------------------------------------------------------------

// The flat position of the selected element of each window, -1 where a window has none.
Value* selected(const Builder& build, Value* operand, const WindowDims& windows,
                const Region& select) {
  const DType dtype = operand->type.size() > kMostPositions ? DType::s64 : DType::s32;
  const Type flat(dtype, {operand->type.size()});
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
                   padded(build, positions, build.splat(Type(dtype, {}), -1), windows)};
  return (are_many(windows) ? fold_separably(build, all, windows, pick)
                            : fold_cells(build, all, windows, {}, pick))[1];
}

void expand_select_and_scatter(Op* op) {
  Value *operand = op->operand(0), *source = op->operand(1), *init = op->operand(2);
  const Type type = op->result()->type;
  const auto windows = ir::window_dims(*op);
  const bool is_empty = type.size() == 0 || source->type.size() == 0;
  if (is_empty || !ir::too_many_positions(windows).empty() || !is_liftable(op->region(0))) return;
  const Builder build(op);
  Value* positions = selected(build, operand, windows, op->region(0));
  const bool widens = is_half(type.dtype) && ir::simple_combiner(op->region(1)) == OpId::add;
  const DType dtype = widens ? DType::f32 : type.dtype;
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
  if (widens) {
    build.add_combiner(scatter, OpId::add, result->type.with(Dims{}));
  } else {
    ir::ValueMap map;
    scatter->add_region()->copy_from(op->region(1), map);
  }
  replace(op, build.convert(build.reshape(scatter->result(), type.dims), type.dtype));
}

// --- types of products, and those that MLX has not ----------------------------------------------

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

// The type in which a product of integers or truth values, for which there is no kernel, is
// computed: float64 where it holds every sum of small integers, else the result's, in whose
// arithmetic it wraps. That there is any product of truth values does not get lost in float32.
std::optional<DType> exact_product_type(const Op& op) {
  constexpr int kDigits = 53;
  const DType out = op.result()->type.dtype;
  int64_t terms = std::numeric_limits<int64_t>::max();  // of a sum, at most
  int widest = 0, bits = 0;
  for (const Value* operand : op.operands()) {
    const Type& type = operand->type;
    const bool is_pred = type.dtype == DType::pred;
    const bool is_taken = is_pred || (out != DType::pred && ir::is_int(type.dtype));
    if (!is_taken || type.quantization) return std::nullopt;
    terms = std::min(terms, type.size());
    const int width = is_pred ? 1 : ir::bit_width(type.dtype);
    widest = std::max(widest, width);
    bits += width;
  }
  if (out == DType::pred) return DType::f32;
  if (!ir::is_int(out)) return std::nullopt;
  if (widest <= 16 && terms <= int64_t{1} << (kDigits - bits)) return DType::f64;
  return !is_narrow(out) ? out : ir::is_signed_int(out) ? DType::s8 : DType::u8;
}

void give_product_type(Op* op) {
  const auto wide = exact_product_type(*op);
  if (!wide) return;
  const Type type = op->result()->type;
  const Builder build(op);
  for (int i = 0; i < 2; ++i) op->set_operand(i, build.convert(op->operand(i), *wide));
  Value* product = build.value(op->id, op->operands(), type.with(*wide), op->attrs);
  // What the result cannot hold wraps.
  if (*wide == DType::f64) product = build.convert(product, DType::s64);
  replace(op, build.convert(product, type.dtype));
}

// What a GPU's part of a program leaves to MLX.
void give_known_type(Op* op) {
  const DType dtype = op->result_count() == 1 ? op->result()->type.dtype : DType::f32;
  if (!is_narrow(dtype)) return;
  if (op->id == OpId::iota) widen_result(op, DType::s32);
  if ((op->id == OpId::dot_general || op->id == OpId::convolution) && ir::is_int(dtype))
    widen_result(op, ir::is_signed_int(dtype) ? DType::s8 : DType::u8);
}

class Expander {
 public:
  explicit Expander(const HasKernel& has_kernel) : has_kernel_(has_kernel) {}

  void expand(Region& region, const ir::Target& target) const {
    for (Op* op : region) {
      if (op->id == OpId::while_ || op->id == OpId::case_) {
        const ir::Target& inside = ir::target_of(*op, target);
        for (const auto& nested : op->regions()) expand(*nested, inside);
      } else if (op->id == OpId::reduce) {
        expand_reduce(op, target.runs_native);
      } else if (op->id == OpId::reduce_window) {
        if (!has_kernel_(*op, target)) expand_window(op);
      } else if (op->id == OpId::select_and_scatter) {
        if (!has_kernel_(*op, target)) expand_select_and_scatter(op);
      } else if (!target.runs_native) {
        give_known_type(op);
      } else if (op->id == OpId::dot_general || op->id == OpId::convolution) {
        if (!has_kernel_(*op, target) && !sums_in_s32(op, target)) give_product_type(op);
      }
    }
  }

 private:
  // Integers of up to 16 bits are what wraps of the sum in 32, where there is a kernel for that.
  bool sums_in_s32(Op* op, const ir::Target& target) const {
    const Type type = op->result()->type;
    if (!ir::is_int(type.dtype) || ir::bit_width(type.dtype) > 16) return false;
    op->result()->type = type.with(DType::s32);
    const bool has_kernel = has_kernel_(*op, target);
    op->result()->type = type;
    if (has_kernel) widen_result(op, DType::s32);
    return has_kernel;
  }

  const HasKernel& has_kernel_;
};

}  // namespace

void expand_combiners(ir::Module& module, const ir::Target& target, const HasKernel& has_kernel) {
  for (const auto& function : module.functions) Expander(has_kernel).expand(function->body, target);
}

}  // namespace jaxmps::passes
