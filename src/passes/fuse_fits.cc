// Whether an op can be computed where a group reads it.
#include <algorithm>

#include "passes/fuse_groups.h"

namespace jaxmps::passes {

IndexMap kept_map(const std::vector<bool>& reduced) {
  IndexMap kept;
  const IndexMap all = fusion::identity_map(reduced.size());
  for (size_t d = 0; d < reduced.size(); ++d) {
    if (!reduced[d]) kept.push_back(all[d]);
  }
  return kept;
}

// How `user`, read at `map`, reads its operand.
std::optional<IndexMap> RegionFuser::operand_map(const Op& user, int operand,
                                                 const std::optional<IndexMap>& map,
                                                 const Group& g) const {
  if (!map) return std::nullopt;
  if (user.id == OpId::reduce && operand == 0) return fusion::identity_map(g.shape.size());
  std::optional<fusion::Split> unused;
  auto in = fusion::operand_map(user, operand, *map, g.shape, &unused);
  const bool is_whole = in && is_plain(*in, user.operand(operand)->type.dims, g.shape);
  return is_whole ? std::move(in) : std::nullopt;
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
      else if (!all->map || !map || !reads_alike(*all->map, *map, value->type.dims))
        all->map = std::nullopt;
      const bool gathers = user.id == OpId::gather || user.id == OpId::dynamic_slice;
      all->is_gathered |= m.is_gathered || (gathers && i == 0);
    }
  }
  return all;
}

std::vector<bool> reduced_dims(const Op& reduce) {
  std::vector<bool> reduced(reduce.operand(0)->type.dims.size(), false);
  for (int64_t d : reduce.ints("dimensions")) reduced[static_cast<size_t>(d)] = true;
  return reduced;
}

// Makes a loop over a reduction's result a walk over its operand.
bool RegionFuser::walk_reduction(const Op& op, Group* g) {
  const ir::Dims& shape = op.operand(0)->type.dims;
  const std::vector<bool> reduced = reduced_dims(op);
  int64_t count = 1;
  for (size_t d = 0; d < shape.size(); ++d) count *= reduced[d] ? shape[d] : 1;
  // Work on the results of short rows is done one element at a time.
  constexpr int64_t kShortRow = 16;
  const bool row = !shape.empty() && reduced.back();
  if (row && count < kShortRow && g->members.size() > 2) {
    refusal_ = "many short rows";
    return false;
  }
  const IndexMap kept = kept_map(reduced);
  for (Member& m : g->members) {
    if (m.map) m.map = compose(*m.map, kept, shape.size());
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

bool RegionFuser::fits_reduce(const Op& op, Group* g, const std::optional<IndexMap>& map) {
  const ir::Dims& shape = op.operand(0)->type.dims;
  refusal_ = "the reduction is read at moved positions";
  if (!map) return false;
  const std::vector<bool> reduced = reduced_dims(op);
  if (shape == g->shape) {
    refusal_ = "another reduction of the group has other dimensions";
    if (!g->reduced.empty() && g->reduced != reduced) return false;
    refusal_ = "the reduction is read at moved positions";
    if (!reads_alike(*map, kept_map(reduced), op.result()->type.dims)) return false;
    refusal_ = "its elements would be walked again with its result";
    if (!rows_are_kept(op, target_) && is_reread(op, *g)) return false;
    if (g->reduced.empty()) g->reduced = reduced;
    return true;
  }
  refusal_ = "the group walks another shape";
  const bool plain_loop = g->reduced.empty() && g->shape == op.result()->type.dims &&
                          reads_alike(*map, fusion::identity_map(g->shape.size()), g->shape);
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
  if (is_row || gather.id == OpId::dynamic_slice) return false;
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
bool RegionFuser::fits_once(const OpInfo& info, const std::optional<IndexMap>& map,
                            const Group& g) {
  const int64_t count = info.op->result()->type.size(), walked = ir::element_count(g.shape);
  if (count <= 1) return true;
  if (count < walked) {
    // It depends on leading dimensions alone, or on those that are kept.
    const auto follows = [&](size_t axis) {
      return std::any_of(map->begin(), map->end(),
                         [axis](const auto& dim) { return dim.strides[axis] != 0; });
    };
    bool once = map && !g.shape.empty() && g.shape.back() >= 32 && !follows(g.shape.size() - 1);
    if (!g.reduced.empty() && map) {
      bool kept = true;
      for (size_t a = 0; a < g.shape.size(); ++a) kept &= !g.reduced[a] || !follows(a);
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
  // What a reduction sums comes along: it would be as large as all that is read.
  constexpr int kSummedOps = 8;
  const int coming = info.kind == FuseClass::constant ? 0
                     : info.kind == FuseClass::reduce ? 1 + kSummedOps
                                                      : 1;
  if (g.ops + coming > options_.max_ops) return false;
  int more = info.kind == FuseClass::reduce ? 1 : 0;
  for (int i = 0; i < op.operand_count(); ++i) {
    const Value& value = *op.operand(i);
    more += !is_constant(value) && !g.inputs.count(&value);
  }
  const int operands = static_cast<int>(g.inputs.size()) + more - 1;
  if (operands + options_.max_results >= target_.max_buffers) return false;  // one for scratch
  if (as_output && g.outputs + op.result_count() > options_.max_results) return false;
  const auto read = reading_of(op, g);
  refusal_ = "the group does not read it";
  if (!read) return false;
  const std::optional<IndexMap>& map = read->map;
  if (as_output) {
    refusal_ = "it is needed elsewhere and is not of the walked shape";
    if (!map || op.result()->type.dims != g.shape ||
        !reads_alike(*map, fusion::identity_map(g.shape.size()), g.shape)) {
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
      arrays += !is_constant(*op.operand(i));
    }
    refusal_ = "read through a gather";
    if (arrays != 1 || is_dear || !op.is(ir::traits::elementwise)) return false;
  }
  *out = {index, map, read->is_gathered};
  return true;
}

}  // namespace jaxmps::passes
