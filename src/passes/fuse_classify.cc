#include "passes/fuse_classify.h"

#include "ir/combiner.h"
#include "ir/match.h"
#include "scalar/scalar.h"

namespace jaxmps::passes {

namespace {

bool is_plain(const ir::Type& t) {
  return t.is_tensor() && t.is_static() && !t.quantization && t.dtype != ir::DType::tf32;
}

bool is_simple_reduce(const ir::Op& op) {
  const auto combiner = op.operand_count() == 2 ? ir::simple_combiner(op.region()) : std::nullopt;
  if (!combiner || op.operand(0)->type.dtype != op.result()->type.dtype) return false;
  return *combiner == OpId::add || !ir::is_complex(op.result()->type.dtype);
}

bool is_bounded_concatenate(const ir::Op& op) {
  // Every piece costs a masked load and a select for each element of the result.
  constexpr int kMaxPieces = 4;
  return op.operand_count() <= kMaxPieces;
}

// Each is computed and clamped for every element.
constexpr size_t kMaxComponents = 4;

}  // namespace

FuseClass classify(const ir::Op& op, std::string_view* why) {
  *why = "not an op of fusions";
  if (op.result_count() == 0) return FuseClass::none;
  if (!ir::all_types(op, is_plain)) {
    *why = "types of tokens, tuples or dynamic shapes";
    return FuseClass::none;
  }
  switch (op.id) {
    case OpId::constant:
      *why = "a constant that is not a splat";
      return op.dense("value").splat || op.result()->type.size() == 1 ? FuseClass::constant
                                                                      : FuseClass::none;
    case OpId::iota:
    case OpId::broadcast_in_dim:
    case OpId::transpose:
    case OpId::reshape:
    case OpId::slice:
    case OpId::reverse:
      return FuseClass::movement;
    case OpId::pad:
      *why = "interior padding";
      for (int64_t interior : op.ints("interior_padding")) {
        if (interior) return FuseClass::none;
      }
      return FuseClass::movement;
    case OpId::concatenate:
      *why = "many pieces";
      return is_bounded_concatenate(op) ? FuseClass::movement : FuseClass::none;
    case OpId::gather:
      *why = "indices of many components";
      return op.ints("start_index_map").size() <= kMaxComponents ? FuseClass::gather
                                                                 : FuseClass::none;
    case OpId::dynamic_slice:
      return FuseClass::gather;
    case OpId::dynamic_update_slice:
      return FuseClass::update;
    case OpId::reduce:
      *why = "a reduction of several operands or with a combiner of several ops";
      return is_simple_reduce(op) ? FuseClass::reduce : FuseClass::none;
    case OpId::bitcast_convert:
      *why = "a bitcast that changes the width";
      return ir::byte_size(op.operand(0)->type.dtype) == ir::byte_size(op.result()->type.dtype) &&
                     op.operand(0)->type.dims == op.result()->type.dims &&
                     !ir::is_complex(op.operand(0)->type.dtype) &&
                     !ir::is_complex(op.result()->type.dtype)
                 ? FuseClass::elementwise
                 : FuseClass::none;
    case OpId::clamp:
    case OpId::select:
      return FuseClass::elementwise;
    default:
      break;
  }
  if (!op.is(ir::traits::elementwise)) return FuseClass::none;
  *why = "types that the op's scalar function does not take";
  return scalar::has_scalar_program(op) ? FuseClass::elementwise : FuseClass::none;
}

bool is_expensive(const ir::Op& op) {
  if (op.id == OpId::threefry2x32 || op.id == OpId::reduce) return true;
  const ir::DType dtype = op.result()->type.dtype;
  if (op.id == OpId::divide && (ir::is_int(dtype) || ir::is_complex(dtype))) return true;
  const auto function = scalar::opcode_of(op.id);
  return function && scalar::info(*function).cost >= scalar::kExpensive;
}

bool has_program_regions(const ir::Op& op) {
  switch (op.id) {
    case OpId::while_:
    case OpId::case_:
    case OpId::composite:
    case OpId::sdy_manual_computation:
    case OpId::sdy_named_computation:
      return true;
    default:
      return false;
  }
}

}  // namespace jaxmps::passes
