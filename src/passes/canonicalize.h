// Rules of canonicalize(): a rule looks at one op and returns the values that replace its results, or
// nothing. It may insert ops before the op and change operands or attributes of the op itself (then
// it returns the op's own results), but erases nothing. Rules keep every bit of the result.
// Stateless; one thread per module.
#pragma once

#include <vector>

#include "ir/module.h"

namespace jaxmps::passes {

using Replacement = std::vector<ir::Value*>;
using CanonicalRule = Replacement (*)(ir::Op* op);
class CanonicalRules;

void add_arithmetic_rules(CanonicalRules& rules);
void add_shape_rules(CanonicalRules& rules);
void add_index_rules(CanonicalRules& rules);
void add_control_rules(CanonicalRules& rules);
void add_dot_rules(CanonicalRules& rules);
void add_empty_rules(CanonicalRules& rules);

// Constants for the results of an op that computes nothing but arrays without elements; else none.
Replacement results_without_elements(ir::Op* op);

class CanonicalRules {
 public:
  CanonicalRules();
  void add(ir::OpId id, CanonicalRule rule) { rules_[static_cast<size_t>(id)].push_back(rule); }
  const std::vector<CanonicalRule>& of(ir::OpId id) const {
    return rules_[static_cast<size_t>(id)];
  }

 private:
  std::vector<std::vector<CanonicalRule>> rules_;
};

}  // namespace jaxmps::passes
