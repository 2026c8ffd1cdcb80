// Arrays without elements: what is computed from them is known, and what is computed as one is
// nothing, so that kernels and devices never see either.
#include <algorithm>

#include "passes/canonicalize.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

bool is_empty(const Value* value) {
  return value->type.is_tensor() && value->type.is_static() && value->type.size() == 0;
}

// A reduction of nothing is its initial values.
Replacement reduce_of_nothing(Op* op) {
  const int inputs = op->operand_count() / 2;
  if (!is_empty(op->operand(0))) return {};
  Replacement values;
  for (int i = 0; i < inputs; ++i) {
    const Builder build(op);
    const ir::Type& type = op->result(i)->type;
    values.push_back(
        build.broadcast(build.convert(op->operand(inputs + i), type.dtype), type.dims, {}));
  }
  return values;
}

// Windows over nothing but padding: over an array of initial values.
Replacement reduce_window(Op* op) {
  const int inputs = op->operand_count() / 2;
  if (!is_empty(op->operand(0))) return {};
  const ir::Ints &padding = op->ints("padding"), &dilations = op->ints("base_dilations");
  constexpr int64_t kMost = int64_t{1} << 31;  // beyond, the op is left to be refused
  ir::Dims dims = op->operand(0)->type.dims;
  int64_t count = 1;
  for (size_t d = 0; d < dims.size(); ++d) {
    const int64_t low = padding[2 * d], high = padding[2 * d + 1];
    const auto [least, most] = std::minmax({dims[d], dilations[d], low, high});
    if (least < -kMost || most > kMost) return {};
    if (dims[d] > 0) dims[d] = (dims[d] - 1) * dilations[d] + 1;
    dims[d] += low + high;
    if (dims[d] < 1 || dims[d] > kMost / count) return {};
    count *= dims[d];
  }
  const Builder build(op);
  for (int i = 0; i < inputs; ++i)
    op->set_operand(i, build.broadcast(op->operand(inputs + i), dims, {}));
  op->set_attr("padding", ir::Attr(ir::Ints(2 * dims.size(), 0)));
  op->set_attr("base_dilations", ir::Attr(ir::Ints(dims.size(), 1)));
  return op->results();
}

// A sum of no products is zero.
Replacement product(Op* op) {
  if (!is_empty(op->operand(0)) && !is_empty(op->operand(1))) return {};
  if (!op->result()->type.is_static() || op->result()->type.quantization) return {};
  return {Builder(op).splat(op->result()->type, 0)};
}

// Index vectors without a component, of which there may yet be many, all name the origin. They get
// the component of one dimension, zero.
Replacement index_origin(Op* op, int indices, const char* map, const char* batching) {
  const ir::Type& type = op->operand(indices)->type;
  if (!is_empty(op->operand(indices)) || !op->ints(map).empty()) return {};
  ir::Dims dims = type.dims;
  dims[op->i64("index_vector_dim")] = 1;
  if (type.with(dims).size() == 0) return {};
  const ir::Ints& taken = op->ints(batching);
  for (int64_t dim = 0; dim < op->operand(0)->type.rank(); ++dim) {
    if (ir::contains(taken, dim)) continue;
    op->set_operand(indices, Builder(op).splat(type.with(dims), 0));
    op->set_attr(map, ir::Attr(ir::Ints{dim}));
    return op->results();
  }
  return {};
}

Replacement gather(Op* op) {
  return index_origin(op, 1, "start_index_map", "operand_batching_dims");
}

Replacement scatter(Op* op) {
  const int inputs = (op->operand_count() - 1) / 2;
  if (!is_empty(op->operand(inputs + 1))) {
    return index_origin(op, inputs, "scatter_dims_to_operand_dims", "input_batching_dims");
  }
  Replacement values;
  for (int i = 0; i < inputs; ++i) {
    if (!(op->operand(i)->type == op->result(i)->type)) return {};
    values.push_back(op->operand(i));
  }
  return values;
}

Replacement select_and_scatter(Op* op) {
  Value* init = op->operand(2);
  const ir::Type& type = op->result()->type;
  if (!is_empty(op->operand(1)) || init->type.dtype != type.dtype) return {};
  return {Builder(op).broadcast(init, type.dims, {})};
}

Replacement pad_of_nothing(Op* op) {
  if (!is_empty(op->operand(0)) || !op->result()->type.is_static()) return {};
  return {Builder(op).broadcast(op->operand(1), op->result()->type.dims, {})};
}

}  // namespace

Replacement results_without_elements(Op* op) {
  if (op->result_count() == 0 || op->id == OpId::constant) return {};
  for (int i = 0; i < op->result_count(); ++i) {
    if (!is_empty(op->result(i)) || op->result(i)->type.quantization) return {};
  }
  if (op->is(ir::traits::collective) || has_side_effect(*op)) return {};
  Replacement values;
  for (int i = 0; i < op->result_count(); ++i) {
    values.push_back(Builder(op).splat(op->result(i)->type, 0));
  }
  return values;
}

void add_empty_rules(CanonicalRules& rules) {
  rules.add(OpId::reduce, reduce_of_nothing);
  rules.add(OpId::reduce_window, reduce_window);
  rules.add(OpId::dot_general, product);
  rules.add(OpId::convolution, product);
  rules.add(OpId::gather, gather);
  rules.add(OpId::scatter, scatter);
  rules.add(OpId::select_and_scatter, select_and_scatter);
  rules.add(OpId::pad, pad_of_nothing);
}

}  // namespace jaxmps::passes
