// A one-shot completion: not set, then set once to success or an Error.
// `Event` is a cheap handle to shared state; copies name the same completion, so a handle may be
// dropped while others wait. Callbacks run exactly once, with no lock held: at once on the calling
// thread if the event is set already, else on the process-wide notifier thread, never on the thread
// that sets it (a callback may take Python's lock, the setter must go on). Thread-safe.
// Setting an event needs no memory and cannot fail, so that nobody waits for ever.
// In the child of a fork, whoever owned an event that is not set calls abandon().
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"

namespace jaxmps {

class Event {
 public:
  // May not throw.
  using Callback = std::function<void(const Status&)>;

  Event() : state_(std::make_shared<State>()) {}
  // An event that is set from the start.
  static Event ready();
  // An event that may be set late or never, as by the end of what lives as long as the process: its
  // callbacks are none that the interpreter is owed.
  static Event distant();
  static Event failed(Error error);

  bool is_set() const { return state_->done.load(std::memory_order_acquire); }
  // Blocks until set, without the interpreter's lock; the outcome.
  Status await() const;
  // The same for so long at most; whether it is set.
  bool await_for(std::chrono::microseconds longest) const;
  // The outcome of a set event; await() first if it may not be set.
  Status status() const { return state_->status; }
  bool is_error() const { return is_set() && !state_->status.ok(); }
  void set(Status status = {}) const noexcept;
  // set() to a copy of the error, or to one of want of memory if there is none for that.
  void fail(const Error& error) const noexcept;
  // The one or the other, as of another event.
  void follow(const Status& status) const noexcept { status.ok() ? set() : fail(status.error()); }
  // Fails an event whose setter was lost in a fork. Callbacks run on a thread of their own, because
  // they may wait for ever for locks that lost threads of the client held.
  void abandon(const Error& error) const noexcept;
  // Without memory to keep the callback it waits here.
  void on_ready(Callback callback) const;

  struct Waiting;  // a callback

 private:
  struct State {
    ~State();
    bool is_distant = false;
    std::atomic<bool> done{false};
    Status status;               // guarded by `done`
    int waiters = 0;             // threads that wait
    Waiting* waiting = nullptr;  // latest first
  };
  explicit Event(std::shared_ptr<State> state) : state_(std::move(state)) {}
  Waiting* settle(Status status) const noexcept;
  void wait() const;
  std::shared_ptr<State> state_;
};

// Starts the notifier thread, once; also after it was lost in a fork.
Status start_notifier();
// When the process ends: no more callbacks, whose owners may be gone.
void stop_notifier() noexcept;

}  // namespace jaxmps
