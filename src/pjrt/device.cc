#include "pjrt/device.h"

#include "exec/gpu.h"
#include "pjrt/attributes.h"
#include "pjrt/bindings.h"
#include "pjrt/entry.h"

PJRT_Device::PJRT_Device(PJRT_Client* owner, PJRT_DeviceDescription* about,
                         jaxmps::exec::Device* behind)
    : client(owner),
      description(about),
      runtime(behind),
      local_hardware_id(behind->id()),
      memory_bytes(behind->memory_stats().bytes_limit) {
  for (int kind = 0; kind < jaxmps::pjrt::kNumMemoryKinds; ++kind) {
    memories.push_back(std::make_unique<jaxmps::pjrt::Memory>(this, about->id, kind));
    memory_pointers.push_back(memories.back().get());
  }
}

struct PJRT_Device_Attributes {
  jaxmps::pjrt::Attributes list;
};

// Marks a span of time for tracing tools; nothing listens to it.
struct PJRT_AsyncTrackingEvent {};

namespace jaxmps::pjrt {
namespace {

Status memory_stats(PJRT_Device_MemoryStats_Args& args) {
  REQUIRE(args.device);
  const auto stats = args.device->runtime->memory_stats();
  PJRT_Device_MemoryStats_Args out{};  // what MLX does not count stays zero and "not set"
  out.struct_size = args.struct_size;
  out.extension_start = args.extension_start;
  out.device = args.device;
  out.bytes_in_use = stats.bytes_in_use;
  out.peak_bytes_in_use = stats.peak_bytes_in_use;
  out.peak_bytes_in_use_is_set = true;
  out.bytes_limit = stats.bytes_limit;
  out.bytes_limit_is_set = stats.bytes_limit > 0;
  out.pool_bytes = stats.pool_bytes;
  out.pool_bytes_is_set = true;
  args = out;
  return {};
}

Status attributes(PJRT_Device_GetAttributes_Args& args) {
  REQUIRE(args.device);
  const exec::Device& device = *args.device->runtime;
  auto* made = new PJRT_Device_Attributes;
  made->list.add("memory_bytes", args.device->memory_bytes);
  made->list.add("unified_memory", static_cast<int64_t>(device.target().host_memory));
  if (const exec::Gpu* gpu = exec::gpu_of(device.target())) {
    // Its name and form are those of JAX's own GPUs, which libraries ask for.
    const std::string version = gpu->compute_capability();
    if (!version.empty()) made->list.add("compute_capability", version);
  }
  args.attributes = made->list.data();
  args.num_attributes = made->list.size();
  args.device_attributes = made;
  args.attributes_deleter = [](PJRT_Device_Attributes* kept) { delete kept; };
  return {};
}

}  // namespace

void bind_device(PJRT_Api& api) {
  ANSWER(api, PJRT_Device_GetDescription, device, args.device_description = it.description);
  ANSWER(api, PJRT_Device_IsAddressable, device, args.is_addressable = true);
  ANSWER(api, PJRT_Device_LocalHardwareId, device, args.local_hardware_id = it.local_hardware_id);
  ANSWER(api, PJRT_Device_AddressableMemories, device,
         give(it.memory_pointers, args.memories, args.num_memories));
  ANSWER(api, PJRT_Device_DefaultMemory, device, args.memory = &it.default_memory());
  bind<memory_stats>(api.PJRT_Device_MemoryStats);
  ANSWER(api, PJRT_Device_ClearMemoryStats, device, it.runtime->clear_memory_stats());
  bind<attributes>(api.PJRT_Device_GetAttributes);
  ANSWER(api, PJRT_Device_CreateAsyncTrackingEvent, device,
         args.event = new PJRT_AsyncTrackingEvent);
  ANSWER_ANY(api, PJRT_AsyncTrackingEvent_Destroy, delete args.event);
}

}  // namespace jaxmps::pjrt
