#include "base/event.h"

#include <condition_variable>
#include <deque>
#include <thread>

namespace jaxmps {
namespace {

// Lives for ever: callbacks may arrive while static destructors run.
class Notifier {
 public:
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

// All waiters share one condition variable: waiting is rare and already slow.
std::mutex& wait_mutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
}
std::condition_variable& wait_condition() {
  static auto* condition = new std::condition_variable;
  return *condition;
}
std::atomic<int> waiters{0};

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
    waiters.fetch_add(1);
    std::unique_lock lock(wait_mutex());
    wait_condition().wait(lock, [this] { return is_set(); });
    waiters.fetch_sub(1);
  }
  return status();
}

void Event::set(Status status) const {
  std::vector<Callback> callbacks;
  {
    std::lock_guard lock(state_->mutex);
    if (state_->done.load()) return;
    if (!status.ok()) state_->error = std::move(status).error();
    state_->done.store(true);
    callbacks.swap(state_->callbacks);
  }
  if (waiters.load() > 0) {
    { std::lock_guard lock(wait_mutex()); }
    wait_condition().notify_all();
  }
  for (auto& callback : callbacks) {
    notify_later([callback = std::move(callback), event = *this] { callback(event.status()); });
  }
}

void Event::on_ready(Callback callback) const {
  {
    std::lock_guard lock(state_->mutex);
    if (!state_->done.load()) {
      state_->callbacks.push_back(std::move(callback));
      return;
    }
  }
  callback(status());
}

void notify_later(std::function<void()> work) { Notifier::instance().push(std::move(work)); }

}  // namespace jaxmps
