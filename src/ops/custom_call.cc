#include "ops/custom_call.h"

#include <map>

namespace jaxmps::ops {
namespace {

std::map<std::string, LowerCustomCall, std::less<>>& registry() {
  static auto* targets = new std::map<std::string, LowerCustomCall, std::less<>>;
  return *targets;
}

}  // namespace

CustomCallRegistration::CustomCallRegistration(const char* target, LowerCustomCall lower) {
  registry()[target] = lower;
}

std::vector<std::string> custom_call_targets() {
  std::vector<std::string> names;
  for (const auto& [name, lower] : registry()) names.push_back(name);
  return names;
}

ANY_DTYPE_OP(custom_call) {
  const CustomCall call{ctx};
  const auto found = registry().find(call.target());
  if (found == registry().end() || !ir::has_custom_call_rule(call.target())) {
    return ctx.fail(str("there is no custom call target '", call.target(), "'"));
  }
  // Passes may have found out sizes that the verifier did not know.
  if (auto why = ir::check_custom_call(ctx.op); !why.empty()) return ctx.fail(why);
  return found->second(call);
}

// JAX's lax.dce_sink: only there so that its operands are computed.
CUSTOM_CALL(dce_sink, "dce_sink") {
  Lowering lowering = native([](const void* const*, void* const*) {}, 5);
  lowering.graph = [](Inputs) { return Arrays(); };
  return lowering;
}

}  // namespace jaxmps::ops
