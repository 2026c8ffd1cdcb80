#include "passes/fuse.h"

#include <algorithm>
#include <limits>

#include "passes/fuse_groups.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {

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

// Constants are no inputs: every group that reads one gets its own.
bool RegionFuser::is_constant(const Value& value) const {
  const int i = index_of(value.op());
  return i >= 0 && ops_[static_cast<size_t>(i)].kind == FuseClass::constant;
}

void RegionFuser::add_inputs(const Op& op, Group* g) const {
  for (int i = 0; i < op.operand_count(); ++i) {
    if (!is_constant(*op.operand(i))) g->inputs.insert(op.operand(i));
  }
}

bool RegionFuser::join(int index, int group, bool as_output) {
  Group& g = groups_[static_cast<size_t>(group)];
  OpInfo& info = ops_[static_cast<size_t>(index)];
  Member m;
  if (is_updated(*info.op, g) || !fits(index, g, as_output, &m)) return false;
  if (info.kind == FuseClass::reduce) {
    if (as_output) {
      refusal_ = "a reduction that is needed elsewhere too";
      return false;
    }
    if (!fits_reduce(*info.op, &g, m.map)) return false;
    m.map = reading_of(*info.op, g)->map;
  }
  g.members.push_back(std::move(m));
  g.ops += info.kind != FuseClass::constant;
  for (int r = 0; r < info.op->result_count(); ++r) g.inputs.erase(info.op->result(r));
  add_inputs(*info.op, &g);
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
  Group g;
  g.place = index;
  g.shape = op.result()->type.dims;
  IndexMap map = fusion::identity_map(g.shape.size());
  if (info.kind == FuseClass::update) {
    g.shape = op.operand(1)->type.dims;
    map = fusion::identity_map(g.shape.size());
  } else if (info.kind == FuseClass::reduce) {
    g.shape = op.operand(0)->type.dims;
    g.reduced = reduced_dims(op);
    map = kept_map(g.reduced);
  }
  if (ir::element_count(g.shape) == 0) return false;
  g.ops = 1;
  g.outputs = op.result_count();
  add_inputs(op, &g);
  g.members.push_back({index, std::move(map)});
  const int id = static_cast<int>(groups_.size());
  groups_.push_back(std::move(g));
  info.groups.push_back(id);
  info.stays = false;
  return true;
}

// Whether the op makes or reads the array that the group updates.
bool RegionFuser::is_updated(const Op& op, const Group& g) {
  const OpInfo& last = ops_[static_cast<size_t>(g.members[0].op)];
  if (last.kind != FuseClass::update) return false;
  refusal_ = "the group updates it";
  const Value* updated = last.op->operand(0);
  const auto operands = op.operands();
  return updated->op() == &op ||
         std::find(operands.begin(), operands.end(), updated) != operands.end();
}

RegionFuser::Readers RegionFuser::readers_of(const Op& op) const {
  Readers readers;
  std::unordered_set<int> known;
  for (int r = 0; r < op.result_count(); ++r) {
    for (const ir::Use* use = op.result(r)->first_use(); use; use = use->next) {
      const int user = index_of(use->owner);
      readers.others |= user < 0 || ops_[static_cast<size_t>(user)].stays;
      if (user < 0) continue;
      for (int g : ops_[static_cast<size_t>(user)].groups) {
        if (known.insert(g).second) readers.groups.push_back(g);
      }
    }
  }
  return readers;
}

// Ops that are copied into every group that reads them; what reads them elsewhere keeps the op.
bool RegionFuser::visit_copied(int index) {
  OpInfo& info = ops_[static_cast<size_t>(index)];
  const Op& op = *info.op;
  const Readers readers = readers_of(op);
  bool all = !op.unused() && !readers.others;
  constexpr size_t kMaxCopies = 32;
  if (readers.groups.size() > kMaxCopies && info.kind != FuseClass::constant) return false;
  for (int g : readers.groups) all &= join(index, g, false);
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
  const Readers readers = readers_of(op);
  if (readers.others || readers.groups.size() < 2 || readers.groups.size() > kMaxReaders)
    return false;
  int last = 0;
  for (int g : readers.groups) last = std::max(last, groups_[static_cast<size_t>(g)].place);
  if (!is_recomputed(op, last)) return false;
  Member unused;
  for (int g : readers.groups) {
    if (!fits(index, groups_[static_cast<size_t>(g)], false, &unused)) return false;
  }
  for (int g : readers.groups) join(index, g, false);
  info.stays = false;
  info.recomputed = true;
  return true;
}

// Whether the op is computed of a reduction that nothing else reads: where it is stored anyway, the
// reduction's kernel does that.
bool RegionFuser::ends_reduction(const Op& op) const {
  constexpr int kMaxOps = 8;
  std::vector<const Op*> pending{&op};
  for (size_t next = 0; next < pending.size() && pending.size() < kMaxOps; ++next) {
    for (const Value* value : pending[next]->operands()) {
      const int source = index_of(value->op());
      if (source < 0 || !value->has_one_use() || value->type.size() != op.result()->type.size())
        continue;
      const OpInfo& info = ops_[static_cast<size_t>(source)];
      if (info.kind == FuseClass::reduce) return true;
      if (info.kind == FuseClass::elementwise || info.kind == FuseClass::movement)
        pending.push_back(info.op);
    }
  }
  return false;
}

void RegionFuser::visit(int index) {
  OpInfo& info = ops_[static_cast<size_t>(index)];
  const Op& op = *info.op;
  if (info.kind == FuseClass::none || op.unused()) return;
  if (!options_.joins) {
    if (is_worth_a_kernel(info)) found(index);
    return;
  }
  if (info.kind == FuseClass::update) {
    found(index);
    return;
  }
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
        outside |= user < 0 || is_elsewhere_too(use->owner) ||
                   ops_[static_cast<size_t>(user)].groups[0] != group;
      }
    }
    const bool is_end = outside && !target_.runs_native && ends_reduction(op);
    if (!is_end && join(index, group, outside)) {
      info.stays = false;
      return;
    }
    info.why = refusal_;
  }
  if (op.id != OpId::gather) found(index);
}

// What lies between a fusion and the only one that reads its result has done its work: the groups
// are made.
void RegionFuser::open_barriers() {
  std::vector<Op*> barriers;
  for (Op* op : region_) {
    if (op->id == OpId::optimization_barrier) barriers.push_back(op);
  }
  for (Op* op : barriers) {
    const auto is_fusion = [](const Op* other) { return other && other->id == OpId::fusion; };
    const bool is_between = op->operand_count() == 1 && op->result()->has_one_use() &&
                            is_fusion(op->operand(0)->op()) &&
                            is_fusion(op->result()->first_use()->owner);
    if (is_between) replace(op, op->operands());
  }
}

Status RegionFuser::run() {
  for (Op* op : region_) {
    if (has_program_regions(*op)) {
      for (auto& region : op->regions())
        CHECK_OK(RegionFuser(region.get(), ir::target_of(*op, target_), options_).run());
    }
    OpInfo info{op, FuseClass::none, {}, {}};
    info.kind = classify(*op, &info.why);
    const bool is_dynamic = op->id == OpId::dynamic_slice || op->id == OpId::dynamic_update_slice;
    if ((info.kind == FuseClass::gather && !options_.gathers) ||
        (is_dynamic && target_.runs_native))
      info.kind = FuseClass::none;
    index_[op] = static_cast<int>(ops_.size());
    ops_.push_back(std::move(info));
  }
  for (int i = static_cast<int>(ops_.size()) - 1; i >= 0; --i) visit(i);
  materialize();
  if (refused_gather_) {
    // What had no kernel with its gathers may have one without.
    FuseOptions without = options_;
    without.gathers = false;
    return RegionFuser(&region_, target_, without).run();
  }
  if (refused_group_ && options_.joins) {
    FuseOptions alone = options_;
    alone.joins = false;
    CHECK_OK(RegionFuser(&region_, target_, alone).run());
  }
  if (options_.joins && !target_.runs_native) {
    open_barriers();
    merge();
  }
  return {};
}

void RegionFuser::note(const Op& op, std::string_view text) {
  if (options_.dump) *options_.dump += str(ir::brief(op), ": ", text, '\n');
}

Status fuse(ir::Module& module, const ir::Target& target, const FuseOptions& options) {
  for (auto& function : module.functions) {
    CHECK_OK(RegionFuser(&function->body, target, options).run());
  }
  return {};
}

}  // namespace jaxmps::passes
