// Devices: one MLX device, its stream and the one thread that runs programs on it, in order.
// Several Devices may share a physical device (virtual devices, JAX_MPS_NUM_DEVICES).
// MLX streams belong to threads; this file is the one place that hands them out: what MLX computes
// is sent by the device's own thread only, whose default MLX device and stream are set once.
// Devices live until the process ends, and rest when it does: what MLX and the drivers tear down
// then must not be in use. Thread-safe.
// In the child of a fork a CPU device starts anew: the parent's unfinished work fails there, and a
// new thread with a new stream takes what comes. A GPU refuses, because its driver is lost.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/event.h"
#include "base/floats.h"
#include "base/result.h"
#include "base/stop.h"
#include "exec/encoder.h"
#include "mlx/mlx.h"
#include "ops/op.h"

namespace jaxmps::exec {

namespace mx = mlx::core;

// What a user reads where MLX finds no GPU, or none that it may use; `reason` is MLX's word.
Error unusable_gpu(std::string_view reason);

class Device {
 public:
  // Nanoseconds. Shorter work runs on the caller's thread when the device is idle: handing it to
  // another thread, which then wants a core beside the client's and the kernels' own, would take
  // longer.
  static constexpr double kShort = 100e3;

  Device(int id, const ir::Target& target);
  Device(const Device&) = delete;
  // Makes the stream and the threads, if they are not there: before the first use and in a child.
  Status start();

  int id() const { return id_; }
  const ir::Target& target() const { return target_; }
  const std::string& kind() const { return kind_; }  // "cpu", "NVIDIA H100 80GB HBM3", "Apple M3"

  class Work {
   public:
    explicit Work(bool uses_mlx) : uses_mlx(uses_mlx) {}
    virtual ~Work() = default;
    // Answers whether it has sent something to a GPU, at whose end finish() or fail() is called, on
    // another thread. What it throws becomes fail().
    virtual bool run() = 0;
    // Whether run() would not have to wait for what other work makes.
    virtual bool is_ready() const noexcept = 0;
    virtual void finish() noexcept {}
    virtual void fail(const Error& error) noexcept = 0;
    // Instead of run(), in the child of a fork.
    virtual void abandon(const Error& error) noexcept = 0;

    std::atomic<bool> uses_mlx;  // evaluates MLX arrays, and has not yet done so
    // For interrupt(). Set before it is enqueued: whether the thread that gets interrupts wants it,
    // and whether its results cannot be had again, because its arguments are gone with it.
    bool is_interruptible = false;
    bool is_unique = false;
    std::atomic<bool> is_stopped{false};
    // How long the device is busy with it, at most; what waits for others, or may take long, is
    // endless. Set before it is enqueued.
    double nanoseconds = std::numeric_limits<double>::infinity();

   private:
    friend class Device;
    bool is_short() const { return nanoseconds < kShort; }
    std::unique_ptr<Work> next_;
    Encoder::End end_;  // of the first that one marker stands behind
    uint64_t number_ = 0;
    bool is_spared_ = false;
  };

  // Runs `work` on the device's thread after everything enqueued before it. Waits while
  // JAX_MPS_RUN_AHEAD pieces of work are queued. Called on that thread itself (a callback of a
  // program calls another program), it does `work` before it returns, and of what is queued only
  // what `work` may have to wait for: the rest may wait for the program that calls back.
  void enqueue(std::unique_ptr<Work> work);
  // Call before waiting for `event`: on the device's own thread (a callback wants a value that is
  // computed behind it) what is queued and ready is done now until the event is set, because
  // nobody else would do it.
  void catch_up(const Event& event);
  // Runs `work` on the calling thread if the device has nothing to do, else answers false at once.
  // `work` must not use the encoder and must be short; what may take longer is `interruptible`.
  template <typename Work>
  bool run_inline(bool interruptible, Work&& work) {
    if (pending_.load(std::memory_order_acquire) != 0) return false;  // so on the own thread
    std::unique_lock lock(run_mutex_, std::try_to_lock);
    if (!lock.owns_lock() || pending_.load(std::memory_order_acquire) != 0) return false;
    const DeviceFloats floats;
    if (!interruptible) {
      work();
      return true;
    }
    inline_stopped_.store(false, std::memory_order_relaxed);
    inline_number_.store(++last_number, std::memory_order_relaxed);
    const StopScope scope(inline_stopped_);
    work();
    inline_number_.store(0, std::memory_order_relaxed);
    return true;
  }
  // Called by work while it runs, before it sets its events: it needs MLX no more, so that a fork
  // from then on does not lose MLX for the child.
  void left_mlx();
  // Whether all that is queued or runs is short, so that one may wait for it.
  bool is_soon_idle() const { return long_.load(std::memory_order_relaxed) == 0; }
  // The number of the piece of work that was enqueued last, on any device.
  static std::atomic<uint64_t> last_number;
  // Stops (Work::is_stopped) all interruptible work up to that number that is queued or runs.
  // Unique work and what came before it is spared the first time, so that an interrupted training
  // keeps its state.
  void interrupt(uint64_t last);
  // When the process ends: no more work begins, and what runs is stopped at its next step and
  // waited for, for a moment. What was queued is never done; nobody is told.
  void end();
  // The MLX stream of the device. Only the device's thread sends work to it; any thread may make
  // primitives for it.
  mx::Stream stream() const;
  // Of that stream; for the device's thread.
  Encoder& encoder();
  // Whether the calling thread is the device's own.
  bool is_current() const;
  // An error in the child of a fork that cannot use the device, or not for work of MLX.
  Status check_usable(bool uses_mlx);

  struct MemoryStats {
    int64_t bytes_in_use = 0, peak_bytes_in_use = 0, bytes_limit = 0, pool_bytes = 0;
  };
  // Of the physical device: virtual devices share them.
  MemoryStats memory_stats() const;
  void clear_memory_stats() const;

 private:
  class Ends;
  mx::Stream new_stream() const;
  void run();
  void wait_for_work(std::unique_lock<std::mutex>& lock);
  void rest(std::unique_lock<std::mutex>& lock);
  std::unique_ptr<Work> take_from_queue(std::unique_ptr<Work>& link);
  void run_one(std::unique_ptr<Work> work, std::unique_lock<std::mutex>& lock);
  bool run_first_ready(std::unique_lock<std::mutex>& lock);
  bool goes_on() const;
  void mark_end() noexcept;
  static void abandon_all(Work* list) noexcept;
  void wait_for_room(std::unique_lock<std::mutex>& lock);
  void restart_in_child();

  const int id_;
  const ir::Target& target_;
  std::string kind_;
  std::mutex run_mutex_;            // held while work of this device runs
  mutable std::mutex queue_mutex_;  // guards what follows
  mutable std::optional<mx::Stream> stream_;
  std::unique_ptr<Encoder> encoder_;
  std::condition_variable wake_, room_;
  std::unique_ptr<Work> queue_;    // first to run, and those behind it
  std::unique_ptr<Work> running_;  // innermost first; more than one where callbacks run programs
  std::unique_ptr<Work>* queue_end_ = &queue_;
  std::unique_ptr<Work> sent_;  // since the last marker, in order; only its own thread changes it
  std::unique_ptr<Work>* sent_end_ = &sent_;
  double sent_nanoseconds_ = 0;
  std::atomic<int64_t> queued_{0};
  bool ending_ = false, rests_ = false;
  int registered_ = 0;  // of the two ways in which a fork is told of this device
  std::atomic<bool> started_{false};
  std::atomic<uint64_t> inline_number_{0};  // of what an interruptible caller runs now, or 0
  std::atomic<bool> inline_stopped_{false};
  std::atomic<int> pending_{0};        // queued or running on the device's thread
  std::atomic<int> long_{0};           // of those, not short
  std::atomic<bool> gpu_lost_{false};  // it was the parent's, and cannot be used here
  std::atomic<bool> mlx_lost_{false};  // another thread was inside MLX during a fork
};

// What work of the parent is answered with in the child of a fork.
Error lost_in_fork();

// All devices of this process, made at first use from JAX_MPS_DEVICE and JAX_MPS_NUM_DEVICES.
Result<const std::vector<Device*>*> devices();

// While it lives, arrays that the calling thread builds belong to the device's stream. (MLX would
// otherwise give them a stream of this thread, on which the device's thread could not evaluate
// them.)
class StreamScope {
 public:
  explicit StreamScope(const Device& device);
  ~StreamScope();
  StreamScope(const StreamScope&) = delete;

 private:
  const mx::Device device_;
  const mx::Device old_device_;
  const mx::Stream old_stream_;
};

// The exception in flight as an Error; call inside a catch block.
Error current_exception_as_error() noexcept;

}  // namespace jaxmps::exec
