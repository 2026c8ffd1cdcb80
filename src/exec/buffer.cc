#include "exec/buffer.h"

#include <cstring>

namespace jaxmps::exec {
namespace {

// A new array of the type with uninitialised storage.
mx::array allocate(const ir::Type& type) {
  const mx::Shape shape = ops::storage_shape(type);
  const mx::Dtype dtype = ops::storage_dtype(type.dtype);
  size_t bytes = size_of(dtype);
  for (auto dim : shape) bytes *= dim;
  return mx::array(mx::allocator::malloc(std::max<size_t>(bytes, 1)), shape, dtype);
}

// A copy out of the device's own memory.
class Download : public Device::Work {
 public:
  Download(PayloadPtr source, std::function<Status()> copy, Event done)
      : Work(true), source_(std::move(source)), copy_(std::move(copy)), done_(std::move(done)) {}
  void run() override {
    Status status = source_->ready.await();
    done_.set(status.ok() ? copy_() : status);
  }
  void abandon(Error error) override { done_.abandon(std::move(error)); }

 private:
  const PayloadPtr source_;
  const std::function<Status()> copy_;
  const Event done_;
};

}  // namespace

BufferPtr Buffer::pending(Device* device, ir::Type type, MemoryKind memory) {
  return std::make_shared<Buffer>(device, std::move(type), std::make_shared<Payload>(Event()),
                                  memory);
}

BufferPtr Buffer::ready(Device* device, ir::Type type, mx::array value, MemoryKind memory) {
  auto payload = std::make_shared<Payload>(Event::ready());
  payload->value.emplace(std::move(value));
  return std::make_shared<Buffer>(device, std::move(type), std::move(payload), memory);
}

BufferPtr Buffer::failed(Device* device, ir::Type type, Error error) {
  return std::make_shared<Buffer>(device, std::move(type),
                                  std::make_shared<Payload>(Event::failed(std::move(error))));
}

Result<BufferPtr> Buffer::copy_of(Device* device, ir::Type type, const void* data,
                                  MemoryKind memory) {
  try {
    mx::array value = allocate(type);
    std::memcpy(value.data<void>(), data, type.byte_count());
    return ready(device, std::move(type), std::move(value), memory);
  } catch (...) {
    return current_exception_as_error();
  }
}

Result<BufferPtr> Buffer::view_of(Device* device, ir::Type type, void* data,
                                  std::function<void()> release, MemoryKind memory) {
  const bool aligned = reinterpret_cast<uintptr_t>(data) % 64 == 0;
  if (!device->is_host_memory() || !aligned || type.byte_count() == 0) {
    auto copy = copy_of(device, std::move(type), data, memory);
    release();
    return copy;
  }
  try {
    // MLX copies by itself where it cannot use the memory in place, and then runs the deleter.
    mx::array value(data, ops::storage_shape(type), ops::storage_dtype(type.dtype),
                    [release = std::move(release)](void*) { release(); });
    return ready(device, std::move(type), std::move(value), memory);
  } catch (...) {
    return current_exception_as_error();
  }
}

Event Buffer::ready_event() const {
  Event ready;
  {
    std::lock_guard lock(mutex_);
    if (!payload_) {
      return Event::failed(
          invalid(donated_ ? "the buffer was donated to an execution" : "the buffer was deleted"));
    }
    ready = payload_->ready;
  }
  device_->catch_up(ready);
  return ready;
}

Result<PayloadPtr> Buffer::payload() const {
  std::lock_guard lock(mutex_);
  if (payload_) return payload_;
  return invalid(str("the buffer ", ir::brief(type_),
                     donated_ ? " was donated to an earlier execution and cannot be used again"
                              : " has been deleted"));
}

Result<PayloadPtr> Buffer::donate() {
  TRY(PayloadPtr taken, payload());
  std::lock_guard lock(mutex_);
  if (holds_ > 0) held_ = payload_;
  payload_ = nullptr;
  donated_ = true;
  return taken;
}

void Buffer::delete_storage() {
  PayloadPtr dropped;  // freed outside the lock
  std::lock_guard lock(mutex_);
  if (holds_ > 0) {
    held_ = std::move(payload_);
  } else {
    dropped = std::move(payload_);
  }
  payload_ = nullptr;
}

bool Buffer::is_deleted() const {
  std::lock_guard lock(mutex_);
  return payload_ == nullptr;
}

void Buffer::hold() {
  std::lock_guard lock(mutex_);
  ++holds_;
}

void Buffer::release_hold() {
  PayloadPtr dropped;
  std::lock_guard lock(mutex_);
  if (--holds_ == 0) dropped = std::move(held_);
}

Result<void*> Buffer::host_pointer() const {
  TRY(PayloadPtr shared, payload());
  device_->catch_up(shared->ready);
  CHECK_OK(shared->ready.await());
  try {
    return shared->value->data<void>();
  } catch (...) {
    return current_exception_as_error();
  }
}

Event Buffer::copy_to_host(void* destination, int64_t offset, int64_t bytes) const {
  auto shared = payload();
  if (!shared.ok()) return Event::failed(std::move(shared).error());
  PayloadPtr source = std::move(shared).value();
  auto copy = [source, destination, offset, bytes]() -> Status {
    try {
      std::memcpy(destination, source->value->data<uint8_t>() + offset, bytes);
      return {};
    } catch (...) {
      return current_exception_as_error();
    }
  };
  Event done;
  device_->catch_up(source->ready);
  if (device_->is_host_memory()) {
    source->ready.on_ready(
        [copy, done](const Status& status) { done.set(status.ok() ? copy() : status); });
    return done;
  }
  // Discrete memory: MLX moves it, on the device's own thread.
  if (Status usable = device_->check_usable(true); !usable.ok()) {
    return Event::failed(std::move(usable).error());
  }
  device_->enqueue(std::make_unique<Download>(source, copy, done));
  return done;
}

}  // namespace jaxmps::exec
