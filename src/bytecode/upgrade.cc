// Old versions of ops differ from the newest only by attributes that they lack (and one that they
// have too many), so an op reaches its newest form in one step.
#include <algorithm>
#include <string_view>
#include <unordered_set>

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

// Whether the op's newest form states how accurate its result has to be.
bool states_accuracy(OpId id) {
  static const auto* ops = [] {
    auto* all = new std::unordered_set<OpId>;
#define SCALAR_OP(opcode, class, id, name, types, ...) \
  if (std::string_view(#types) == "accurate") all->insert(OpId::id);
#include "ir/scalar_ops.def"
    return all;
  }();
  return ops->count(id) != 0;
}

}  // namespace

void upgrade(OpId id, ir::AttrDict& attrs) {
  if (states_accuracy(id)) {
    return add(attrs, "result_accuracy", Attr(Value(ir::Accuracy{})));
  }
  switch (id) {
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
