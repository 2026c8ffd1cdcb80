// Old versions of ops differ from the newest only by attributes that they lack (and one that they
// have too many), so an op reaches its newest form in one step.
#include <algorithm>

#include "bytecode/op_specs.h"

namespace jaxmps::bytecode {
namespace {

using ir::Attr;
using ir::OpId;
using Value = ir::Attr::Value;

void add(ir::AttrDict& attrs, std::string_view name, Attr value) {
  auto at = std::lower_bound(attrs.begin(), attrs.end(), name,
                             [](const ir::NamedAttr& a, std::string_view n) { return a.name < n; });
  if (at == attrs.end() || at->name != name) {
    attrs.insert(at, {std::string(name), std::move(value)});
  }
}

}  // namespace

void upgrade(OpId id, ir::AttrDict& attrs) {
  switch (id) {
#define SCALAR_OP(opcode, class, id, name, types, ...)            \
  case OpId::id:                                                  \
    if (std::string_view(#types) == "accurate") {                 \
      add(attrs, "result_accuracy", Attr(Value(ir::Accuracy{}))); \
    }                                                             \
    return;
#include "ir/scalar_ops.def"
    case OpId::gather:
    case OpId::dynamic_gather:
      add(attrs, "operand_batching_dims", Attr(ir::Ints{}));
      return add(attrs, "start_indices_batching_dims", Attr(ir::Ints{}));
    case OpId::scatter:
      add(attrs, "input_batching_dims", Attr(ir::Ints{}));
      return add(attrs, "scatter_indices_batching_dims", Attr(ir::Ints{}));
    case OpId::send:
    case OpId::recv:
      return add(attrs, "source_target_pairs", Attr(ir::Ints{}));
    case OpId::custom_call:
      return add(attrs, "result_tilings", Attr(Value(ir::AttrList{})));
    case OpId::collective_broadcast:
      return add(attrs, "has_dynamic_root", Attr(Value(false)));
    case OpId::dynamic_conv:
      // The padding is an operand.
      std::erase_if(attrs, [](const ir::NamedAttr& a) { return a.name == "padding"; });
      return;
    default:
      return;
  }
}

}  // namespace jaxmps::bytecode
