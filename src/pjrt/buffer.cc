// What a buffer is and its life: queries, readiness, deletion, references.

#include "pjrt/buffer.h"

#include <array>

#include "pjrt/bindings.h"
#include "pjrt/entry.h"
#include "pjrt/event.h"
#include "pjrt/storage.h"

namespace jaxmps::pjrt {
namespace {

// The row-major order of rank r is the last r entries.
constexpr size_t kMaxRank = 64;
constexpr auto kDescending = [] {
  std::array<int64_t, kMaxRank> order{};
  for (size_t i = 0; i < kMaxRank; ++i) order[i] = static_cast<int64_t>(kMaxRank - 1 - i);
  return order;
}();

constexpr size_t kNoDimension = 0;

Status memory_layout(PJRT_Buffer_GetMemoryLayout_Args& args) {
  REQUIRE(args.buffer);
  const size_t rank = args.buffer->type().dims.size();
  if (rank > kMaxRank) return unimplemented(str("layout of an array of rank ", rank));
  PJRT_Buffer_MemoryLayout& layout = args.layout;
  layout = {};
  layout.struct_size = offsetof(PJRT_Buffer_MemoryLayout, type) + sizeof(layout.type);
  layout.type = PJRT_Buffer_MemoryLayout_Type_Tiled;
  layout.tiled = {};
  layout.tiled.struct_size = sizeof(layout.tiled);
  layout.tiled.minor_to_major = kDescending.data() + (kMaxRank - rank);
  layout.tiled.minor_to_major_size = rank;
  return {};
}

Status is_on_cpu(PJRT_Buffer_IsOnCpu_Args& args) {
  REQUIRE(args.buffer);
  const exec::Buffer& buffer = *args.buffer->value;
  args.is_on_cpu =
      buffer.device()->target().host_memory || buffer.memory() != exec::MemoryKind::device;
  return {};
}

Status increase_references(PJRT_Buffer_IncreaseExternalReferenceCount_Args& args) {
  REQUIRE(args.buffer);
  CHECK_OK(args.buffer->value->hold());
  args.buffer->external_references.fetch_add(1);
  return {};
}

Status decrease_references(PJRT_Buffer_DecreaseExternalReferenceCount_Args& args) {
  REQUIRE(args.buffer);
  int64_t count = args.buffer->external_references.load();
  do {
    if (count == 0) {
      return Error(Code::failed_precondition, "the buffer has no external references to give up");
    }
  } while (!args.buffer->external_references.compare_exchange_weak(count, count - 1));
  args.buffer->value->release_hold();
  return {};
}

}  // namespace

PJRT_Buffer* ready_buffer(Memory& memory, ir::Type type, mlx::core::array value,
                          exec::Payload::Memory owner) {
  return new PJRT_Buffer(exec::Buffer::ready(memory.device->runtime, std::move(type),
                                             std::move(value), owner, runtime_kind(memory)),
                         memory);
}

PJRT_Buffer* pending_buffer(Memory& memory, ir::Type type) {
  return new PJRT_Buffer(
      exec::Buffer::pending(memory.device->runtime, std::move(type), runtime_kind(memory)), memory);
}

PJRT_Buffer* failed_buffer(Memory& memory, ir::Type type, Error error) {
  return new PJRT_Buffer(exec::Buffer::failed(memory.device->runtime, std::move(type),
                                              std::move(error), runtime_kind(memory)),
                         memory);
}

Result<PJRT_Buffer*> shared_buffer(const PJRT_Buffer& source, Memory& memory) {
  TRY(exec::PayloadPtr payload, source.value->payload());
  CHECK_OK(payload->own());
  auto value = std::make_shared<exec::Buffer>(memory.device->runtime, source.type(),
                                              std::move(payload), runtime_kind(memory));
  return new PJRT_Buffer(std::move(value), memory, source.is_token);
}

void derive(const exec::PayloadPtr& source, const exec::PayloadPtr& target, Compute compute) {
  source->ready.on_ready([source, target, compute = std::move(compute)](const Status& status) {
    if (!status.ok()) return target->ready.follow(status);
    try {
      auto value = compute(source->value());
      if (!value.ok()) return target->ready.set(std::move(value).error());
      target->publish(std::move(value).value());
      target->ready.set();
    } catch (...) {
      target->ready.set(exec::current_exception_as_error());
    }
  });
}

void alias(const exec::PayloadPtr& source, const exec::PayloadPtr& target, const ir::Type& type) {
  if (Status owned = source->own(); !owned.ok()) return target->ready.set(std::move(owned));
  derive(source, target,
         [type](const mlx::core::array& value) { return reinterpret(value, type); });
}

void bind_buffer(PJRT_Api& api) {
  ANSWER_ANY(api, PJRT_Buffer_Destroy, delete args.buffer);
  ANSWER(api, PJRT_Buffer_ElementType, buffer, args.type = client_type(it.type(), it.is_token));
  ANSWER(api, PJRT_Buffer_Dimensions, buffer, give(it.type().dims, args.dims, args.num_dims));
  ANSWER(api, PJRT_Buffer_UnpaddedDimensions, buffer,
         give(it.type().dims, args.unpadded_dims, args.num_dims));
  ANSWER(api, PJRT_Buffer_DynamicDimensionIndices, buffer, args.dynamic_dim_indices = &kNoDimension;
         args.num_dynamic_dims = 0);
  bind<memory_layout>(api.PJRT_Buffer_GetMemoryLayout);
  ANSWER(api, PJRT_Buffer_OnDeviceSizeInBytes, buffer,
         args.on_device_size_in_bytes = it.type().byte_count());
  ANSWER(api, PJRT_Buffer_Device, buffer, args.device = it.device());
  ANSWER(api, PJRT_Buffer_Memory, buffer, args.memory = it.memory);
  ANSWER(api, PJRT_Buffer_Delete, buffer, it.value->delete_storage());
  ANSWER(api, PJRT_Buffer_IsDeleted, buffer, args.is_deleted = it.value->is_deleted());
  bind<is_on_cpu>(api.PJRT_Buffer_IsOnCpu);
  ANSWER(api, PJRT_Buffer_ReadyEvent, buffer, args.event = new_event(it.value->ready_event()));
  ANSWER(api, PJRT_Buffer_UnsafePointer, buffer, TRY(void* data, it.value->host_pointer());
         args.buffer_pointer = reinterpret_cast<uintptr_t>(data));
  ANSWER(api, PJRT_Buffer_OpaqueDeviceMemoryDataPointer, buffer,
         TRY(args.device_memory_ptr, it.value->host_pointer()));
  bind<increase_references>(api.PJRT_Buffer_IncreaseExternalReferenceCount);
  bind<decrease_references>(api.PJRT_Buffer_DecreaseExternalReferenceCount);
}

}  // namespace jaxmps::pjrt
