// PJRT_Buffer: a client's handle to a buffer of the runtime. The handle keeps its type, layout and
// place after the storage is deleted or donated; the runtime's buffer shares the storage with the
// work that uses it. Thread-safe.
#pragma once

#include <atomic>

#include "exec/buffer.h"
#include "pjrt/client.h"
#include "pjrt/layout.h"

struct PJRT_Buffer {
  PJRT_Buffer(jaxmps::exec::BufferPtr buffer, jaxmps::pjrt::Memory& place, bool token = false)
      : value(std::move(buffer)), memory(&place), is_token(token) {}

  const jaxmps::ir::Type& type() const { return value->type(); }
  PJRT_Device* device() const { return memory->device; }

  const jaxmps::exec::BufferPtr value;
  jaxmps::pjrt::Memory* const memory;
  const bool is_token;  // to clients no array: they refuse to read it
  std::atomic<int64_t> external_references{0};
};

namespace jaxmps::pjrt {

inline exec::MemoryKind runtime_kind(const Memory& memory) {
  return static_cast<exec::MemoryKind>(memory.kind_index);
}

// A buffer that holds `value` from the start, and one whose payload is filled later.
PJRT_Buffer* ready_buffer(Memory& memory, ir::Type type, mlx::core::array value,
                          exec::Payload::Memory owner = exec::Payload::Memory::own);
PJRT_Buffer* pending_buffer(Memory& memory, ir::Type type);
PJRT_Buffer* failed_buffer(Memory& memory, ir::Type type, Error error);

// A second handle to the payload of a buffer, in a memory of the same device. Borrowed memory is
// copied before.
Result<PJRT_Buffer*> shared_buffer(const PJRT_Buffer& source, Memory& memory);

// Fills a pending payload with `compute(value of source)` once the source is ready, or fails it
// with the source's error. `compute` runs on the thread that finds the source ready and may throw.
using Compute = std::function<Result<mlx::core::array>(const mlx::core::array&)>;
void derive(const exec::PayloadPtr& source, const exec::PayloadPtr& target, Compute compute);
// The same, with the memory of the source as another type. Borrowed memory is copied before.
void alias(const exec::PayloadPtr& source, const exec::PayloadPtr& target, const ir::Type& type);

}  // namespace jaxmps::pjrt
