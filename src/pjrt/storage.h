// Storage of buffers that the host fills: allocation with a check against the device's memory, and
// arrays that alias memory of the host. The arrays are available from the start. Any thread.
#pragma once

#include <functional>

#include "exec/buffer.h"

namespace jaxmps::pjrt {

// Uninitialised; RESOURCE_EXHAUSTED with the sizes where the device cannot hold it.
Result<mlx::core::array> allocate(const exec::Device& device, const ir::Type& type);

// Whether an array may alias dense memory of the host at this address.
bool can_alias(const exec::Device& device, const void* data);
// An array over `data` that calls `release` when its last user is gone. Requires can_alias().
Result<mlx::core::array> alias_host(const ir::Type& type, void* data,
                                    std::function<void()> release);

// The same bytes as another dense type.
mlx::core::array reinterpret(const mlx::core::array& value, const ir::Type& type);

}  // namespace jaxmps::pjrt
