// Common subexpressions: a pure op that repeats an earlier one with equal operands, attributes and
// types takes its results. What an enclosing region computed before is known inside too.
#include <algorithm>
#include <vector>

#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

// Only the first bytes of a constant are hashed; equality compares all of them.
constexpr size_t kHashedBytes = 64;

void mix(size_t& hash, size_t value) {
  hash ^= value + 0x9e3779b97f4a7c15ull + (hash << 6) + (hash >> 2);
}

size_t hash_of(const Op& op) {
  size_t hash = static_cast<size_t>(op.id);
  for (int i = 0; i < op.operand_count(); ++i) {
    mix(hash, std::hash<const void*>()(op.operand(i)) >> 4);
  }
  for (int i = 0; i < op.result_count(); ++i) {
    const ir::Type& type = op.result(i)->type;
    mix(hash, static_cast<size_t>(type.dtype));
    for (int64_t dim : type.dims) mix(hash, static_cast<size_t>(dim));
  }
  for (const ir::NamedAttr& attr : op.attrs) {
    if (const auto* ints = attr.value.get_if<ir::Ints>()) {
      for (int64_t value : *ints) mix(hash, static_cast<size_t>(value));
    } else if (const auto* integer = attr.value.get_if<ir::TypedInt>()) {
      mix(hash, static_cast<size_t>(integer->value));
    } else if (const auto* dense = attr.value.get_if<ir::Dense>()) {
      const auto bytes = dense->bytes();
      mix(hash, bytes.size());
      for (size_t i = 0; i < bytes.size() && i < kHashedBytes; ++i) mix(hash, bytes[i]);
    }
  }
  return hash;
}

bool equal(const Op& a, const Op& b) {
  if (a.id != b.id || a.operand_count() != b.operand_count() ||
      a.result_count() != b.result_count()) {
    return false;
  }
  for (int i = 0; i < a.operand_count(); ++i) {
    if (a.operand(i) != b.operand(i)) return false;
  }
  for (int i = 0; i < a.result_count(); ++i) {
    if (!(a.result(i)->type == b.result(i)->type)) return false;
  }
  return a.attrs == b.attrs;
}

// Ops by hash, in chains whose newest entry comes first, so that leaving a region takes back what
// it added.
class ScopedTable {
 public:
  size_t size() const { return entries_.size(); }

  Op* find(size_t hash, const Op& op) const {
    if (heads_.empty()) return nullptr;
    for (int64_t at = heads_[slot(hash)]; at >= 0; at = entries_[at].next) {
      if (entries_[at].hash == hash && equal(*entries_[at].op, op)) return entries_[at].op;
    }
    return nullptr;
  }

  void add(size_t hash, Op* op) {
    entries_.push_back({hash, op, -1});
    if (entries_.size() > heads_.size()) {
      heads_.assign(std::max<size_t>(64, heads_.size() * 4), -1);
      for (size_t i = 0; i < entries_.size(); ++i) link(i);
    } else {
      link(entries_.size() - 1);
    }
  }

  void shrink(size_t size) {
    while (entries_.size() > size) {
      heads_[slot(entries_.back().hash)] = entries_.back().next;
      entries_.pop_back();
    }
  }

 private:
  struct Entry {
    size_t hash;
    Op* op;
    int64_t next;
  };
  size_t slot(size_t hash) const { return (hash ^ (hash >> 29)) & (heads_.size() - 1); }
  void link(size_t i) {
    int64_t& head = heads_[slot(entries_[i].hash)];
    entries_[i].next = head;
    head = static_cast<int64_t>(i);
  }

  std::vector<int64_t> heads_;
  std::vector<Entry> entries_;
};

class Eliminator {
 public:
  void run(Region& region) {
    const size_t outside = known_.size();
    for (Op* op : region) {
      for (const auto& nested : op->regions()) run(*nested);
      if (!op->is(ir::traits::pure) || !op->regions().empty()) continue;
      const size_t hash = hash_of(*op);
      if (Op* earlier = known_.find(hash, *op)) {
        replace(op, earlier->results());
      } else {
        known_.add(hash, op);
      }
    }
    known_.shrink(outside);
  }

 private:
  ScopedTable known_;
};

}  // namespace

Status eliminate_common_subexpressions(ir::Module& module) {
  for (const auto& function : module.functions) Eliminator().run(function->body);
  return {};
}

}  // namespace jaxmps::passes
