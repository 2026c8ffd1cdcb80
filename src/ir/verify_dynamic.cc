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

// Operands from `first` on are three vectors of integers, one for each dimension.
Reason keeps_rank(const Op& op, int first) {
  const int64_t rank = operand_type(op).rank();
  for (int i = first; i < first + 3; ++i) NEED_OK(index_vector(op, i, rank));
  NEED(result_type(op).rank() == rank, "the result has rank ", result_type(op).rank(),
       ", the operand ", rank);
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
  return keeps_rank(op, 2);
}

Reason dynamic_reshape(const Op& op) {
  NEED_OK(index_vector(op, 1, result_type(op).rank()));
  return keeps_size(op);
}

Reason real_dynamic_slice(const Op& op) {
  NEED_OK(same_elements(op));
  return keeps_rank(op, 1);
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
