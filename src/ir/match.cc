#include "ir/match.h"

#include <cmath>
#include <limits>

namespace jaxmps::ir {
namespace {

int64_t number_at(const Dense& dense, int64_t index) {
  const int64_t number = dense.int_at(index);
  const bool is_beyond = number < 0 && is_unsigned_int(dense.type.dtype);
  return is_beyond ? std::numeric_limits<int64_t>::max() : number;
}

}  // namespace

const Dense* constant_of(const Value* value) {
  const Op* op = value->op();
  return op && op->id == OpId::constant ? &op->dense("value") : nullptr;
}

bool is_splat_of(const Value* value, double number) {
  const Op* op = value->op();
  while (op && (op->id == OpId::broadcast_in_dim || op->id == OpId::reshape)) {
    value = op->operand(0);
    op = value->op();
  }
  const Dense* dense = constant_of(value);
  if (!dense || !(dense->splat || dense->type.is_scalar())) return false;
  const DType dtype = dense->type.dtype;
  if (is_complex(dtype) || (is_float(dtype) && byte_size(dtype) == 1)) return false;
  return dense->float_at(0) == number &&
         (number != 0 || std::signbit(dense->float_at(0)) == std::signbit(number));
}

bool is_op(const Value* value, OpId id) { return value->op() && value->op()->id == id; }

std::optional<int64_t> constant_integer(const Value* value) {
  const Dense* dense = constant_of(value);
  if (!dense || !dense->type.is_scalar() || !is_int(dense->type.dtype)) return std::nullopt;
  return number_at(*dense, 0);
}

std::optional<Ints> constant_ints(const Value* value) {
  const Dense* dense = constant_of(value);
  if (!dense || !is_int(dense->type.dtype)) return std::nullopt;
  Ints numbers(dense->type.size());
  for (size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = number_at(*dense, static_cast<int64_t>(i));
  return numbers;
}

}  // namespace jaxmps::ir
