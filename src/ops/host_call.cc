#include "ops/host_call.h"

namespace jaxmps::ops {

std::string not_runnable(const OpContext& ctx) {
  auto check = [&](const ir::Type& type) -> std::string {
    if (!type.is_tensor()) return {};
    if (!type.is_static()) return str("the shape of ", ir::brief(type), " is not known");
    if (type.quantization) return str(ir::brief(type), " is quantised");
    return {};
  };
  for (int i = 0; i < ctx.op.operand_count(); ++i) {
    if (auto why = check(ctx.in(i)); !why.empty()) return why;
  }
  for (int i = 0; i < ctx.op.result_count(); ++i) {
    if (auto why = check(ctx.out(i)); !why.empty()) return why;
  }
  return {};
}

Lowering everywhere(const OpContext& ctx, Native native_kernel, double nanoseconds,
                    std::vector<int> reuse) {
  // A GPU may still read what nobody holds any more.
  if (!ctx.target.runs_native) reuse.clear();
  Lowering lowering = native(std::move(native_kernel), nanoseconds, std::move(reuse));
  lowering.on_host = true;
  return lowering;
}

}  // namespace jaxmps::ops
