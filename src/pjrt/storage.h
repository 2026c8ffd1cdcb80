// Storage of buffers that the host fills, with a check against the device's memory. The arrays are
// available from the start. Any thread.
#pragma once

#include "exec/buffer.h"

namespace jaxmps::pjrt {

// Uninitialised; RESOURCE_EXHAUSTED with the sizes where the device cannot hold it.
Result<mlx::core::array> allocate(exec::Device& device, const ir::Type& type);

// The same bytes as another dense type.
Result<mlx::core::array> reinterpret(const mlx::core::array& value, const ir::Type& type);

}  // namespace jaxmps::pjrt
