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
bool replace_checked(Op* op, OpId id, const std::vector<Value*>& operands, AttrDict attrs) {
  Op* fresh = Builder(op).op(id, operands, {op->result()->type}, std::move(attrs));
  if (!ir::rules::check_op(*fresh).empty()) {
    fresh->erase();
    return false;
  }
  replace(op, fresh->result());
  return true;
}

bool broadcast_in_dim(Op* op) {
  if (!is_static(*op)) return false;
  replace(op, Builder(op).broadcast(op->operand(0), op->result()->type.dims,
                                    op->ints("broadcast_dimensions")));
  return true;
}

bool iota_of(Op* op) {
  if (!op->result()->type.is_static()) return false;
  replace(op, Builder(op).value(OpId::iota, {}, op->result()->type, op->attrs));
  return true;
}

bool reshape(Op* op) {
  if (!is_static(*op)) return false;
  replace(op, Builder(op).reshape(op->operand(0), op->result()->type.dims));
  return true;
}

bool pad(Op* op) {
  const auto low = constant_ints(op->operand(2)), high = constant_ints(op->operand(3)),
             interior = constant_ints(op->operand(4));
  if (!is_static(*op) || !low || !high || !interior) return false;
  return replace_checked(op, OpId::pad, {op->operand(0), op->operand(1)},
                         attributes({{"edge_padding_low", Attr(*low)},
                                     {"edge_padding_high", Attr(*high)},
                                     {"interior_padding", Attr(*interior)}}));
}

bool gather(Op* op) {
  const auto sizes = constant_ints(op->operand(2));
  if (!is_static(*op) || !sizes) return false;
  return replace_checked(op, OpId::gather, {op->operand(0), op->operand(1)},
                         with(*op, "slice_sizes", *sizes));
}

bool convolution(Op* op) {
  const auto padding = constant_ints(op->operand(2));
  if (!is_static(*op) || !padding) return false;
  return replace_checked(op, OpId::convolution, {op->operand(0), op->operand(1)},
                         with(*op, "padding", *padding));
}

bool slice(Op* op) {
  const auto start = constant_ints(op->operand(1)), limit = constant_ints(op->operand(2)),
             stride = constant_ints(op->operand(3));
  if (!is_static(*op) || !stride) return false;
  const Builder build(op);
  if (start && limit) {
    return replace_checked(op, OpId::slice, {op->operand(0)},
                           attributes({{"start_indices", Attr(*start)},
                                       {"limit_indices", Attr(*limit)},
                                       {"strides", Attr(*stride)}}));
  }
  for (int64_t step : *stride) {
    if (step != 1) return false;
  }
  // The result's shape is known, so only where it starts is not.
  Value* starts = op->operand(1);
  std::vector<Value*> operands{op->operand(0)};
  for (int64_t i = 0; i < op->operand(0)->type.rank(); ++i) {
    Value* one = build.value(OpId::slice, {starts}, starts->type.with(ir::Dims{1}),
                             attributes({{"start_indices", Attr(Ints{i})},
                                         {"limit_indices", Attr(Ints{i + 1})},
                                         {"strides", Attr(Ints{1})}}));
    operands.push_back(build.reshape(one, {}));
  }
  return replace_checked(op, OpId::dynamic_slice, operands,
                         {{"slice_sizes", Attr(Ints(op->result()->type.dims))}});
}

}  // namespace

void add_dynamic_rules(AddRule add, void* table) {
  add(table, OpId::dynamic_broadcast_in_dim, broadcast_in_dim);
  add(table, OpId::dynamic_iota, iota_of);
  add(table, OpId::dynamic_reshape, reshape);
  add(table, OpId::dynamic_pad, pad);
  add(table, OpId::dynamic_gather, gather);
  add(table, OpId::dynamic_conv, convolution);
  add(table, OpId::real_dynamic_slice, slice);
}

}  // namespace jaxmps::passes
