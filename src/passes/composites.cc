// Composites and custom calls that stand for one function become that op; every other composite
// becomes a call of its decomposition.
#include <string_view>

#include "ir/custom_call.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

// "chlo.erf" and "mhlo.erf" are "erf"; other names are empty.
std::string_view plain_name(std::string_view name) {
  if (name.substr(0, 5) == "chlo." || name.substr(0, 5) == "mhlo.") return name.substr(5);
  return {};
}

bool replace_elementwise(Op* op, std::string_view name) {
  if (op->result_count() != 1 || !ir::check_float_function(*op).empty()) return false;
  const auto id = ir::float_function(name);
  if (id) replace(op, Builder(op).unary(*id, op->operand(0)));
  return id.has_value();
}

bool replace_top_k(Op* op, const AttrDict* parameters) {
  if (op->result_count() != 2 || !ir::check_top_k(*op, parameters).empty()) return false;
  const ir::Type &values = op->result(0)->type, &indices = op->result(1)->type;
  if (!op->operand(0)->type.is_static() || !values.is_static()) return false;
  Op* top = Builder(op).op(OpId::top_k, {op->operand(0)}, {values, indices},
                           {{"k", *ir::find(*parameters, "k")}});
  replace(op, {top->result(0), top->result(1)});
  return true;
}

const AttrDict* dictionary(const Attr* attr) { return attr ? attr->get_if<AttrDict>() : nullptr; }

bool recognize(Op* op) {
  const bool is_composite = op->id == OpId::composite;
  if (!is_composite && !ir::has_custom_call_rule(op->text("call_target_name"))) return false;
  const std::string_view name = plain_name(op->text(is_composite ? "name" : "call_target_name"));
  if (name.empty() || op->operand_count() != 1) return false;
  if (name == "top_k" || name == "topk") {
    return replace_top_k(op, is_composite
                                 ? dictionary(op->find("composite_attributes"))
                                 : dictionary(ir::find(op->discardable, "mhlo.attributes")));
  }
  return replace_elementwise(op, name);
}

// Approximate top-k by an exact sort, which satisfies every recall target.
void replace_approx_top_k(Op* op, ir::Module& module) {
  const std::vector<ir::Value*> operands{op->operand(0), op->operand(1)};
  const ir::Type &values = operands[0]->type, &found = op->result(0)->type;
  if (!values.is_static() || !operands[1]->type.is_static() || !found.is_static()) return;
  const AttrDict& options = *ir::custom_call_dictionary(*op);
  const Attr& comparator = std::get<ir::AttrList>(op->find("called_computations")->value)[0];
  const Builder build(op);
  Op* sort = build.op(OpId::sort, operands, {values, operands[1]->type},
                      attributes({{"dimension", *ir::find(options, "reduction_dim")},
                                  {"is_stable", Attr(Attr::Value(true))}}));
  ir::ValueMap map;
  sort->add_region()->copy_from(module.find(std::get<ir::Symbol>(comparator.value).name)->body,
                                map);
  std::vector<ir::Value*> best;
  best.reserve(2);
  for (int i = 0; i < 2; ++i) {
    const size_t rank = found.dims.size();
    best.push_back(build.slice(sort->result(i), op->result(i)->type, ir::Ints(rank, 0), found.dims,
                               ir::Ints(rank, 1)));
  }
  replace(op, best);
}

void replace_composite(Op* op, ir::Module& module) {
  if (op->id != OpId::composite && op->id != OpId::custom_call) return;
  if (op->id == OpId::custom_call && op->text("call_target_name") == "ApproxTopK") {
    return replace_approx_top_k(op, module);
  }
  if (recognize(op) || op->id == OpId::custom_call) return;
  const ir::Symbol callee{op->text("decomposition")};
  Op* call = Builder(op).op(OpId::call, op->operands(), ir::types_of(op->results()),
                            {{"callee", Attr(callee)}});
  replace(op, call->results());
}

}  // namespace

Status recognize_composites(ir::Module& module) {
  walk(module, [&](Op* op) { replace_composite(op, module); });
  return {};
}

}  // namespace jaxmps::passes
