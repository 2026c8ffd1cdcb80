// Fusions that are one kernel together. Where every launch costs, a reduction and what reads its
// results become one (statistics, what is computed of them, and what they normalise), and so do
// fusions over one array (sums over the same rows); single numbers go with what comes before.
// Whether two fit is for the description and the target to say; here is decided which to try, and
// that nothing is computed more often than before or kept for longer.
#include <algorithm>
#include <limits>
#include <optional>

#include "fusion/schedule.h"
#include "passes/fuse_groups.h"

namespace jaxmps::passes {

namespace {

constexpr int64_t kSmallBytes = int64_t{1} << 16;  // may be kept for longer
// A product by a vector makes its vector itself, once for each row or column, where the matrix and
// the vector have so few elements, and this takes so little for each: a launch would take longer.
constexpr int64_t kMatrix = int64_t{1} << 20, kVector = 1024;
constexpr double kVectorWork = 2;
constexpr int kMaxUses = 32;  // looked at, of one value
constexpr int kNever = std::numeric_limits<int>::max();

// What the elements take, each counted as often as it is computed.
double work_of(const fusion::Fusion& f) {
  const fusion::FusionSchedule schedule(f);
  double work = 0;
  for (const int32_t v : schedule.live()) {
    const auto& instr = f.program.instrs[static_cast<size_t>(v)];
    work += scalar::info(instr.op).cost * schedule.count(v, instr);
  }
  return work;
}

struct Extent {
  int64_t walked = 0, kept = 0;  // elements; kept: 0 without a reduction
};

bool is_update(const Op* op) { return op && op->id == OpId::dynamic_update_slice; }

// Whether it changes an array, which others may read until then.
bool updates(const Op& fusion) {
  const auto results = fusion.region().terminator()->operands();
  return std::any_of(results.begin(), results.end(),
                     [](const Value* result) { return is_update(result->op()); });
}

Extent extent_of(const Op& fusion) {
  Extent extent;
  for (const Op* op : fusion.region()) {
    if (op->id == OpId::reduce && op->operand(0)->type.size() > extent.walked)
      extent = {op->operand(0)->type.size(), op->result()->type.size()};
  }
  if (extent.walked) return extent;
  const Op* last = fusion.region().terminator()->operand(0)->op();
  return {(is_update(last) ? last->operand(1) : fusion.result())->type.size(), 0};
}

bool may_be_one(const Extent& a, const Extent& b) {
  if (a.walked == 1 || b.walked == 1) return true;
  return a.walked == b.walked || a.kept == b.walked || b.kept == a.walked;
}

class FusionMerger {
 public:
  FusionMerger(ir::Region& region, const ir::Target& target, const FuseOptions& options)
      : region_(region), target_(target), options_(options) {}

  void run() {
    for (Op* op : region_) {
      place_[op] = static_cast<int>(place_.size());
      if (op->id == OpId::fusion) fusions_.push_back(op);
    }
    // From the back, so that what is read is seen after its readers; what has become of two is
    // looked at again.
    while (!fusions_.empty()) {
      Op* op = fusions_.back();
      fusions_.pop_back();
      if (Op* merged = merge_with_any(op)) fusions_.push_back(merged);
    }
  }

 private:
  // Values from outside are read outside, too: for as long as the region runs.
  int place_of(const Op* user) const {
    while (user && user->parent() != &region_) user = user->parent()->parent_op();
    return user ? place_.at(user) : kNever;
  }

  int first_reader(const Op& op) const {
    int first = kNever;
    for (int r = 0; r < op.result_count(); ++r) {
      for (const ir::Use* use = op.result(r)->first_use(); use; use = use->next)
        first = std::min(first, place_of(use->owner));
    }
    return first;
  }

  // The fusions that read the value, nearest first.
  std::vector<Op*> readers_of(const Value& value) const {
    std::vector<Op*> readers;
    int uses = 0;
    for (const ir::Use* use = value.first_use(); use && uses < kMaxUses; use = use->next, ++uses) {
      Op* user = use->owner;
      const bool is_known = std::find(readers.begin(), readers.end(), user) != readers.end();
      if (user->id == OpId::fusion && user->parent() == &region_ && !is_known)
        readers.push_back(user);
    }
    std::sort(readers.begin(), readers.end(),
              [&](const Op* a, const Op* b) { return place_.at(a) < place_.at(b); });
    return readers;
  }

  Op* merge_with_any(Op* op) {
    const int first = first_reader(*op);
    for (int r = 0; r < op->result_count(); ++r) {
      for (Op* reader : readers_of(*op->result(r))) {
        const bool is_first = place_.at(reader) == first;
        if (!is_first && !is_available(*reader, *op)) continue;
        if (Op* merged = merge(op, reader, is_first)) return merged;
      }
    }
    for (Value* operand : op->operands()) {
      if (operand->type.size() != extent_of(*op).walked) continue;
      for (Op* sibling : readers_of(*operand)) {
        // What reads no results may move to what is first.
        const bool is_first = place_.at(sibling) < first;
        if (place_.at(sibling) <= place_.at(op) || !(is_first || is_available(*sibling, *op)))
          continue;
        if (Op* merged = merge(op, sibling, is_first)) return merged;
        break;
      }
    }
    return extent_of(*op).walked == 1 ? merge_with_earlier(op) : nullptr;
  }

  // Single numbers are computed beside whatever comes before.
  Op* merge_with_earlier(Op* op) {
    constexpr int kMost = 64;  // ops looked at
    Op* earlier = op->previous();
    for (int n = 0; n < kMost && earlier; ++n, earlier = earlier->previous()) {
      if (earlier->id == OpId::fusion && is_available(*op, *earlier))
        return merge(earlier, op, false);
    }
    return nullptr;
  }

  // Whether all that `reader` reads besides is there where `op` is.
  bool is_available(const Op& reader, const Op& op) const {
    const int place = place_.at(&op);
    for (const Value* value : reader.operands()) {
      const Op* source = value->op();
      if (source && source != &op && source->parent() == &region_ && place_.at(source) > place)
        return false;
    }
    return true;
  }

  // Whether little has to be kept for longer when the first runs where the second does, or the
  // second where the first does.
  bool keeps_little(const Op& a, const Op& b, bool at_second) const {
    int64_t longer = 0, saved = 0;
    const Op* between = a.next();
    while (between != &b && between->id == OpId::constant) between = between->next();
    if (between == &b) return true;
    if (!at_second) {
      for (int r = 0; r < b.result_count(); ++r) longer += b.result(r)->type.byte_count();
      return longer <= kSmallBytes;
    }
    for (const Value* value : a.operands()) {
      bool is_read_later = false;
      for (const ir::Use* use = value->first_use(); use && !is_read_later; use = use->next)
        is_read_later = place_of(use->owner) >= place_.at(&b);
      if (!is_read_later) longer += value->type.byte_count();
    }
    for (int r = 0; r < a.result_count(); ++r) {
      if (is_read_by_only(*a.result(r), b)) saved += a.result(r)->type.byte_count();
    }
    return longer <= saved + kSmallBytes;
  }

  static bool is_read_by_only(const Value& value, const Op& reader) {
    for (const ir::Use* use = value.first_use(); use; use = use->next) {
      if (use->owner != &reader) return false;
    }
    return true;
  }

  // Whether all that the first results in are vectors along what the second walks.
  bool is_vector_of(const Op& a, const Op& b) const {
    const Extent first = extent_of(a), second = extent_of(b);
    if (target_.vector_epilogues || !second.kept || second.walked > kMatrix) return false;
    const int64_t length = second.walked / second.kept;
    if (length > kVector || first.walked >= second.walked || first.walked % length != 0)
      return false;
    if (first.kept && first.walked != first.kept * length) return false;
    for (int r = 0; r < a.result_count(); ++r) {
      if (a.result(r)->type.size() != 1 && !is_read_by_only(*a.result(r), b)) return false;
    }
    return true;
  }

  Op* merge(Op* a, Op* b, bool at_second) {
    const Extent first = extent_of(*a), second = extent_of(*b);
    const bool is_vector = at_second && is_vector_of(*a, *b);
    const bool is_worth_it = first.kept || second.kept || first.walked == 1 || second.walked == 1;
    if (!is_worth_it || !(is_vector || may_be_one(first, second)) ||
        !keeps_little(*a, *b, at_second) || (!at_second && updates(*b)))
      return nullptr;
    if (a->region().op_count() + b->region().op_count() - 2 > options_.max_ops) return nullptr;
    auto [fresh, results] = both(*a, *b);
    if (static_cast<int>(results.size()) > options_.max_results) return nullptr;
    auto description = fusion::build_fusion(*fresh, target_.turns_short_rows);
    if (!description.ok()) return nullptr;
    const double work = work_of(*description);
    if (is_dear_alone(*a, first, second) || is_dear_alone(*b, second, first)) return nullptr;
    const double again = is_vector ? kVectorWork * static_cast<double>(second.walked) : 0;
    if (work > 1.01 * (known_work(*a) + known_work(*b)) + again) return nullptr;
    if (options_.accept && !options_.accept(*fresh, std::move(*description), target_).ok())
      return nullptr;
    Op* const at = at_second ? b : a;
    Op* merged = region_.insert_before(at, std::move(fresh));
    work_[merged] = work;
    place_[merged] = place_.at(at);
    for (size_t r = 0; r < results.size(); ++r)
      results[r]->replace_all_uses_with(merged->result(static_cast<int>(r)));
    for (Op* gone : {b, a}) {
      work_.erase(gone);
      place_.erase(gone);
      std::erase(fusions_, gone);
      gone->erase();
    }
    return merged;
  }

  // Single numbers are computed by every thread.
  bool is_dear_alone(const Op& op, const Extent& own, const Extent& other) {
    return own.walked == 1 && other.walked > 1 && known_work(op) > scalar::kExpensive;
  }

  // The fusion of both, and what its results take the place of.
  static std::pair<std::unique_ptr<Op>, std::vector<Value*>> both(const Op& a, const Op& b) {
    std::vector<Value*> inputs, results;
    for (const Op* op : {&a, &b}) {
      for (Value* v : op->operands()) {
        const bool is_known = std::find(inputs.begin(), inputs.end(), v) != inputs.end();
        if (!is_known && v->op() != &a) inputs.push_back(v);
      }
      for (int r = 0; r < op->result_count(); ++r) {
        auto* value = const_cast<Value*>(op->result(r));
        if (op == &b || !is_read_by_only(*value, b)) results.push_back(value);
      }
    }
    auto fresh = Op::create(OpId::fusion, inputs, ir::types_of(results), {}, b.location);
    ir::Region* body = fresh->add_region();
    ir::ValueMap outer;  // what the values outside are inside
    for (Value* v : inputs) outer[v] = body->add_arg(v->type);
    for (const Op* op : {&a, &b}) {
      std::vector<Value*> operands = op->operands();
      for (Value*& v : operands) v = outer.at(v);
      const auto inner = body->copy_ops(op->region(), operands);
      for (int r = 0; r < op->result_count(); ++r)
        outer[op->result(r)] = inner[static_cast<size_t>(r)];
    }
    std::vector<Value*> returned;
    returned.reserve(results.size());
    for (Value* v : results) returned.push_back(outer.at(v));
    body->append(Op::create(OpId::return_, returned, {}));
    return {std::move(fresh), std::move(results)};
  }

  double known_work(const Op& fusion) {
    const auto [found, is_new] = work_.emplace(&fusion, 0);
    if (is_new) {
      const auto description = fusion::build_fusion(fusion, target_.turns_short_rows);
      if (description.ok()) found->second = work_of(*description);
    }
    return found->second;
  }

  ir::Region& region_;
  const ir::Target& target_;
  const FuseOptions& options_;
  std::vector<Op*> fusions_;  // still to be looked at, the last one first
  std::unordered_map<const Op*, int> place_;
  std::unordered_map<const Op*, double> work_;
};

}  // namespace

void RegionFuser::merge() { FusionMerger(region_, target_, options_).run(); }

}  // namespace jaxmps::passes
