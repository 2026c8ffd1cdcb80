// Device buffers: a typed value on a device that may not be computed yet.
// A Buffer is what a PJRT buffer handle holds. Its payload (array and ready event) is shared with
// the executions that use it, so deleting a buffer while queued work reads it is safe: the storage
// goes with its last user. Values are dense row-major, in the storage type of ops/op.h.
// Thread-safe.
//
// Who owns memory:
// - Memory is the device's own, or borrowed from the client (host memory used in place, views of
//   foreign memory), who may write it at any time. The payload knows which.
// - Borrowed memory is read by calls of the client only, on its threads, and never written. Work
//   that is queued reads a copy, which takes the place of the borrowed memory (Payload::own): so a
//   program sees its arguments as they were when it was called.
// - The results of a program are the device's own. What a program would pass on of borrowed memory
//   is copied (Program::Run::compute).
// - The device's own memory may serve several buffers (results that see an argument another way;
//   other types and kinds of memory of the same bytes) and is constant while it does: a step
//   overwrites what it alone holds. So donated memory is overwritten only if the donated buffer was
//   its last holder (Payload::take) and the client holds no reference to it (Buffer::hold).
// - On the CPU an array is evaluated when it is published: no other thread may evaluate it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/event.h"
#include "exec/device.h"
#include "ir/type.h"

namespace jaxmps::exec {

// The array behind one or more buffers, and whose memory it is. The producer publishes the array
// once and then sets `ready`; on a GPU the device's own thread, and no other, may use it in
// between.
class Payload {
 public:
  enum class Memory { own, borrowed };

  explicit Payload(Event event) : ready(std::move(event)) {}
  // A payload that is ready.
  explicit Payload(mx::array value, Memory memory = Memory::own) : ready(Event::ready()) {
    publish(std::move(value), memory);
  }

  const Event ready;

  void publish(mx::array value, Memory memory = Memory::own);
  bool is_published() const { return state_.load(std::memory_order_acquire) != State::pending; }
  bool is_borrowed() const { return state_.load(std::memory_order_acquire) == State::borrowed; }
  // The following require a published array.
  mx::array value() const;
  // The array for an execution, which may overwrite its memory if nothing else holds it: the last
  // holder of the device's own memory gives it up. Of borrowed memory a handle is added to
  // `borrowed`, which keeps it and keeps it from being overwritten until the execution ends.
  static mx::array take(const std::shared_ptr<Payload>& payload, std::vector<mx::array>& borrowed);
  // Replaces borrowed memory by a copy that is the device's own.
  Status own();
  // The dense data; the address stays good as long as the payload.
  void* address();

 private:
  enum class State { pending, borrowed, own };
  std::atomic<State> state_{State::pending};
  mutable std::mutex mutex_;  // guards what follows while the memory is borrowed
  std::optional<mx::array> value_;
  std::optional<mx::array> lent_;  // borrowed memory whose address was given out
  bool has_address_ = false;
};
using PayloadPtr = std::shared_ptr<Payload>;

enum class MemoryKind { device, pinned_host, unpinned_host };

class Buffer;
using BufferPtr = std::shared_ptr<Buffer>;

class Buffer {
 public:
  Buffer(Device* device, ir::Type type, PayloadPtr payload, MemoryKind memory = MemoryKind::device)
      : device_(device), type_(std::move(type)), memory_(memory), payload_(std::move(payload)) {}

  // Pending until the producer publishes the array and sets the payload's ready event.
  static BufferPtr pending(Device* device, ir::Type type, MemoryKind memory = MemoryKind::device);
  static BufferPtr ready(Device* device, ir::Type type, mx::array value,
                         Payload::Memory owner = Payload::Memory::own,
                         MemoryKind memory = MemoryKind::device);
  static BufferPtr failed(Device* device, ir::Type type, Error error,
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
  // Takes a donation back: the payload is the buffer's again.
  void give_back(PayloadPtr payload);

  void delete_storage();
  bool is_deleted() const;

  // External users of the raw pointer (NumPy views): while there are any, storage stays and is not
  // overwritten. An error if the buffer was deleted or donated.
  Status hold();
  void release_hold();

  // Waits until ready; the address of the dense data in memory that the CPU can read, and the
  // device too. Discrete memory is given up for such memory first, once all work that reads it has
  // ended.
  Result<void*> host_pointer() const;
  // Copies `bytes` from `offset` of the dense data to `destination`; the event tells when.
  Event copy_to_host(void* destination, int64_t offset, int64_t bytes) const;

 private:
  Device* const device_;
  const ir::Type type_;
  const MemoryKind memory_;
  Error gone() const;
  // On the thread of a device whose memory the CPU cannot read, when `source` is there.
  Event then(PayloadPtr source, std::function<Status()> work) const;

  mutable std::mutex mutex_;
  PayloadPtr payload_;  // null once deleted or donated
  PayloadPtr held_;     // kept for external references after deletion
  int holds_ = 0;
  bool donated_ = false;
};

}  // namespace jaxmps::exec
