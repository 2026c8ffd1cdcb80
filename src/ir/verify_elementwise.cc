// Rules of elementwise ops, constants and conversions.
#include "ir/verify_rules.h"

namespace jaxmps::ir::rules {
namespace {

Reason check_class(const Type& type, int classes, std::string_view what) {
  NEED(type.quantization || in_class(type.dtype, classes), what, " has the element type ",
       name(type.dtype), ", which the op does not take");
  return {};
}

// All operands and the result agree; element type in `classes`.
template <int classes>
Reason uniform(const Op& op) {
  for (int i = 0; i < op.operand_count(); ++i) {
    NEED_OK(check_class(operand_type(op, i), classes, str("operand ", i)));
    NEED_OK(match_type(str("operand ", i), operand_type(op, 0), operand_type(op, i)));
  }
  return match_type("the result", operand_type(op), result_type(op));
}

// One operand; the result has its shape and the given element type.
Reason result_with(const Op& op, DType dtype) {
  return match_type("the result", operand_type(op).with(dtype), result_type(op));
}

Reason abs(const Op& op) {
  NEED_OK(check_class(operand_type(op), kSigned | kFloat | kComplex, "operand 0"));
  return operand_type(op).quantization ? Reason()
                                       : result_with(op, real_type(operand_type(op).dtype));
}

Reason is_finite(const Op& op) {
  NEED_OK(check_class(operand_type(op), kFloat, "operand 0"));
  return result_with(op, DType::pred);
}

Reason part_of_complex(const Op& op) {
  NEED_OK(check_class(operand_type(op), kFloat | kComplex, "operand 0"));
  return result_with(op, real_type(operand_type(op).dtype));
}

Reason complex(const Op& op) {
  const Type& part = operand_type(op);
  NEED(part.dtype == DType::f32 || part.dtype == DType::f64, "operand 0 must be f32 or f64, is ",
       brief(part));
  NEED_OK(match_type("operand 1", part, operand_type(op, 1)));
  return result_with(op, part.dtype == DType::f32 ? DType::c64 : DType::c128);
}

Reason compare(const Op& op) {
  NEED_OK(match_type("operand 1", operand_type(op), operand_type(op, 1)));
  if (in_class(operand_type(op).dtype, kComplex)) {
    const auto d = op.enum_attr<CompareDirection>("comparison_direction");
    NEED(d == CompareDirection::eq || d == CompareDirection::ne,
         "complex numbers compare only with EQ and NE");
  }
  if (op.find("compare_type") &&
      op.enum_attr<CompareType>("compare_type") == CompareType::total_order) {
    NEED_OK(check_class(operand_type(op), kFloat, "operand 0 of a TOTALORDER comparison"));
  }
  return result_with(op, DType::pred);
}

Reason convert(const Op& op) {
  return match_dims("the result", operand_type(op).dims, result_type(op).dims);
}

Reason clamp(const Op& op) {
  for (int i : {0, 2}) {
    const Type& bound = operand_type(op, i);
    NEED(same_element(bound, operand_type(op, 1)), "operand ", i, " must have the element type ",
         name(operand_type(op, 1).dtype), ", is ", brief(bound));
    if (!bound.is_scalar()) {
      NEED_OK(match_dims(str("operand ", i), operand_type(op, 1).dims, bound.dims));
    }
  }
  NEED_OK(check_class(operand_type(op, 1), kPred | kInt | kFloat, "operand 1"));
  return match_type("the result", operand_type(op, 1), result_type(op));
}

Reason select(const Op& op) {
  const Type& pred = operand_type(op, 0);
  NEED(pred.dtype == DType::pred, "operand 0 must be i1, is ", brief(pred));
  if (!pred.is_scalar()) NEED_OK(match_dims("operand 0", operand_type(op, 1).dims, pred.dims));
  NEED_OK(match_type("operand 2", operand_type(op, 1), operand_type(op, 2)));
  return match_type("the result", operand_type(op, 1), result_type(op));
}

Reason reduce_precision(const Op& op) {
  NEED(op.i64("exponent_bits") >= 1, "exponent_bits must be at least 1, is ",
       op.i64("exponent_bits"));
  NEED(op.i64("mantissa_bits") >= 0, "mantissa_bits must not be negative, is ",
       op.i64("mantissa_bits"));
  return uniform<kFloat>(op);
}

Reason constant(const Op& op) {
  return match_type("the result", op.dense("value").type, result_type(op));
}

Reason iota(const Op& op) {
  NEED_OK(check_class(result_type(op), kInt | kFloat | kComplex, "the result"));
  return check_axis("iota_dimension", op.i64("iota_dimension"), result_type(op).rank());
}

// Same shape on both sides; the other type is what quantised elements express.
Reason quantize(const Op& op) {
  NEED_OK(convert(op));
  NEED(result_type(op).quantization, "the result must be quantised, is ", brief(result_type(op)));
  return {};
}

Reason dequantize(const Op& op) {
  NEED_OK(convert(op));
  NEED(operand_type(op).quantization, "operand 0 must be quantised, is ", brief(operand_type(op)));
  NEED(same_element(operand_type(op), result_type(op)),
       "the result must have the type expressed, is ", brief(result_type(op)));
  return {};
}

Reason threefry(const Op& op) {
  const Type type = operand_type(op).with(DType::u32);
  NEED_OK(match_all("operand", {type, type, type, type}, operand_types(op)));
  return match_all("result", {type, type}, result_types(op));
}

}  // namespace

Rules elementwise_rules() {
  constexpr int kFloating = kFloat | kComplex, kNumber = kInt | kFloating, kBits = kPred | kInt;
  constexpr auto accurate = uniform<kFloating>, floating = accurate, real = uniform<kFloat>,
                 number = uniform<kNumber>, signed_number = uniform<kSigned | kFloating>,
                 bits = uniform<kBits>, integer = uniform<kInt>, any = uniform<kAll>,
                 magnitude = abs, test = is_finite;
  const auto operands = [](std::string_view op_class) {
    return op_class.ends_with("_unary") || op_class.ends_with("_test") ? 1 : 2;
  };
  return {
#define SCALAR_OP(opcode, class, id, name, types, ...) {OpId::id, operands(#class), 1, 0, types},
#include "ir/scalar_ops.def"
      {OpId::real, 1, 1, 0, part_of_complex},
      {OpId::imag, 1, 1, 0, part_of_complex},
      {OpId::convert, 1, 1, 0, convert},
      {OpId::uniform_quantize, 1, 1, 0, quantize},
      {OpId::uniform_dequantize, 1, 1, 0, dequantize},
      {OpId::complex, 2, 1, 0, complex},
      {OpId::compare, 2, 1, 0, compare},
      {OpId::clamp, 3, 1, 0, clamp},
      {OpId::select, 3, 1, 0, select},
      {OpId::reduce_precision, 1, 1, 0, reduce_precision},
      {OpId::constant, 0, 1, 0, constant},
      {OpId::iota, 0, 1, 0, iota},
      {OpId::threefry2x32, 4, 2, 0, threefry},
  };
}

}  // namespace jaxmps::ir::rules
