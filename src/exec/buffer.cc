#include "exec/buffer.h"

#include <cstring>
#include <utility>

#include "exec/memory.h"

namespace jaxmps::exec {
namespace {

// What the CPU does with the device's own memory.
class HostAccess : public Device::Work {
 public:
  HostAccess(PayloadPtr source, std::function<Status()> work, Event done)
      : Work(true), source_(std::move(source)), work_(std::move(work)), done_(std::move(done)) {}
  bool run() override {
    Status status = source_->ready.await();
    if (status.ok()) {
      try {
        status = work_();
      } catch (...) {
        status = current_exception_as_error();
      }
    }
    done_.set(std::move(status));
    return false;
  }
  bool is_ready() const noexcept override { return source_->ready.is_set(); }
  void fail(const Error& error) noexcept override { done_.fail(error); }
  void abandon(const Error& error) noexcept override { done_.abandon(error); }

 private:
  const PayloadPtr source_;
  const std::function<Status()> work_;
  const Event done_;
};

}  // namespace

void Payload::publish(mx::array value, Memory memory) {
  value_.emplace(std::move(value));
  state_.store(memory == Memory::own ? State::own : State::borrowed, std::memory_order_release);
}

mx::array Payload::value() const {
  if (!is_borrowed()) return *value_;
  std::lock_guard lock(mutex_);
  return *value_;
}

mx::array Payload::take(const PayloadPtr& payload, std::vector<mx::array>& borrowed) {
  if (payload->is_borrowed()) {
    std::lock_guard lock(payload->mutex_);
    if (payload->is_borrowed()) return borrowed.emplace_back(*payload->value_);
  }
  if (payload.use_count() > 1) return *payload->value_;
  mx::array taken = *std::move(payload->value_);
  payload->value_.reset();
  return taken;
}

Status Payload::own() {
  if (!is_borrowed()) return {};
  std::optional<mx::array> given_back;  // outside the lock: the client may be told
  std::lock_guard lock(mutex_);
  if (!is_borrowed()) return {};
  try {
    mx::array copy = copy_of(*value_);
    (has_address_ ? lent_ : given_back).swap(value_);
    value_.emplace(std::move(copy));
  } catch (...) {
    return current_exception_as_error();
  }
  state_.store(State::own, std::memory_order_release);
  return {};
}

void* Payload::address() {
  if (!is_borrowed()) return value_->data<void>();
  std::lock_guard lock(mutex_);
  has_address_ = true;
  return value_->data<void>();
}

BufferPtr Buffer::pending(Device* device, ir::Type type, MemoryKind memory) {
  return std::make_shared<Buffer>(device, std::move(type), std::make_shared<Payload>(Event()),
                                  memory);
}

BufferPtr Buffer::ready(Device* device, ir::Type type, mx::array value, Payload::Memory owner,
                        MemoryKind memory) {
  return std::make_shared<Buffer>(device, std::move(type),
                                  std::make_shared<Payload>(std::move(value), owner), memory);
}

BufferPtr Buffer::failed(Device* device, ir::Type type, Error error, MemoryKind memory) {
  return std::make_shared<Buffer>(
      device, std::move(type), std::make_shared<Payload>(Event::failed(std::move(error))), memory);
}

Error Buffer::gone() const {
  return invalid(str("the buffer ", ir::brief(type_),
                     donated_ ? " was donated to an earlier execution and cannot be used again"
                              : " has been deleted"));
}

Event Buffer::ready_event() const {
  auto shared = payload();
  if (!shared.ok()) return Event::failed(std::move(shared).error());
  device_->catch_up((*shared)->ready);
  return (*shared)->ready;
}

Result<PayloadPtr> Buffer::payload() const {
  std::lock_guard lock(mutex_);
  if (!payload_) return gone();
  return payload_;
}

Result<PayloadPtr> Buffer::donate() {
  std::lock_guard lock(mutex_);
  if (!payload_) return gone();
  if (holds_ > 0) held_ = payload_;
  donated_ = true;
  return std::exchange(payload_, nullptr);
}

void Buffer::give_back(PayloadPtr payload) {
  std::lock_guard lock(mutex_);
  payload_ = std::move(payload);
  donated_ = false;
}

void Buffer::delete_storage() {
  PayloadPtr dropped;  // freed outside the lock
  std::lock_guard lock(mutex_);
  if (!payload_) return;
  (holds_ > 0 ? held_ : dropped) = std::exchange(payload_, nullptr);
}

bool Buffer::is_deleted() const {
  std::lock_guard lock(mutex_);
  return payload_ == nullptr;
}

Status Buffer::hold() {
  std::lock_guard lock(mutex_);
  if (!payload_) return gone();
  ++holds_;
  return {};
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
    if (device_->target().host_memory) return shared->address();
    void* address = nullptr;
    CHECK_OK(then(shared, [&]() -> Status {
               device_->encoder().wait();
               address = shared->address();
               return {};
             }).await());
    return address;
  } catch (...) {
    return current_exception_as_error();
  }
}

Event Buffer::then(PayloadPtr source, std::function<Status()> work) const {
  if (Status usable = device_->check_usable(true); !usable.ok()) {
    return Event::failed(std::move(usable).error());
  }
  Event done;
  device_->enqueue(std::make_unique<HostAccess>(std::move(source), std::move(work), done));
  return done;
}

Event Buffer::copy_to_host(void* destination, int64_t offset, int64_t bytes) const {
  auto shared = payload();
  if (!shared.ok()) return Event::failed(std::move(shared).error());
  PayloadPtr source = std::move(shared).value();
  device_->catch_up(source->ready);
  if (!device_->target().host_memory) {
    return then(source, [device = device_, source, destination, offset, bytes]() -> Status {
      device->encoder().read(source->value(), offset, bytes, destination);
      return {};
    });
  }
  Event done;
  source->ready.on_ready([source, destination, offset, bytes, done](const Status& status) {
    if (status.ok()) std::memcpy(destination, source->value().data<char>() + offset, bytes);
    done.follow(status);
  });
  return done;
}

}  // namespace jaxmps::exec
