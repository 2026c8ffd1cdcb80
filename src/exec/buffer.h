// Device buffers: a typed value on a device that may not be computed yet.
// A Buffer is what a PJRT buffer handle holds. Its payload (array and ready event) is shared with
// the executions that use it, so deleting a buffer while queued work reads it is safe: the storage
// goes with its last user. Values are dense row-major, in the storage type of ops/op.h.
// Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "base/event.h"
#include "exec/device.h"
#include "ir/type.h"

namespace jaxmps::exec {

// The array behind one or more buffers. `value` is written once, before `ready` is set, by the
// thread that produces it; other threads read it only after `ready` is set without error. (The
// device's own thread may read it as soon as it is there: on a GPU that is before `ready`.)
struct Payload {
  explicit Payload(Event event) : ready(std::move(event)) {}
  std::optional<mx::array> value;
  Event ready;
};
using PayloadPtr = std::shared_ptr<Payload>;

enum class MemoryKind { device, pinned_host, unpinned_host };

class Buffer;
using BufferPtr = std::shared_ptr<Buffer>;

class Buffer {
 public:
  Buffer(Device* device, ir::Type type, PayloadPtr payload, MemoryKind memory = MemoryKind::device)
      : device_(device), type_(std::move(type)), memory_(memory), payload_(std::move(payload)) {}

  // Pending until `payload()->value` and its ready event are set by the producer.
  static BufferPtr pending(Device* device, ir::Type type, MemoryKind memory = MemoryKind::device);
  static BufferPtr ready(Device* device, ir::Type type, mx::array value,
                         MemoryKind memory = MemoryKind::device);
  static BufferPtr failed(Device* device, ir::Type type, Error error);
  // Dense row-major host memory, copied before the call returns.
  static Result<BufferPtr> copy_of(Device* device, ir::Type type, const void* data,
                                   MemoryKind memory = MemoryKind::device);
  // Dense row-major host memory used in place where the device allows it (CPU and unified memory,
  // `data` aligned to 64 bytes); `release` runs when the last user is gone. Otherwise copied, and
  // `release` runs before the call returns.
  static Result<BufferPtr> view_of(Device* device, ir::Type type, void* data,
                                   std::function<void()> release,
                                   MemoryKind memory = MemoryKind::device);

  Device* device() const { return device_; }
  const ir::Type& type() const { return type_; }
  MemoryKind memory() const { return memory_; }
  // Set when the value can be read, or failed with the error of what should have produced it.
  Event ready_event() const;

  // The payload, or an error that says the buffer was deleted or donated.
  Result<PayloadPtr> payload() const;
  // Takes the payload for an execution that donates it: the buffer reads as deleted from now on.
  // Nothing is taken (a shared payload is returned) while external references are held.
  Result<PayloadPtr> donate();

  void delete_storage();
  bool is_deleted() const;

  // External users of the raw pointer (NumPy views): while there are any, storage stays.
  void hold();
  void release_hold();

  // Waits until ready; the address of the dense data in memory that the CPU can read.
  Result<void*> host_pointer() const;
  // Copies `bytes` from `offset` of the dense data to `destination`; the event tells when.
  Event copy_to_host(void* destination, int64_t offset, int64_t bytes) const;

 private:
  Device* const device_;
  const ir::Type type_;
  const MemoryKind memory_;
  mutable std::mutex mutex_;
  PayloadPtr payload_;  // null once deleted or donated
  PayloadPtr held_;     // kept for external references after deletion
  int holds_ = 0;
  bool donated_ = false;
};

}  // namespace jaxmps::exec
