#include "base/event.h"

#include <chrono>
#include <condition_variable>
#include <thread>
#include <utility>

#include "base/fork.h"
#include "base/interpreter.h"
#include "base/thread.h"

namespace jaxmps {

// Holds the state: an event may be dropped as soon as it is set.
struct Event::Waiting {
  explicit Waiting(bool is_distant) : counted(is_distant ? nullptr : interpreter()) {
    if (counted) ++counted->owed;
  }
  ~Waiting() {
    if (counted) --counted->owed;
  }
  Waiting(const Waiting&) = delete;
  static void run(std::unique_ptr<Waiting> waiting);

  Callback callback;
  std::shared_ptr<State> state;
  Waiting* next = nullptr;
  const Interpreter* const counted;  // where it is owed
};

Event::State::~State() {
  while (waiting) delete std::exchange(waiting, waiting->next);
}

namespace {

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

  Status start() {
    std::lock_guard lock(mutex_);
    return start_locked();
  }

  void stop() {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }

  // Takes a list. Without a thread it stays until one can be started.
  void push(Event::Waiting* list) {
    if (!list) return;
    std::lock_guard lock(mutex_);
    *end_ = list;
    while (*end_) end_ = &(*end_)->next;
    (void)start_locked();
    wake_.notify_one();
  }

 private:
  Status start_locked() {
    if (started_) return {};
    CHECK_OK(start_thread([this] { serve(); }));
    started_ = true;
    return {};
  }

  // What was due in the parent is due in the child as well.
  void restart();

  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return first_ != nullptr && !stopped_; });
      std::unique_ptr<Event::Waiting> next(std::exchange(first_, first_->next));
      if (!first_) end_ = &first_;
      lock.unlock();
      Event::Waiting::run(std::move(next));
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  Event::Waiting* first_ = nullptr;
  Event::Waiting** end_ = &first_;  // where the next one goes
  bool started_ = false;
  bool stopped_ = false;
};

void run_list(Event::Waiting* list) {
  while (list) {
    std::unique_ptr<Event::Waiting> next(list);
    list = next->next;
    Event::Waiting::run(std::move(next));
  }
}

// Runs what the child of a fork owes to others, a moment later: Python, whose lock a callback may
// take, comes round after our handlers.
void run_after_fork(Event::Waiting* owed) {
  if (!owed) return;
  const Status started = start_thread([owed] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    run_list(owed);
  });
  if (!started.ok()) Notifier::instance().push(owed);
}

void Notifier::restart() {
  renew(wake_);
  started_ = false;
  end_ = &first_;
  run_after_fork(std::exchange(first_, nullptr));
}

// All events share one mutex, held for moments, and all waiters one condition variable: waiting is
// rare and already slow.
struct Shared {
  Shared() {
    hold_over_fork(mutex);
    after_fork_in_child([this] { renew(settled); });
  }

  std::mutex mutex;
  std::condition_variable settled;
};

Shared& shared() {
  static auto* made = new Shared;
  return *made;
}

}  // namespace

void Event::Waiting::run(std::unique_ptr<Waiting> waiting) {
  waiting->callback(waiting->state->status);
}

Event Event::ready() {
  static const auto* event = [] {
    auto* made = new Event;
    made->set();
    return made;
  }();
  return *event;
}

Event Event::distant() {
  Event event;
  event.state_->is_distant = true;
  return event;
}

Event Event::failed(Error error) {
  Event event;
  event.set(std::move(error));
  return event;
}

namespace {

// Waits as `wait` does, which is given what is notified and the lock that is held.
template <typename State, typename Wait>
void wait_by(State& state, const Wait& wait) {
  Shared& all = shared();
  const WithoutInterpreter others_may_have_it;
  std::unique_lock lock(all.mutex);
  ++state.waiters;
  wait(all.settled, lock);
  --state.waiters;
}

}  // namespace

void Event::wait() const {
  if (is_set()) return;
  wait_by(*state_,
          [this](auto& settled, auto& lock) { settled.wait(lock, [this] { return is_set(); }); });
}

bool Event::await_for(std::chrono::microseconds longest) const {
  if (is_set()) return true;
  wait_by(*state_, [&](auto& settled, auto& lock) {
    // Of the system's clock: thread sanitizers do not see waits by the steady one.
    const auto until = std::chrono::system_clock::now() + longest;
    settled.wait_until(lock, until, [this] { return is_set(); });
  });
  return is_set();
}

Status Event::await() const {
  wait();
  return status();
}

// Sets the event unless it is set; the callbacks that are now due, first things first.
Event::Waiting* Event::settle(Status status) const noexcept {
  Shared& all = shared();
  std::lock_guard lock(all.mutex);
  if (is_set()) return nullptr;
  state_->status = std::move(status);
  Waiting* due = nullptr;
  while (Waiting* one = state_->waiting) {
    state_->waiting = std::exchange(one->next, due);
    one->state = state_;
    due = one;
  }
  state_->done.store(true, std::memory_order_release);
  if (state_->waiters > 0) all.settled.notify_all();
  return due;
}

void Event::set(Status status) const noexcept {
  if (Waiting* due = settle(std::move(status))) Notifier::instance().push(due);
}

void Event::fail(const Error& error) const noexcept {
  try {
    set(Error(error));
  } catch (const std::bad_alloc&) {
    set(Error(Code::resource_exhausted, "out of memory"));
  }
}

void Event::abandon(const Error& error) const noexcept {
  try {
    run_after_fork(settle(Error(error)));
  } catch (const std::bad_alloc&) {
    run_after_fork(settle(Error(Code::resource_exhausted, "out of memory")));
  }
}

void Event::on_ready(Callback callback) const {
  if (!is_set()) {
    try {
      auto waiting = std::make_unique<Waiting>(state_->is_distant);
      std::lock_guard lock(shared().mutex);
      if (!is_set()) {
        waiting->callback = std::move(callback);
        waiting->next = state_->waiting;
        state_->waiting = waiting.release();
        return;
      }
    } catch (const std::bad_alloc&) {
      wait();
    }
  }
  callback(state_->status);
}

void stop_notifier() noexcept { Notifier::instance().stop(); }

Status start_notifier() {
  try {
    (void)shared();
    return Notifier::instance().start();
  } catch (const std::bad_alloc&) {
    return Error(Code::resource_exhausted, "out of memory");
  }
}

}  // namespace jaxmps
