// One function per object of the interface: it puts the object's functions into the table.
#pragma once

#include "pjrt/abi_extensions.h"

namespace jaxmps::pjrt {

void bind_buffer(PJRT_Api& api);
void bind_buffer_copies(PJRT_Api& api);
void bind_buffer_creation(PJRT_Api& api);
void bind_client(PJRT_Api& api);
void bind_device(PJRT_Api& api);
void bind_error(PJRT_Api& api);
void bind_event(PJRT_Api& api);
void bind_executable(PJRT_Api& api);
void bind_execute(PJRT_Api& api);
void bind_loaded_executable(PJRT_Api& api);
void bind_memory(PJRT_Api& api);
void bind_plugin(PJRT_Api& api);
void bind_topology(PJRT_Api& api);
void bind_transfer_manager(PJRT_Api& api);

// The extension nodes; each lives for ever.
PJRT_Extension_Base* layouts_extension();
PJRT_Extension_Base* memory_descriptions_extension();
PJRT_Extension_Base* profiler_extension();
PJRT_Extension_Base* shardings_extension();

}  // namespace jaxmps::pjrt
