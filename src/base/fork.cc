#include "base/fork.h"

#include <pthread.h>

#include <atomic>
#include <vector>

namespace jaxmps {
namespace {

std::atomic<bool> forked{false};

struct Registry {
  std::mutex mutex;
  std::vector<std::mutex*> held;
  std::vector<std::function<void()>> handlers;
};

Registry& registry();

void lock_all() {
  Registry& all = registry();
  all.mutex.lock();
  for (std::mutex* mutex : all.held) mutex->lock();
}

void unlock_all() {
  Registry& all = registry();
  for (std::mutex* mutex : all.held) mutex->unlock();
  all.mutex.unlock();
}

// The system gives the stacks of lost threads to new ones, but what waited on them is written to
// when it is told of the end of its wait: by JAX's locks, say. New stacks are larger than the old.
void leave_old_stacks() {
#ifdef __GLIBC__
  constexpr size_t kMore = 1 << 20;  // bytes
  pthread_attr_t attributes;
  if (pthread_getattr_default_np(&attributes) != 0) return;
  size_t bytes = 0;
  pthread_attr_getstacksize(&attributes, &bytes);
  if (pthread_attr_setstacksize(&attributes, bytes + kMore) == 0) {
    pthread_setattr_default_np(&attributes);
  }
  pthread_attr_destroy(&attributes);
#endif
}

void restart_in_child() {
  forked = true;
  leave_old_stacks();
  unlock_all();
  for (const auto& handler : registry().handlers) handler();
}

Registry& registry() {
  static auto* made = [] {
    auto* registry = new Registry;
    pthread_atfork(lock_all, unlock_all, restart_in_child);
    return registry;
  }();
  return *made;
}

}  // namespace

void hold_over_fork(std::mutex& mutex) {
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  all.held.push_back(&mutex);
}

std::mutex& lasting_mutex() {
  auto* made = new std::mutex;
  hold_over_fork(*made);
  return *made;
}

void after_fork_in_child(std::function<void()> handler) {
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  all.handlers.push_back(std::move(handler));
}

bool is_forked() { return forked; }

}  // namespace jaxmps
