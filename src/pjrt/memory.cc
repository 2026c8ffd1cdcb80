#include "pjrt/memory.h"

#include "pjrt/bindings.h"
#include "pjrt/entry.h"

namespace jaxmps::pjrt {
namespace {

void* find_user_data(PJRT_Memory* handle, const void* key) {
  if (!handle) return nullptr;
  Memory& memory = memory_of(handle);
  std::lock_guard lock(memory.mutex);
  auto found = memory.user_data.find(key);
  return found == memory.user_data.end() ? nullptr : found->second.data;
}

void store_user_data(PJRT_Memory* handle, const void* key, void* data, void (*destructor)(void*)) {
  if (!handle) return;
  Memory& memory = memory_of(handle);
  Memory::UserData old{nullptr, nullptr};
  {
    std::lock_guard lock(memory.mutex);
    old = std::exchange(memory.user_data[key], {data, destructor});
  }
  if (old.destructor) old.destructor(old.data);
}

const PJRT_Memory_FunctionTable kMemoryTable = {
    .struct_size = sizeof(PJRT_Memory_FunctionTable),
    .extension_start = nullptr,
    .instance_struct_size = sizeof(PJRT_Memory),
    .get_user_data = find_user_data,
    .set_user_data = store_user_data,
};

}  // namespace

Memory::Memory(PJRT_Device* owner, int32_t device_id, int index)
    : PJRT_Memory{&kMemoryTable},
      device(owner),
      kind_index(index),
      id(device_id * kNumMemoryKinds + index),
      to_string(str("MPS_", device_id, "_", kMemoryKinds[index])) {}

Memory::~Memory() {
  for (auto& [key, entry] : user_data) {
    if (entry.destructor) entry.destructor(entry.data);
  }
}

void bind_memory(PJRT_Api& api) {
  ANSWER(api, PJRT_Memory_Id, memory, args.id = memory_of(&it).id);
  ANSWER(api, PJRT_Memory_Kind, memory,
         give(kMemoryKinds[memory_of(&it).kind_index], args.kind, args.kind_size));
  ANSWER(api, PJRT_Memory_Kind_Id, memory, args.kind_id = memory_of(&it).kind_index);
  ANSWER(api, PJRT_Memory_DebugString, memory,
         give(memory_of(&it).to_string, args.debug_string, args.debug_string_size));
  ANSWER(api, PJRT_Memory_ToString, memory,
         give(memory_of(&it).to_string, args.to_string, args.to_string_size));
  ANSWER(api, PJRT_Memory_AddressableByDevices, memory, args.devices = &memory_of(&it).device;
         args.num_devices = 1);
}

}  // namespace jaxmps::pjrt
