// PJRT_AsyncHostToDeviceTransferManager: buffers that the client fills piece by piece. A buffer
// becomes ready with its last transfer; the manager may be destroyed before, and then its
// unfinished buffers fail. Thread-safe.

#include <cstring>

#include "kernels/cpu/strided_copy.h"
#include "pjrt/bindings.h"
#include "pjrt/buffer.h"
#include "pjrt/entry.h"
#include "pjrt/event.h"
#include "pjrt/storage.h"

struct PJRT_AsyncHostToDeviceTransferManager {
  struct Slot {
    std::unique_ptr<PJRT_Buffer> buffer;  // until it is retrieved
    jaxmps::exec::PayloadPtr payload;
    std::optional<mlx::core::array> value;  // until the last transfer
    jaxmps::ir::Type type;
    int64_t bytes = 0;
  };

  ~PJRT_AsyncHostToDeviceTransferManager() {
    for (Slot& slot : slots) {
      slot.payload->ready.set(jaxmps::Error(jaxmps::Code::cancelled,
                                            "the transfer manager was destroyed before the "
                                            "last transfer of the buffer"));
    }
  }

  jaxmps::pjrt::Memory* memory = nullptr;
  std::mutex mutex;  // the slots; held while bytes are copied
  std::vector<Slot> slots;
};

namespace jaxmps::pjrt {
namespace {

using Manager = PJRT_AsyncHostToDeviceTransferManager;
using Slot = Manager::Slot;

Status create_buffers(PJRT_Client_CreateBuffersForAsyncHostToDevice_Args& args) {
  REQUIRE(args.memory);
  if (args.num_shape_specs > 0) REQUIRE(args.shape_specs);
  auto manager = std::make_unique<Manager>();
  manager->memory = &memory_of(args.memory);
  for (size_t i = 0; i < args.num_shape_specs; ++i) {
    const PJRT_ShapeSpec& spec = args.shape_specs[i];
    TRY(ir::Type type, read_shape(spec.element_type, spec.dims, spec.num_dims));
    if (args.device_layouts && i < args.num_device_layouts && args.device_layouts[i]) {
      CHECK_OK(read_layout(args.device_layouts[i], type));
    }
    TRY(auto value, allocate(*manager->memory->device->runtime, type));
    Slot slot;
    slot.buffer.reset(pending_buffer(*manager->memory, type));
    TRY(slot.payload, slot.buffer->value->payload());
    slot.value.emplace(std::move(value));
    slot.bytes = type.byte_count();
    slot.type = std::move(type);
    manager->slots.push_back(std::move(slot));
  }
  args.transfer_manager = manager.release();
  return {};
}

Result<Slot*> slot_of(Manager& manager, int index) {
  if (index >= 0 && index < static_cast<int>(manager.slots.size())) return &manager.slots[index];
  return invalid(
      str("there is no buffer ", index, "; the transfer manager has ", manager.slots.size()));
}

Result<Slot*> open_slot(Manager& manager, int index) {
  TRY(Slot * slot, slot_of(manager, index));
  if (slot->value) return slot;
  return Error(Code::failed_precondition, str("buffer ", index, " takes no more transfers"));
}

void finish(Slot& slot) {
  slot.payload->publish(*std::move(slot.value));
  slot.value.reset();
  slot.payload->ready.set();
}

Status transfer_data(PJRT_AsyncHostToDeviceTransferManager_TransferData_Args& args) {
  REQUIRE(args.transfer_manager);
  std::lock_guard lock(args.transfer_manager->mutex);
  TRY(Slot * slot, open_slot(*args.transfer_manager, args.buffer_index));
  const int64_t bytes = slot->bytes, offset = args.offset, size = args.transfer_size;
  if (offset < 0 || size < 0 || offset > bytes || size > bytes - offset) {
    return invalid(str("a transfer of ", size, " bytes to byte ", offset,
                       " does not fit a buffer of ", bytes, " bytes"));
  }
  if (size > 0) {
    REQUIRE(args.data);
    std::memcpy(slot->value->data<char>() + offset, args.data, size);
  }
  if (args.is_last_transfer) finish(*slot);
  args.done_with_h2d_transfer = new_event(Event::ready());
  return {};
}

Status transfer_literal(PJRT_AsyncHostToDeviceTransferManager_TransferLiteral_Args& args) {
  REQUIRE(args.transfer_manager);
  std::lock_guard lock(args.transfer_manager->mutex);
  TRY(Slot * slot, open_slot(*args.transfer_manager, args.buffer_index));
  TRY(ir::Type type, read_shape(args.shape_element_type, args.shape_dims, args.shape_num_dims));
  if (!(type == slot->type)) {
    return invalid(str("buffer ", args.buffer_index, " is ", ir::brief(slot->type),
                       ", the literal is ", ir::brief(type)));
  }
  TRY(MinorToMajor order, read_layout(args.shape_layout, type));
  if (slot->bytes > 0) {
    REQUIRE(args.data);
    const int64_t item = ir::byte_size(type.dtype);
    cpu::StridedCopy(type.dims, dense_strides(type.dims, order, item), dense_strides(type), item)
        .copy(args.data, slot->value->data<char>());
  }
  finish(*slot);
  args.done_with_h2d_transfer = new_event(Event::ready());
  return {};
}

Status retrieve(PJRT_AsyncHostToDeviceTransferManager_RetrieveBuffer_Args& args) {
  REQUIRE(args.transfer_manager);
  std::lock_guard lock(args.transfer_manager->mutex);
  TRY(Slot * slot, slot_of(*args.transfer_manager, args.buffer_index));
  if (!slot->buffer) {
    return Error(Code::failed_precondition,
                 str("buffer ", args.buffer_index, " was retrieved already"));
  }
  args.buffer_out = slot->buffer.release();
  return {};
}

Status set_error(PJRT_AsyncHostToDeviceTransferManager_SetBufferError_Args& args) {
  REQUIRE(args.transfer_manager);
  std::lock_guard lock(args.transfer_manager->mutex);
  TRY(Slot * slot, open_slot(*args.transfer_manager, args.buffer_index));
  slot->value.reset();
  slot->payload->ready.set(
      client_error(args.error_code, args.error_message, args.error_message_size));
  return {};
}

}  // namespace

void bind_transfer_manager(PJRT_Api& api) {
  bind<create_buffers>(api.PJRT_Client_CreateBuffersForAsyncHostToDevice);
  ANSWER_ANY(api, PJRT_AsyncHostToDeviceTransferManager_Destroy, delete args.transfer_manager);
  bind<transfer_data>(api.PJRT_AsyncHostToDeviceTransferManager_TransferData);
  bind<transfer_literal>(api.PJRT_AsyncHostToDeviceTransferManager_TransferLiteral);
  bind<retrieve>(api.PJRT_AsyncHostToDeviceTransferManager_RetrieveBuffer);
  ANSWER(api, PJRT_AsyncHostToDeviceTransferManager_Device, transfer_manager,
         args.device_out = it.memory->device);
  ANSWER(api, PJRT_AsyncHostToDeviceTransferManager_BufferCount, transfer_manager,
         args.buffer_count = it.slots.size());
  ANSWER(api, PJRT_AsyncHostToDeviceTransferManager_BufferSize, transfer_manager,
         TRY(const Slot* slot, slot_of(it, args.buffer_index));
         args.buffer_size = slot->bytes);
  bind<set_error>(api.PJRT_AsyncHostToDeviceTransferManager_SetBufferError);
  // Hints about the transfers; there is nothing to do with them.
  ANSWER_ANY(api, PJRT_AsyncHostToDeviceTransferManager_AddMetadata);
}

}  // namespace jaxmps::pjrt
