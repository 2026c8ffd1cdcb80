// Common subexpressions: a pure op that repeats an earlier one with equal operands, attributes and
// types takes its results. What an enclosing region computed before is known inside too.
#include <unordered_map>
#include <vector>

#include "passes/pass.h"

namespace jaxmps::passes {
namespace {

using ir::Op;
using ir::Region;

// Only the first bytes of a constant are hashed; equality compares all of them.
constexpr size_t kHashedBytes = 64;

void mix(size_t& hash, size_t value) {
  hash ^= value + 0x9e3779b97f4a7c15ull + (hash << 6) + (hash >> 2);
}

size_t hash_of(const Op& op) {
  size_t hash = static_cast<size_t>(op.id);
  for (const ir::Value* operand : op.operands()) mix(hash, std::hash<const void*>()(operand));
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

class Eliminator {
 public:
  void run(Region& region) {
    std::vector<size_t> entered;  // hashes of the ops that this region added
    for (Op* op : region) {
      for (const auto& nested : op->regions()) run(*nested);
      if (!op->is(ir::traits::pure) || !op->regions().empty()) continue;
      const size_t hash = hash_of(*op);
      if (Op* earlier = find(hash, *op)) {
        for (int i = 0; i < op->result_count(); ++i) {
          op->result(i)->replace_all_uses_with(earlier->result(i));
        }
        op->erase();
        continue;
      }
      known_[hash].push_back(op);
      entered.push_back(hash);
    }
    for (size_t hash : entered) known_[hash].pop_back();
  }

 private:
  Op* find(size_t hash, const Op& op) const {
    auto found = known_.find(hash);
    if (found == known_.end()) return nullptr;
    for (Op* earlier : found->second) {
      if (equal(*earlier, op)) return earlier;
    }
    return nullptr;
  }

  std::unordered_map<size_t, std::vector<Op*>> known_;
};

}  // namespace

Status eliminate_common_subexpressions(ir::Module& module) {
  for (const auto& function : module.functions) {
    if (!function->is_declaration) Eliminator().run(function->body);
  }
  return {};
}

}  // namespace jaxmps::passes
