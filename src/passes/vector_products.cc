// Products of matrices by vectors as fusions, which take in what makes the matrix and what is done
// with the result. A reduction walks the matrix as it lies: rows, or columns side by side.
#include <algorithm>
#include <optional>

#include "passes/fuse_classify.h"
#include "passes/products.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

bool is_known_float(const ir::Type& type) {
  return type.is_tensor() && type.is_static() && !type.quantization && type.size() > 0 &&
         (type.dtype == DType::f32 || is_half(type.dtype));
}

// Those of an algorithm are MLX's to refuse.
bool is_default_product(const Op& dot) {
  const Attr* sum = dot.find("accumulation_type");
  const auto* type = sum ? sum->get_if<ir::Type>() : nullptr;
  return (!sum || (type && type->kind == ir::Type::Kind::none)) &&
         is_known_float(dot.result()->type) && is_known_float(dot.operand(0)->type) &&
         is_known_float(dot.operand(1)->type);
}

bool is_vector(const Op& dot, int operand) {
  const auto dims = product_dims(dot, operand);
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d].is_free && dot.operand(operand)->type.dims[d] != 1) return false;
  }
  return true;
}

// In front of which dimension of the result the contracted ones are walked, so that neighbours in
// the matrix are neighbours there; nothing if there is no such place.
std::optional<int64_t> place_of_contracted(const Op& dot, int matrix) {
  const ir::Dims &dims = dot.operand(matrix)->type.dims, &result = dot.result()->type.dims;
  const auto roles = product_dims(dot, matrix);
  const auto contracted = static_cast<int64_t>(dot.ints("lhs_contracting_dimensions").size());
  int64_t at = dot.result()->type.rank();
  for (size_t d = dims.size(); d-- > 0;) {
    if (dims[d] == 1) continue;
    const bool is_innermost = at == dot.result()->type.rank();
    if (roles[d].is_contracted) {
      if (is_innermost && roles[d].place != contracted - 1) return std::nullopt;
      return at;
    }
    int64_t before = at - 1;
    while (before > roles[d].place && result[before] == 1) --before;
    if (before != roles[d].place) return is_innermost ? std::nullopt : std::optional(at);
    at = before;
  }
  return at;
}

bool is_movement(const Op& op) {
  std::string_view unused;
  return classify(op, &unused) == FuseClass::movement && op.operand_count() == 1;
}

// The vector is computed once, not for each row of the matrix.
void keep_apart(Op* user, int operand) {
  Value* value = user->operand(operand);
  while (value->op() && value->has_one_use() && is_movement(*value->op())) {
    user = value->op();
    operand = 0;
    value = user->operand(0);
  }
  if (!value->op() || !value->has_one_use() || !value->op()->is(ir::traits::elementwise)) return;
  Op* barrier = Builder(user).op(OpId::optimization_barrier, {value}, {value->type});
  user->set_operand(operand, barrier->result());
}

void expand(Op* dot) {
  if (dot->id != OpId::dot_general || !is_default_product(*dot)) return;
  const int vector = is_vector(*dot, 1) ? 1 : 0;
  if (!is_vector(*dot, vector)) return;
  const auto at = place_of_contracted(*dot, 1 - vector);
  if (!at) return;
  keep_apart(dot, vector);
  const Builder build(dot);
  for (const int operand : {0, 1})
    dot->set_operand(operand, build.convert(dot->operand(operand), DType::f32));
  const auto contracted = static_cast<int64_t>(dot->ints("lhs_contracting_dimensions").size());
  Value* sum = build.reduce(OpId::add, products_of(dot, *at), 0, iota(contracted, *at));
  replace(dot, build.convert(sum, dot->result()->type.dtype));
}

}  // namespace

void expand_vector_products(ir::Module& module) { walk(module, expand); }

}  // namespace jaxmps::passes
