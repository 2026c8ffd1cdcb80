// Copies of buffers: to the host, to another memory or device, and as another type.

#include <cstring>

#include "kernels/cpu/strided_copy.h"
#include "pjrt/bindings.h"
#include "pjrt/buffer.h"
#include "pjrt/entry.h"
#include "pjrt/event.h"
#include "pjrt/storage.h"

namespace jaxmps::pjrt {
namespace {

namespace mx = mlx::core;

// ---- to the host ----

Event copy_in_order(const PJRT_Buffer& buffer, char* dst, const MinorToMajor& order) {
  const ir::Type& type = buffer.type();
  auto dense = std::make_shared<std::vector<char>>(type.byte_count());
  Event done;
  buffer.value->copy_to_host(dense->data(), 0, type.byte_count())
      .on_ready([dense, done, dst, order, type](const Status& status) {
        if (!status.ok()) return done.follow(status);
        try {
          const int64_t item = ir::byte_size(type.dtype);
          cpu::StridedCopy(type.dims, dense_strides(type), dense_strides(type.dims, order, item),
                           item)
              .copy(dense->data(), dst);
          done.set();
        } catch (...) {
          done.set(exec::current_exception_as_error());
        }
      });
  return done;
}

Status to_host(PJRT_Buffer_ToHostBuffer_Args& args) {
  REQUIRE(args.src);
  args.event = nullptr;
  const ir::Type& type = args.src->type();
  const auto bytes = static_cast<size_t>(type.byte_count());
  TRY(MinorToMajor order, read_layout(args.host_layout, type));
  if (!args.dst) {
    args.dst_size = bytes;
    return {};
  }
  CHECK_OK(args.src->value->payload());
  if (args.dst_size < bytes) {
    return invalid(str("the destination has ", args.dst_size, " bytes, the buffer ", bytes));
  }
  args.event = new_event(is_row_major(order)
                             ? args.src->value->copy_to_host(args.dst, 0, type.byte_count())
                             : copy_in_order(*args.src, static_cast<char*>(args.dst), order));
  return {};
}

Status check_range(const PJRT_Buffer& buffer, int64_t offset, int64_t size) {
  const int64_t bytes = buffer.type().byte_count();
  if (offset >= 0 && size >= 0 && offset <= bytes && size <= bytes - offset) return {};
  return invalid(str("a transfer of ", size, " bytes from byte ", offset,
                     " does not fit a buffer of ", bytes, " bytes"));
}

Status raw_to_host(PJRT_Buffer_CopyRawToHost_Args& args) {
  REQUIRE(args.buffer);
  CHECK_OK(args.buffer->value->payload());
  CHECK_OK(check_range(*args.buffer, args.offset, args.transfer_size));
  if (args.transfer_size > 0) REQUIRE(args.dst);
  args.event =
      new_event(args.buffer->value->copy_to_host(args.dst, args.offset, args.transfer_size));
  return {};
}

// A raw copy whose destination the client tells later.
struct RawCopy {
  exec::BufferPtr source;
  int64_t offset, size;
  Event done;
};

void destination_ready(PJRT_Buffer_CopyRawToHostFuture_Callback_Args* args) {
  std::unique_ptr<RawCopy> copy(static_cast<RawCopy*>(args->callback_data));
  if (args->error_code != PJRT_Error_Code_OK) {
    copy->done.set(client_error(args->error_code, args->error_message, args->error_message_size));
    return;
  }
  copy->source->copy_to_host(args->dst, copy->offset, copy->size)
      .on_ready([done = copy->done](const Status& status) { done.follow(status); });
}

Status raw_to_host_later(PJRT_Buffer_CopyRawToHostFuture_Args& args) {
  REQUIRE(args.buffer);
  TRY(exec::PayloadPtr payload, args.buffer->value->payload());
  CHECK_OK(check_range(*args.buffer, args.offset, args.transfer_size));
  // A buffer of its own, so that deleting the source in between does no harm.
  auto source = std::make_shared<exec::Buffer>(args.buffer->value->device(), args.buffer->type(),
                                               std::move(payload));
  auto copy =
      std::make_unique<RawCopy>(RawCopy{std::move(source), args.offset, args.transfer_size, {}});
  args.event = new_event(copy->done);
  args.callback_data = copy.release();
  args.future_ready_callback = destination_ready;
  return {};
}

// ---- to another place ----

// Bytes are copied where they are; virtual devices share one physical device.
Result<mx::array> duplicate(exec::Device& device, const ir::Type& type, const mx::array& value) {
  if (device.target().host_memory) {
    TRY(mx::array copy, allocate(device, type));
    std::memcpy(copy.data<void>(), value.data<void>(), type.byte_count());
    return copy;
  }
  return reinterpret(value, type);  // shares the memory, which keeps both from writing to it
}

Result<PJRT_Buffer*> copy_to(const PJRT_Buffer& source, Memory& memory) {
  // Kinds of memory of one device are one pool: the copy shares the storage.
  if (memory.device == source.device()) return shared_buffer(source, memory);
  TRY(exec::PayloadPtr from, source.value->payload());
  std::unique_ptr<PJRT_Buffer> made(pending_buffer(memory, source.type()));
  TRY(exec::PayloadPtr to, made->value->payload());
  derive(from, to,
         [&device = *memory.device->runtime, type = source.type()](const mx::array& value) {
           return duplicate(device, type, value);
         });
  return made.release();
}

Status to_memory(PJRT_Buffer_CopyToMemory_Args& args) {
  REQUIRE(args.buffer);
  REQUIRE(args.dst_memory);
  TRY(args.dst_buffer, copy_to(*args.buffer, memory_of(args.dst_memory)));
  return {};
}

Status to_device(PJRT_Buffer_CopyToDevice_Args& args) {
  REQUIRE(args.buffer);
  REQUIRE(args.dst_device);
  if (args.dst_device == args.buffer->device()) {
    return invalid("the buffer is on the destination device already");
  }
  TRY(args.dst_buffer, copy_to(*args.buffer, args.dst_device->default_memory()));
  return {};
}

Status bitcast(PJRT_Buffer_Bitcast_Args& args) {
  REQUIRE(args.buffer);
  TRY(ir::Type type, read_shape(args.element_type, args.dims, args.num_dims));
  if (args.device_layout) CHECK_OK(read_layout(args.device_layout, type));
  if (type.byte_count() != args.buffer->type().byte_count()) {
    return invalid(str("a bitcast of ", ir::brief(args.buffer->type()), " to ", ir::brief(type),
                       " would change the number of bytes"));
  }
  TRY(exec::PayloadPtr from, args.buffer->value->payload());
  std::unique_ptr<PJRT_Buffer> made(pending_buffer(*args.buffer->memory, type));
  TRY(exec::PayloadPtr to, made->value->payload());
  alias(from, to, type);
  args.out_buffer = made.release();
  return {};
}

}  // namespace

void bind_buffer_copies(PJRT_Api& api) {
  bind<to_host>(api.PJRT_Buffer_ToHostBuffer);
  bind<raw_to_host>(api.PJRT_Buffer_CopyRawToHost);
  bind<raw_to_host_later>(api.PJRT_Buffer_CopyRawToHostFuture);
  bind<to_memory>(api.PJRT_Buffer_CopyToMemory);
  bind<to_device>(api.PJRT_Buffer_CopyToDevice);
  bind<bitcast>(api.PJRT_Buffer_Bitcast);
}

}  // namespace jaxmps::pjrt
