#include "ops/custom_call.h"

#include <charconv>
#include <map>

#include "ops/host_call.h"

namespace jaxmps::ops {
namespace {

std::map<std::string, LowerCustomCall, std::less<>>& registry() {
  static auto* targets = new std::map<std::string, LowerCustomCall, std::less<>>;
  return *targets;
}

// Our arrays are row-major: the only layout a target may ask for.
bool row_major(const ir::Attr* layouts) {
  const auto* list = layouts ? layouts->get_if<ir::AttrList>() : nullptr;
  if (!list) return true;
  for (const ir::Attr& item : *list) {
    const auto* order = item.get_if<ir::Ints>();
    if (!order) return false;
    for (size_t i = 0; i < order->size(); ++i) {
      if ((*order)[i] != static_cast<int64_t>(order->size() - 1 - i)) return false;
    }
  }
  return true;
}

}  // namespace

CustomCallRegistration::CustomCallRegistration(const char* target, LowerCustomCall lower) {
  registry()[target] = lower;
}

int64_t CustomCall::option(std::string_view name, int64_t otherwise) const {
  const ir::Attr* config = ctx.op.find("backend_config");
  const std::string* text = config ? config->get_if<std::string>() : nullptr;
  if (!text) return otherwise;
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::string_view word = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    if (word.size() <= name.size() || word.substr(0, name.size()) != name ||
        word[name.size()] != '=') {
      continue;
    }
    const std::string_view number = word.substr(name.size() + 1);
    int64_t value = otherwise;
    std::from_chars(number.data(), number.data() + number.size(), value);
    return value;
  }
  return otherwise;
}

ANY_DTYPE_OP(custom_call) {
  const CustomCall call{ctx};
  const auto found = registry().find(call.target());
  if (found == registry().end()) {
    return ctx.fail(str("there is no custom call target '", call.target(), "'"));
  }
  if (!row_major(ctx.op.find("operand_layouts")) || !row_major(ctx.op.find("result_layouts"))) {
    return ctx.fail("only row-major layouts are supported");
  }
  for (int i = 0; i < call.operands(); ++i) {
    if (ctx.in(i).is_tensor() && !ctx.in(i).is_static()) return ctx.fail("a shape is not known");
  }
  for (int i = 0; i < call.results(); ++i) {
    if (ctx.out(i).is_tensor() && !ctx.out(i).is_static()) return ctx.fail("a shape is not known");
  }
  return found->second(call);
}

namespace {

// Calls whose results are their operands: hints to partitioners and memory planners.
Result<Lowering> identity(const CustomCall& call) {
  if (call.operands() != 1 || call.results() != 1 || !(call.ctx.in(0) == call.ctx.out())) {
    return call.ctx.fail("it must have one operand and one result of the same type");
  }
  Lowering lowering = graph([](Inputs in) { return one(in[0]); });
  lowering.alias = true;
  return lowering;
}

}  // namespace

CUSTOM_CALL(device_placement, "annotate_device_placement") { return identity(call); }
CUSTOM_CALL(sharding, "Sharding") { return identity(call); }

// JAX's lax.dce_sink: only there so that its operands are computed.
CUSTOM_CALL(dce_sink, "dce_sink") {
  if (call.results() != 0) return call.ctx.fail("it must have no results");
  Lowering lowering = native([](const void* const*, void* const*) {}, 5);
  lowering.graph = [](Inputs) { return Arrays(); };
  return lowering;
}

}  // namespace jaxmps::ops
