#include "ir/combiner.h"

namespace jaxmps::ir {
namespace {

bool is_simple(OpId id) {
  switch (id) {
    case OpId::add:
    case OpId::multiply:
    case OpId::maximum:
    case OpId::minimum:
    case OpId::and_:
    case OpId::or_:
    case OpId::xor_:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::optional<Combination> combination(const Region& region, int i) {
  const int count = region.terminator()->operand_count();
  if (region.arg_count() != 2 * count) return std::nullopt;
  const Value *accumulator = region.arg(i), *element = region.arg(count + i);
  const Value* value = region.terminator()->operand(i);
  if (value == accumulator) return Combination{Combination::Kind::accumulator};
  if (value == element) return Combination{Combination::Kind::element};
  const Op* op = value->op();
  if (!op || op->parent() != &region || !op->is(traits::elementwise) || op->operand_count() != 2 ||
      op->result_count() != 1 || !op->attrs.empty()) {
    return std::nullopt;
  }
  const bool in_order = op->operand(0) == accumulator && op->operand(1) == element;
  const bool swapped = op->operand(0) == element && op->operand(1) == accumulator;
  if (!in_order && !(swapped && op->is(traits::commutative))) return std::nullopt;
  return Combination{Combination::Kind::op, op->id};
}

std::optional<std::vector<OpId>> simple_combiners(const Region& region) {
  std::vector<OpId> ids;
  for (int i = 0; i < region.terminator()->operand_count(); ++i) {
    const auto found = combination(region, i);
    if (!found || found->kind != Combination::Kind::op || !is_simple(found->op)) {
      return std::nullopt;
    }
    ids.push_back(found->op);
  }
  return ids;
}

std::optional<OpId> simple_combiner(const Region& region) {
  const auto ids = simple_combiners(region);
  return ids && ids->size() == 1 ? std::optional(ids->front()) : std::nullopt;
}

}  // namespace jaxmps::ir
