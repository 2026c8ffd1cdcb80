// PJRT_LoadedExecutable_Execute and the context of an execution. This is the dispatch path: it
// checks, hands over to the runtime and wraps the results, which are pending when it returns.

#include "base/log.h"
#include "pjrt/bindings.h"
#include "pjrt/buffer.h"
#include "pjrt/entry.h"
#include "pjrt/event.h"
#include "pjrt/executable.h"

// Carries data of the client to custom calls; none takes any yet.
struct PJRT_ExecuteContext {};

namespace jaxmps::pjrt {
namespace {

Status check_call(const PJRT_LoadedExecutable_Execute_Args& args,
                  const PJRT_ExecuteOptions& options) {
  if (args.num_devices != 1) {
    return invalid(
        str("Execute: argument lists for ", args.num_devices, " devices; the program runs on 1"));
  }
  if (options.num_send_ops + options.num_recv_ops > 0 &&
      (options.send_callbacks || options.recv_callbacks)) {
    return unimplemented("Execute: send and receive callbacks");
  }
  REQUIRE(args.argument_lists);
  if (args.num_args > 0) REQUIRE(args.argument_lists[0]);
  REQUIRE(args.output_lists);
  return {};
}

// The host may promise memory that it does not have; the process would be killed using it.
Status check_memory(const ExecutableState& state, const PJRT_Device& device) {
  if (state.result_bytes <= device.memory_bytes) return {};
  return Error(Code::resource_exhausted, str("out of memory: the results of ", state.info().name,
                                             " need ", state.result_bytes, " bytes, device ",
                                             device.description->id, " has ", device.memory_bytes));
}

Result<std::vector<exec::BufferPtr>> take_arguments(PJRT_Buffer* const* list, size_t count) {
  std::vector<exec::BufferPtr> arguments;
  arguments.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    if (!list[i]) return invalid(str("Execute: argument ", i, " is null"));
    arguments.push_back(list[i]->value);
  }
  return arguments;
}

Status execute(PJRT_LoadedExecutable_Execute_Args& args) {
  REQUIRE(args.executable);
  PJRT_ExecuteOptions options{};
  if (args.options) options = full_copy(*args.options);
  CHECK_OK(check_call(args, options));
  StatePtr state = args.executable->state();
  if (!state) return invalid("Execute: the executable has been deleted");
  if (log_enabled(Level::debug) && options.call_location) {
    log(Level::debug, "execute ", state->info().name, " from ", options.call_location);
  }
  PJRT_Device* device = args.execute_device ? args.execute_device : args.executable->devices[0];
  CHECK_OK(check_memory(*state, *device));
  TRY(auto arguments, take_arguments(args.argument_lists[0], args.num_args));
  std::span<const int64_t> no_donation;
  if (options.non_donatable_input_indices) {
    no_donation = {options.non_donatable_input_indices, options.num_non_donatable_input_indices};
  }
  TRY(exec::Program::Execution run,
      state->program->execute(device->runtime, arguments, no_donation));
  // Nothing below can fail but for want of memory; what was made until then is freed.
  std::vector<std::unique_ptr<PJRT_Buffer>> results;
  results.reserve(run.results.size());
  for (size_t i = 0; i < run.results.size(); ++i) {
    results.push_back(std::make_unique<PJRT_Buffer>(std::move(run.results[i]),
                                                    device->memory(state->results.kinds[i]),
                                                    state->info().tokens[i]));
  }
  if (args.device_complete_events) {
    args.device_complete_events[0] = new_event(std::move(run.done));
  }
  for (size_t i = 0; i < results.size(); ++i) args.output_lists[0][i] = results[i].release();
  return {};
}

}  // namespace

void bind_execute(PJRT_Api& api) {
  bind<execute>(api.PJRT_LoadedExecutable_Execute);
  ANSWER_ANY(api, PJRT_ExecuteContext_Create, args.context = new PJRT_ExecuteContext);
  ANSWER_ANY(api, PJRT_ExecuteContext_Destroy, delete args.context);
}

}  // namespace jaxmps::pjrt
