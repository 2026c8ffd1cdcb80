// Rules of the ops that move elements: reshapes, broadcasts, slices, pads, concatenations.
#include <algorithm>

#include "ir/verify_rules.h"

namespace jaxmps::ir::rules {
namespace {

Reason is_index_scalar(const Op& op, int i) {
  const Type& type = operand_type(op, i);
  NEED(type.is_scalar() && is_int(type.dtype), "operand ", i, " must be an integer scalar, is ",
       brief(type));
  return {};
}

Reason broadcast(const Op& op) {
  NEED_OK(same_elements(op));
  Dims expected = op.ints("broadcast_sizes");
  const Dims& dims = operand_type(op).dims;
  expected.insert(expected.end(), dims.begin(), dims.end());
  return match_dims("the result", expected, result_type(op).dims);
}

Reason concatenate(const Op& op) {
  NEED(op.operand_count() > 0, "needs at least one operand");
  NEED_OK(same_elements(op));
  const Type& first = operand_type(op);
  const int64_t dim = op.i64("dimension");
  NEED_OK(check_axis("dimension", dim, first.rank()));
  Dims expected = first.dims;
  int64_t total = 0;
  for (int i = 0; i < op.operand_count(); ++i) {
    const Type& type = operand_type(op, i);
    NEED(type.rank() == first.rank() && same_element(first, type), "operand ", i,
         " does not fit operand 0: ", brief(type), " and ", brief(first));
    expected[dim] = type.dims[dim];
    NEED_OK(match_dims(str("operand ", i), expected, type.dims));
    total = is_known(total) && is_known(type.dims[dim]) ? total + type.dims[dim] : kDynamic;
  }
  expected[dim] = total;
  return match_dims("the result", expected, result_type(op).dims);
}

Reason slice(const Op& op) {
  NEED_OK(same_elements(op));
  const Dims& dims = operand_type(op).dims;
  const Ints &start = op.ints("start_indices"), &limit = op.ints("limit_indices"),
             &stride = op.ints("strides");
  NEED_OK(check_length("start_indices", start, operand_type(op).rank()));
  NEED_OK(check_length("limit_indices", limit, operand_type(op).rank()));
  NEED_OK(check_length("strides", stride, operand_type(op).rank()));
  NEED_OK(all_at_least("strides", stride, 1));
  Dims expected(dims.size());
  for (size_t i = 0; i < dims.size(); ++i) {
    NEED(start[i] >= 0 && start[i] <= limit[i] && (!is_known(dims[i]) || limit[i] <= dims[i]), "[",
         start[i], ", ", limit[i], ") is no range of dimension ", i, ", which has size ", dims[i]);
    expected[i] = (limit[i] - start[i] + stride[i] - 1) / stride[i];
  }
  return match_dims("the result", expected, result_type(op).dims);
}

Reason dynamic_slice(const Op& op) {
  NEED(op.operand_count() > 0, "needs an operand");
  NEED_OK(same_elements(op));
  const Type& from = operand_type(op);
  const Ints& sizes = op.ints("slice_sizes");
  NEED_OK(check_length("slice_sizes", sizes, from.rank()));
  NEED(op.operand_count() == 1 + from.rank(), "needs ", from.rank(), " start indices, has ",
       op.operand_count() - 1);
  for (int i = 1; i < op.operand_count(); ++i) {
    NEED_OK(is_index_scalar(op, i));
    NEED(sizes[i - 1] >= 0 && (!is_known(from.dims[i - 1]) || sizes[i - 1] <= from.dims[i - 1]),
         "slice size ", sizes[i - 1], " of dimension ", i - 1, ", which has size ",
         from.dims[i - 1]);
  }
  return match_dims("the result", sizes, result_type(op).dims);
}

Reason dynamic_update_slice(const Op& op) {
  NEED(op.operand_count() > 1, "needs an operand and an update");
  NEED_OK(same_elements(op));
  const Type &into = operand_type(op), &update = operand_type(op, 1);
  NEED(same_element(into, update) && into.rank() == update.rank(),
       "the update does not fit: ", brief(update), " into ", brief(into));
  NEED(op.operand_count() == 2 + into.rank(), "needs ", into.rank(), " start indices, has ",
       op.operand_count() - 2);
  for (int i = 0; i < into.rank(); ++i) {
    NEED_OK(is_index_scalar(op, i + 2));
    NEED(!is_known(into.dims[i]) || !is_known(update.dims[i]) || update.dims[i] <= into.dims[i],
         "the update is larger than the operand: ", brief(update), " into ", brief(into));
  }
  return match_type("the result", into, result_type(op));
}

Reason pad(const Op& op) {
  NEED_OK(same_elements(op));
  const Type& from = operand_type(op);
  NEED(operand_type(op, 1).is_scalar() && same_element(from, operand_type(op, 1)),
       "the padding value must be a ", name(from.dtype), " scalar, is ",
       brief(operand_type(op, 1)));
  const Ints &low = op.ints("edge_padding_low"), &high = op.ints("edge_padding_high"),
             &interior = op.ints("interior_padding");
  NEED_OK(check_length("edge_padding_low", low, from.rank()));
  NEED_OK(check_length("edge_padding_high", high, from.rank()));
  NEED_OK(check_length("interior_padding", interior, from.rank()));
  NEED_OK(all_at_least("interior_padding", interior, 0));
  Dims expected = from.dims;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!is_known(expected[i])) continue;
    expected[i] += low[i] + high[i] + std::max<int64_t>(expected[i] - 1, 0) * interior[i];
    NEED(expected[i] >= 0, "dimension ", i, " would have size ", expected[i]);
  }
  return match_dims("the result", expected, result_type(op).dims);
}

Reason reverse(const Op& op) {
  NEED_OK(check_axes("dimensions", op.ints("dimensions"), operand_type(op).rank()));
  return match_type("the result", operand_type(op), result_type(op));
}

Reason transpose(const Op& op) {
  NEED_OK(same_elements(op));
  const Dims& dims = operand_type(op).dims;
  const Ints& permutation = op.ints("permutation");
  NEED_OK(check_length("permutation", permutation, operand_type(op).rank()));
  NEED_OK(check_axes("permutation", permutation, operand_type(op).rank()));
  Dims expected(dims.size());
  for (size_t i = 0; i < dims.size(); ++i) expected[i] = dims[permutation[i]];
  return match_dims("the result", expected, result_type(op).dims);
}

Reason bitcast_convert(const Op& op) {
  const Type &from = operand_type(op), &to = result_type(op);
  if (from.quantization || to.quantization) return {};
  const int narrow = bit_width(from.dtype), wide = bit_width(to.dtype);
  NEED(is_complex(from.dtype) == is_complex(to.dtype),
       "complex numbers are not reinterpreted: ", brief(from), " as ", brief(to));
  if (narrow == wide) return match_dims("the result", from.dims, to.dims);
  const bool splits = narrow > wide;
  const int big = splits ? narrow : wide, small = splits ? wide : narrow;
  NEED(big % small == 0, brief(from), " cannot be read as ", name(to.dtype));
  Dims expected = splits ? from.dims : to.dims;
  expected.push_back(big / small);
  return match_dims(splits ? "the result" : "operand 0", expected, splits ? to.dims : from.dims);
}

Reason get_dimension_size(const Op& op) {
  NEED_OK(check_axis("dimension", op.i64("dimension"), operand_type(op).rank()));
  return match_type("the result", Type(DType::s32, {}), result_type(op));
}

Reason set_dimension_size(const Op& op) {
  NEED_OK(same_elements(op));
  NEED_OK(check_axis("dimension", op.i64("dimension"), operand_type(op).rank()));
  NEED_OK(is_index_scalar(op, 1));
  Dims expected = operand_type(op).dims;
  expected[op.i64("dimension")] = kDynamic;
  return match_dims("the result", expected, result_type(op).dims);
}

Reason torch_index_select(const Op& op) {
  NEED_OK(same_elements(op));
  const Type &from = operand_type(op), &index = operand_type(op, 1);
  const int64_t dim = op.i64("dim"), batch = op.i64("batch_dims");
  NEED(is_int(index.dtype), "the index must hold integers, is ", brief(index));
  NEED_OK(check_axis("dim", dim, from.rank()));
  NEED(batch >= 0 && batch <= dim && batch <= index.rank(), "batch_dims is ", batch,
       "; it may not exceed dim ", dim, " and the index's rank ", index.rank());
  Dims expected(from.dims.begin(), from.dims.begin() + dim);
  expected.insert(expected.end(), index.dims.begin() + batch, index.dims.end());
  expected.insert(expected.end(), from.dims.begin() + dim + 1, from.dims.end());
  return match_dims("the result", expected, result_type(op).dims);
}

}  // namespace

Reason keeps_size(const Op& op) {
  NEED_OK(same_elements(op));
  const Type &from = operand_type(op), &to = result_type(op);
  if (!from.is_static() || !to.is_static()) return {};
  NEED(from.size() == to.size(), from.size(), " elements cannot become ", brief(to));
  return {};
}

Reason broadcasts(const Op& op) {
  NEED_OK(same_elements(op));
  const Type& from = operand_type(op);
  const Type& to = result_type(op);
  const Ints& dims = op.ints("broadcast_dimensions");
  NEED_OK(check_length("broadcast_dimensions", dims, from.rank()));
  NEED_OK(check_axes("broadcast_dimensions", dims, to.rank()));
  for (size_t i = 0; i < dims.size(); ++i) {
    NEED(from.dims[i] == 1 || same_size(from.dims[i], to.dims[dims[i]]), "dimension ", i,
         " of the operand has size ", from.dims[i], " and cannot become ", to.dims[dims[i]]);
  }
  return {};
}

Rules shape_rules() {
  return {
      {OpId::broadcast, 1, 1, 0, broadcast},
      {OpId::broadcast_in_dim, 1, 1, 0, broadcasts},
      {OpId::concatenate, kAny, 1, 0, concatenate},
      {OpId::slice, 1, 1, 0, slice},
      {OpId::dynamic_slice, kAny, 1, 0, dynamic_slice},
      {OpId::dynamic_update_slice, kAny, 1, 0, dynamic_update_slice},
      {OpId::pad, 2, 1, 0, pad},
      {OpId::reshape, 1, 1, 0, keeps_size},
      {OpId::reverse, 1, 1, 0, reverse},
      {OpId::transpose, 1, 1, 0, transpose},
      {OpId::bitcast_convert, 1, 1, 0, bitcast_convert},
      {OpId::get_dimension_size, 1, 1, 0, get_dimension_size},
      {OpId::set_dimension_size, 2, 1, 0, set_dimension_size},
      {OpId::torch_index_select, 2, 1, 0, torch_index_select},
  };
}

}  // namespace jaxmps::ir::rules
