// Devices: one MLX device, its stream and the one thread that runs programs on it, in order.
// Several Devices may share a physical device (virtual devices, JAX_MPS_NUM_DEVICES).
// MLX streams belong to threads; this file is the one place that hands them out: graph work runs on
// the device's own thread only, whose default MLX device and stream are set once.
// Devices live until the process ends. Thread-safe.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/result.h"
#include "mlx/mlx.h"
#include "ops/op.h"

namespace jaxmps::exec {

namespace mx = mlx::core;

class Device {
 public:
  Device(int id, ops::Target target);
  Device(const Device&) = delete;

  int id() const { return id_; }
  ops::Target target() const { return target_; }
  bool on_cpu() const { return target_ == ops::Target::cpu; }
  // Whether the CPU can read the device's memory in place.
  bool is_host_memory() const { return on_cpu() || mx::metal::is_available(); }
  const std::string& kind() const { return kind_; }  // "cpu", "NVIDIA H100 80GB HBM3", "Apple M3"

  // Runs `work` on the device's thread after everything enqueued before it. Waits while
  // JAX_MPS_RUN_AHEAD pieces of work are queued. `work` must not throw.
  void enqueue(std::function<void()> work);
  // Runs `work` on the calling thread if the device has nothing to do, else answers false at once.
  // `work` must not build MLX graphs and must be short.
  template <typename Work>
  bool run_inline(Work&& work) {
    std::unique_lock lock(run_mutex_, std::try_to_lock);
    if (!lock.owns_lock() || pending_.load(std::memory_order_acquire) != 0) return false;
    work();
    return true;
  }
  // The MLX stream of the device. Only the device's thread evaluates on it; any thread may build
  // graphs for it.
  mx::Stream stream() const { return stream_; }
  // Whether the calling thread is the device's own.
  bool is_current() const { return std::this_thread::get_id() == thread_id_; }

  struct MemoryStats {
    int64_t bytes_in_use = 0, peak_bytes_in_use = 0, bytes_limit = 0, pool_bytes = 0;
  };
  // Of the physical device: virtual devices share them.
  MemoryStats memory_stats() const;
  void clear_memory_stats() const;

 private:
  void start();
  void run();

  const int id_;
  const ops::Target target_;
  std::string kind_;
  const mx::Stream stream_;
  std::mutex run_mutex_;  // held while work of this device runs
  std::mutex queue_mutex_;
  std::condition_variable wake_, room_;
  std::deque<std::function<void()>> queue_;
  std::atomic<int> pending_{0};  // queued or running on the device's thread
  bool started_ = false;
  std::thread::id thread_id_;
};

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

// An array without data that becomes available when everything evaluated together with it has ended
// on the current stream. Evaluating it starts no kernel.
mx::array end_marker();

// The exception in flight as an Error; call inside a catch block.
Error current_exception_as_error();

}  // namespace jaxmps::exec
