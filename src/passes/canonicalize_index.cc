// Dynamic slices, updates, gathers and scatters whose indices are known or that take one slice.
#include <algorithm>

#include "passes/canonicalize.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

// The constant start of one dimension, moved so that the slice fits, as StableHLO defines it.
std::optional<int64_t> clamped_start(const Value* index, int64_t size, int64_t slice) {
  const int64_t last = size - slice;
  if (last == 0) return 0;
  const auto start = constant_ints(index);
  if (!start || start->size() != 1) return std::nullopt;
  return std::clamp<int64_t>((*start)[0], 0, last);
}

Replacement dynamic_slice(Op* op) {
  Value* from = op->operand(0);
  if (!from->type.is_static()) return {};
  const Ints& sizes = op->ints("slice_sizes");
  Ints starts, limits;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const auto start =
        clamped_start(op->operand(static_cast<int>(i) + 1), from->type.dims[i], sizes[i]);
    if (!start) return {};
    starts.push_back(*start);
    limits.push_back(*start + sizes[i]);
  }
  return {Builder(op).slice(from, op->result()->type, starts, limits, Ints(sizes.size(), 1))};
}

Replacement dynamic_update_slice(Op* op) {
  Value *into = op->operand(0), *update = op->operand(1);
  if (!into->type.is_static()) return {};
  if (update->type == into->type) return {update};
  if (update->type.size() == 0) return {into};
  return {};
}

// A gather of a single slice is a dynamic slice: both move the start so that the slice fits.
Replacement gather_of_one_slice(Op* op) {
  Value *from = op->operand(0), *indices = op->operand(1);
  const Ints& map = op->ints("start_index_map");
  if (!from->type.is_static() || !indices->type.is_static() || map.empty()) return {};
  if (!op->ints("operand_batching_dims").empty()) return {};
  if (indices->type.size() != static_cast<int64_t>(map.size())) return {};
  const Builder build(op);
  const ir::DType index_type = indices->type.dtype;
  std::vector<Value*> operands{from};
  Value* zero = build.splat(Type(index_type, {}), 0);
  Value* index = build.reshape(indices, {indices->type.size()});
  for (int64_t dim = 0; dim < from->type.rank(); ++dim) {
    const auto at = std::find(map.begin(), map.end(), dim);
    operands.push_back(at == map.end() ? zero : build.element(index, at - map.begin()));
  }
  const Ints sizes = op->ints("slice_sizes");
  // Without dimensions of size 0, the kept window is the slice in the same order.
  Value* slice = build.value(OpId::dynamic_slice, operands, from->type.with(Dims(sizes)),
                             {{"slice_sizes", Attr(sizes)}});
  return {build.reshape(slice, op->result()->type.dims)};
}

// The combiner returns its second argument: updates overwrite.
bool overwrites(const ir::Region& region) {
  return region.arg_count() == 2 && region.terminator()->operand(0) == region.arg(1);
}

// A scatter that overwrites one slice inside the operand. (One that sticks out is dropped by
// scatter but moved by dynamic_update_slice, so the index must be known or the slice span it all.)
Replacement scatter_of_one_slice(Op* op) {
  if (op->operand_count() != 3 || !overwrites(op->region())) return {};
  Value *into = op->operand(0), *indices = op->operand(1), *updates = op->operand(2);
  const Ints& map = op->ints("scatter_dims_to_operand_dims");
  if (!into->type.is_static() || !updates->type.is_static() || !indices->type.is_static())
    return {};
  if (!op->ints("input_batching_dims").empty() || !(op->result()->type == into->type)) return {};
  if (indices->type.size() != static_cast<int64_t>(map.size()) || updates->type.size() == 0) {
    return {};
  }
  const auto starts = constant_ints(indices);
  if (!starts) return {};
  Dims window;
  size_t next = 0;
  for (int64_t dim = 0; dim < into->type.rank(); ++dim) {
    const bool inserted = ir::contains(op->ints("inserted_window_dims"), dim);
    window.push_back(inserted ? 1 : updates->type.dims[op->ints("update_window_dims")[next++]]);
  }
  const Builder build(op);
  std::vector<Value*> operands{into, build.reshape(updates, window)};
  for (int64_t dim = 0; dim < into->type.rank(); ++dim) {
    const auto at = std::find(map.begin(), map.end(), dim);
    const int64_t start = at == map.end() ? 0 : (*starts)[at - map.begin()];
    if (start < 0 || start > into->type.dims[dim] - window[dim]) return {};
    operands.push_back(build.splat(Type(indices->type.dtype, {}), double(start)));
  }
  return {build.value(OpId::dynamic_update_slice, operands, into->type)};
}

}  // namespace

void add_index_rules(CanonicalRules& rules) {
  rules.add(OpId::dynamic_slice, dynamic_slice);
  rules.add(OpId::dynamic_update_slice, dynamic_update_slice);
  rules.add(OpId::gather, gather_of_one_slice);
  rules.add(OpId::scatter, scatter_of_one_slice);
}

}  // namespace jaxmps::passes
