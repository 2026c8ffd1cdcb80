// dot, einsum and unary_einsum as dot_general, reductions and transposes; operands of products in a
// type that products of the result's type are made of.
#include <algorithm>
#include <optional>
#include <string_view>

#include "ir/verify_rules.h"
#include "passes/decompose.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

Value* dot_general(Op* op, Value* lhs, Value* rhs, ir::Type type, Ints lhs_batch, Ints rhs_batch,
                   Ints lhs_contract, Ints rhs_contract) {
  const Attr* precision = op->find("precision_config");
  return Builder(op).value(
      OpId::dot_general, {lhs, rhs}, std::move(type),
      attributes({{"lhs_batching_dimensions", Attr(std::move(lhs_batch))},
                  {"lhs_contracting_dimensions", Attr(std::move(lhs_contract))},
                  {"precision_config", precision ? *precision : Attr(Attr::Value(ir::AttrList{}))},
                  {"rhs_batching_dimensions", Attr(std::move(rhs_batch))},
                  {"rhs_contracting_dimensions", Attr(std::move(rhs_contract))}}));
}

bool sums_in_float64(const Op& op) {
  const Attr* attr = op.find("accumulation_type");
  const auto* type = attr ? attr->get_if<ir::Type>() : nullptr;
  return type && type->kind != ir::Type::Kind::none && type->dtype == ir::DType::f64;
}

// The type whose products and sums hold at least what the operands' types, the result's and the
// algorithm's do; nothing for products of integers into integers, which kernels take as they are.
std::optional<ir::DType> product_type(const Op& op) {
  const ir::DType types[] = {op.operand(0)->type.dtype, op.operand(1)->type.dtype,
                             op.result()->type.dtype};
  bool exact = true, complex = false, wide = sums_in_float64(op);
  for (const ir::DType type : types) {
    exact = exact && !ir::is_float(type) && !ir::is_complex(type);
    complex = complex || ir::is_complex(type);
    wide = wide || ir::real_type(type) == ir::DType::f64;
  }
  if (exact) return std::nullopt;
  if (complex) return wide ? ir::DType::c128 : ir::DType::c64;
  // Kernels sum halves in float32 themselves.
  const bool halves = types[0] == types[1] && is_half(types[0]) &&
                      (types[2] == types[0] || op.id != OpId::convolution);
  if (halves && !wide) return types[0];
  return wide ? ir::DType::f64 : ir::DType::f32;
}

// Operands are converted to one type, what comes out is rounded once to the result's.
void convert_operands(Op* op) {
  const ir::Type& result = op->result()->type;
  const bool quantized =
      result.quantization || op->operand(0)->type.quantization || op->operand(1)->type.quantization;
  const auto type = product_type(*op);
  if (quantized || !type) return;
  for (int i = 0; i < 2; ++i) op->set_operand(i, Builder(op).convert(op->operand(i), *type));
  const ir::DType sum = is_half(*type) && result.dtype != *type ? ir::DType::f32 : *type;
  if (result.dtype == sum) return;
  Value* product = Builder(op).value(op->id, op->operands(), result.with(sum), op->attrs);
  replace(op, Builder(op).convert(product, result.dtype));
}

void dot(Op* op) {
  Value *lhs = op->operand(0), *rhs = op->operand(1);
  Value* product =
      dot_general(op, lhs, rhs, op->result()->type, {}, {}, {lhs->type.rank() - 1}, {0});
  replace(op, product);
  convert_operands(product->op());
}

bool distinct(std::string_view labels) {
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels.find(labels[i], i + 1) != std::string_view::npos) return false;
    if (labels[i] == '.' || labels[i] == ',') return false;
  }
  return true;
}

// Sums over the dimensions whose labels nobody else has.
Value* sum_out(const Builder& build, Value* value, std::string& labels, std::string_view kept) {
  Ints summed;
  std::string rest;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (kept.find(labels[i]) == std::string_view::npos) {
      summed.push_back(static_cast<int64_t>(i));
    } else {
      rest += labels[i];
    }
  }
  labels = rest;
  return summed.empty() ? value : build.reduce(OpId::add, value, 0, summed);
}

// Orders the dimensions of a value labelled `from` as `to`.
Value* arrange(const Builder& build, Value* value, std::string_view from, std::string_view to) {
  Ints permutation;
  for (char label : to) permutation.push_back(static_cast<int64_t>(from.find(label)));
  return build.transpose(value, permutation);
}

bool is_permutation(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::is_permutation(a.begin(), a.end(), b.begin());
}

// The verifier does not read einsum's labels: what does not fit leaves the op to be refused.
bool replace_if_equal(Op* op, Value* value) {
  if (!(value->type == op->result()->type)) return false;
  replace(op, value);
  return true;
}

void unary_einsum(Op* op) {
  std::string config = op->text("einsum_config");
  const size_t arrow = config.find("->");
  std::string in = config.substr(0, arrow);
  const std::string out = config.substr(arrow + 2);
  if (!distinct(in) || !distinct(out) || !op->operand(0)->type.is_static()) return;
  if (static_cast<int64_t>(in.size()) != op->operand(0)->type.rank()) return;
  const Builder build(op);
  for (char label : out) {
    if (in.find(label) == std::string::npos) return;
  }
  Value* value = sum_out(build, op->operand(0), in, out);
  replace_if_equal(op, arrange(build, value, in, out));
}

void einsum(Op* op) {
  const std::string& config = op->text("einsum_config");
  const size_t comma = config.find(','), arrow = config.find("->");
  if (comma == std::string::npos || comma > arrow) return;
  std::string left = config.substr(0, comma), right = config.substr(comma + 1, arrow - comma - 1);
  const std::string out = config.substr(arrow + 2);
  if (!distinct(left) || !distinct(right) || !distinct(out)) return;
  Value *lhs = op->operand(0), *rhs = op->operand(1);
  if (!lhs->type.is_static() || !rhs->type.is_static()) return;
  if (static_cast<int64_t>(out.size()) != op->result()->type.rank()) return;
  if (static_cast<int64_t>(left.size()) != lhs->type.rank()) return;
  if (static_cast<int64_t>(right.size()) != rhs->type.rank()) return;
  for (char label : out) {
    if ((left + right).find(label) == std::string::npos) return;
  }
  const Builder build(op);
  const std::string all_left = left;
  lhs = sum_out(build, lhs, left, right + out);
  rhs = sum_out(build, rhs, right, all_left + out);
  Ints lhs_batch, rhs_batch, lhs_contract, rhs_contract;
  std::string batch, free;
  for (size_t i = 0; i < left.size(); ++i) {
    const size_t at = right.find(left[i]);
    if (at == std::string::npos) {
      free += left[i];
    } else {
      const bool kept = out.find(left[i]) != std::string::npos;
      (kept ? lhs_batch : lhs_contract).push_back(static_cast<int64_t>(i));
      (kept ? rhs_batch : rhs_contract).push_back(static_cast<int64_t>(at));
      if (kept) batch += left[i];
    }
  }
  for (char label : right) {
    if (left.find(label) == std::string::npos) free += label;
  }
  const std::string labels = batch + free;
  if (!is_permutation(labels, out)) return;
  Dims dims;
  for (char label : labels) dims.push_back(op->result()->type.dims[out.find(label)]);
  Value* product = dot_general(op, lhs, rhs, op->result()->type.with(dims), lhs_batch, rhs_batch,
                               lhs_contract, rhs_contract);
  if (!ir::rules::check_op(*product->op()).empty()) {
    product->op()->erase();
    return;
  }
  if (!replace_if_equal(op, arrange(build, product, labels, out))) return;
  convert_operands(product->op());
}

}  // namespace

DecomposeRules dot_decompositions() {
  return {
      {OpId::convolution, convert_operands}, {OpId::dot, dot},
      {OpId::dot_general, convert_operands}, {OpId::einsum, einsum},
      {OpId::unary_einsum, unary_einsum},
  };
}

}  // namespace jaxmps::passes
