// Reshapes, broadcasts, transposes and the like that do nothing, or that compose.
#include <algorithm>
#include <cmath>

#include "ir/combiner.h"
#include "passes/canonicalize.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

bool is_identity_op(const Op* op) { return op->operand(0)->type == op->result()->type; }

Replacement reshape(Op* op) {
  Value* from = op->operand(0);
  if (is_identity_op(op)) return {from};
  if (is_op(from, OpId::reshape)) {
    return {Builder(op).reshape(from->op()->operand(0), op->result()->type.dims)};
  }
  // A broadcast of one element is one in every shape.
  if (is_op(from, OpId::broadcast_in_dim) && from->op()->operand(0)->type.is_scalar()) {
    return {Builder(op).broadcast(from->op()->operand(0), op->result()->type.dims, {})};
  }
  return {};
}

Replacement transpose(Op* op) {
  Value* from = op->operand(0);
  const Ints& permutation = op->ints("permutation");
  if (is_identity(permutation)) return {from};
  if (is_op(from, OpId::transpose)) {
    Ints composed;
    for (int64_t dim : permutation) composed.push_back(from->op()->ints("permutation")[dim]);
    return {Builder(op).transpose(from->op()->operand(0), composed)};
  }
  if (!from->type.is_static()) return {};
  // Moving dimensions of size 1 among others moves no element.
  int64_t last = -1;
  for (int64_t dim : permutation) {
    if (from->type.dims[dim] == 1) continue;
    if (dim < last) return {};
    last = dim;
  }
  return {Builder(op).reshape(from, op->result()->type.dims)};
}

Replacement broadcast_in_dim(Op* op) {
  Value* from = op->operand(0);
  const Ints& dims = op->ints("broadcast_dimensions");
  const Type& to = op->result()->type;
  if (is_identity_op(op) && is_identity(dims)) return {from};
  if (!from->type.is_static() || !to.is_static()) return {};
  if (is_op(from, OpId::broadcast_in_dim)) {
    Ints composed;
    for (int64_t dim : from->op()->ints("broadcast_dimensions")) composed.push_back(dims[dim]);
    return {Builder(op).broadcast(from->op()->operand(0), to.dims, composed)};
  }
  if (from->type.size() == 1 && from->type.rank() > 0) {
    return {Builder(op).broadcast(Builder(op).reshape(from, {}), to.dims, {})};
  }
  if (from->type.size() != to.size()) return {};
  // Nothing is repeated: a reshape, if the order stays.
  int64_t last = -1;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (from->type.dims[i] == 1) continue;
    if (dims[i] < last) return {};
    last = dims[i];
  }
  return {Builder(op).reshape(from, to.dims)};
}

// A slice that lies within one operand of a concatenation.
Value* slice_of_concatenate(Op* op) {
  const Op* joined = op->operand(0)->op();
  const int64_t dim = joined->i64("dimension");
  Ints start = op->ints("start_indices"), limit = op->ints("limit_indices");
  int64_t offset = 0;
  for (Value* part : joined->operands()) {
    const int64_t size = part->type.dims[dim];
    if (start[dim] >= offset && limit[dim] <= offset + size) {
      start[dim] -= offset;
      limit[dim] -= offset;
      return Builder(op).slice(part, op->result()->type, start, limit, op->ints("strides"));
    }
    offset += size;
  }
  return nullptr;
}

Replacement slice(Op* op) {
  Value* from = op->operand(0);
  if (!from->type.is_static()) return {};
  if (is_identity_op(op)) return {from};
  const Ints &start = op->ints("start_indices"), &strides = op->ints("strides");
  if (is_op(from, OpId::slice)) {
    const Op* outer = from->op();
    Ints first = outer->ints("start_indices"), last = first, step = outer->ints("strides");
    for (size_t i = 0; i < first.size(); ++i) {
      const int64_t count = op->result()->type.dims[i];
      first[i] += start[i] * step[i];
      step[i] *= strides[i];
      last[i] = count == 0 ? first[i] : first[i] + (count - 1) * step[i] + 1;
      // Of a single element any step does.
      if (count <= 1) step[i] = 1;
    }
    return {Builder(op).slice(outer->operand(0), op->result()->type, first, last, step)};
  }
  if (is_op(from, OpId::concatenate) && op->result()->type.size() > 0) {
    if (Value* part = slice_of_concatenate(op)) return {part};
  }
  return {};
}

Replacement pad(Op* op) {
  for (std::string_view list : {"edge_padding_low", "edge_padding_high", "interior_padding"}) {
    for (int64_t amount : op->ints(list)) {
      if (amount != 0) return {};
    }
  }
  return {op->operand(0)};
}

// Slices of a row that lie side by side in it, joined as rows of any shape: one slice.
Value* join_of_neighbours(Op* op) {
  const int64_t dim = op->i64("dimension");
  const Dims& to = op->result()->type.dims;
  if (std::any_of(to.begin(), to.begin() + dim, [](int64_t extent) { return extent != 1; }))
    return nullptr;
  Value* whole = nullptr;
  int64_t first = 0, next = 0;
  for (Value* part : op->operands()) {
    if (is_op(part, OpId::reshape)) part = part->op()->operand(0);
    if (!is_op(part, OpId::slice)) return nullptr;
    const Op* slice = part->op();
    Value* from = slice->operand(0);
    const Dims& dims = from->type.dims;
    const auto row = std::find_if(dims.begin(), dims.end(), [](int64_t n) { return n != 1; });
    if (row == dims.end() || *row != from->type.size()) return nullptr;
    const auto at = static_cast<size_t>(row - dims.begin());
    const int64_t start = slice->ints("start_indices")[at];
    if (slice->ints("strides")[at] != 1 || (whole && (from != whole || start != next)))
      return nullptr;
    if (!whole) first = start;
    whole = from;
    next = start + part->type.size();
  }
  const Builder build(op);
  Value* row = build.reshape(whole, {whole->type.size()});
  const Type type(whole->type.dtype, {next - first});
  return build.reshape(build.slice(row, type, {first}, {next}, {1}), to);
}

Replacement concatenate(Op* op) {
  if (op->operand_count() == 1) return {op->operand(0)};
  const int64_t dim = op->i64("dimension");
  std::vector<Value*> kept;
  for (Value* operand : op->operands()) {
    if (operand->type.dims[dim] != 0) kept.push_back(operand);
  }
  if (kept.empty()) return {op->operand(0)};
  if (kept.size() == static_cast<size_t>(op->operand_count())) {
    Value* joined = op->result()->type.is_static() ? join_of_neighbours(op) : nullptr;
    return joined ? Replacement{joined} : Replacement{};
  }
  return {Builder(op).value(OpId::concatenate, kept, op->result()->type, op->attrs)};
}

// The dimension along which a padded value has a zero behind each element, or before each.
std::optional<int64_t> gaps(const Value* value, bool is_behind) {
  if (!is_op(value, OpId::pad) || !is_splat_of(value->op()->operand(1), 0)) return std::nullopt;
  const Op* op = value->op();
  const Ints &low = op->ints("edge_padding_low"), &high = op->ints("edge_padding_high"),
             &interior = op->ints("interior_padding");
  std::optional<int64_t> found;
  for (size_t d = 0; d < low.size(); ++d) {
    if (low[d] == 0 && high[d] == 0 && interior[d] == 0) continue;
    const bool takes_turns =
        interior[d] == 1 && low[d] == (is_behind ? 0 : 1) && high[d] == (is_behind ? 1 : 0);
    if (!takes_turns || found) return std::nullopt;
    found = static_cast<int64_t>(d);
  }
  return found;
}

// Two arrays whose elements take turns, which the sum of two padded ones says: they are beside each
// other along a dimension of their own. A sum makes -0 a 0.
Replacement interleave(Op* op) {
  const Type& type = op->result()->type;
  Value *a = op->operand(0), *b = op->operand(1);
  if (!gaps(a, true)) std::swap(a, b);
  const auto dim = gaps(a, true);
  if (!dim || gaps(b, false) != dim || !type.is_static()) return {};
  const Builder build(op);
  ir::Dims dims = type.dims;
  const auto at = static_cast<size_t>(*dim);
  dims[at] /= 2;
  dims.insert(dims.begin() + *dim + 1, 1);
  Value *first = build.reshape(a->op()->operand(0), dims),
        *second = build.reshape(b->op()->operand(0), dims);
  dims[at + 1] = 2;
  Value* both = build.value(OpId::concatenate, {first, second}, type.with(std::move(dims)),
                            attributes({{"dimension", Attr(*dim + 1)}}));
  Value* turns = build.reshape(both, type.dims);
  const bool is_exact = !ir::is_float(type.dtype) && !ir::is_complex(type.dtype);
  return {is_exact ? turns : build.binary(OpId::add, turns, build.splat(type, 0))};
}

Replacement reverse(Op* op) {
  Ints kept;
  for (int64_t dim : op->ints("dimensions")) {
    if (op->operand(0)->type.dims[dim] != 1) kept.push_back(dim);
  }
  if (kept.empty()) return {op->operand(0)};
  if (kept.size() == op->ints("dimensions").size()) return {};
  op->set_attr("dimensions", Attr(kept));
  return {op->result()};
}

Replacement bitcast(Op* op) {
  Value* from = op->operand(0);
  if (is_identity_op(op)) return {from};
  if (!is_op(from, OpId::bitcast_convert)) return {};
  Value* source = from->op()->operand(0);
  const bool same_shape =
      source->type.dims == from->type.dims && from->type.dims == op->result()->type.dims;
  if (!same_shape) return {};
  if (source->type == op->result()->type) return {source};
  return {Builder(op).value(OpId::bitcast_convert, {source}, op->result()->type)};
}

Replacement iota_of_one(Op* op) {
  const Type& type = op->result()->type;
  if (!type.is_static() || type.dims[op->i64("iota_dimension")] != 1) return {};
  return {Builder(op).splat(type, 0)};
}

// A reduction over dimensions of size 1 (or none) combines each element with the initial value.
Replacement reduce(Op* op) {
  if (op->operand_count() != 2 || !op->operand(0)->type.is_static()) return {};
  Value *input = op->operand(0), *init = op->operand(1);
  for (int64_t dim : op->ints("dimensions")) {
    if (input->type.dims[dim] != 1) return {};
  }
  const auto combiner = ir::simple_combiner(op->region());
  const Type& type = op->result()->type;
  if (!combiner || input->type.dtype != type.dtype || init->type.dtype != type.dtype) return {};
  const bool neutral = (*combiner == OpId::maximum && is_splat_of(init, -INFINITY)) ||
                       (*combiner == OpId::minimum && is_splat_of(init, INFINITY));
  const Builder build(op);
  Value* reshaped = build.reshape(input, type.dims);
  if (neutral) return {reshaped};
  return {build.binary(*combiner, build.broadcast(init, type.dims, {}), reshaped)};
}

}  // namespace

void add_shape_rules(CanonicalRules& rules) {
  rules.add(OpId::reshape, reshape);
  rules.add(OpId::transpose, transpose);
  rules.add(OpId::broadcast_in_dim, broadcast_in_dim);
  rules.add(OpId::slice, slice);
  rules.add(OpId::pad, pad);
  rules.add(OpId::concatenate, concatenate);
  rules.add(OpId::add, interleave);
  rules.add(OpId::or_, interleave);
  rules.add(OpId::reverse, reverse);
  rules.add(OpId::bitcast_convert, bitcast);
  rules.add(OpId::iota, iota_of_one);
  rules.add(OpId::reduce, reduce);
}

}  // namespace jaxmps::passes
