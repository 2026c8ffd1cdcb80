// Rules of control flow, calls, tuples and the ops of other dialects that only wrap values.
#include "ir/verify_rules.h"

namespace jaxmps::ir::rules {
namespace {

Reason while_loop(const Op& op) {
  NEED_OK(passes_through(op));
  const std::vector<Type> carried = operand_types(op);
  NEED_OK(check_region(op, 0, "the condition", carried, {Type(DType::pred, {})}));
  return check_region(op, 1, "the body", carried, carried);
}

Reason branches(const Op& op) {
  for (size_t i = 0; i < op.regions().size(); ++i) {
    NEED_OK(check_region(op, static_cast<int>(i), str("branch ", i), {}, result_types(op)));
  }
  return {};
}

Reason conditional(const Op& op) {
  NEED(compatible(operand_type(op), Type(DType::pred, {})), "the condition must be i1[], is ",
       brief(operand_type(op)));
  return branches(op);
}

Reason case_of(const Op& op) {
  NEED(compatible(operand_type(op), Type(DType::s32, {})), "the index must be s32[], is ",
       brief(operand_type(op)));
  NEED(!op.regions().empty(), "needs at least one branch");
  return branches(op);
}

Reason tuple(const Op& op) {
  const Type& type = result_type(op);
  NEED(type.kind == Type::Kind::tuple, "the result must be a tuple, is ", brief(type));
  return match_all("operand", type.elements, operand_types(op));
}

Reason get_tuple_element(const Op& op) {
  const Type& type = operand_type(op);
  NEED(type.kind == Type::Kind::tuple, "operand 0 must be a tuple, is ", brief(type));
  const int64_t index = op.i64("index");
  NEED(index >= 0 && index < static_cast<int64_t>(type.elements.size()), "index is ", index,
       "; the tuple has ", type.elements.size(), " elements");
  return match_type("the result", type.elements[index], result_type(op));
}

// The body takes and returns what the op does (one device: nothing is split).
Reason wraps_body(const Op& op) {
  return check_region(op, 0, "the body", operand_types(op), result_types(op));
}

// A manual computation's body sees shards: only the counts are fixed here.
Reason manual_computation(const Op& op) {
  const Region& body = op.region();
  NEED(body.arg_count() == op.operand_count(), "the body must take ", op.operand_count(),
       " arguments, takes ", body.arg_count());
  NEED(body.terminator()->operand_count() == op.result_count(), "the body must return ",
       op.result_count(), " values");
  return {};
}

}  // namespace

Rules control_rules() {
  Rules rules = {
      {OpId::while_, kAny, kAny, 2, while_loop},
      {OpId::if_, 1, kAny, 2, conditional},
      {OpId::case_, 1, kAny, kAny, case_of},
      {OpId::call, kAny, kAny, 0},
      {OpId::composite, kAny, kAny, kAny},
      {OpId::return_, kAny, 0, 0},
      {OpId::tuple, kAny, 1, 0, tuple},
      {OpId::get_tuple_element, 1, 1, 0, get_tuple_element},
      {OpId::optimization_barrier, kAny, kAny, 0, passes_through},
      {OpId::unrealized_conversion_cast, kAny, kAny, 0, passes_through},
      {OpId::fusion, kAny, kAny, 1, wraps_body},
      {OpId::sdy_sharding_constraint, 1, 1, 0, passes_through},
      {OpId::sdy_reshard, 1, 1, 0, passes_through},
      {OpId::sdy_propagation_barrier, 1, 1, 0, passes_through},
      {OpId::sdy_data_flow_edge, 1, 1, 0, passes_through},
      {OpId::sdy_sharding_group, 1, 0, 0},
      {OpId::sdy_named_computation, kAny, kAny, 1, wraps_body},
      {OpId::sdy_manual_computation, kAny, kAny, 1, manual_computation},
  };
  for (Rule& rule : rules) rule.any_types = true;
  return rules;
}

}  // namespace jaxmps::ir::rules
