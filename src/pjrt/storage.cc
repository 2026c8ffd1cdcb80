#include "pjrt/storage.h"

#include "exec/memory.h"
#include "ops/op.h"

namespace jaxmps::pjrt {
namespace {

namespace mx = mlx::core;

// Vector loads want no more than this; the allocators of the host give no less for large arrays.
constexpr uintptr_t kAlignment = 16;

// MLX without a GPU keeps a size in front of each buffer, and a Buffer points there. Its distance
// to the data; -1 where a Buffer is something else than an address near its data.
int64_t buffer_header() {
  static const int64_t distance = [] {
    auto data = mx::allocator::malloc(kAlignment);
    mx::allocator::Buffer probe = data.buffer();
    int64_t found = static_cast<char*>(probe.raw_ptr()) - static_cast<char*>(probe.ptr());
    return found >= 0 && found <= 64 ? found : -1;
  }();
  return distance;
}

}  // namespace

Result<mx::array> allocate(const exec::Device& device, const ir::Type& type) {
  CHECK_OK(device.check_usable(false));
  const int64_t bytes = type.byte_count();
  const auto stats = device.memory_stats();
  // The host may promise more memory than it has, and a process that then uses it is killed.
  if (bytes > stats.bytes_limit - stats.bytes_in_use) {
    return Error(
        Code::resource_exhausted,
        str("out of memory: ", ir::brief(type), " needs ", bytes, " bytes, ", stats.bytes_in_use,
            " of ", stats.bytes_limit, " are in use on device ", device.id()));
  }
  try {
    return exec::new_array(ops::storage_shape(type), ops::storage_dtype(type.dtype));
  } catch (...) {
    return exec::current_exception_as_error();
  }
}

bool can_alias(const exec::Device& device, const void* data) {
  return device.on_cpu() && buffer_header() >= 0 &&
         reinterpret_cast<uintptr_t>(data) % kAlignment == 0;
}

Result<mx::array> alias_host(const ir::Type& type, void* data, std::function<void()> release) {
  try {
    // MLX reads the header only of buffers it owns, so none has to be there.
    mx::allocator::Buffer buffer(static_cast<char*>(data) - buffer_header());
    return mx::array(
        mx::allocator::Data(buffer, [release = std::move(release)](auto) { release(); }),
        ops::storage_shape(type), ops::storage_dtype(type.dtype));
  } catch (...) {
    return exec::current_exception_as_error();
  }
}

mx::array reinterpret(const mx::array& value, const ir::Type& type) {
  mx::array out(ops::storage_shape(type), ops::storage_dtype(type.dtype), nullptr, {});
  mx::Strides strides;
  int64_t stride = 1;
  for (size_t i = out.ndim(); i-- > 0; stride *= out.shape(static_cast<int>(i))) {
    strides.insert(strides.begin(), stride);
  }
  out.copy_shared_buffer(value, strides, value.flags(), out.size());
  out.set_status(mx::array::Status::available);
  return out;
}

}  // namespace jaxmps::pjrt
