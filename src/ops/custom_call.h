// Custom calls by target name, each stated in one block like an op:
//
//   CUSTOM_CALL(qr, "Qr") { return linalg_lowering(call.ctx, ...); }
//
// What a call takes and gives is checked before by the rule of its target
// (ir/verify_custom_call.cc), without which there is no target. An unknown target refuses the
// program. Blocks run when a program is compiled, on any thread.
#pragma once

#include "ir/custom_call.h"
#include "ops/op.h"

namespace jaxmps::ops {

struct CustomCall {
  const OpContext& ctx;

  const std::string& target() const { return ctx.op.text("call_target_name"); }
  // The option of this name, or `otherwise` if it is not given.
  int64_t option(std::string_view name, int64_t otherwise = 0) const {
    return ir::custom_call_option(ctx.op, name).value_or(otherwise);
  }
  int operands() const { return ctx.op.operand_count(); }
  int results() const { return ctx.op.result_count(); }
};

using LowerCustomCall = Result<Lowering> (*)(const CustomCall&);

struct CustomCallRegistration {
  CustomCallRegistration(const char* target, LowerCustomCall lower);
};

// All targets that have a block.
std::vector<std::string> custom_call_targets();

#define CUSTOM_CALL(id, target)                                                     \
  static ::jaxmps::Result<::jaxmps::ops::Lowering> custom_call_##id(                \
      const ::jaxmps::ops::CustomCall& call);                                       \
  static const ::jaxmps::ops::CustomCallRegistration custom_call_registration_##id( \
      target, custom_call_##id);                                                    \
  static ::jaxmps::Result<::jaxmps::ops::Lowering> custom_call_##id(                \
      [[maybe_unused]] const ::jaxmps::ops::CustomCall& call)

}  // namespace jaxmps::ops
