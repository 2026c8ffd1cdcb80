// PJRT_Buffer: a client's handle to a buffer of the runtime. The handle keeps its type, layout and
// place after the storage is deleted or donated; the runtime's buffer shares the storage with the
// work that uses it. Thread-safe.
#pragma once

#include <atomic>

#include "exec/buffer.h"
#include "pjrt/client.h"
#include "pjrt/layout.h"

struct PJRT_Buffer {
  PJRT_Buffer(jaxmps::exec::BufferPtr buffer, jaxmps::pjrt::Memory& place)
      : value(std::move(buffer)), memory(&place) {}

  const jaxmps::ir::Type& type() const { return value->type(); }
  PJRT_Device* device() const { return memory->device; }

  const jaxmps::exec::BufferPtr value;
  jaxmps::pjrt::Memory* const memory;
  std::atomic<int64_t> external_references{0};
  // The storage is memory of the client that must not be written, whatever is donated.
  bool read_only = false;
};

namespace jaxmps::pjrt {

inline exec::MemoryKind runtime_kind(const Memory& memory) {
  return static_cast<exec::MemoryKind>(memory.kind_index);
}

// A buffer that holds `value` from the start, and one whose payload is filled later.
PJRT_Buffer* ready_buffer(Memory& memory, ir::Type type, mlx::core::array value);
PJRT_Buffer* pending_buffer(Memory& memory, ir::Type type);
PJRT_Buffer* failed_buffer(Memory& memory, ir::Type type, Error error);

// A second handle to the payload of a buffer, in a memory of the same device.
Result<PJRT_Buffer*> shared_buffer(const PJRT_Buffer& source, Memory& memory);

// Makes a buffer whose value is `compute(value of source)` once the source is ready; it fails with
// the source's error. `compute` runs on the thread that finds the source ready and may throw.
Result<PJRT_Buffer*> derived_buffer(
    const PJRT_Buffer& source, Memory& memory, ir::Type type,
    std::function<Result<mlx::core::array>(const mlx::core::array&)> compute);

}  // namespace jaxmps::pjrt
