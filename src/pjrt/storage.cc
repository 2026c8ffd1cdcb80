#include "pjrt/storage.h"

#include "exec/memory.h"
#include "ops/op.h"

namespace jaxmps::pjrt {
namespace mx = mlx::core;

Result<mx::array> allocate(exec::Device& device, const ir::Type& type) {
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

Result<mx::array> reinterpret(const mx::array& value, const ir::Type& type) {
  try {
    return exec::share(value, ops::storage_shape(type), ops::storage_dtype(type.dtype));
  } catch (...) {
    return exec::current_exception_as_error();
  }
}

}  // namespace jaxmps::pjrt
