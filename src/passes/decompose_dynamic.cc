// Ops with shapes or configurations as operands, where these are constants or the result's shape is
// known anyway. The constants were not checked with the module, so the new op is: one that would be
// wrong is not made.
#include "ir/verify_rules.h"
#include "passes/decompose.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

bool is_static(const Op& op) {
  return op.result()->type.is_static() && op.operand(0)->type.is_static();
}

// The op's attributes and one more.
AttrDict with(const Op& op, std::string_view name, Ints value) {
  AttrDict attrs = op.attrs;
  attrs.push_back({std::string(name), Attr(std::move(value))});
  return attributes(std::move(attrs));
}

// Replaces the op unless the new one breaks the rules of its kind.
void replace_checked(Op* op, OpId id, const std::vector<Value*>& operands, AttrDict attrs) {
  Op* fresh = Builder(op).op(id, operands, {op->result()->type}, std::move(attrs));
  if (!ir::rules::check_op(*fresh).empty()) return fresh->erase();
  replace(op, fresh->result());
}

void dynamic_broadcast_in_dim(Op* op) {
  if (!is_static(*op)) return;
  replace(op, Builder(op).broadcast(op->operand(0), op->result()->type.dims,
                                    op->ints("broadcast_dimensions")));
}

void iota_of(Op* op) {
  if (!op->result()->type.is_static()) return;
  replace(op, Builder(op).value(OpId::iota, {}, op->result()->type, op->attrs));
}

void dynamic_reshape(Op* op) {
  if (!is_static(*op)) return;
  replace(op, Builder(op).reshape(op->operand(0), op->result()->type.dims));
}

void dynamic_pad(Op* op) {
  const auto low = constant_ints(op->operand(2)), high = constant_ints(op->operand(3)),
             interior = constant_ints(op->operand(4));
  if (!is_static(*op) || !low || !high || !interior) return;
  return replace_checked(op, OpId::pad, {op->operand(0), op->operand(1)},
                         attributes({{"edge_padding_low", Attr(*low)},
                                     {"edge_padding_high", Attr(*high)},
                                     {"interior_padding", Attr(*interior)}}));
}

void dynamic_gather(Op* op) {
  const auto sizes = constant_ints(op->operand(2));
  if (!is_static(*op) || !sizes) return;
  return replace_checked(op, OpId::gather, {op->operand(0), op->operand(1)},
                         with(*op, "slice_sizes", *sizes));
}

void convolution(Op* op) {
  const auto padding = constant_ints(op->operand(2));
  if (!is_static(*op) || !padding) return;
  return replace_checked(op, OpId::convolution, {op->operand(0), op->operand(1)},
                         with(*op, "padding", *padding));
}

void real_dynamic_slice(Op* op) {
  const auto start = constant_ints(op->operand(1)), limit = constant_ints(op->operand(2)),
             stride = constant_ints(op->operand(3));
  if (!is_static(*op) || !stride) return;
  const Builder build(op);
  if (start && limit) {
    return replace_checked(op, OpId::slice, {op->operand(0)},
                           slice_attributes(*start, *limit, *stride));
  }
  for (int64_t step : *stride) {
    if (step != 1) return;
  }
  // The result's shape is known, so only where it starts is not.
  Value* starts = op->operand(1);
  std::vector<Value*> operands{op->operand(0)};
  for (int64_t i = 0; i < op->operand(0)->type.rank(); ++i) {
    operands.push_back(build.element(starts, i));
  }
  return replace_checked(op, OpId::dynamic_slice, operands,
                         {{"slice_sizes", Attr(Ints(op->result()->type.dims))}});
}

}  // namespace

DecomposeRules dynamic_decompositions() {
  return {
      {OpId::dynamic_broadcast_in_dim, dynamic_broadcast_in_dim},
      {OpId::dynamic_iota, iota_of},
      {OpId::dynamic_reshape, dynamic_reshape},
      {OpId::dynamic_pad, dynamic_pad},
      {OpId::dynamic_gather, dynamic_gather},
      {OpId::dynamic_conv, convolution},
      {OpId::real_dynamic_slice, real_dynamic_slice},
  };
}

}  // namespace jaxmps::passes
