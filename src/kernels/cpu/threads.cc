#include "kernels/cpu/threads.h"

#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <array>
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

// Chunks [first, last) of a job. Whose share it is takes them from the front, others from the back.
class alignas(64) Share {
 public:
  void set(uint64_t first, uint64_t last) { range_.store(first << 32 | last); }
  bool is_empty() const { return is_empty(range_.load(std::memory_order_relaxed)); }
  // The number of a chunk that is the caller's now; -1 if none is left.
  int64_t take(bool front) {
    uint64_t range = range_.load(std::memory_order_relaxed);
    while (!is_empty(range)) {
      const uint64_t rest = front ? range + (uint64_t{1} << 32) : range - 1;
      if (range_.compare_exchange_weak(range, rest, std::memory_order_relaxed))
        return static_cast<int64_t>(front ? range >> 32 : rest & UINT32_MAX);
    }
    return -1;
  }

 private:
  static bool is_empty(uint64_t range) { return range >> 32 >= (range & UINT32_MAX); }
  std::atomic<uint64_t> range_{0};
};

constexpr int64_t kMostShares = 32, kMostChunks = UINT32_MAX;

// One parallel_for call; lives on the caller's stack. A worker may touch it only between joining
// (under the pool's mutex) and decrementing `helpers`.
//
// Each thread has a share of its own, the same one at each call of this size: what it has written
// before is in its core's cache, and to fetch it from another's takes three times as long as to
// write it. Who is done helps the others.
struct Job {
  Job(int64_t n, int64_t grain, int64_t chunks, int threads, Body body)
      : n(n), grain(grain), shares(std::min({chunks, int64_t{threads}, kMostShares})), body(body) {
    for (int64_t s = 0; s < shares; ++s) {
      share[static_cast<size_t>(s)].set(static_cast<uint64_t>(chunks * s / shares),
                                        static_cast<uint64_t>(chunks * (s + 1) / shares));
    }
  }

  bool exhausted() const {
    return std::all_of(share.begin(), share.begin() + shares,
                       [](const Share& s) { return s.is_empty(); });
  }

  // Thread 0 is the caller.
  void work(int64_t thread) {
    inside_chunk = true;
    const int64_t own = thread == 0 ? 0 : 1 + (thread - 1) % (shares - 1);
    for (int64_t k = 0; k < shares; ++k) {
      Share& from = share[static_cast<size_t>((own + k) % shares)];
      for (int64_t chunk; (chunk = from.take(k == 0)) >= 0;) run(chunk);
    }
    inside_chunk = false;
  }

  void run(int64_t chunk) {
    if (failed.load(std::memory_order_relaxed)) return;
    try {
      const int64_t begin = chunk * grain;
      body(begin, std::min(n, begin + grain));
    } catch (...) {
      failed.store(true, std::memory_order_relaxed);
    }
  }

  const int64_t n, grain;
  const int64_t shares;  // at least two
  const Body body;
  std::array<Share, kMostShares> share;
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
        workers_.emplace_back([this, i] { serve(i); });
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
    Job job(n, grain, (n + grain - 1) / grain, threads(), body);
    bool sleepers;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      jobs_.push_back(&job);
      posted_.fetch_add(1);
      sleepers = sleeping_ > 0;
    }
    const bool pair = job.shares == 2;
    if (sleepers && pair) wake_.notify_one();
    if (sleepers && !pair) wake_.notify_all();
    job.work(0);
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

  void serve(int64_t thread) {
    const DeviceFloats floats;
    std::unique_lock<std::mutex> lock(mutex_);
    while (!stopping_) {
      if (Job* job = join_job()) {
        lock.unlock();
        job->work(thread);
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
#if defined(__linux__)
  // Of all cores this process may have been given some.
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) return std::max(1, CPU_COUNT(&cores));
#endif
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
  if (n <= grain || inside_chunk || n / grain >= kMostChunks) return run_inline(n, grain, body);
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
