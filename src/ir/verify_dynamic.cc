// Rules of the ops whose shape or configuration is an operand.
#include "ir/verify_rules.h"

namespace jaxmps::ir::rules {
namespace {

// Operand `i` is a vector of `length` integers.
Reason index_vector(const Op& op, int i, int64_t length) {
  const Type& type = operand_type(op, i);
  NEED(
      type.is_tensor() && type.rank() == 1 && is_int(type.dtype) && same_size(type.dims[0], length),
      "operand ", i, " must hold ", length, " integers, is ", brief(type));
  return {};
}

Reason dynamic_broadcast_in_dim(const Op& op) {
  NEED_OK(index_vector(op, 1, result_type(op).rank()));
  return broadcasts(op);
}

Reason dynamic_iota(const Op& op) {
  NEED_OK(index_vector(op, 0, result_type(op).rank()));
  return check_axis("iota_dimension", op.i64("iota_dimension"), result_type(op).rank());
}

Reason dynamic_pad(const Op& op) {
  NEED_OK(same_elements(op));
  NEED(operand_type(op, 1).is_scalar() && same_element(operand_type(op), operand_type(op, 1)),
       "the padding value must be a scalar of the operand's type, is ", brief(operand_type(op, 1)));
  for (int i = 2; i < 5; ++i) NEED_OK(index_vector(op, i, operand_type(op).rank()));
  NEED(result_type(op).rank() == operand_type(op).rank(), "the result has rank ",
       result_type(op).rank(), ", the operand ", operand_type(op).rank());
  return {};
}

Reason dynamic_reshape(const Op& op) {
  NEED_OK(same_elements(op));
  NEED_OK(index_vector(op, 1, result_type(op).rank()));
  const Type &from = operand_type(op), &to = result_type(op);
  NEED(!from.is_static() || !to.is_static() || from.size() == to.size(), from.size(),
       " elements cannot become ", brief(to));
  return {};
}

Reason real_dynamic_slice(const Op& op) {
  NEED_OK(same_elements(op));
  for (int i = 1; i < 4; ++i) NEED_OK(index_vector(op, i, operand_type(op).rank()));
  NEED(result_type(op).rank() == operand_type(op).rank(), "the result has rank ",
       result_type(op).rank(), ", the operand ", operand_type(op).rank());
  return {};
}

}  // namespace

Rules dynamic_rules() {
  return {
      {OpId::dynamic_broadcast_in_dim, 2, 1, 0, dynamic_broadcast_in_dim},
      {OpId::dynamic_iota, 1, 1, 0, dynamic_iota},
      {OpId::dynamic_pad, 5, 1, 0, dynamic_pad},
      {OpId::dynamic_reshape, 2, 1, 0, dynamic_reshape},
      {OpId::real_dynamic_slice, 4, 1, 0, real_dynamic_slice},
  };
}

}  // namespace jaxmps::ir::rules
