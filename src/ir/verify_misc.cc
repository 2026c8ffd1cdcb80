// Rules of random numbers, custom calls, tokens, transfers and async ops.
#include "ir/custom_call.h"
#include "ir/verify_rules.h"

namespace jaxmps::ir::rules {
namespace {

Reason is_token(const Type& type, std::string_view what) {
  NEED(type.kind == Type::Kind::token, what, " must be a token, is ", brief(type));
  return {};
}

Reason after_all(const Op& op) {
  for (int i = 0; i < op.operand_count(); ++i) {
    NEED_OK(is_token(operand_type(op, i), str("operand ", i)));
  }
  return is_token(result_type(op), "the result");
}

Reason token_in_out(const Op& op) {
  NEED(op.operand_count() > 0 && op.result_count() > 0, "needs a token and gives one back");
  NEED_OK(is_token(operand_type(op, op.operand_count() - 1), "the last operand"));
  return is_token(result_type(op, op.result_count() - 1), "the last result");
}

Reason rng(const Op& op) {
  const Type& shape = operand_type(op, 2);
  for (int i = 0; i < 2; ++i) {
    NEED(operand_type(op, i).is_scalar() && same_element(operand_type(op, i), result_type(op)),
         "operand ", i, " must be a ", name(result_type(op).dtype), " scalar, is ",
         brief(operand_type(op, i)));
  }
  NEED(shape.rank() == 1 && is_int(shape.dtype) && same_size(shape.dims[0], result_type(op).rank()),
       "operand 2 must hold the ", result_type(op).rank(), " sizes of the result, is ",
       brief(shape));
  return {};
}

Reason rng_bit_generator(const Op& op) {
  const Type& state = operand_type(op);
  const auto algorithm = op.enum_attr<RngAlgorithm>("rng_algorithm");
  NEED(state.rank() == 1 && (state.dtype == DType::u64 || state.dtype == DType::u32),
       "the state must be a vector of ui32 or ui64, is ", brief(state));
  if (is_known(state.dims[0])) {
    const int64_t words = state.dims[0] * byte_size(state.dtype) / 8;
    NEED(algorithm != RngAlgorithm::three_fry || words == 2,
         "THREE_FRY needs a state of 16 bytes, has ", brief(state));
    NEED(algorithm != RngAlgorithm::philox || words == 2 || words == 3,
         "PHILOX needs a state of 16 or 24 bytes, has ", brief(state));
  }
  NEED(in_class(result_type(op, 1).dtype, kInt | kFloat), "bits of type ",
       name(result_type(op, 1).dtype), " do not exist");
  return match_type("result 0", state, result_type(op));
}

Reason device_number(const Op& op) {
  return match_type("the result", Type(DType::u32, {}), result_type(op));
}

Reason async_done(const Op& op) {
  NEED(operand_type(op).kind == Type::Kind::future, "operand 0 must be a future, is ",
       brief(operand_type(op)));
  return {};
}

Reason async_start(const Op& op) {
  NEED(result_type(op).kind == Type::Kind::future, "the result must be a future, is ",
       brief(result_type(op)));
  return {};
}

}  // namespace

Rules misc_rules() {
  constexpr bool kTokens = true;
  return {
      {OpId::after_all, kAny, 1, 0, after_all, kTokens},
      {OpId::create_token, 0, 1, 0, after_all, kTokens},
      {OpId::infeed, 1, kAny, 0, token_in_out, kTokens},
      {OpId::outfeed, kAny, 1, 0, token_in_out, kTokens},
      {OpId::send, kAny, 1, 0, token_in_out, kTokens},
      {OpId::recv, 1, kAny, 0, token_in_out, kTokens},
      {OpId::custom_call, kAny, kAny, 0, check_custom_call, true},
      {OpId::rng, 3, 1, 0, rng},
      {OpId::rng_bit_generator, 1, 2, 0, rng_bit_generator},
      {OpId::partition_id, 0, 1, 0, device_number},
      {OpId::replica_id, 0, 1, 0, device_number},
      {OpId::async_start, kAny, 1, 1, async_start, true},
      {OpId::async_done, 1, kAny, 0, async_done, true},
  };
}

}  // namespace jaxmps::ir::rules
