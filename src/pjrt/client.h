// PJRT_Client: the devices of this process as one client sees them, and where programs and buffers
// begin. The caller owns it and destroys it last; immutable after creation, any thread.
#pragma once

#include <memory>
#include <vector>

#include "pjrt/device.h"
#include "pjrt/topology.h"

struct PJRT_Client {
  explicit PJRT_Client(jaxmps::pjrt::TopologyFacts facts,
                       const std::vector<jaxmps::exec::Device*>& runtime);

  // Null if there is no such device.
  PJRT_Device* device(int64_t id) const;

  PJRT_TopologyDescription topology;
  std::vector<std::unique_ptr<PJRT_Device>> devices;
  std::vector<PJRT_Device*> device_pointers;  // index = id
  std::vector<PJRT_Memory*> memory_pointers;
};

namespace jaxmps::pjrt {

inline constexpr int32_t kMaxDevices = 1024;

// The devices of this machine; checks the options a client or topology is created with.
Result<TopologyFacts> local_topology(const PJRT_NamedValue* options, size_t num_options);

// The memory that arguments `memory` (which wins) and `device` name.
Result<Memory*> choose_memory(PJRT_Device* device, PJRT_Memory* memory);

}  // namespace jaxmps::pjrt
