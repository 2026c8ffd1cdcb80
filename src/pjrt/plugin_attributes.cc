// PJRT_Plugin_Initialize and PJRT_Plugin_Attributes: what the plugin tells about itself before
// there is a client.

#include "pjrt/attributes.h"
#include "pjrt/bindings.h"
#include "pjrt/entry.h"

namespace jaxmps::pjrt {
namespace {

const Attributes& facts() {
  static const auto* list = [] {
    auto* made = new Attributes;
    // Clients serialise programs to this version of StableHLO, or to their own if it is lower.
    made->add("stablehlo_current_version", std::vector<int64_t>{1, 22, 0});
    made->add("stablehlo_minimum_version", std::vector<int64_t>{0, 9, 0});
    made->add("supports_executable_serialization", true);
    return made;
  }();
  return *list;
}

}  // namespace

void bind_plugin(PJRT_Api& api) {
  ANSWER_ANY(api, PJRT_Plugin_Initialize);
  ANSWER_ANY(api, PJRT_Plugin_Attributes, give(facts(), args.attributes, args.num_attributes));
}

}  // namespace jaxmps::pjrt
