#include "passes/fuse.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "ir/gather_dims.h"
#include "passes/fuse_classify.h"

namespace jaxmps::passes {

using ir::Op;
using ir::OpId;
using ir::Region;
using ir::Value;

namespace {

// For each dimension of a value, the dimension of the group's walked shape it follows; kOne for
// dimensions of extent 1, which follow none.
using DimMap = std::vector<int>;
constexpr int kOne = -1;

struct Member {
  int op;
  std::optional<DimMap> map;  // nothing: read at moved positions
  bool is_gathered = false;   // read through a gather
};

// Ops that will be one fusion. Groups are placed where their last op is: an edge from one group (or
// lone op) to another always leads to a later place, so the result has no cycles.
struct Group {
  int place;
  ir::Dims shape;             // walked
  std::vector<bool> reduced;  // per dimension; empty: no reduction
  std::vector<Member> members;
  std::unordered_set<const Value*> inputs;
  int outputs = 0;
  bool has_element_root = false;  // some result has the walked shape
};

struct OpInfo {
  Op* op;
  FuseClass kind;
  std::string_view why;
  std::vector<int> groups;
  bool stays = true;        // also runs (or would run) outside of every group
  bool recomputed = false;  // by each of its groups
};

class RegionFuser {
 public:
  RegionFuser(Region* region, const FuseOptions& options) : region_(*region), options_(options) {}
  Status run();

 private:
  int place_of(const Op* user) const;
  void visit(int index);
  bool visit_copied(int index);
  bool visit_recomputed(int index);
  std::optional<std::vector<int>> readers_of(const Op& op) const;
  bool is_recomputed(const Op& op, int last_place) const;
  bool is_read_by_fusions(const Value& value) const;
  bool is_alive_at(const Value& value, int place) const;
  bool join(int index, int group, bool as_output);
  bool found(int index);
  bool fits(int index, const Group& g, bool as_output, Member* member);
  bool fits_reduce(const Op& op, Group* g, const std::optional<DimMap>& map);
  bool is_reread(const Op& reduce, const Group& g) const;
  bool is_gathered(const Op& op, const Group& g) const;
  bool has_short_slices(const Op& gather, const Group& g) const;
  bool fits_once(const OpInfo& info, const std::optional<DimMap>& map, const Group& g);
  bool walk_reduction(const Op& op, Group* g);
  std::optional<std::optional<DimMap>> read_map(const Op& op, const Group& g) const;
  std::optional<DimMap> operand_map(const Op& user, int operand, const std::optional<DimMap>& map,
                                    const Group& g) const;
  const Member* member(const Group& g, int op) const;
  int index_of(const Op* op) const;
  bool worthwhile(const Group& g) const;
  bool is_elsewhere_too(const Op* op) const;
  void materialize();
  void materialize(const Group& g);
  void clean_up();
  void note(const Op& op, std::string_view text);

  Region& region_;
  const FuseOptions& options_;
  std::vector<OpInfo> ops_;
  std::unordered_map<const Op*, int> index_;
  std::vector<Group> groups_;
  std::string_view refusal_;
  bool refused_gather_ = false;  // with a group that had one
};

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

int RegionFuser::index_of(const Op* op) const {
  auto it = op ? index_.find(op) : index_.end();
  return it == index_.end() ? -1 : it->second;
}

// Where a user is placed; users inside of nested regions count as the op that holds the region.
int RegionFuser::place_of(const Op* user) const {
  while (user && user->parent() != &region_) user = user->parent()->parent_op();
  const int i = index_of(user);
  if (i < 0) return std::numeric_limits<int>::max();
  const OpInfo& info = ops_[static_cast<size_t>(i)];
  int place = info.stays ? i : std::numeric_limits<int>::max();
  for (int g : info.groups) place = std::min(place, groups_[static_cast<size_t>(g)].place);
  return place;
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

// At which positions the group reads the op: the outer optional is empty when it does not. Looks
// through the members, which are few, not the uses, of which a constant has thousands.
std::optional<std::optional<DimMap>> RegionFuser::read_map(const Op& op, const Group& g) const {
  std::optional<std::optional<DimMap>> all;
  for (const Member& m : g.members) {
    const Op& user = *ops_[static_cast<size_t>(m.op)].op;
    for (int i = 0; i < user.operand_count(); ++i) {
      const Value* value = user.operand(i);
      if (value->op() != &op) continue;
      auto map = operand_map(user, i, m.map, g);
      if (!all)
        all = map;
      else if (!*all || !map || !same_dims(**all, value->type.dims, *map))
        *all = std::nullopt;
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
    if (options_.may_reread && !options_.may_reread(op) && is_reread(op, *g)) return false;
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

// Whether the group reads the op at positions that are data.
bool RegionFuser::is_gathered(const Op& op, const Group& g) const {
  for (const Member& m : g.members) {
    const Op& user = *ops_[static_cast<size_t>(m.op)].op;
    for (int i = 0; i < user.operand_count(); ++i) {
      if (user.operand(i)->op() != &op) continue;
      if (m.is_gathered || (user.id == OpId::gather && i == 0)) return true;
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
  return run > 1 && run < options_.shortest_slice;
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
  if (static_cast<int>(g.inputs.size()) + more - 1 > options_.max_operands) return false;
  if (as_output && g.outputs + op.result_count() > options_.max_results) return false;
  const auto read = read_map(op, g);
  refusal_ = "the group does not read it";
  if (!read) return false;
  const std::optional<DimMap>& map = *read;
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
  const bool gathered = is_gathered(op, g);
  if (gathered && info.kind != FuseClass::constant) {
    // Each array that it is made of would be gathered.
    int arrays = 0;
    for (int i = 0; i < op.operand_count(); ++i) {
      const int k = index_of(op.operand(i)->op());
      arrays += k < 0 || ops_[static_cast<size_t>(k)].kind != FuseClass::constant;
    }
    refusal_ = "read through a gather";
    if (arrays != 1 || is_dear || !op.is(ir::traits::elementwise)) return false;
  }
  *out = {index, map, gathered};
  return true;
}

bool RegionFuser::join(int index, int group, bool as_output) {
  Group& g = groups_[static_cast<size_t>(group)];
  OpInfo& info = ops_[static_cast<size_t>(index)];
  Member m;
  if (!fits(index, g, as_output, &m)) return false;
  if (info.kind == FuseClass::reduce) {
    if (!options_.reductions || as_output) {
      refusal_ = "a reduction that is needed elsewhere too";
      return false;
    }
    if (!fits_reduce(*info.op, &g, m.map)) return false;
    m.map = read_map(*info.op, g).value();
  }
  g.members.push_back(std::move(m));
  for (int r = 0; r < info.op->result_count(); ++r) g.inputs.erase(info.op->result(r));
  for (int i = 0; i < info.op->operand_count(); ++i) g.inputs.insert(info.op->operand(i));
  g.outputs += as_output ? info.op->result_count() : 0;
  info.groups.push_back(group);
  return true;
}

// Starts a group with the op as its last member.
bool RegionFuser::found(int index) {
  OpInfo& info = ops_[static_cast<size_t>(index)];
  const Op& op = *info.op;
  const bool copies = op.id == OpId::concatenate || op.id == OpId::pad;
  if (info.kind == FuseClass::movement && !copies) return false;
  if (info.kind == FuseClass::reduce && !options_.reductions) return false;
  Group g;
  g.place = index;
  g.shape = op.result()->type.dims;
  DimMap map = identity(g.shape.size());
  if (info.kind == FuseClass::reduce) {
    g.shape = op.operand(0)->type.dims;
    g.reduced.assign(g.shape.size(), false);
    for (int64_t d : op.ints("dimensions")) g.reduced[static_cast<size_t>(d)] = true;
    map.clear();
    for (size_t d = 0; d < g.shape.size(); ++d) {
      if (!g.reduced[d]) map.push_back(static_cast<int>(d));
    }
  }
  if (ir::element_count(g.shape) == 0) return false;
  g.outputs = op.result_count();
  for (int i = 0; i < op.operand_count(); ++i) g.inputs.insert(op.operand(i));
  g.members.push_back({index, std::move(map)});
  const int id = static_cast<int>(groups_.size());
  groups_.push_back(std::move(g));
  info.groups.push_back(id);
  info.stays = false;
  return true;
}

// The groups that read the op's results; nothing if something else does too.
std::optional<std::vector<int>> RegionFuser::readers_of(const Op& op) const {
  std::vector<int> readers;
  for (int r = 0; r < op.result_count(); ++r) {
    for (const ir::Use* use = op.result(r)->first_use(); use; use = use->next) {
      const int user = index_of(use->owner);
      if (user < 0 || ops_[static_cast<size_t>(user)].stays) return std::nullopt;
      for (int g : ops_[static_cast<size_t>(user)].groups) {
        if (std::find(readers.begin(), readers.end(), g) == readers.end()) readers.push_back(g);
      }
    }
  }
  return readers;
}

// Ops that are copied into every group that reads them; what reads them elsewhere keeps the op.
bool RegionFuser::visit_copied(int index) {
  OpInfo& info = ops_[static_cast<size_t>(index)];
  const Op& op = *info.op;
  bool all = !op.unused();
  std::vector<int> readers;
  std::unordered_set<int> known;
  for (int r = 0; r < op.result_count(); ++r) {
    for (const ir::Use* use = op.result(r)->first_use(); use; use = use->next) {
      const int user = index_of(use->owner);
      if (user < 0 || ops_[static_cast<size_t>(user)].stays) all = false;
      if (user < 0) continue;
      for (int g : ops_[static_cast<size_t>(user)].groups) {
        if (known.insert(g).second) readers.push_back(g);
      }
    }
  }
  constexpr size_t kMaxCopies = 32;
  if (readers.size() > kMaxCopies && info.kind != FuseClass::constant) return false;
  for (int g : readers) all &= join(index, g, false);
  info.stays = !all;
  return !info.groups.empty();
}

// Whether the value is read at this place, or behind it, by what is placed already.
bool RegionFuser::is_alive_at(const Value& value, int place) const {
  for (const ir::Use* use = value.first_use(); use; use = use->next) {
    const int user = place_of(use->owner);
    if (user >= place && user != std::numeric_limits<int>::max()) return true;
  }
  return false;
}

// Whether nothing reads the value that cannot be in a fusion.
bool RegionFuser::is_read_by_fusions(const Value& value) const {
  for (const ir::Use* use = value.first_use(); use; use = use->next) {
    const int user = index_of(use->owner);
    if (user < 0 || ops_[static_cast<size_t>(user)].kind == FuseClass::none) return false;
  }
  return true;
}

// Whether each reader had better compute the op anew than one of them store it for all: its
// elements take a few cheap ops on values of which all but one are in memory at the last reader
// anyway. Where the readers are far apart, as the forward and the backward pass are, this is what
// keeps the memory of a train step small; where they are close, it still saves a write.
bool RegionFuser::is_recomputed(const Op& op, int last_place) const {
  constexpr int kMaxOps = 8;
  constexpr int64_t kSmall = 8;  // what has a part of the size counts for nothing
  const int64_t bytes = op.result()->type.byte_count();
  std::vector<const Op*> pending{&op};
  std::unordered_set<const Value*> seen;
  int ops = 1, kept = 0;
  while (!pending.empty()) {
    const Op& next = *pending.back();
    pending.pop_back();
    for (int i = 0; i < next.operand_count(); ++i) {
      const Value& value = *next.operand(i);
      if (value.type.byte_count() <= bytes / kSmall || !seen.insert(&value).second) continue;
      const int source = index_of(value.op());
      if (source < 0) return false;  // an argument may be overwritten before the last reader
      const OpInfo& info = ops_[static_cast<size_t>(source)];
      if (info.kind == FuseClass::constant) continue;
      const bool free = info.op->id == OpId::broadcast_in_dim || info.op->id == OpId::reshape;
      const bool cheap = info.kind == FuseClass::elementwise && !is_expensive(*info.op);
      if (free || (cheap && is_read_by_fusions(value))) {
        if (!free && ++ops > kMaxOps) return false;
        pending.push_back(info.op);
      } else if (!is_alive_at(value, last_place) && ++kept > 1) {
        return false;
      }
    }
  }
  return true;
}

// A cheap op that several groups read and nothing else joins all of them, or none.
bool RegionFuser::visit_recomputed(int index) {
  constexpr size_t kMaxReaders = 4;
  OpInfo& info = ops_[static_cast<size_t>(index)];
  const Op& op = *info.op;
  if (info.kind != FuseClass::elementwise || is_expensive(op) || op.result_count() != 1)
    return false;
  if (op.result()->type.byte_count() < options_.min_recomputed_bytes) return false;
  const auto readers = readers_of(op);
  if (!readers || readers->size() < 2 || readers->size() > kMaxReaders) return false;
  int last = 0;
  for (int g : *readers) last = std::max(last, groups_[static_cast<size_t>(g)].place);
  if (!is_recomputed(op, last)) return false;
  Member unused;
  for (int g : *readers) {
    if (!fits(index, groups_[static_cast<size_t>(g)], false, &unused)) return false;
  }
  for (int g : *readers) join(index, g, false);
  info.stays = false;
  info.recomputed = true;
  return true;
}

void RegionFuser::visit(int index) {
  OpInfo& info = ops_[static_cast<size_t>(index)];
  const Op& op = *info.op;
  if (info.kind == FuseClass::none || op.unused()) return;
  if (info.kind == FuseClass::constant || info.kind == FuseClass::movement) {
    if (visit_copied(index) || info.kind == FuseClass::constant) return;
    if (!found(index)) info.why = "an index map that no group reads";
    return;
  }
  if (info.kind == FuseClass::gather) info.why = "a gather that no group reads";
  if (visit_recomputed(index)) return;
  // The only candidate is the earliest reader: whatever else reads the op comes after it.
  int first = std::numeric_limits<int>::max(), group = -1, readers = 0;
  bool outside = false;
  for (int r = 0; r < op.result_count(); ++r) {
    for (const ir::Use* use = op.result(r)->first_use(); use; use = use->next, ++readers) {
      const int place = place_of(use->owner);
      if (place >= first) continue;
      first = place;
      group = -1;
      const int user = index_of(use->owner);
      if (user < 0 || (ops_[static_cast<size_t>(user)].stays && place == user)) continue;
      for (int g : ops_[static_cast<size_t>(user)].groups) {
        if (groups_[static_cast<size_t>(g)].place == place) group = g;
      }
    }
  }
  constexpr int kMaxFanout = 32;
  if (group >= 0 && readers <= kMaxFanout) {
    for (int r = 0; r < op.result_count(); ++r) {
      for (const ir::Use* use = op.result(r)->first_use(); use; use = use->next) {
        const int user = index_of(use->owner);
        const OpInfo* u = user < 0 ? nullptr : &ops_[static_cast<size_t>(user)];
        outside |= !u || u->stays || u->groups.size() != 1 || u->groups[0] != group;
      }
    }
    if (join(index, group, outside)) {
      info.stays = false;
      return;
    }
    info.why = refusal_;
  }
  if (info.kind != FuseClass::gather) found(index);
}

Status RegionFuser::run() {
  for (Op* op : region_) {
    if (has_program_regions(*op)) {
      for (auto& region : op->regions()) CHECK_OK(RegionFuser(region.get(), options_).run());
    }
    OpInfo info{op, FuseClass::none, {}, {}};
    info.kind = classify(*op, &info.why);
    if (info.kind == FuseClass::gather && !options_.gathers) info.kind = FuseClass::none;
    index_[op] = static_cast<int>(ops_.size());
    ops_.push_back(std::move(info));
  }
  for (int i = static_cast<int>(ops_.size()) - 1; i >= 0; --i) visit(i);
  materialize();
  if (!refused_gather_) return {};
  // What had no kernel with its gathers may have one without.
  FuseOptions without = options_;
  without.gathers = false;
  return RegionFuser(&region_, without).run();
}

void RegionFuser::note(const Op& op, std::string_view text) {
  if (options_.dump) *options_.dump += str(ir::brief(op), ": ", text, '\n');
}

// Puts the ops of a fusion that was refused back in its place.
void take_apart(Op* fusion) {
  std::unordered_map<Value*, Value*> map;
  Region& body = fusion->region();
  for (int i = 0; i < body.arg_count(); ++i) map[body.arg(i)] = fusion->operand(i);
  for (Op* op : body) {
    if (op == body.terminator()) break;
    fusion->parent()->insert_before(fusion, op->clone(map));
  }
  Op* end = body.terminator();
  for (int i = 0; i < end->operand_count(); ++i) {
    fusion->result(i)->replace_all_uses_with(map.at(end->operand(i)));
  }
  fusion->erase();
}

bool RegionFuser::worthwhile(const Group& g) const {
  int real = 0;
  for (const Member& m : g.members) {
    const FuseClass kind = ops_[static_cast<size_t>(m.op)].kind;
    real += kind == FuseClass::elementwise || kind == FuseClass::reduce;
  }
  return real > 1 || (real == 1 && (options_.single_ops || g.members.size() > 1));
}

// Whether the op, a member of some group, is computed outside of it as well.
bool RegionFuser::is_elsewhere_too(const Op* op) const {
  const OpInfo& info = ops_[static_cast<size_t>(index_of(op))];
  return info.stays || info.groups.size() > 1;
}

void RegionFuser::materialize(const Group& g) {
  std::vector<int> order;
  for (const Member& m : g.members) order.push_back(m.op);
  std::sort(order.begin(), order.end());
  std::unordered_set<const Op*> inside;
  for (int i : order) inside.insert(ops_[static_cast<size_t>(i)].op);
  std::vector<Value*> inputs, outputs;
  std::unordered_set<const Value*> seen;
  std::vector<ir::Type> types;
  for (int i : order) {
    Op* op = ops_[static_cast<size_t>(i)].op;
    for (int k = 0; k < op->operand_count(); ++k) {
      Value* v = op->operand(k);
      if (!inside.count(v->op()) && seen.insert(v).second) inputs.push_back(v);
    }
    // Copies of an op have no results of their own: those who read it elsewhere have their copy.
    const OpInfo& info = ops_[static_cast<size_t>(i)];
    const bool copied = info.kind == FuseClass::constant || info.recomputed ||
                        (info.kind == FuseClass::movement && i != g.place);
    for (int r = 0; r < op->result_count() && !copied; ++r) {
      bool outside = false;
      for (const ir::Use* use = op->result(r)->first_use(); use; use = use->next) {
        outside |= !inside.count(use->owner) || is_elsewhere_too(use->owner);
      }
      if (outside) {
        outputs.push_back(op->result(r));
        types.push_back(op->result(r)->type);
      }
    }
  }
  Op* last = ops_[static_cast<size_t>(g.place)].op;
  auto fusion = Op::create(OpId::fusion, inputs, types, {}, last->location);
  Region* body = fusion->add_region();
  std::unordered_map<Value*, Value*> map;
  for (Value* v : inputs) map[v] = body->add_arg(v->type);
  for (int i : order) body->append(ops_[static_cast<size_t>(i)].op->clone(map));
  std::vector<Value*> returned;
  returned.reserve(outputs.size());
  for (Value* v : outputs) returned.push_back(map.at(v));
  body->append(Op::create(OpId::return_, returned, {}));
  std::string_view reason = worthwhile(g) ? "" : "no company";
  Status accepted;
  if (reason.empty() && options_.accept) accepted = options_.accept(*fusion);
  if (!accepted.ok()) reason = accepted.error().text;
  for (const Member& m : g.members) {
    refused_gather_ |= !accepted.ok() && ops_[static_cast<size_t>(m.op)].kind == FuseClass::gather;
  }
  for (int i : order) {
    note(*ops_[static_cast<size_t>(i)].op,
         reason.empty() ? str("fusion at op ", g.place, " of ", order.size(), " ops")
                        : str("alone: ", reason));
  }
  Op* placed = region_.insert_before(last, std::move(fusion));
  for (size_t k = 0; k < outputs.size(); ++k) {
    outputs[k]->replace_all_uses_with(placed->result(static_cast<int>(k)));
  }
  // Even then the ops move to the group's place: what they read may be defined just before it.
  if (!reason.empty()) take_apart(placed);
}

void RegionFuser::materialize() {
  std::vector<const Group*> order;
  for (const Group& g : groups_) order.push_back(&g);
  std::sort(order.begin(), order.end(),
            [](const Group* a, const Group* b) { return a->place < b->place; });
  for (const OpInfo& info : ops_) {
    if (info.groups.empty()) note(*info.op, str("alone: ", info.why));
  }
  for (const Group* g : order) materialize(*g);
  clean_up();
}

// Ops whose work moved into fusions have no users left.
void RegionFuser::clean_up() {
  for (auto info = ops_.rbegin(); info != ops_.rend(); ++info) {
    if (!info->groups.empty() && info->op->unused()) info->op->erase();
  }
}

}  // namespace

Status fuse(ir::Module& module, const FuseOptions& options) {
  for (auto& function : module.functions) {
    if (!function->is_declaration) CHECK_OK(RegionFuser(&function->body, options).run());
  }
  return {};
}

}  // namespace jaxmps::passes
