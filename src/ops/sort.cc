#include "kernels/cpu/sort.h"

#include <cmath>
#include <optional>

#include "ops/pieces.h"
#include "scalar/scalar.h"

namespace jaxmps::ops {
namespace {

using cpu::SortKey;
using ir::CompareDirection;

// ---- Recognising comparators that are lexicographic orders of keys ----

// A key together with the region argument it is computed from.
struct TracedKey {
  int arg = 0;
  SortKey key;
};

bool is_constant(const ir::Value* value, bool (*accept)(double)) {
  const ir::Op* op = value->op();
  if (!op || op->id != ir::OpId::constant) return false;
  const ir::Dense& dense = op->dense("value");
  return ir::is_float(dense.type.dtype) && dense.type.size() == 1 && accept(dense.float_at(0));
}
bool is_zero(double x) { return x == 0; }
// The NaN above all numbers, in a total order.
bool is_nan(double x) { return std::isnan(x) && !std::signbit(x); }

// Levels of selects and parts that a key may have; without a bound a chain of selects whose tests
// share their operands would be followed over and over.
constexpr int kDeepest = 4;

std::optional<TracedKey> trace(const ir::Region& region, const ir::Value* value, int depth = 0);

// select(x != x, NaN, key) and select(x == 0, 0, key): how clients make zeros and NaNs equal.
std::optional<TracedKey> trace_select(const ir::Region& region, const ir::Op& op, int depth) {
  const ir::Op* test = op.operand(0)->op();
  if (!test || test->id != ir::OpId::compare) return std::nullopt;
  // In a total order NaN equals itself, and the zeros differ.
  if (test->enum_attr<ir::CompareType>("compare_type") == ir::CompareType::total_order) {
    return std::nullopt;
  }
  auto key = trace(region, op.operand(2), depth);
  const auto tested = trace(region, test->operand(0), depth);
  if (!key || !tested || tested->arg != key->arg || tested->key.part != key->key.part) {
    return std::nullopt;
  }
  const auto direction = test->enum_attr<CompareDirection>("comparison_direction");
  if (direction == CompareDirection::ne && test->operand(0) == test->operand(1) &&
      is_constant(op.operand(1), is_nan)) {
    key->key.equal_nans = true;
    return key;
  }
  if (direction == CompareDirection::eq && is_constant(test->operand(1), is_zero) &&
      is_constant(op.operand(1), is_zero)) {
    key->key.equal_zeros = true;
    return key;
  }
  return std::nullopt;
}

std::optional<TracedKey> trace(const ir::Region& region, const ir::Value* value, int depth) {
  if (value->region() == &region) {
    TracedKey key;
    key.arg = value->index();
    key.key.operand = value->index() / 2;
    key.key.dtype = value->type.dtype;
    return key;
  }
  const ir::Op* op = value->op();
  if (!op || depth == kDeepest) return std::nullopt;
  if (op->id == ir::OpId::select) return trace_select(region, *op, depth + 1);
  if (op->id != ir::OpId::real && op->id != ir::OpId::imag) return std::nullopt;
  auto key = trace(region, op->operand(0), depth + 1);
  if (key) {
    key->key.part = op->id == ir::OpId::real ? SortKey::Part::real : SortKey::Part::imag;
  }
  return key;
}

// compare(key(lhs), key(rhs)) in either order; ascending if lhs < rhs.
std::optional<SortKey> compared_key(const ir::Region& region, const ir::Op* op, bool equality) {
  if (!op || op->id != ir::OpId::compare) return std::nullopt;
  auto a = trace(region, op->operand(0)), b = trace(region, op->operand(1));
  if (!a || !b || a->arg == b->arg || !(a->key == b->key)) return std::nullopt;
  const auto direction = op->enum_attr<CompareDirection>("comparison_direction");
  SortKey key = a->key;
  if (equality) {
    if (direction != CompareDirection::eq) return std::nullopt;
  } else if (direction == CompareDirection::lt || direction == CompareDirection::gt) {
    key.descending = (direction == CompareDirection::gt) != (a->arg > b->arg);
  } else {
    return std::nullopt;
  }
  if (op->enum_attr<ir::CompareType>("compare_type") != ir::CompareType::total_order) {
    // NaN is unordered in such a comparator, which then is no order: it goes to the end.
    key.equal_zeros = key.equal_nans = true;
  }
  return cpu::can_encode(key) ? std::optional(key) : std::nullopt;
}

bool lexicographic(const ir::Region& region, const ir::Value* value, std::vector<SortKey>* keys) {
  constexpr size_t kMostKeys = 64;
  const ir::Op* op = value->op();
  if (!op || keys->size() == kMostKeys) return false;
  if (auto key = compared_key(region, op, false)) {
    keys->push_back(*key);
    return true;
  }
  if (op->id != ir::OpId::or_) return false;
  for (int i = 0; i < 2; ++i) {
    const auto key = compared_key(region, op->operand(i)->op(), false);
    const ir::Op* both = op->operand(1 - i)->op();
    if (!key || !both || both->id != ir::OpId::and_) continue;
    for (int j = 0; j < 2; ++j) {
      auto equal = compared_key(region, both->operand(j)->op(), true);
      if (!equal) continue;
      equal->descending = key->descending;
      if (!(*equal == *key)) continue;
      keys->push_back(*key);
      return lexicographic(region, both->operand(1 - j), keys);
    }
  }
  return false;
}

cpu::SortPlan plan_sort(const OpContext& ctx) {
  cpu::SortPlan plan;
  const ir::Dims& dims = ctx.in(0).dims;
  int64_t dimension = ctx.op.i64("dimension");
  if (dimension < 0) dimension += static_cast<int64_t>(dims.size());
  for (int64_t d = 0; d < static_cast<int64_t>(dims.size()); ++d) {
    (d < dimension    ? plan.outer
     : d == dimension ? plan.n
                      : plan.inner) *= d == dimension ? 1 : dims[d];
  }
  plan.n = dims.empty() ? 1 : dims[dimension];
  for (int i = 0; i < ctx.op.operand_count(); ++i) {
    plan.element_bytes.push_back(ir::byte_size(ctx.in(i).dtype));
  }
  return plan;
}

// ---- Sorts that may take long ----

// Before how many elements of a sorted line each of some values comes.
mx::array search(const mx::array& line, const mx::array& values, const ir::Pace& pace) {
  const double bytes = static_cast<double>(values.size()) * (values.itemsize() + 4.0);
  const int64_t pieces = pace.pieces(pace.nanoseconds(0, bytes_of_sort(bytes, line.size())));
  return in_pieces(values.shape(0), pieces, 0, [&](int from, int to) {
    return mx::searchsorted(line, part_of(values, 0, from, to));
  });
}

// Of a line whose elements [0, split) and [split, n) are sorted.
mx::array merged(const mx::array& x, int split, const ir::Pace& pace) {
  const auto first = part_of(x, 0, 0, split), second = part_of(x, 0, split, x.shape(0));
  // Where those of the first run come to lie; how many of them lie before each place; which of all
  // elements comes there.
  const auto places = mx::add(search(second, first, pace), mx::arange(split, mx::uint32));
  const auto here = mx::arange(x.shape(0), mx::uint32);
  const auto before = search(places, here, pace);
  const auto next = mx::take(places, mx::minimum(before, u32(split - 1)), 0);
  const auto source =
      mx::where(mx::equal(next, here), before, mx::subtract(mx::add(here, u32(split)), before));
  return mx::take(x, source, 0);
}

mx::array sorted_line(const mx::array& x, int64_t pieces, const ir::Pace& pace) {
  if (pieces <= 1 || x.shape(0) < 2) return mx::sort(x, 0);
  const int split = x.shape(0) / 2;
  const auto half = [&](int from, int to) {
    return sorted_line(part_of(x, 0, from, to), (pieces + 1) / 2, pace);
  };
  return merged(mx::concatenate({half(0, split), half(split, x.shape(0))}, 0), split, pace);
}

// One sort of MLX, or where it takes long those of some rows each, or of parts of a row, which are
// merged.
mx::array sorted(const mx::array& x, int axis, const ir::Pace& pace) {
  const auto bytes = 2 * static_cast<double>(x.nbytes());
  const int64_t pieces = pace.pieces(pace.nanoseconds(0, bytes_of_sort(bytes, x.size())));
  if (pieces == 1) return mx::sort(x, axis);
  const auto moved = mx::contiguous(mx::moveaxis(x, axis, -1));
  const int n = x.shape(axis), rows = static_cast<int>(x.size() / n);
  const auto result =
      in_pieces(rows, pieces, 0, [&, lines = mx::reshape(moved, {rows, n})](int from, int to) {
        const auto some = part_of(lines, 0, from, to);
        if (to - from > 1) return mx::sort(some, 1);
        return mx::expand_dims(sorted_line(mx::squeeze(some, 0), (pieces - 1) / rows + 1, pace), 0);
      });
  return mx::moveaxis(mx::reshape(result, moved.shape()), -1, axis);
}

// ---- The graph: one sort of 64-bit words (key, position) per 32 bits of key ----

mx::array order_bits(const mx::array& bits, uint32_t sign) {
  return mx::where(mx::not_equal(mx::bitwise_and(bits, u32(sign)), u32(0)),
                   mx::bitwise_xor(bits, u32(0xffffffffu)), mx::bitwise_or(bits, u32(sign)));
}

// The key as 32-bit words of the same order, most significant first.
Arrays key_words(const SortKey& key, mx::array x) {
  if (key.part == SortKey::Part::real) x = mx::real(x);
  if (key.part == SortKey::Part::imag) x = mx::imag(x);
  const DType dtype = key.key_dtype();
  const uint32_t sign = 0x80000000u;
  Arrays words;
  if (ir::is_float(dtype)) {
    // Widening keeps the order of 16-bit floats.
    x = mx::astype(x, mx::float32);
    mx::array bits = mx::view(x, mx::uint32);
    if (key.equal_zeros) bits = mx::where(mx::equal(x, mx::array(0.0f)), u32(0), bits);
    if (key.equal_nans) bits = mx::where(mx::isnan(x), u32(0x7fffffffu), bits);
    words.push_back(order_bits(bits, sign));
  } else if (ir::byte_size(dtype) == 8) {
    mx::array wide = mx::view(x, mx::uint64);
    mx::array high = mx::astype(mx::right_shift(wide, mx::array(32, mx::uint64)), mx::uint32);
    if (ir::is_signed_int(dtype)) high = mx::bitwise_xor(high, u32(sign));
    words.push_back(high);
    words.push_back(
        mx::astype(mx::bitwise_and(wide, mx::array(0xffffffffu, mx::uint64)), mx::uint32));
  } else if (ir::is_signed_int(dtype)) {
    words.push_back(mx::bitwise_xor(mx::view(mx::astype(x, mx::int32), mx::uint32), u32(sign)));
  } else {
    words.push_back(mx::astype(x, mx::uint32));
  }
  if (key.descending) {
    for (mx::array& word : words) word = mx::bitwise_xor(word, u32(0xffffffffu));
  }
  return words;
}

// Positions that sort by `words`, most significant first.
mx::array sorted_positions(const Arrays& words, int axis, const ir::Pace& pace) {
  const mx::Shape shape = words[0].shape();
  mx::Shape line(shape.size(), 1);
  line[axis] = shape[axis];
  const mx::array position = mx::broadcast_to(
      mx::reshape(mx::astype(mx::arange(shape[axis], mx::uint32), mx::uint64), line), shape);
  std::optional<mx::array> order;
  for (size_t i = words.size(); i-- > 0;) {
    mx::array key = order ? mx::take_along_axis(words[i], *order, axis) : words[i];
    key = mx::left_shift(mx::astype(key, mx::uint64), mx::array(32, mx::uint64));
    const mx::array in_order = sorted(mx::bitwise_or(key, position), axis, pace);
    const mx::array at =
        mx::astype(mx::bitwise_and(in_order, mx::array(0xffffffffu, mx::uint64)), mx::uint32);
    order = order ? mx::take_along_axis(*order, at, axis) : at;
  }
  return *order;
}

Graph sort_graph(const OpContext& ctx, const std::vector<SortKey>& keys) {
  int64_t dimension = ctx.op.i64("dimension");
  if (dimension < 0) dimension += ctx.in(0).rank();
  const int axis = static_cast<int>(dimension);
  const bool trivial = ctx.in(0).dims.empty() || ctx.in(0).size() == 0;
  const int operands = ctx.op.operand_count();
  const SortKey& key = keys[0];
  // Integers that are their own key need no positions.
  const bool plain = operands == 1 && keys.size() == 1 && ir::is_int(key.dtype);
  // MLX sorts floats stably with NaN at the end.
  const bool plain_float = operands == 1 && keys.size() == 1 && ir::is_float(key.dtype) &&
                           key.equal_zeros && key.equal_nans && !key.descending;
  const bool invert = plain && key.descending;
  return [=, pace = ctx.target.pace](Inputs in) {
    Arrays out;
    if (trivial) {
      for (int i = 0; i < operands; ++i) out.push_back(in[i]);
      return out;
    }
    if (plain || plain_float) {
      const mx::array x = invert ? mx::bitwise_invert(in[0]) : in[0];
      const mx::array in_order = sorted(x, axis, pace);
      return one(invert ? mx::bitwise_invert(in_order) : in_order);
    }
    Arrays words;
    for (const SortKey& k : keys) {
      for (mx::array& word : key_words(k, in[k.operand])) words.push_back(std::move(word));
    }
    const mx::array order = sorted_positions(words, axis, pace);
    for (int i = 0; i < operands; ++i) out.push_back(mx::take_along_axis(in[i], order, axis));
    return out;
  };
}

Result<Native> general_native(const OpContext& ctx, const cpu::SortPlan& plan) {
  TRY(auto program, kernels::scalar_program(ctx.op.region()));
  const auto shared = std::make_shared<const kernels::ScalarProgram>(std::move(program));
  auto make_before = [shared, sizes = plan.element_bytes](const void* const* in) -> cpu::Before {
    std::vector<const char*> bases;
    for (size_t i = 0; i < sizes.size(); ++i) bases.push_back(static_cast<const char*>(in[i]));
    return [shared, sizes, bases, arguments = std::vector<const void*>(2 * sizes.size())](
               int64_t a, int64_t b) mutable {
      for (size_t i = 0; i < sizes.size(); ++i) {
        arguments[2 * i] = bases[i] + a * sizes[i];
        arguments[2 * i + 1] = bases[i] + b * sizes[i];
      }
      uint8_t before = 0;
      void* result = &before;
      kernels::evaluate(*shared, arguments.data(), &result);
      return before != 0;
    };
  };
  return Native(
      [=](const void* const* in, void* const* out) { cpu::sort_by(plan, make_before, in, out); });
}

}  // namespace

ANY_DTYPE_OP(sort) {
  cpu::SortPlan plan = plan_sort(ctx);
  const double elements = static_cast<double>(ctx.in(0).size());
  std::vector<SortKey> keys;
  if (!lexicographic(ctx.op.region(), ctx.op.region().terminator()->operand(0), &keys)) {
    TRY(auto general, general_native(ctx, plan));
    return everywhere(ctx, std::move(general), 100 + 2000 * elements);
  }
  plan.keys = keys;
  Lowering lowering =
      native([plan](const void* const* in, void* const* out) { cpu::sort(plan, in, out); },
             100 + 15 * elements * static_cast<double>(keys.size()));
  for (const SortKey& key : keys) lowering.on_host |= key.key_dtype() == DType::f64;
  if (!lowering.on_host) lowering.graph = sort_graph(ctx, keys);
  return lowering;
}

OP(top_k) {
  const ir::Type& type = ctx.in(0);
  if (ir::is_complex(type.dtype)) return ctx.fail("complex numbers have no order");
  const int64_t n = type.dims.back(), k = ctx.op.i64("k");
  const int64_t rows = n == 0 ? 0 : type.size() / n;
  const SortKey key{.operand = 0, .dtype = type.dtype, .descending = true};
  Lowering lowering = native(
      [=, dtype = type.dtype](const void* const* in, void* const* out) {
        cpu::top_k(dtype, rows, n, k, in[0], out[0], static_cast<int32_t*>(out[1]));
      },
      100 + 6.0 * static_cast<double>(type.size()));
  const mx::Shape shape = ctx.out_shape();
  if (type.dtype == DType::f64) {
    lowering.on_host = true;
    return lowering;
  }
  lowering.graph = [=, pace = ctx.target.pace](Inputs in) {
    const int axis = static_cast<int>(in[0].ndim()) - 1;
    const mx::array order = mx::slice(sorted_positions(key_words(key, in[0]), axis, pace),
                                      mx::Shape(shape.size(), 0), shape);
    return Arrays{mx::take_along_axis(in[0], order, axis), mx::astype(order, mx::int32)};
  };
  return lowering;
}

}  // namespace jaxmps::ops
