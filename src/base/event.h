// A one-shot completion: not set, then set once to success or an Error.
// `Event` is a cheap handle to shared state; copies name the same completion, so a handle may be
// dropped while others wait. Callbacks run exactly once, with no lock held: at once on the calling
// thread if the event is set already, else on the process-wide notifier thread, never on the thread
// that sets it (a callback may take Python's lock, the setter must go on). Thread-safe.
// In the child of a fork, whoever owned an event that is not set calls abandon().
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "base/result.h"

namespace jaxmps {

class Event {
 public:
  using Callback = std::function<void(const Status&)>;

  Event() : state_(std::make_shared<State>()) {}
  // An event that is set from the start.
  static Event ready();
  static Event failed(Error error);

  bool is_set() const { return state_->done.load(std::memory_order_acquire); }
  // Blocks until set; the outcome.
  Status await() const;
  // The outcome of a set event; await() first if it may not be set.
  Status status() const;
  bool is_error() const { return is_set() && state_->error.has_value(); }
  void set(Status status = {}) const;
  // Fails an event whose setter was lost in a fork. Callbacks run on a thread of their own, because
  // they may wait for ever for locks that lost threads of the client held.
  void abandon(Error error) const;
  void on_ready(Callback callback) const;

 private:
  struct State {
    std::atomic<bool> done{false};
    std::optional<Error> error;
    std::vector<Callback> callbacks;
  };
  explicit Event(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::vector<Callback> settle(Status status) const;
  std::shared_ptr<State> state_;
};

// Runs `work` on the notifier thread, in order of arrival.
void notify_later(std::function<void()> work);

}  // namespace jaxmps
