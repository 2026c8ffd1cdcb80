#include "pjrt/api.h"

#include <cassert>

#include "pjrt/bindings.h"
#include "pjrt/entry.h"

namespace jaxmps::pjrt {
namespace {

#define STUB(slot, reason)                                                           \
  PJRT_Error* stub_##slot(PJRT_##slot##_Args*) noexcept {                            \
    try {                                                                            \
      return new_error(unimplemented("PJRT_" #slot " is not implemented: " reason)); \
    } catch (...) {                                                                  \
      return error_of_exception("PJRT_" #slot);                                      \
    }                                                                                \
  }
#include "pjrt/stubs.def"
#undef STUB

void bind_stubs(PJRT_Api& api) {
#define STUB(slot, reason)            \
  assert(api.PJRT_##slot == nullptr); \
  api.PJRT_##slot = stub_##slot;
#include "pjrt/stubs.def"
#undef STUB
}

PJRT_Extension_Base* chain_extensions() {
  PJRT_Extension_Base* chain = nullptr;
  for (auto* node : {shardings_extension(), layouts_extension(), memory_descriptions_extension(),
                     profiler_extension()}) {
    node->next = chain;
    chain = node;
  }
  return chain;
}

PJRT_Api* make_api() {
  auto* api = new PJRT_Api{};
  api->struct_size = sizeof(PJRT_Api);
  api->extension_start = chain_extensions();
  api->pjrt_api_version = {.struct_size = sizeof(PJRT_Api_Version),
                           .extension_start = nullptr,
                           .major_version = kPjrtApiMajor,
                           .minor_version = kPjrtApiMinor};
  for (auto* bind_object :
       {bind_buffer, bind_buffer_copies, bind_buffer_creation, bind_client, bind_device, bind_error,
        bind_event, bind_executable, bind_execute, bind_loaded_executable, bind_memory, bind_plugin,
        bind_topology, bind_transfer_manager}) {
    bind_object(*api);
  }
  bind_stubs(*api);
  return api;
}

}  // namespace

const PJRT_Api* api() {
  static const PJRT_Api* table = make_api();
  return table;
}

}  // namespace jaxmps::pjrt
