// The Shardings extension: how parameters and results are spread over devices, each as a serialised
// OpSharding. Programs run on one device, where everything is replicated.

#include "pjrt/bindings.h"
#include "pjrt/entry.h"
#include "pjrt/executable.h"

namespace jaxmps::pjrt {

PJRT_Extension_Base* shardings_extension() {
  static PJRT_Shardings_Extension node = [] {
    PJRT_Shardings_Extension made{};
    made.base = {sizeof(made), PJRT_Extension_Type_Shardings, nullptr};
    ANSWER(made, PJRT_Shardings_PJRT_Executable_ParameterShardings, executable,
           give(it.state->parameters.shardings, args.shardings, args.num_parameters);
           args.sharding_sizes = it.state->parameters.sharding_sizes.data());
    ANSWER(made, PJRT_Shardings_PJRT_Executable_OutputShardings, executable,
           give(it.state->results.shardings, args.shardings, args.num_outputs);
           args.sharding_sizes = it.state->results.sharding_sizes.data());
    return made;
  }();
  return &node.base;
}

}  // namespace jaxmps::pjrt
