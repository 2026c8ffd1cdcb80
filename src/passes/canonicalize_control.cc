// Branches and loops whose condition is known.
#include <algorithm>

#include "passes/canonicalize.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

Replacement case_of(Op* op) {
  if (op->result_count() == 0) return {};
  const int count = static_cast<int>(op->regions().size());
  const auto index = constant_ints(op->operand(0));
  if (!index && count > 1) return {};
  // Out of range means the last branch.
  const int64_t wanted = index ? (*index)[0] : 0;
  const int taken = wanted < 0 || wanted >= count ? count - 1 : static_cast<int>(wanted);
  return op->parent()->copy_ops(op->region(taken), {}, op);
}

// A loop whose condition fails at once, because it does not depend on what is carried.
Replacement while_loop(Op* op) {
  if (op->result_count() == 0) return {};
  const Op* end = op->region(0).terminator();
  if (!is_splat_of(end->operand(0), 0)) return {};
  return op->operands();
}

}  // namespace

void add_control_rules(CanonicalRules& rules) {
  rules.add(OpId::case_, case_of);
  rules.add(OpId::while_, while_loop);
}

}  // namespace jaxmps::passes
