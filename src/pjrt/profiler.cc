// The Profiler extension. JAX asks every plugin for a device trace when jax.profiler starts one;
// this plugin records none yet and says so in the trace. The node must exist: some versions of the
// client crash without it.

#include <string>

#include "pjrt/bindings.h"
#include "pjrt/proto.h"

struct PLUGIN_Profiler_Error {};  // never made: nothing here fails
struct PLUGIN_Profiler {};

namespace jaxmps::pjrt {
namespace {

constexpr uint32_t kXSpaceWarnings = 3;

const std::string& trace() {
  static const auto* bytes = [] {
    ProtoWriter space;
    space.bytes(kXSpaceWarnings, "jax-mps records no device events");
    return new std::string(space.take());
  }();
  return *bytes;
}

void error_destroy(PLUGIN_Profiler_Error_Destroy_Args*) {}

void error_message(PLUGIN_Profiler_Error_Message_Args* args) {
  args->message = "";
  args->message_size = 0;
}

PLUGIN_Profiler_Error* error_code(PLUGIN_Profiler_Error_GetCode_Args* args) {
  args->code = 0;
  return nullptr;
}

PLUGIN_Profiler_Error* create(PLUGIN_Profiler_Create_Args* args) {
  static PLUGIN_Profiler profiler;
  args->profiler = &profiler;
  return nullptr;
}

PLUGIN_Profiler_Error* destroy(PLUGIN_Profiler_Destroy_Args*) { return nullptr; }
PLUGIN_Profiler_Error* start(PLUGIN_Profiler_Start_Args*) { return nullptr; }
PLUGIN_Profiler_Error* stop(PLUGIN_Profiler_Stop_Args*) { return nullptr; }

// Some clients bring a buffer in a second call, others read where the first call points them.
PLUGIN_Profiler_Error* collect_data(PLUGIN_Profiler_CollectData_Args* args) {
  if (args->buffer) {
    trace().copy(reinterpret_cast<char*>(args->buffer), args->buffer_size_in_bytes);
  } else {
    args->buffer = reinterpret_cast<uint8_t*>(const_cast<char*>(trace().data()));
  }
  args->buffer_size_in_bytes = trace().size();
  return nullptr;
}

}  // namespace

PJRT_Extension_Base* profiler_extension() {
  // Clients up to JAX 0.10 refuse, and then crash over, any other size than this.
  static PLUGIN_Profiler_Api functions = {
      .struct_size = offsetof(PLUGIN_Profiler_Api, consume),
      .priv = nullptr,
      .error_destroy = error_destroy,
      .error_message = error_message,
      .error_get_code = error_code,
      .create = create,
      .destroy = destroy,
      .start = start,
      .stop = stop,
      .collect_data = collect_data,
      .consume = nullptr,
      .consume_result_destroy = nullptr,
      .serialize = nullptr,
  };
  static PJRT_Profiler_Extension node = {
      .base = {sizeof(PJRT_Profiler_Extension), PJRT_Extension_Type_Profiler, nullptr},
      .profiler_api = &functions,
      .traceme_context_id = 0,
  };
  return &node.base;
}

}  // namespace jaxmps::pjrt
