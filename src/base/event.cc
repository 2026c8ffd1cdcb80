#include "base/event.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <thread>

#include "base/fork.h"

namespace jaxmps {
namespace {

// Runs what the child of a fork owes to others, a moment later: Python, whose lock a callback may
// take, comes round after our handlers.
void run_after_fork(std::vector<std::function<void()>> owed) {
  if (owed.empty()) return;
  std::thread([owed = std::move(owed)] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    for (const auto& work : owed) work();
  }).detach();
}

// Lives for ever: callbacks may arrive while static destructors run.
class Notifier {
 public:
  Notifier() {
    hold_over_fork(mutex_);
    after_fork_in_child([this] { restart(); });
  }

  static Notifier& instance() {
    static auto* notifier = new Notifier;
    return *notifier;
  }

  void push(std::function<void()> work) {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
    if (!started_) {
      started_ = true;
      std::thread([this] { run(); }).detach();
    }
    wake_.notify_one();
  }

 private:
  // What was due in the parent is due in the child as well.
  void restart() {
    renew(wake_);
    started_ = false;
    std::vector<std::function<void()>> due(queue_.begin(), queue_.end());
    queue_.clear();
    run_after_fork(std::move(due));
  }

  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return !queue_.empty(); });
      auto work = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      work();
      work = nullptr;
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  bool started_ = false;
};

// All events share one mutex, held for moments, and all waiters one condition variable: waiting is
// rare and already slow.
struct Shared {
  Shared() {
    hold_over_fork(mutex);
    after_fork_in_child([this] {
      renew(settled);
      waiters = 0;
    });
  }

  std::mutex mutex;
  std::condition_variable settled;
  int waiters = 0;
};

Shared& shared() {
  static auto* made = new Shared;
  return *made;
}

}  // namespace

Event Event::ready() {
  static const auto* event = [] {
    auto* made = new Event;
    made->set();
    return made;
  }();
  return *event;
}

Event Event::failed(Error error) {
  Event event;
  event.set(std::move(error));
  return event;
}

Status Event::status() const {
  if (state_->error) return *state_->error;
  return {};
}

Status Event::await() const {
  if (!is_set()) {
    Shared& all = shared();
    std::unique_lock lock(all.mutex);
    ++all.waiters;
    all.settled.wait(lock, [this] { return is_set(); });
    --all.waiters;
  }
  return status();
}

// Sets the event unless it is set; the callbacks that are now due.
std::vector<Event::Callback> Event::settle(Status status) const {
  Shared& all = shared();
  std::vector<Callback> callbacks;
  std::lock_guard lock(all.mutex);
  if (is_set()) return callbacks;
  if (!status.ok()) state_->error = std::move(status).error();
  callbacks.swap(state_->callbacks);
  state_->done.store(true, std::memory_order_release);
  if (all.waiters > 0) all.settled.notify_all();
  return callbacks;
}

void Event::set(Status status) const {
  for (auto& callback : settle(std::move(status))) {
    notify_later([callback = std::move(callback), event = *this] { callback(event.status()); });
  }
}

void Event::abandon(Error error) const {
  std::vector<std::function<void()>> owed;
  for (auto& callback : settle(std::move(error))) {
    owed.emplace_back(
        [callback = std::move(callback), event = *this] { callback(event.status()); });
  }
  run_after_fork(std::move(owed));
}

void Event::on_ready(Callback callback) const {
  if (!is_set()) {
    std::lock_guard lock(shared().mutex);
    if (!is_set()) {
      state_->callbacks.push_back(std::move(callback));
      return;
    }
  }
  callback(status());
}

void notify_later(std::function<void()> work) { Notifier::instance().push(std::move(work)); }

}  // namespace jaxmps
