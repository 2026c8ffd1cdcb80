// Products without a sum are of arrays; transposed operands become other dimension numbers; a
// reversed kernel of a convolution is a reversed window.
#include <algorithm>

#include "passes/canonicalize.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

Ints mapped(const Ints& dims, const Ints& permutation) {
  Ints out;
  for (int64_t d : dims) out.push_back(permutation[static_cast<size_t>(d)]);
  return out;
}

// Whether the dimensions that neither contract nor batch keep their order: the result has them in
// the operand's.
bool keeps_free_order(const Ints& permutation, const Ints& contracting, const Ints& batching) {
  std::vector<bool> bound(permutation.size(), false);
  for (int64_t d : contracting) bound[static_cast<size_t>(d)] = true;
  for (int64_t d : batching) bound[static_cast<size_t>(d)] = true;
  int64_t last = -1;
  for (size_t d = 0; d < permutation.size(); ++d) {
    if (bound[d]) continue;
    if (permutation[d] < last) return false;
    last = permutation[d];
  }
  return true;
}

bool absorb_transpose(Op* op, int operand, std::string_view contracting,
                      std::string_view batching) {
  const Value* value = op->operand(operand);
  const Op* from = value->op();
  if (!from || from->id != OpId::transpose) return false;
  const Ints& permutation = from->ints("permutation");
  if (!keeps_free_order(permutation, op->ints(contracting), op->ints(batching))) return false;
  op->set_attr(contracting, Attr(mapped(op->ints(contracting), permutation)));
  op->set_attr(batching, Attr(mapped(op->ints(batching), permutation)));
  op->set_operand(operand, from->operand(0));
  return true;
}

// Where nothing is summed: products of arrays, which fuse.
bool is_one_term(const Op& op) {
  const ir::Type &lhs = op.operand(0)->type, &rhs = op.operand(1)->type, &out = op.result()->type;
  const Ints& contracted = op.ints("lhs_contracting_dimensions");
  return lhs.is_static() && rhs.is_static() && !out.quantization && !lhs.quantization &&
         !rhs.quantization && lhs.dtype == out.dtype && rhs.dtype == out.dtype &&
         std::all_of(contracted.begin(), contracted.end(),
                     [&](int64_t d) { return lhs.dims[static_cast<size_t>(d)] == 1; });
}

Replacement dot_general(Op* op) {
  if (is_one_term(*op)) return {Builder(op).reshape(products_of(op), op->result()->type.dims)};
  const bool left =
      absorb_transpose(op, 0, "lhs_contracting_dimensions", "lhs_batching_dimensions");
  const bool right =
      absorb_transpose(op, 1, "rhs_contracting_dimensions", "rhs_batching_dimensions");
  if (!left && !right) return {};
  return {op->result()};
}

Replacement convolution_by_reversed(Op* op) {
  const Op* from = op->operand(1)->op();
  if (!from || from->id != OpId::reverse) return {};
  const Ints& spatial = op->ints("kernel_spatial_dimensions");
  Ints reversal = op->ints("window_reversal");
  for (const int64_t d : from->ints("dimensions")) {
    const auto found = std::find(spatial.begin(), spatial.end(), d);
    if (found == spatial.end()) return {};
    int64_t& turned = reversal[static_cast<size_t>(found - spatial.begin())];
    turned = turned ? 0 : 1;
  }
  op->set_attr("window_reversal", Attr(std::move(reversal)));
  op->set_operand(1, from->operand(0));
  return {op->result()};
}

}  // namespace

void add_dot_rules(CanonicalRules& rules) {
  rules.add(OpId::dot_general, dot_general);
  rules.add(OpId::convolution, convolution_by_reversed);
}

}  // namespace jaxmps::passes
