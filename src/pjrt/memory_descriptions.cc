// The MemoryDescriptions extension: the memory kinds of a device description, for clients that have
// a topology and no device.

#include "pjrt/bindings.h"
#include "pjrt/entry.h"
#include "pjrt/memory.h"

struct PJRT_MemoryDescription {
  int kind;
};

namespace jaxmps::pjrt {

PJRT_EXTENSION_FUNCTION(PJRT_DeviceDescription_MemoryDescriptions, default_memory_index);
PJRT_EXTENSION_FUNCTION(PJRT_MemoryDescription_Kind, kind_id);

namespace {

constexpr PJRT_MemoryDescription kDescriptions[kNumMemoryKinds] = {{0}, {1}, {2}};
constexpr const PJRT_MemoryDescription* kPointers[kNumMemoryKinds] = {
    &kDescriptions[0], &kDescriptions[1], &kDescriptions[2]};

Status descriptions(PJRT_DeviceDescription_MemoryDescriptions_Args& args) {
  args.memory_descriptions = kPointers;
  args.num_memory_descriptions = kNumMemoryKinds;
  args.default_memory_index = kDeviceMemory;
  return {};
}

Status kind(PJRT_MemoryDescription_Kind_Args& args) {
  REQUIRE(args.memory_description);
  std::string_view name = kMemoryKinds[args.memory_description->kind];
  args.kind = name.data();
  args.kind_size = name.size();
  args.kind_id = args.memory_description->kind;
  return {};
}

}  // namespace

PJRT_Extension_Base* memory_descriptions_extension() {
  static PJRT_MemoryDescriptions_Extension node = [] {
    PJRT_MemoryDescriptions_Extension made{};
    made.base = {sizeof(made), PJRT_Extension_Type_MemoryDescriptions, nullptr};
    bind<descriptions>(made.PJRT_DeviceDescription_MemoryDescriptions);
    bind<kind>(made.PJRT_MemoryDescription_Kind);
    return made;
  }();
  return &node.base;
}

}  // namespace jaxmps::pjrt
