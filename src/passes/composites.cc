// Composites and custom calls that stand for one function become that op; every other composite
// becomes a call of its decomposition.
#include <string_view>

#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

using ir::Attr;
using ir::AttrDict;
using ir::Op;
using ir::OpId;

struct Function {
  std::string_view name;
  OpId id;
};
constexpr Function kElementwise[] = {
    {"erf", OpId::erf},     {"erfc", OpId::erfc}, {"erf_inv", OpId::erf_inv}, {"acos", OpId::acos},
    {"acosh", OpId::acosh}, {"asin", OpId::asin}, {"asinh", OpId::asinh},     {"atan", OpId::atan},
    {"atanh", OpId::atanh}, {"cosh", OpId::cosh}, {"sinh", OpId::sinh},       {"tan", OpId::tan},
};

// "chlo.erf" and "mhlo.erf" are "erf"; other names are empty.
std::string_view plain_name(std::string_view name) {
  if (name.substr(0, 5) == "chlo." || name.substr(0, 5) == "mhlo.") return name.substr(5);
  return {};
}

bool is_plain_float(ir::DType dtype) {
  return dtype == ir::DType::f16 || dtype == ir::DType::bf16 || dtype == ir::DType::f32 ||
         dtype == ir::DType::f64;
}

bool replace_elementwise(Op* op, std::string_view name) {
  if (op->operand_count() != 1 || op->result_count() != 1) return false;
  const ir::Type& type = op->operand(0)->type;
  if (!type.is_tensor() || !is_plain_float(type.dtype) || !(op->result()->type == type)) {
    return false;
  }
  for (const Function& function : kElementwise) {
    if (function.name != name) continue;
    replace(op, Builder(op).unary(function.id, op->operand(0)));
    return true;
  }
  return false;
}

bool replace_top_k(Op* op, const AttrDict& parameters) {
  const Attr* k = ir::find(parameters, "k");
  const auto* count = k ? k->get_if<ir::TypedInt>() : nullptr;
  const Attr* largest = ir::find(parameters, "largest");
  const bool smallest = largest && largest->get_if<bool>() && !*largest->get_if<bool>();
  if (!count || smallest || op->operand_count() != 1 || op->result_count() != 2) return false;
  const ir::Type& type = op->operand(0)->type;
  if (!type.is_static() || type.rank() == 0 || count->value > type.dims.back()) return false;
  ir::Dims dims = type.dims;
  dims.back() = count->value;
  const ir::Type values = type.with(dims), indices(ir::DType::s32, dims);
  if (!(op->result(0)->type == values) || !(op->result(1)->type == indices)) return false;
  Op* top =
      Builder(op).op(OpId::top_k, {op->operand(0)}, {values, indices}, {{"k", Attr(count->value)}});
  replace(op, {top->result(0), top->result(1)});
  return true;
}

const AttrDict& dictionary(const Attr* attr) {
  static const AttrDict kEmpty;
  const AttrDict* dict = attr ? attr->get_if<AttrDict>() : nullptr;
  return dict ? *dict : kEmpty;
}

bool recognize(Op* op) {
  const bool is_composite = op->id == OpId::composite;
  const std::string_view name = plain_name(op->text(is_composite ? "name" : "call_target_name"));
  if (name.empty()) return false;
  if (name == "top_k" || name == "topk") {
    return replace_top_k(op, is_composite
                                 ? dictionary(op->find("composite_attributes"))
                                 : dictionary(ir::find(op->discardable, "mhlo.attributes")));
  }
  return replace_elementwise(op, name);
}

void replace_composite(Op* op) {
  if (op->id != OpId::composite && op->id != OpId::custom_call) return;
  if (recognize(op) || op->id == OpId::custom_call) return;
  const ir::Symbol callee{op->text("decomposition")};
  std::vector<ir::Type> types;
  types.reserve(op->result_count());
  for (int i = 0; i < op->result_count(); ++i) types.push_back(op->result(i)->type);
  Op* call = Builder(op).op(OpId::call, op->operands(), types, {{"callee", Attr(callee)}});
  std::vector<ir::Value*> results;
  results.reserve(call->result_count());
  for (int i = 0; i < call->result_count(); ++i) results.push_back(call->result(i));
  replace(op, results);
}

}  // namespace

Status recognize_composites(ir::Module& module) {
  walk(module, replace_composite);
  return {};
}

}  // namespace jaxmps::passes
