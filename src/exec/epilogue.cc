#include "exec/epilogue.h"

#include <algorithm>

#include "ops/dot.h"

namespace jaxmps::exec {
namespace {

using fusion::Access;
using fusion::Fusion;
using ir::Op;
using scalar::Opcode;
using scalar::ScalarInstr;

// A value as `product` times the product plus `other` times an access that is not of it.
struct Sum {
  int product = 0, other = 0;
  int access = -1;
};

// Rounding on the way is left to the call, which rounds once.
std::optional<Sum> sum_of(const Fusion& fusion, int32_t value, int product, int depth = 8) {
  if (depth == 0) return std::nullopt;
  const ScalarInstr& instr = fusion.program.instrs[value];
  switch (instr.op) {
    case Opcode::load: {
      const Access& access = fusion.accesses[instr.imm];
      if (instr.a >= 0 || access.kind != Access::Kind::memory || !access.bounds.empty())
        return std::nullopt;
      if (access.input == product) return Sum{1, 0, -1};
      return Sum{0, 1, static_cast<int>(instr.imm)};
    }
    case Opcode::decode:
    case Opcode::encode:
    case Opcode::round_to:
      return sum_of(fusion, instr.a, product, depth - 1);
    case Opcode::add:
    case Opcode::sub: {
      const auto a = sum_of(fusion, instr.a, product, depth - 1);
      auto b = sum_of(fusion, instr.b, product, depth - 1);
      if (!a || !b || (a->product != 0) == (b->product != 0)) return std::nullopt;
      if (instr.op == Opcode::sub) *b = {-b->product, -b->other, b->access};
      const Sum sum{a->product + b->product, a->other + b->other, std::max(a->access, b->access)};
      return sum.other == 0 || (a->other != 0 && b->other != 0) ? std::nullopt : std::optional(sum);
    }
    default:
      return std::nullopt;
  }
}

// Whether one call of MLX does the product, which takes a sum, and if it is not cut in pieces.
bool is_one_call(const Op& product, const ir::Target& target) {
  return product.operand(0)->type.size() != 0 && product.result()->type.size() != 0 &&
         ops::is_single_product(product, target);
}

bool is_in_place(const fusion::Affine& where, const ir::Dims& dims) {
  const ir::Dims dense = ir::row_major_strides(dims);
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] != 1 && where.strides[d] != dense[d]) return false;
  }
  return where.offset == 0;
}

// If all that the fusion does is to add another input to `product`, or to subtract one from the
// other: which. Both are read as they are stored, and each element of the product once, in its
// place.
std::optional<Joined> joined_sum(const Fusion& fusion, int product) {
  const bool is_plain = fusion.kind == Fusion::Kind::loop && fusion.outputs.size() == 1 &&
                        fusion.outputs[0].updates < 0 &&
                        is_in_place(fusion.outputs[0], fusion.dims);
  if (!is_plain) return std::nullopt;
  const fusion::FusionOutput& output = fusion.outputs[0];
  const ir::DType type = output.type.dtype;
  if (type != ir::DType::f32 && type != ir::DType::f16 && type != ir::DType::bf16)
    return std::nullopt;
  for (const Access& access : fusion.accesses) {
    if (access.kind != Access::Kind::memory) return std::nullopt;
    if (access.input == product && !is_in_place(access, fusion.dims)) return std::nullopt;
  }
  const auto sum = sum_of(fusion, output.value.re, product);
  if (!sum || sum->product == 0 || sum->access < 0) return std::nullopt;
  const Access& other = fusion.accesses[sum->access];
  if (fusion.inputs[product].dtype != type || fusion.inputs[other.input].dtype != type)
    return std::nullopt;
  return Joined{{static_cast<float>(sum->product), static_cast<float>(sum->other)},
                other.input,
                fusion.inputs[other.input].size(),
                fusion.dims,
                other};
}

}  // namespace

std::optional<Layout> layout_for(const Joined& sum, const mx::Shape& shape, mx::Dtype dtype) {
  const auto strides = regrouped(sum.dims, sum.where.strides, shape);
  if (!strides || sum.where.offset != 0) return std::nullopt;
  int64_t distinct = 1;
  for (size_t d = 0; d < shape.size(); ++d) distinct *= (*strides)[d] == 0 ? 1 : shape[d];
  if (distinct != sum.size) return std::nullopt;
  return Layout(shape, dtype, *strides, sum.size);
}

bool join_product(Op& sum, const Fusion& description, const ir::Target& target) {
  for (int i = 0; i < sum.operand_count(); ++i) {
    const ir::Value* product = sum.operand(i);
    Op* op = product->op();
    if (!op || op->id != ir::OpId::dot_general || op->parent() != sum.parent() ||
        !product->has_one_use() || !is_one_call(*op, target))
      continue;
    auto joined = joined_sum(description, i);
    if (!joined) continue;
    op->attachment = std::make_shared<Join>(&sum, *std::move(joined));
    return true;
  }
  return false;
}

const Join* join_of(const Op& op) {
  return op.id == ir::OpId::dot_general ? static_cast<const Join*>(op.attachment.get()) : nullptr;
}

const Op* joined_by(const Op& sum) {
  for (const ir::Value* operand : sum.operands()) {
    const Join* join = operand->op() ? join_of(*operand->op()) : nullptr;
    if (join && join->sum == &sum) return operand->op();
  }
  return nullptr;
}

}  // namespace jaxmps::exec
