// Identities of arithmetic that hold bit for bit: x + 0 only where the sign of zero survives.
#include <algorithm>

#include "passes/canonicalize.h"
#include "passes/rewrite.h"

namespace jaxmps::passes {
namespace {

bool is_integer(const Value* v) {
  return ir::is_int(v->type.dtype) || v->type.dtype == DType::pred;
}

// Every bit set: the neutral element of `and`, the absorbing one of `or`.
bool is_all_ones(const Value* v) {
  const DType dtype = v->type.dtype;
  if (dtype == DType::pred) return is_splat_of(v, 1);
  if (ir::is_signed_int(dtype)) return is_splat_of(v, -1);
  return ir::bit_width(dtype) < 53 &&
         is_splat_of(v, double((int64_t(1) << ir::bit_width(dtype)) - 1));
}

// Constants stand on the right, so that rules look at one side only.
Replacement constant_right(Op* op) {
  if (!constant_of(op->operand(0)) || constant_of(op->operand(1))) return {};
  Value *a = op->operand(0), *b = op->operand(1);
  op->set_operand(0, b);
  op->set_operand(1, a);
  return {op->result()};
}

Replacement add(Op* op) {
  Value *a = op->operand(0), *b = op->operand(1);
  if (is_integer(a) && is_splat_of(b, 0)) return {a};
  if (ir::is_float(a->type.dtype) && is_splat_of(b, -0.0)) return {a};
  return {};
}

Replacement subtract(Op* op) {
  Value *a = op->operand(0), *b = op->operand(1);
  if (is_splat_of(b, 0)) return {a};
  if (a == b && ir::is_int(a->type.dtype) && a->type.is_static()) {
    return {Builder(op).splat(a->type, 0)};
  }
  return {};
}

Replacement multiply(Op* op) {
  Value *a = op->operand(0), *b = op->operand(1);
  if (is_splat_of(b, 1)) return {a};
  if (is_integer(a) && is_splat_of(b, 0)) return {b};
  return {};
}

Replacement divide(Op* op) {
  if (is_splat_of(op->operand(1), 1)) return {op->operand(0)};
  return {};
}

Replacement power(Op* op) {
  Value *a = op->operand(0), *b = op->operand(1);
  if (is_splat_of(b, 1)) return {a};
  if (is_splat_of(b, 2)) return {Builder(op).binary(OpId::multiply, a, a)};
  return {};
}

// negate and not are their own inverses.
Replacement involution(Op* op) {
  if (is_op(op->operand(0), op->id)) return {op->operand(0)->op()->operand(0)};
  return {};
}

Replacement and_(Op* op) {
  Value *a = op->operand(0), *b = op->operand(1);
  if (a == b || is_all_ones(b)) return {a};
  if (is_splat_of(b, 0)) return {b};
  return {};
}

Replacement or_(Op* op) {
  Value *a = op->operand(0), *b = op->operand(1);
  if (a == b || is_splat_of(b, 0)) return {a};
  if (is_all_ones(b)) return {b};
  return {};
}

Replacement xor_(Op* op) {
  Value *a = op->operand(0), *b = op->operand(1);
  if (is_splat_of(b, 0)) return {a};
  if (a == b && a->type.is_static()) return {Builder(op).splat(a->type, 0)};
  if (is_all_ones(b)) return {Builder(op).unary(OpId::not_, a)};
  return {};
}

Replacement shift(Op* op) {
  if (is_splat_of(op->operand(1), 0)) return {op->operand(0)};
  return {};
}

Replacement extremum(Op* op) {
  if (op->operand(0) == op->operand(1)) return {op->operand(0)};
  return {};
}

Replacement select(Op* op) {
  Value *pred = op->operand(0), *a = op->operand(1), *b = op->operand(2);
  if (a == b || is_splat_of(pred, 1)) return {a};
  if (is_splat_of(pred, 0)) return {b};
  if (is_op(pred, OpId::not_)) {
    return {Builder(op).select(pred->op()->operand(0), b, a)};
  }
  if (a->type.dtype == DType::pred && is_splat_of(a, 1) && is_splat_of(b, 0) &&
      pred->type == a->type) {
    return {pred};
  }
  return {};
}

Replacement compare(Op* op) {
  using D = ir::CompareDirection;
  Value *a = op->operand(0), *b = op->operand(1);
  if (a != b || !is_integer(a) || !a->type.is_static()) return {};
  const D direction = op->enum_attr<D>("comparison_direction");
  const bool holds = direction == D::eq || direction == D::le || direction == D::ge;
  return {Builder(op).splat(op->result()->type, holds)};
}

// Significant bits and exponent range of a type: whether every value of `a` is one of `b`.
bool is_exact(DType a, DType b) {
  if (a == b || a == DType::pred) return true;
  auto mantissa = [](DType d) {
    return d == DType::f64 ? 53 : d == DType::f32 ? 24 : d == DType::f16 ? 11 : 8;
  };
  const bool plain_floats =
      a >= DType::f16 && a <= DType::f64 && b >= DType::f16 && b <= DType::f64;
  if (plain_floats) return b == DType::f64 || (b == DType::f32 && a != DType::f64);
  if (ir::is_float(a)) return false;
  if (!ir::is_int(a)) return false;
  const int bits = ir::bit_width(a);
  if (b >= DType::f16 && b <= DType::f64) {
    return bits - ir::is_signed_int(a) <= mantissa(b) && !(b == DType::f16 && bits > 11);
  }
  if (!ir::is_int(b)) return false;
  if (ir::is_signed_int(a)) return ir::is_signed_int(b) && ir::bit_width(b) >= bits;
  return ir::bit_width(b) > bits || (ir::bit_width(b) == bits && !ir::is_signed_int(b));
}

Replacement convert(Op* op) {
  Value* from = op->operand(0);
  if (from->type == op->result()->type) return {from};
  if (!is_op(from, OpId::convert) || from->type.quantization) return {};
  Value* source = from->op()->operand(0);
  const DType a = source->type.dtype, b = from->type.dtype, c = op->result()->type.dtype;
  if (source->type.quantization || op->result()->type.quantization || !is_exact(a, b)) return {};
  // Integers to integers wrap, floats to integers saturate: the way through a float must not turn
  // one into the other.
  const bool through_float = !ir::is_float(a) && ir::is_float(b) && !ir::is_float(c);
  if (through_float && !is_exact(a, c)) return {};
  return {Builder(op).convert(source, c)};
}

Replacement part(Op* op) {
  if (!is_op(op->operand(0), OpId::complex)) return {};
  return {op->operand(0)->op()->operand(op->id == OpId::real ? 0 : 1)};
}

Replacement complex(Op* op) {
  Value *a = op->operand(0), *b = op->operand(1);
  if (!is_op(a, OpId::real) || !is_op(b, OpId::imag)) return {};
  Value* whole = a->op()->operand(0);
  if (whole != b->op()->operand(0) || !(whole->type == op->result()->type)) return {};
  return {whole};
}

}  // namespace

void add_arithmetic_rules(CanonicalRules& rules) {
  for (OpId id : {OpId::add, OpId::multiply, OpId::maximum, OpId::minimum, OpId::and_, OpId::or_,
                  OpId::xor_}) {
    rules.add(id, constant_right);
  }
  rules.add(OpId::add, add);
  rules.add(OpId::subtract, subtract);
  rules.add(OpId::multiply, multiply);
  rules.add(OpId::divide, divide);
  rules.add(OpId::power, power);
  rules.add(OpId::negate, involution);
  rules.add(OpId::not_, involution);
  rules.add(OpId::and_, and_);
  rules.add(OpId::or_, or_);
  rules.add(OpId::xor_, xor_);
  rules.add(OpId::shift_left, shift);
  rules.add(OpId::shift_right_logical, shift);
  rules.add(OpId::shift_right_arithmetic, shift);
  rules.add(OpId::maximum, extremum);
  rules.add(OpId::minimum, extremum);
  rules.add(OpId::select, select);
  rules.add(OpId::compare, compare);
  rules.add(OpId::convert, convert);
  rules.add(OpId::real, part);
  rules.add(OpId::imag, part);
  rules.add(OpId::complex, complex);
}

}  // namespace jaxmps::passes
