// The Shardings extension: how parameters and results are spread over devices, each as a serialised
// OpSharding. Programs run on one device, where everything is replicated.

#include "pjrt/bindings.h"
#include "pjrt/entry.h"
#include "pjrt/executable.h"

namespace jaxmps::pjrt {

PJRT_EXTENSION_FUNCTION(PJRT_Shardings_PJRT_Executable_ParameterShardings, sharding_sizes);
PJRT_EXTENSION_FUNCTION(PJRT_Shardings_PJRT_Executable_OutputShardings, sharding_sizes);

namespace {

Status of_parameters(PJRT_Shardings_PJRT_Executable_ParameterShardings_Args& args) {
  REQUIRE(args.executable);
  const auto& side = args.executable->state->parameters;
  args.num_parameters = side.shardings.size();
  args.shardings = side.shardings.data();
  args.sharding_sizes = side.sharding_sizes.data();
  return {};
}

Status of_outputs(PJRT_Shardings_PJRT_Executable_OutputShardings_Args& args) {
  REQUIRE(args.executable);
  const auto& side = args.executable->state->results;
  args.num_outputs = side.shardings.size();
  args.shardings = side.shardings.data();
  args.sharding_sizes = side.sharding_sizes.data();
  return {};
}

}  // namespace

PJRT_Extension_Base* shardings_extension() {
  static PJRT_Shardings_Extension node = [] {
    PJRT_Shardings_Extension made{};
    made.base = {sizeof(made), PJRT_Extension_Type_Shardings, nullptr};
    bind<of_parameters>(made.PJRT_Shardings_PJRT_Executable_ParameterShardings);
    bind<of_outputs>(made.PJRT_Shardings_PJRT_Executable_OutputShardings);
    return made;
  }();
  return &node.base;
}

}  // namespace jaxmps::pjrt
