#include "exec/device.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <new>
#include <utility>

#include "base/env.h"
#include "base/fork.h"
#include "base/interpreter.h"
#include "base/stop.h"
#include "base/thread.h"
#include "exec/gpu.h"
#include "exec/memory.h"

namespace jaxmps::exec {
namespace {

mx::Device mlx_device(const ir::Target& target) {
  const Gpu* gpu = gpu_of(target);
  return gpu ? gpu->device() : mx::Device::cpu;
}

Result<const ir::Target*> choose_target() {
  const std::string& wanted = env::text(env::Var::JAX_MPS_DEVICE);
  if (wanted == "simulated") {
    if (!mx::metal::is_available() && gpu_of(ir::kMetal)) return &ir::kMetal;
    return Error(Code::unavailable,
                 "JAX_MPS_DEVICE is `simulated`, which only builds for tests have; choose `gpu` or "
                 "`cpu`, or unset the variable");
  }
  const ir::Target* gpu = mx::metal::is_available() ? &ir::kMetal
                          : mx::cu::is_available()  ? &ir::kCuda
                                                    : nullptr;
  if (wanted == "gpu" && !gpu) {
    return Error(Code::unavailable,
                 "JAX_MPS_DEVICE is `gpu`, but the installed MLX sees no GPU; install "
                 "jax-mps[cuda13] on a machine with an NVIDIA GPU, or unset the variable");
  }
  return gpu && wanted != "cpu" ? gpu : &ir::kCpu;
}

std::string kind_of(const ir::Target& target) {
  if (target.runs_native) return "cpu";
  if (const Gpu* gpu = gpu_of(target)) return gpu->kind();
  throw Failure{unusable_gpu(str("this build has no code for ", gpu_name()))};
}

thread_local const Device* device_of_thread = nullptr;

// Lives for ever.
std::vector<Device*>& all_devices() {
  static auto* made = new std::vector<Device*>;
  return *made;
}

// Exit handlers run in reverse: to be called once whatever a device's work uses has been made.
void end_devices_at_exit() {
  (void)std::atexit([] {
    stop_notifier();
    for (Device* device : all_devices()) device->end();
  });
}

Error lost_gpu() {
  return {Code::failed_precondition,
          "the GPU cannot be used in a process that was forked after its first use; use the start "
          "method `spawn` of multiprocessing"};
}

}  // namespace

// Waits for the ends of what was sent to GPUs in order, on one thread for all devices.
class Device::Ends {
 public:
  static Ends& instance() {
    static auto* ends = new Ends;
    return *ends;
  }

  Status start() {
    std::lock_guard lock(mutex_);
    if (started_) return {};
    CHECK_OK(start_thread([this] { serve(); }));
    started_ = true;
    return {};
  }

  // Takes the list, whose first work has the marker, so that a fork finds it here or there.
  void take(std::unique_ptr<Work>* list, std::unique_ptr<Work>* end) {
    std::lock_guard lock(mutex_);
    *end_ = std::move(*list);
    end_ = end;
    wake_.notify_one();
  }

 private:
  Ends() {
    hold_over_fork(mutex_);
    after_fork_in_child([this] {
      abandon_all(current_.get());
      abandon_all(queue_.get());
    });
  }

  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return queue_ != nullptr; });
      current_ = std::move(queue_);  // for a fork to find
      end_ = &queue_;
      lock.unlock();
      Status outcome;
      for (Work* work = current_.get(); work; work = work->next_.get()) {
        if (work->end_) outcome = outcome_of(*work);
        outcome.ok() ? work->finish() : work->fail(outcome.error());
      }
      lock.lock();
      std::unique_ptr<Work> done = std::move(current_);
      lock.unlock();
      while (done) done = std::move(done->next_);
      lock.lock();
    }
  }

  static Status outcome_of(const Work& marked) noexcept {
    try {
      return marked.end_();
    } catch (...) {
      return current_exception_as_error();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::unique_ptr<Work> current_, queue_;
  std::unique_ptr<Work>* end_ = &queue_;
  bool started_ = false;
};

Error unusable_gpu(std::string_view reason) {
  return {Code::unavailable,
          str("MLX can't use this machine's GPU, for it says `", reason,
              "`: run outside of sandboxes, virtual machines and sessions without a screen, or set "
              "JAX_PLATFORMS=cpu to use JAX's own CPU backend")};
}

Device::Device(int id, const ir::Target& target)
    : id_(id), target_(target), kind_(kind_of(target)) {
  if (target_.runs_native) serve_cpu_alone();
}

Status Device::start() {
  if (started_) return {};
  try {
    if (registered_ == 0) hold_over_fork(queue_mutex_), registered_ = 1;
    if (registered_ == 1) after_fork_in_child([this] { restart_in_child(); }), registered_ = 2;
    (void)stream();
    if (!target_.runs_native) CHECK_OK(Ends::instance().start());
  } catch (...) {
    return current_exception_as_error();
  }
  std::lock_guard lock(queue_mutex_);
  if (started_) return {};
  CHECK_OK(start_thread([this] { run(); }));
  started_ = true;
  return {};
}

mx::Stream Device::stream() const {
  std::lock_guard lock(queue_mutex_);
  if (!stream_) stream_ = new_stream();
  return *stream_;
}

Encoder& Device::encoder() {
  if (!encoder_) {
    const Gpu* gpu = gpu_of(target_);
    encoder_ = gpu ? gpu->make_encoder(stream()) : make_cpu_encoder(stream());
  }
  return *encoder_;
}

mx::Stream Device::new_stream() const {
  if (gpu_lost_) throw Failure{lost_gpu()};
  const DeviceFloats floats;  // MLX starts a thread
  return mx::new_thread_unsafe_stream(mlx_device(target_));
}

bool Device::is_current() const { return device_of_thread == this; }

StreamScope::StreamScope(const Device& device)
    : device_(mlx_device(device.target())),
      old_device_(mx::default_device()),
      old_stream_(mx::default_stream(device_)) {
  mx::set_default_device(device_);
  mx::set_default_stream(device.stream());
}

StreamScope::~StreamScope() {
  mx::set_default_device(old_device_);
  mx::set_default_stream(old_stream_);
}

// `lock` holds queue_mutex_, but not while the interpreter's lock is given up or taken.
void Device::wait_for_room(std::unique_lock<std::mutex>& lock) {
  static const int64_t limit = env::number(env::Var::JAX_MPS_RUN_AHEAD);
  while (queued_ >= limit) {
    lock.unlock();
    {
      const WithoutInterpreter others_may_have_it;
      lock.lock();
      room_.wait(lock, [&] { return queued_ < limit; });
      lock.unlock();
    }
    lock.lock();
  }
}

void Device::enqueue(std::unique_ptr<Work> work) {
  std::unique_lock lock(queue_mutex_);
  if (!is_current()) wait_for_room(lock);
  work->number_ = ++last_number;
  pending_.fetch_add(1, std::memory_order_acq_rel);
  if (!work->is_short()) ++long_;
  if (is_current()) {
    while (!work->is_ready() && run_first_ready(lock)) continue;
    return run_one(std::move(work), lock);
  }
  *queue_end_ = std::move(work);
  queue_end_ = &(*queue_end_)->next_;
  ++queued_;
  wake_.notify_one();
}

void Device::catch_up(const Event& event) {
  if (event.is_set() || !is_current()) return;
  std::unique_lock lock(queue_mutex_);
  while (!event.is_set() && run_first_ready(lock)) continue;
}

std::atomic<uint64_t> Device::last_number{0};

void Device::interrupt(uint64_t last) {
  std::lock_guard lock(queue_mutex_);
  uint64_t spared = 0;
  for (const auto* list : {&running_, &queue_}) {
    for (Work* work = list->get(); work; work = work->next_.get()) {
      const bool is_asked = work->number_ <= last;
      if (is_asked && work->is_unique && !work->is_spared_)
        spared = std::max(spared, work->number_);
    }
  }
  for (const auto* list : {&running_, &queue_}) {
    for (Work* work = list->get(); work; work = work->next_.get()) {
      if (work->number_ <= spared) {
        work->is_spared_ = true;
      } else if (work->number_ <= last && work->is_interruptible) {
        work->is_stopped = true;
      }
    }
  }
  const uint64_t number = inline_number_.load(std::memory_order_relaxed);
  if (number != 0 && number <= last) inline_stopped_.store(true, std::memory_order_relaxed);
  ++stop_epoch;
}

void Device::run() {
  const DeviceFloats floats;
  device_of_thread = this;
  mx::set_default_device(mlx_device(target_));
  mx::set_default_stream(stream());
  std::unique_lock lock(queue_mutex_);
  for (int64_t count = 0; !ending_; ++count) {
    if (count < 2) end_devices_at_exit();
    wait_for_work(lock);
    if (!ending_) run_one(take_from_queue(queue_), lock);
  }
  rest(lock);
}

// What comes next often comes soon: it would take longer to fall asleep and be woken.
void Device::wait_for_work(std::unique_lock<std::mutex>& lock) {
  using Clock = std::chrono::steady_clock;
  if (!queue_ && !ending_) {
    lock.unlock();
    const auto until = Clock::now() + std::chrono::microseconds(5);
    while (queued_.load(std::memory_order_relaxed) == 0 && Clock::now() < until) continue;
    lock.lock();
  }
  wake_.wait(lock, [this] { return queue_ != nullptr || ending_; });
}

void Device::rest(std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  try {
    if (encoder_) encoder_->wait();
  } catch (...) {  // nobody is left to be told
  }
  lock.lock();
  rests_ = true;
  room_.notify_all();
  wake_.wait(lock, [] { return false; });
}

void Device::end() {
  std::unique_lock lock(queue_mutex_);
  if (!started_ || is_current()) return;
  ending_ = true;
  for (Work* work = running_.get(); work; work = work->next_.get()) work->is_stopped = true;
  wake_.notify_all();
  room_.wait_for(lock, std::chrono::seconds(2), [this] { return rests_; });
}

// `link` is what holds the work: queue_, or next_ of the work before it.
std::unique_ptr<Device::Work> Device::take_from_queue(std::unique_ptr<Work>& link) {
  std::unique_ptr<Work> work = std::move(link);
  link = std::move(work->next_);
  if (!link) queue_end_ = &link;
  --queued_;
  room_.notify_one();
  return work;
}

bool Device::run_first_ready(std::unique_lock<std::mutex>& lock) {
  std::unique_ptr<Work>* link = &queue_;
  while (*link && !(*link)->is_ready()) link = &(*link)->next_;
  if (!*link) return false;
  run_one(take_from_queue(*link), lock);
  return true;
}

// Whether the work that comes next is sent before the end of what was sent is asked for: then both
// end together, as far as anybody is told. Nothing that has to wait comes between, so what was sent
// is not kept back for long.
bool Device::goes_on() const {
  constexpr double kLongest = 500e3;
  return queue_ && !ending_ && sent_nanoseconds_ + queue_->nanoseconds <= kLongest &&
         queue_->is_ready();
}

// A marker behind what was sent tells another thread when that has ended.
void Device::mark_end() noexcept {
  try {
    sent_->end_ = encoder().mark();
  } catch (...) {
    const Error error = current_exception_as_error();
    for (Work* work = sent_.get(); work; work = work->next_.get()) work->fail(error);
  }
  Ends::instance().take(&sent_, std::exchange(sent_end_, &sent_));
  sent_nanoseconds_ = 0;
}

// `lock` holds queue_mutex_, but not while the work runs.
void Device::run_one(std::unique_ptr<Work> next, std::unique_lock<std::mutex>& lock) {
  const bool nested = running_ != nullptr;
  next->next_ = std::move(running_);
  running_ = std::move(next);
  Work& work = *running_;
  bool is_sent = false;
  lock.unlock();
  {
    std::unique_lock run_lock(run_mutex_, std::defer_lock);
    if (!nested) run_lock.lock();
    try {
      const StopScope scope(work.is_stopped);
      is_sent = work.run();
    } catch (...) {
      work.fail(current_exception_as_error());
    }
  }
  lock.lock();
  std::unique_ptr<Work> done = std::move(running_);
  running_ = std::move(done->next_);
  if (!done->is_short()) --long_;
  if (is_sent) {
    sent_nanoseconds_ += done->nanoseconds;
    *sent_end_ = std::move(done);
    sent_end_ = &(*sent_end_)->next_;
  }
  const bool is_end = sent_ && (nested || !goes_on());
  lock.unlock();
  done = nullptr;
  if (is_end) mark_end();
  pending_.fetch_sub(1, std::memory_order_acq_rel);
  lock.lock();
}

void Device::left_mlx() {
  if (is_current() && running_) running_->uses_mlx = false;
}

// The parent does what was queued, and only the parent: callbacks must not be run by both.
// Work is never destroyed here: a lost thread may have been in the middle of it, or of MLX.
void Device::restart_in_child() {
  renew(room_);
  renew(wake_);
  stream_.reset();
  gpu_lost_ = !target_.runs_native;
  if (encoder_) encoder_.release()->lose();  // kept: somebody may be in the middle of it
  Work* lost = queue_.release();
  queue_end_ = &queue_;
  queued_ = 0;
  int running = 0, lasting = 0;
  if (is_current()) {
    // A callback forked; this thread goes on after it.
    mx::set_default_stream(stream());
    for (const Work* work = running_.get(); work; work = work->next_.get()) {
      ++running;
      lasting += work->is_short() ? 0 : 1;
    }
  } else {
    renew(run_mutex_);
    started_ = false;
    Work* const lost_running = running_.release();
    for (const Work* work = lost_running; work; work = work->next_.get()) {
      mlx_lost_ = mlx_lost_ || work->uses_mlx;
    }
    abandon_all(lost_running);
  }
  pending_ = running;
  long_ = lasting;
  abandon_all(sent_.release());
  sent_end_ = &sent_;
  abandon_all(lost);
}

void Device::abandon_all(Work* list) noexcept {
  for (; list; list = list->next_.get()) list->abandon(lost_in_fork());
}

Error lost_in_fork() {
  return Error(Code::failed_precondition,
               "the process was forked before this was computed; call block_until_ready() before "
               "the fork, or use the start method `spawn` of multiprocessing");
}

Status Device::check_usable(bool uses_mlx) {
  if (gpu_lost_) return lost_gpu();
  CHECK_OK(start());
  if (!is_forked() || !uses_mlx || !mlx_lost_) return {};
  return Error(
      Code::failed_precondition,
      "the program needs MLX, which cannot be used in a process that was forked while MLX "
      "computed; call block_until_ready() before the fork, or use the start method `spawn` "
      "of multiprocessing");
}

Device::MemoryStats Device::memory_stats() const {
  MemoryStats stats;
  const PoolStats pool = pool_stats();
  stats.bytes_in_use = static_cast<int64_t>(mx::get_active_memory()) + pool.in_use;
  stats.peak_bytes_in_use = static_cast<int64_t>(mx::get_peak_memory()) + pool.peak;
  stats.pool_bytes = static_cast<int64_t>(mx::get_cache_memory()) + pool.cached;
  stats.bytes_limit =
      target_.runs_native ? physical_memory() : static_cast<int64_t>(mx::get_memory_limit());
  return stats;
}

void Device::clear_memory_stats() const {
  mx::reset_peak_memory();
  reset_pool_peak();
}

// What was made stays, also if the rest fails: the next client goes on from there.
Result<const std::vector<Device*>*> devices() {
  static std::mutex mutex;
  std::vector<Device*>* made = &all_devices();
  std::lock_guard lock(mutex);
  try {
    CHECK_OK(env::check());
    const auto count = static_cast<size_t>(env::number(env::Var::JAX_MPS_NUM_DEVICES));
    while (made->size() < count) {
      TRY(const ir::Target* target, choose_target());
      if (const Gpu* gpu = gpu_of(*target); gpu && made->empty()) {
        (void)gpu->kind();  // throws where MLX can't use it
        CHECK_OK(gpu->check());
      }
      made->reserve(count);
      made->push_back(new Device(static_cast<int>(made->size()), *target));
    }
    for (Device* device : *made) CHECK_OK(device->start());
  } catch (...) {
    return current_exception_as_error();
  }
  return made;
}

namespace {

Error exception_as_error() {
  try {
    throw;
  } catch (Failure& failure) {
    return std::move(failure.error);
  } catch (const std::bad_alloc&) {
    return Error(Code::resource_exhausted, "out of memory");
  } catch (const std::exception& error) {
    const std::string what = error.what();
    const bool memory =
        what.find("llocat") != std::string::npos || what.find("out of memory") != std::string::npos;
    return Error(memory ? Code::resource_exhausted : Code::internal, what);
  } catch (...) {
    return internal("an exception that is no std::exception");
  }
}

}  // namespace

Error current_exception_as_error() noexcept {
  try {
    return exception_as_error();
  } catch (...) {  // there is no memory for a text that does not fit into a string itself
    return Error(Code::resource_exhausted, "out of memory");
  }
}

}  // namespace jaxmps::exec
