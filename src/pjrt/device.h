// PJRT_Device: one device of one client, with its memory spaces. Owned by the client, immutable,
// any thread. The work is done by the exec::Device behind it, which all clients share.
#pragma once

#include <memory>
#include <vector>

#include "exec/device.h"
#include "pjrt/memory.h"
#include "pjrt/topology.h"

struct PJRT_Device {
  PJRT_Device(PJRT_Client* owner, PJRT_DeviceDescription* about, jaxmps::exec::Device* behind);

  jaxmps::pjrt::Memory& memory(int kind_index) const { return *memories[kind_index]; }
  jaxmps::pjrt::Memory& default_memory() const { return memory(jaxmps::pjrt::kDeviceMemory); }

  PJRT_Client* client;
  PJRT_DeviceDescription* description;
  jaxmps::exec::Device* runtime;
  int32_t local_hardware_id;
  int64_t memory_bytes;                                         // of the physical device
  std::vector<std::unique_ptr<jaxmps::pjrt::Memory>> memories;  // by kind
  std::vector<PJRT_Memory*> memory_pointers;
};
