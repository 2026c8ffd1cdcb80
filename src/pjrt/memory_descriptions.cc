// The MemoryDescriptions extension: the memory kinds of a device description, for clients that have
// a topology and no device.

#include "pjrt/bindings.h"
#include "pjrt/entry.h"
#include "pjrt/memory.h"

struct PJRT_MemoryDescription {
  int kind;
};

namespace jaxmps::pjrt {
namespace {

constexpr PJRT_MemoryDescription kDescriptions[kNumMemoryKinds] = {{0}, {1}, {2}};
constexpr const PJRT_MemoryDescription* kPointers[kNumMemoryKinds] = {
    &kDescriptions[0], &kDescriptions[1], &kDescriptions[2]};

}  // namespace

PJRT_Extension_Base* memory_descriptions_extension() {
  static PJRT_MemoryDescriptions_Extension node = [] {
    PJRT_MemoryDescriptions_Extension made{};
    made.base = {sizeof(made), PJRT_Extension_Type_MemoryDescriptions, nullptr};
    ANSWER_ANY(made, PJRT_DeviceDescription_MemoryDescriptions,
               give(kPointers, args.memory_descriptions, args.num_memory_descriptions);
               args.default_memory_index = kDeviceMemory);
    ANSWER(made, PJRT_MemoryDescription_Kind, memory_description,
           give(kMemoryKinds[it.kind], args.kind, args.kind_size);
           args.kind_id = it.kind);
    return made;
  }();
  return &node.base;
}

}  // namespace jaxmps::pjrt
