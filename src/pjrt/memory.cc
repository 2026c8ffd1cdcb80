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

const PJRT_Memory_FunctionTable kTable = {
    .struct_size = sizeof(PJRT_Memory_FunctionTable),
    .extension_start = nullptr,
    .instance_struct_size = sizeof(PJRT_Memory),
    .get_user_data = find_user_data,
    .set_user_data = store_user_data,
};

Status id(PJRT_Memory_Id_Args& args) {
  REQUIRE(args.memory);
  args.id = memory_of(args.memory).id;
  return {};
}

Status kind(PJRT_Memory_Kind_Args& args) {
  REQUIRE(args.memory);
  std::string_view kind = memory_of(args.memory).kind();
  args.kind = kind.data();
  args.kind_size = kind.size();
  return {};
}

Status kind_id(PJRT_Memory_Kind_Id_Args& args) {
  REQUIRE(args.memory);
  args.kind_id = memory_of(args.memory).kind_index;
  return {};
}

Status debug_string(PJRT_Memory_DebugString_Args& args) {
  REQUIRE(args.memory);
  args.debug_string = memory_of(args.memory).to_string.data();
  args.debug_string_size = memory_of(args.memory).to_string.size();
  return {};
}

Status to_string(PJRT_Memory_ToString_Args& args) {
  REQUIRE(args.memory);
  args.to_string = memory_of(args.memory).to_string.data();
  args.to_string_size = memory_of(args.memory).to_string.size();
  return {};
}

Status addressable_by(PJRT_Memory_AddressableByDevices_Args& args) {
  REQUIRE(args.memory);
  args.devices = &memory_of(args.memory).device;
  args.num_devices = 1;
  return {};
}

}  // namespace

Memory::Memory(PJRT_Device* owner, int32_t device_id, int index)
    : PJRT_Memory{&kTable},
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
  bind<id>(api.PJRT_Memory_Id);
  bind<kind>(api.PJRT_Memory_Kind);
  bind<kind_id>(api.PJRT_Memory_Kind_Id);
  bind<debug_string>(api.PJRT_Memory_DebugString);
  bind<to_string>(api.PJRT_Memory_ToString);
  bind<addressable_by>(api.PJRT_Memory_AddressableByDevices);
}

}  // namespace jaxmps::pjrt
