// Rules of elementwise ops, constants and conversions.
#include "ir/verify_rules.h"

namespace jaxmps::ir::rules {
namespace {

constexpr AttrRule kAccuracy{"result_accuracy", AttrKind::accuracy, true};

Reason check_class(const Type& type, int classes, std::string_view what) {
  NEED(type.is_tensor(), what, " must be a tensor, is ", brief(type));
  NEED(type.quantization || in_class(type.dtype, classes), what, " has the element type ",
       name(type.dtype), ", which the op does not take");
  return {};
}

// All operands and the result agree; element type in `classes`.
template <int classes>
Reason uniform(const Op& op) {
  for (int i = 0; i < op.operand_count(); ++i) {
    NEED_OK(check_class(operand_type(op, i), classes, str("operand ", i)));
    NEED_OK(match(str("operand ", i), operand_type(op, 0), operand_type(op, i)));
  }
  return match("the result", operand_type(op), result_type(op));
}

// One operand; the result has its shape and the given element type.
Reason result_with(const Op& op, DType dtype) {
  return match("the result", operand_type(op).with(dtype), result_type(op));
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
  NEED_OK(match("operand 1", part, operand_type(op, 1)));
  return result_with(op, part.dtype == DType::f32 ? DType::c64 : DType::c128);
}

Reason compare(const Op& op) {
  NEED_OK(all_tensors(op));
  NEED_OK(match("operand 1", operand_type(op), operand_type(op, 1)));
  const Attr* direction = op.find("comparison_direction");
  NEED(std::get<Enum>(direction->value).kind == Enum::Kind::compare_direction,
       "comparison_direction is no direction");
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
  NEED_OK(all_tensors(op));
  return match_dims("the result", operand_type(op).dims, result_type(op).dims);
}

Reason clamp(const Op& op) {
  NEED_OK(all_tensors(op));
  for (int i : {0, 2}) {
    const Type& bound = operand_type(op, i);
    NEED(same_element(bound, operand_type(op, 1)), "operand ", i, " must have the element type ",
         name(operand_type(op, 1).dtype), ", is ", brief(bound));
    if (!bound.is_scalar()) {
      NEED_OK(match_dims(str("operand ", i), operand_type(op, 1).dims, bound.dims));
    }
  }
  NEED_OK(check_class(operand_type(op, 1), kPred | kInt | kFloat, "operand 1"));
  return match("the result", operand_type(op, 1), result_type(op));
}

Reason select(const Op& op) {
  NEED_OK(all_tensors(op));
  const Type& pred = operand_type(op, 0);
  NEED(pred.dtype == DType::pred, "operand 0 must be i1, is ", brief(pred));
  if (!pred.is_scalar()) NEED_OK(match_dims("operand 0", operand_type(op, 1).dims, pred.dims));
  NEED_OK(match("operand 2", operand_type(op, 1), operand_type(op, 2)));
  return match("the result", operand_type(op, 1), result_type(op));
}

Reason reduce_precision(const Op& op) {
  NEED(op.i64("exponent_bits") >= 1, "exponent_bits must be at least 1, is ",
       op.i64("exponent_bits"));
  NEED(op.i64("mantissa_bits") >= 0, "mantissa_bits must not be negative, is ",
       op.i64("mantissa_bits"));
  return uniform<kFloat>(op);
}

Reason constant(const Op& op) {
  const Dense& value = op.dense("value");
  NEED(value.type.is_static(), "a constant has a known shape, this one is ", brief(value.type));
  NEED(value.data || value.type.size() == 0, "the constant has no data");
  return match("the result", value.type, result_type(op));
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
  for (int i = 0; i < 4; ++i) {
    NEED(operand_type(op, i).is_tensor() && operand_type(op, i).dtype == DType::u32, "operand ", i,
         " must be ui32, is ", brief(operand_type(op, i)));
    NEED_OK(match(str("operand ", i), operand_type(op), operand_type(op, i)));
  }
  NEED_OK(match("result 0", operand_type(op), result_type(op)));
  return match("result 1", operand_type(op), result_type(op, 1));
}

}  // namespace

void add_elementwise(Rules& rules) {
  constexpr int kFloating = kFloat | kComplex, kNumber = kInt | kFloating, kBits = kPred | kInt;
  const std::vector<AttrRule> no_attrs;
  struct Family {
    Reason (*check)(const Op&);
    const std::vector<AttrRule>& attrs;
  };
  const std::vector<AttrRule> accuracy{kAccuracy};
  const Family accurate{uniform<kFloating>, accuracy}, floating{uniform<kFloating>, no_attrs},
      real{uniform<kFloat>, no_attrs}, number{uniform<kNumber>, no_attrs},
      signed_number{uniform<kSigned | kFloating>, no_attrs}, bits{uniform<kBits>, no_attrs},
      integer{uniform<kInt>, no_attrs}, any{uniform<kAll>, no_attrs}, magnitude{abs, no_attrs},
      test{is_finite, no_attrs};
  const auto operands = [](std::string_view op_class) {
    return op_class.ends_with("_unary") || op_class.ends_with("_test") ? 1 : 2;
  };
#define SCALAR_OP(opcode, class, id, name, types, ...) \
  rules.push_back({OpId::id, operands(#class), 1, 0, types.attrs, types.check});
#include "ir/scalar_ops.def"
  auto unary = [&](OpId id, Reason (*check)(const Op&)) {
    rules.push_back({id, 1, 1, 0, {}, check});
  };
  unary(OpId::real, part_of_complex);
  unary(OpId::imag, part_of_complex);
  unary(OpId::convert, convert);
  unary(OpId::uniform_quantize, quantize);
  unary(OpId::uniform_dequantize, dequantize);

  rules.push_back({OpId::complex, 2, 1, 0, {}, complex});
  rules.push_back({OpId::compare,
                   2,
                   1,
                   0,
                   {{"comparison_direction", AttrKind::enumeration},
                    {"compare_type", AttrKind::enumeration, true}},
                   compare});
  rules.push_back({OpId::clamp, 3, 1, 0, {}, clamp});
  rules.push_back({OpId::select, 3, 1, 0, {}, select});
  rules.push_back({OpId::reduce_precision,
                   1,
                   1,
                   0,
                   {{"exponent_bits", AttrKind::integer}, {"mantissa_bits", AttrKind::integer}},
                   reduce_precision});
  rules.push_back({OpId::constant, 0, 1, 0, {{"value", AttrKind::dense}}, constant});
  rules.push_back({OpId::iota, 0, 1, 0, {{"iota_dimension", AttrKind::integer}}, iota});
  rules.push_back({OpId::threefry2x32, 4, 2, 0, {}, threefry});
}

}  // namespace jaxmps::ir::rules
