// Whether an op can be computed where a group reads it.
#include "ir/gather_dims.h"
#include "passes/fuse_groups.h"

namespace jaxmps::passes {

DimMap identity(size_t rank) {
  DimMap map(rank);
  for (size_t d = 0; d < rank; ++d) map[d] = static_cast<int>(d);
  return map;
}

bool same_dims(const DimMap& map, const ir::Dims& dims, const DimMap& other) {
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] != 1 && map[d] != other[d]) return false;
  }
  return true;
}

// How `user`, read at `map`, reads its operand.
std::optional<DimMap> RegionFuser::operand_map(const Op& user, int operand,
                                               const std::optional<DimMap>& map,
                                               const Group& g) const {
  if (!map) return std::nullopt;
  const ir::Dims& dims = user.operand(operand)->type.dims;
  DimMap result(dims.size(), kOne);
  switch (user.id) {
    case OpId::broadcast_in_dim:
      for (size_t d = 0; d < dims.size(); ++d) {
        if (dims[d] != 1)
          result[d] = (*map)[static_cast<size_t>(user.ints("broadcast_dimensions")[d])];
      }
      return result;
    case OpId::transpose:
      for (size_t d = 0; d < dims.size(); ++d) {
        result[static_cast<size_t>(user.ints("permutation")[d])] = (*map)[d];
      }
      return result;
    case OpId::reshape: {
      // Only dimensions of extent 1 come or go; anything else is a move.
      const ir::Dims& to = user.result()->type.dims;
      size_t t = 0;
      for (size_t d = 0; d < dims.size(); ++d) {
        if (dims[d] == 1) continue;
        while (t < to.size() && to[t] == 1) ++t;
        if (t == to.size() || to[t] != dims[d]) return std::nullopt;
        result[d] = (*map)[t++];
      }
      return result;
    }
    case OpId::reduce:
      return operand == 0 ? identity(g.shape.size()) : result;
    case OpId::gather: {
      if (operand == 0) return std::nullopt;
      const auto indices = ir::GatherDims::of_gather(user);
      const auto batch = indices.batch_dims(user.result()->type.rank());
      const auto to = indices.indices_batch(static_cast<int64_t>(dims.size()));
      if (user.ints("start_index_map").size() > 1) return std::nullopt;
      for (size_t k = 0; k < to.size(); ++k) {
        const size_t d = static_cast<size_t>(to[k]);
        if (dims[d] != 1) result[d] = (*map)[static_cast<size_t>(batch[k])];
      }
      return result;
    }
    case OpId::slice:
    case OpId::reverse:
    case OpId::pad:
    case OpId::concatenate:
      return dims.empty() ? std::optional<DimMap>(result) : std::nullopt;
    default:
      return dims.size() == map->size() ? map : std::optional<DimMap>(result);
  }
}

const Member* RegionFuser::member(const Group& g, int op) const {
  const auto it = std::find_if(g.members.begin(), g.members.end(),
                               [op](const Member& m) { return m.op == op; });
  return it == g.members.end() ? nullptr : &*it;
}

// How the group reads the op; nothing when it does not. Looks through the members, which are few,
// not the uses, of which a constant has thousands.
std::optional<RegionFuser::Reading> RegionFuser::reading_of(const Op& op, const Group& g) const {
  std::optional<Reading> all;
  for (const Member& m : g.members) {
    const Op& user = *ops_[static_cast<size_t>(m.op)].op;
    for (int i = 0; i < user.operand_count(); ++i) {
      const Value* value = user.operand(i);
      if (value->op() != &op) continue;
      auto map = operand_map(user, i, m.map, g);
      if (!all)
        all = Reading{std::move(map), false};
      else if (!all->map || !map || !same_dims(*all->map, value->type.dims, *map))
        all->map = std::nullopt;
      all->is_gathered |= m.is_gathered || (user.id == OpId::gather && i == 0);
    }
  }
  return all;
}

// Makes a loop over a reduction's result a walk over its operand.
bool RegionFuser::walk_reduction(const Op& op, Group* g) {
  const ir::Dims& shape = op.operand(0)->type.dims;
  std::vector<bool> reduced(shape.size(), false);
  for (int64_t d : op.ints("dimensions")) reduced[static_cast<size_t>(d)] = true;
  DimMap kept;
  int64_t count = 1;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (reduced[d])
      count *= shape[d];
    else
      kept.push_back(static_cast<int>(d));
  }
  // Work on the results of short rows is done one element at a time.
  constexpr int64_t kShortRow = 16;
  const bool row = !shape.empty() && reduced.back();
  if (row && count < kShortRow && g->members.size() > 2) {
    refusal_ = "many short rows";
    return false;
  }
  for (Member& m : g->members) {
    if (!m.map) continue;
    for (int& d : *m.map) d = d == kOne ? kOne : kept[static_cast<size_t>(d)];
  }
  g->shape = shape;
  g->reduced = reduced;
  g->has_element_root = false;
  return true;
}

namespace {

// Whether the target can walk the rows or columns of the reduction again.
bool rows_are_kept(const Op& reduce, const ir::Target& target) {
  int64_t length = 1;
  for (const int64_t d : reduce.ints("dimensions"))
    length *= reduce.operand(0)->type.dims[static_cast<size_t>(d)];
  return length <= target.longest_row;
}

}  // namespace

bool RegionFuser::fits_reduce(const Op& op, Group* g, const std::optional<DimMap>& map) {
  const ir::Dims& shape = op.operand(0)->type.dims;
  refusal_ = "the reduction is read at moved positions";
  if (!map) return false;
  std::vector<bool> reduced(shape.size(), false);
  for (int64_t d : op.ints("dimensions")) reduced[static_cast<size_t>(d)] = true;
  if (shape == g->shape) {
    refusal_ = "another reduction of the group has other dimensions";
    if (!g->reduced.empty() && g->reduced != reduced) return false;
    DimMap kept;
    for (size_t d = 0; d < shape.size(); ++d) {
      if (!reduced[d]) kept.push_back(static_cast<int>(d));
    }
    refusal_ = "the reduction is read at moved positions";
    if (!same_dims(*map, op.result()->type.dims, kept)) return false;
    refusal_ = "its elements would be walked again with its result";
    if (!rows_are_kept(op, target_) && is_reread(op, *g)) return false;
    if (g->reduced.empty()) g->reduced = reduced;
    return true;
  }
  refusal_ = "the group walks another shape";
  const bool plain_loop = g->reduced.empty() && g->shape == op.result()->type.dims &&
                          same_dims(*map, g->shape, identity(g->shape.size()));
  return plain_loop && walk_reduction(op, g);
}

// Whether members that are computed for every walked element depend on the reduction.
bool RegionFuser::is_reread(const Op& reduce, const Group& g) const {
  std::vector<const Op*> pending{&reduce};
  std::unordered_set<const Op*> seen{&reduce};
  while (!pending.empty()) {
    const Op* op = pending.back();
    pending.pop_back();
    for (int r = 0; r < op->result_count(); ++r) {
      for (const ir::Use* use = op->result(r)->first_use(); use; use = use->next) {
        const int user = index_of(use->owner);
        const Member* m = user < 0 ? nullptr : member(g, user);
        if (!m || !seen.insert(use->owner).second) continue;
        if (!m->map || use->owner->result()->type.size() >= ir::element_count(g.shape)) return true;
        pending.push_back(use->owner);
      }
    }
  }
  return false;
}

bool RegionFuser::has_short_slices(const Op& gather, const Group& g) const {
  // The index is one for each row, however short.
  const bool is_row = !g.reduced.empty() && g.reduced.back();
  if (is_row) return false;
  // Nor is a whole array converted for the sake of a few slices.
  const Op* source = gather.operand(0)->op();
  if (index_of(source) >= 0 && source->is(ir::traits::elementwise) &&
      source->operand_count() == 1 && !is_expensive(*source) && source->result()->has_one_use() &&
      source->result()->type.size() >= gather.result()->type.size()) {
    return false;
  }
  const ir::Dims& dims = gather.result()->type.dims;
  const ir::Ints& window = gather.ints("offset_dims");
  int64_t run = 1;
  for (size_t d = dims.size(), w = window.size(); d-- > 0;) {
    const bool inside = w > 0 && window[w - 1] == static_cast<int64_t>(d);
    if (!inside && dims[d] != 1) break;
    run *= dims[d];
    w -= inside ? 1 : 0;
  }
  return run > 1 && run < target_.shortest_slice;
}

// Whether a value that is dear to compute would be computed about once, as the group reads it.
bool RegionFuser::fits_once(const OpInfo& info, const std::optional<DimMap>& map, const Group& g) {
  const int64_t count = info.op->result()->type.size(), walked = ir::element_count(g.shape);
  if (count <= 1) return true;
  if (count < walked) {
    // It depends on leading dimensions alone, or on those that are kept.
    bool once = map.has_value() && !g.shape.empty() && g.shape.back() >= 32;
    if (once) {
      for (int d : *map) once &= d != static_cast<int>(g.shape.size()) - 1;
    }
    if (!g.reduced.empty() && map) {
      bool kept = true;
      for (int d : *map) kept &= d == kOne || !g.reduced[static_cast<size_t>(d)];
      once |= kept;
    }
    refusal_ = "expensive and read many times";
    return once;
  }
  refusal_ = "expensive and read at moved positions";
  // A gather moves all the same, unless several places of the group read it.
  return map || (info.kind == FuseClass::gather && info.op->result()->has_one_use());
}

bool RegionFuser::fits(int index, const Group& g, bool as_output, Member* out) {
  const OpInfo& info = ops_[static_cast<size_t>(index)];
  const Op& op = *info.op;
  refusal_ = "the group is full";
  if (static_cast<int>(g.members.size()) >= options_.max_ops) return false;
  int more = 0;
  for (int i = 0; i < op.operand_count(); ++i) more += !g.inputs.count(op.operand(i));
  const int operands = static_cast<int>(g.inputs.size()) + more - 1;
  if (operands + options_.max_results >= target_.max_buffers) return false;  // one for scratch
  if (as_output && g.outputs + op.result_count() > options_.max_results) return false;
  const auto read = reading_of(op, g);
  refusal_ = "the group does not read it";
  if (!read) return false;
  const std::optional<DimMap>& map = read->map;
  if (as_output) {
    refusal_ = "it is needed elsewhere and is not of the walked shape";
    if (!map || op.result()->type.dims != g.shape ||
        !same_dims(*map, g.shape, identity(g.shape.size()))) {
      return false;
    }
  }
  refusal_ = "short slices";
  if (info.kind == FuseClass::gather && has_short_slices(op, g)) return false;
  const bool is_dear =
      info.kind == FuseClass::gather || (is_expensive(op) && info.kind != FuseClass::reduce);
  if (is_dear && !fits_once(info, map, g)) return false;
  if (read->is_gathered && info.kind != FuseClass::constant) {
    // Each array that it is made of would be gathered.
    int arrays = 0;
    for (int i = 0; i < op.operand_count(); ++i) {
      const int k = index_of(op.operand(i)->op());
      arrays += k < 0 || ops_[static_cast<size_t>(k)].kind != FuseClass::constant;
    }
    refusal_ = "read through a gather";
    if (arrays != 1 || is_dear || !op.is(ir::traits::elementwise)) return false;
  }
  *out = {index, map, read->is_gathered};
  return true;
}

}  // namespace jaxmps::passes
