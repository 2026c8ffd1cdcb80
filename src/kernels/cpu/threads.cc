#include "kernels/cpu/threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/env.h"
#include "base/floats.h"
#include "base/fork.h"

namespace jaxmps::cpu {
namespace {

using Body = FunctionRef<void(int64_t, int64_t)>;

// Long enough to bridge the gap between two kernels of one program, short enough not to be seen in
// the processor time of an idle process.
constexpr auto kSpin = std::chrono::microseconds(30);

thread_local bool inside_chunk = false;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// True as soon as `ready` is, false after kSpin.
template <typename Ready>
bool spin_until(const Ready& ready) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (ready()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return ready();
}

// One parallel_for call; lives on the caller's stack. A worker may touch it only between joining
// (under the pool's mutex) and decrementing `helpers`.
struct Job {
  Job(int64_t n, int64_t grain, Body body) : n(n), grain(grain), body(body) {}

  bool exhausted() const { return next.load(std::memory_order_relaxed) >= n; }

  void work() {
    inside_chunk = true;
    for (;;) {
      const int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= n) break;
      try {
        body(begin, std::min(n, begin + grain));
      } catch (...) {
        failed.store(true, std::memory_order_relaxed);
        next.store(n, std::memory_order_relaxed);
      }
    }
    inside_chunk = false;
  }

  const int64_t n;
  const int64_t grain;
  const Body body;
  std::atomic<int64_t> next{0};
  std::atomic<int> helpers{0};
  std::atomic<bool> failed{false};
};

class Pool {
 public:
  explicit Pool(int threads) {
    workers_.reserve(threads);
    jobs_.reserve(64);
    for (int i = 1; i < threads; ++i) {
      try {
        workers_.emplace_back([this] { serve(); });
      } catch (const std::system_error&) {
        break;  // the system grants no more threads: the rest do the work
      }
    }
  }

  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
      posted_.fetch_add(1);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  void run(int64_t n, int64_t grain, Body body) {
    Job job(n, grain, body);
    bool sleepers;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      jobs_.push_back(&job);
      posted_.fetch_add(1);
      sleepers = sleeping_ > 0;
    }
    const bool pair = n <= 2 * grain;
    if (sleepers && pair) wake_.notify_one();
    if (sleepers && !pair) wake_.notify_all();
    job.work();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      jobs_.erase(std::find(jobs_.begin(), jobs_.end(), &job));
    }
    const auto finished = [&] { return job.helpers.load(std::memory_order_acquire) == 0; };
    if (!spin_until(finished)) {
      std::unique_lock<std::mutex> lock(mutex_);
      done_.wait(lock, finished);
    }
    if (job.failed.load()) throw std::bad_alloc();
  }

 private:
  // The first job with work left, joined; null when there is none. REQUIRES: mutex_ is held.
  Job* join_job() {
    for (Job* job : jobs_) {
      if (job->exhausted()) continue;
      job->helpers.fetch_add(1, std::memory_order_relaxed);
      return job;
    }
    return nullptr;
  }

  void serve() {
    const DeviceFloats floats;
    std::unique_lock<std::mutex> lock(mutex_);
    while (!stopping_) {
      if (Job* job = join_job()) {
        lock.unlock();
        job->work();
        lock.lock();
        // Under the mutex, so that a caller about to sleep on done_ cannot miss it.
        if (job->helpers.fetch_sub(1, std::memory_order_release) == 1) done_.notify_all();
        continue;
      }
      const uint64_t seen = posted_.load();
      lock.unlock();
      const bool more = spin_until([&] { return posted_.load() != seen; });
      lock.lock();
      if (more) continue;
      ++sleeping_;
      wake_.wait(lock, [&] { return stopping_ || posted_.load() != seen; });
      --sleeping_;
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::vector<Job*> jobs_;
  std::atomic<uint64_t> posted_{0};
  int sleeping_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

// Never destroyed: a thread may still compute while the process exits.
std::atomic<Pool*> current_pool{nullptr};
std::atomic<int> requested_threads{0};

// The child of a fork has none of the workers, and the pool's lock may be in any state.
void forget_pool() {
  current_pool.store(nullptr);
  inside_chunk = false;
}

int default_threads() {
  const int64_t asked = env::number(env::Var::JAX_MPS_CPU_THREADS);
  if (asked > 0) return static_cast<int>(asked);
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

Pool& pool() {
  Pool* found = current_pool.load(std::memory_order_acquire);
  if (found != nullptr) return *found;
  static std::once_flag registered;
  std::call_once(registered, [] { after_fork_in_child(forget_pool); });
  const int requested = requested_threads.load();
  auto made = std::make_unique<Pool>(requested > 0 ? requested : default_threads());
  if (current_pool.compare_exchange_strong(found, made.get())) return *made.release();
  return *found;
}

void run_inline(int64_t n, int64_t grain, Body body) {
  for (int64_t begin = 0; begin < n; begin += grain) body(begin, std::min(n, begin + grain));
}

}  // namespace

void parallel_for(int64_t n, int64_t grain, Body body) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  if (n <= grain || inside_chunk) return run_inline(n, grain, body);
  Pool& workers = pool();
  if (workers.threads() == 1) return run_inline(n, grain, body);
  workers.run(n, grain, body);
}

int thread_count() { return pool().threads(); }

void set_thread_count(int count) {
  requested_threads.store(std::max(count, 0));
  delete current_pool.exchange(nullptr);
}

}  // namespace jaxmps::cpu
