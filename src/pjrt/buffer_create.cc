// New buffers: from host memory, uninitialised, failed, over foreign memory, and aliases that are
// fulfilled later.

#include "exec/memory.h"
#include "kernels/cpu/strided_copy.h"
#include "pjrt/bindings.h"
#include "pjrt/buffer.h"
#include "pjrt/entry.h"
#include "pjrt/event.h"
#include "pjrt/storage.h"

// The promise of an alias buffer; consumed by the call that fulfils it.
struct PJRT_FulfillAliasBufferCallback {
  jaxmps::exec::PayloadPtr target;
  jaxmps::ir::Type type;
};

namespace jaxmps::pjrt {
namespace {

// Copying less than this costs about as much as an alias, and leaves the caller's memory alone.
constexpr int64_t kMinAliasBytes = 64 * 1024;

struct HostData {
  ir::Type type;
  std::vector<int64_t> strides;  // in bytes
  bool dense = false;            // row-major without gaps
};

Result<HostData> read_host_data(const PJRT_Client_BufferFromHostBuffer_Args& args) {
  TRY(ir::Type type, read_shape(args.type, args.dims, args.num_dims));
  const auto dense = dense_strides(type);
  HostData out{std::move(type), dense, true};
  if (!args.data && out.type.size() > 0) return invalid("argument `data` is null");
  if (!args.byte_strides || args.num_byte_strides == 0) return out;
  if (args.num_byte_strides != out.type.dims.size()) {
    return invalid(
        str(args.num_byte_strides, " byte strides for an array of rank ", out.type.dims.size()));
  }
  out.strides.assign(args.byte_strides, args.byte_strides + args.num_byte_strides);
  for (size_t i = 0; i < dense.size(); ++i) {
    if (out.type.dims[i] > 1 && out.strides[i] != dense[i]) out.dense = false;
  }
  return out;
}

bool may_alias(PJRT_HostBufferSemantics semantics) {
  return semantics == PJRT_HostBufferSemantics_kImmutableZeroCopy ||
         semantics == PJRT_HostBufferSemantics_kMutableZeroCopy;
}

// Hosts leave the high bits of negative 2- and 4-bit integers zero; ours repeat the sign.
bool lacks_sign_bits(ir::DType dtype) { return dtype == ir::DType::s2 || dtype == ir::DType::s4; }

void extend_signs(ir::DType dtype, int8_t* data, int64_t size) {
  const int unused = 8 - ir::bit_width(dtype);
  for (int64_t i = 0; i < size; ++i) {
    data[i] =
        static_cast<int8_t>(static_cast<int8_t>(static_cast<uint8_t>(data[i]) << unused) >> unused);
  }
}

Result<PJRT_Buffer*> borrowing_buffer(Memory& memory, const ir::Type& type, void* data,
                                      std::function<void()> release) {
  try {
    auto value = exec::borrow(data, ops::storage_shape(type), ops::storage_dtype(type.dtype),
                              std::move(release));
    return ready_buffer(memory, type, std::move(value), exec::Payload::Memory::borrowed);
  } catch (...) {
    return exec::current_exception_as_error();
  }
}

Status from_host(PJRT_Client_BufferFromHostBuffer_Args& args) {
  args.done_with_host_buffer = nullptr;
  args.buffer = nullptr;
  TRY(Memory * memory, choose_memory(args.device, args.memory));
  TRY(HostData host, read_host_data(args));
  if (args.device_layout) CHECK_OK(read_layout(args.device_layout, host.type));
  const int semantics = args.host_buffer_semantics;
  if (semantics < 0 || semantics > PJRT_HostBufferSemantics_kMutableZeroCopy) {
    return invalid(str("host buffer semantics ", semantics, " do not exist"));
  }
  exec::Device& device = *memory->device->runtime;
  if (may_alias(args.host_buffer_semantics) && host.dense &&
      host.type.byte_count() >= kMinAliasBytes && device.target().runs_native &&
      exec::can_borrow(args.data) && !lacks_sign_bits(host.type.dtype)) {
    const Event done = Event::distant();
    TRY(args.buffer,
        borrowing_buffer(*memory, host.type, const_cast<void*>(args.data), [done] { done.set(); }));
    args.done_with_host_buffer = new_event(done);
    return {};
  }
  TRY(auto value, allocate(device, host.type));
  if (host.type.size() > 0) {
    cpu::StridedCopy(host.type.dims, host.strides, dense_strides(host.type),
                     ir::byte_size(host.type.dtype))
        .copy(args.data, value.data<char>());
    if (lacks_sign_bits(host.type.dtype)) {
      extend_signs(host.type.dtype, value.data<int8_t>(), host.type.size());
    }
  }
  args.buffer = ready_buffer(*memory, std::move(host.type), std::move(value));
  args.done_with_host_buffer = new_event(Event::ready());
  return {};
}

Status uninitialized(PJRT_Client_CreateUninitializedBuffer_Args& args) {
  TRY(Memory * memory, choose_memory(args.device, args.memory));
  TRY(ir::Type type, read_shape(args.shape_element_type, args.shape_dims, args.shape_num_dims));
  if (args.shape_layout) CHECK_OK(read_layout(args.shape_layout, type));
  TRY(auto value, allocate(*memory->device->runtime, type));
  args.buffer = ready_buffer(*memory, std::move(type), std::move(value));
  return {};
}

Status error_buffer(PJRT_Client_CreateErrorBuffer_Args& args) {
  REQUIRE(args.memory);
  TRY(ir::Type type, read_shape(args.shape_element_type, args.shape_dims, args.shape_num_dims));
  args.buffer =
      failed_buffer(memory_of(args.memory), std::move(type),
                    client_error(args.error_code, args.error_message, args.error_message_size));
  return {};
}

Status view_of_device_buffer(PJRT_Client_CreateViewOfDeviceBuffer_Args& args) {
  REQUIRE(args.device_buffer_ptr);
  TRY(Memory * memory, choose_memory(args.device, args.memory));
  TRY(ir::Type type, read_shape(args.element_type, args.dims, args.num_dims));
  TRY(MinorToMajor order, read_layout(args.layout, type));
  if (!is_row_major(order)) {
    // With this code JAX makes a copy where it may.
    return invalid(str("a view in layout ", print_layout(order), "; views must be row-major"));
  }
  if (!memory->device->runtime->target().runs_native) {
    return unimplemented("views of foreign memory exist on the CPU device only");
  }
  if (!exec::can_borrow(args.device_buffer_ptr)) {
    // JAX looks for these words.
    return invalid("a view needs other memory: this is not aligned to 16 bytes");
  }
  auto release = [callback = args.on_delete_callback, data = args.device_buffer_ptr,
                  arg = args.on_delete_callback_arg] {
    if (callback) callback(data, arg);
  };
  TRY(args.buffer, borrowing_buffer(*memory, type, args.device_buffer_ptr, std::move(release)));
  return {};
}

Status alias_buffer(PJRT_Client_CreateAliasBuffer_Args& args) {
  REQUIRE(args.memory);
  TRY(ir::Type type, read_shape(args.shape_element_type, args.shape_dims, args.shape_num_dims));
  std::unique_ptr<PJRT_Buffer> made(pending_buffer(memory_of(args.memory), type));
  TRY(exec::PayloadPtr payload, made->value->payload());
  args.fulfill_alias_buffer_cb =
      new PJRT_FulfillAliasBufferCallback{std::move(payload), std::move(type)};
  args.alias_buffer = made.release();
  return {};
}

Status fulfill_alias(PJRT_Client_FulfillAliasBuffer_Args& args) {
  REQUIRE(args.fulfill_alias_buffer_cb);
  std::unique_ptr<PJRT_FulfillAliasBufferCallback> promise(args.fulfill_alias_buffer_cb);
  if (args.status_code != PJRT_Error_Code_OK) {
    promise->target->ready.set(
        client_error(args.status_code, args.error_message, args.error_message_size));
    return {};
  }
  auto source = args.buffer ? args.buffer->value->payload()
                            : Result<exec::PayloadPtr>(invalid("argument `buffer` is null"));
  if (!source.ok()) {
    promise->target->ready.set(source.error());
    return source.error();
  }
  alias(*source, promise->target, promise->type);
  return {};
}

}  // namespace

void bind_buffer_creation(PJRT_Api& api) {
  bind<from_host>(api.PJRT_Client_BufferFromHostBuffer);
  bind<uninitialized>(api.PJRT_Client_CreateUninitializedBuffer);
  bind<error_buffer>(api.PJRT_Client_CreateErrorBuffer);
  bind<view_of_device_buffer>(api.PJRT_Client_CreateViewOfDeviceBuffer);
  bind<alias_buffer>(api.PJRT_Client_CreateAliasBuffer);
  bind<fulfill_alias>(api.PJRT_Client_FulfillAliasBuffer);
}

}  // namespace jaxmps::pjrt
