#include "exec/device.h"

#include <new>

#include "base/env.h"
#include "exec/memory.h"
#include "mlx/primitives.h"

namespace jaxmps::exec {
namespace {

mx::Device mlx_device(ops::Target target) {
  return target == ops::Target::gpu ? mx::Device::gpu : mx::Device::cpu;
}

std::string device_kind(mx::Device device) {
  if (device == mx::Device::cpu) return "cpu";
  const auto& info = mx::device_info(device);
  auto found = info.find("device_name");
  if (found == info.end()) return "gpu";
  return std::get<std::string>(found->second);
}

class EndMarker : public mx::Primitive {
 public:
  using mx::Primitive::Primitive;
  void eval_cpu(const std::vector<mx::array>&, std::vector<mx::array>& out) override {
    allocate(out);
  }
  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>& out) override {
    allocate(out);
  }
  const char* name() const override { return "EndMarker"; }

 private:
  static void allocate(std::vector<mx::array>& out) { out[0].set_data(mx::allocator::malloc(0)); }
};

Result<std::vector<Device*>> make_devices() {
  const std::string& wanted = env::text(env::Var::JAX_MPS_DEVICE);
  if (!wanted.empty() && wanted != "gpu" && wanted != "cpu") {
    return invalid(str("JAX_MPS_DEVICE is '", wanted, "'; it must be `gpu` or `cpu`"));
  }
  const bool has_gpu = mx::is_available(mx::Device::gpu);
  if (wanted == "gpu" && !has_gpu) {
    return Error(Code::unavailable,
                 "JAX_MPS_DEVICE is `gpu`, but the installed MLX sees no GPU; install "
                 "jax-mps[cuda13] on a machine with an NVIDIA GPU, or unset the variable");
  }
  const auto target = has_gpu && wanted != "cpu" ? ops::Target::gpu : ops::Target::cpu;
  const int64_t count = env::number(env::Var::JAX_MPS_NUM_DEVICES);
  if (count < 1 || count > 1024) {
    return invalid(str("JAX_MPS_NUM_DEVICES is ", count, "; it must be between 1 and 1024"));
  }
  std::vector<Device*> made;
  made.reserve(count);
  for (int i = 0; i < count; ++i) made.push_back(new Device(i, target));
  return made;
}

}  // namespace

Device::Device(int id, ops::Target target)
    : id_(id),
      target_(target),
      kind_(device_kind(mlx_device(target))),
      stream_(mx::new_thread_unsafe_stream(mlx_device(target))) {}

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

void Device::enqueue(std::function<void()> work) {
  static const int64_t limit = std::max<int64_t>(1, env::number(env::Var::JAX_MPS_RUN_AHEAD));
  std::unique_lock lock(queue_mutex_);
  if (!started_) start();
  if (!is_current()) {
    room_.wait(lock, [&] { return static_cast<int64_t>(queue_.size()) < limit; });
  }
  queue_.push_back(std::move(work));
  pending_.fetch_add(1, std::memory_order_acq_rel);
  wake_.notify_one();
}

void Device::start() {
  started_ = true;
  std::thread thread([this] { run(); });
  thread_id_ = thread.get_id();
  thread.detach();
}

void Device::run() {
  mx::set_default_device(mlx_device(target_));
  mx::set_default_stream(stream_);
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(queue_mutex_);
      wake_.wait(lock, [this] { return !queue_.empty(); });
      work = std::move(queue_.front());
      queue_.pop_front();
      room_.notify_one();
    }
    {
      std::lock_guard lock(run_mutex_);
      work();
    }
    work = nullptr;
    pending_.fetch_sub(1, std::memory_order_acq_rel);
  }
}

Device::MemoryStats Device::memory_stats() const {
  MemoryStats stats;
  const PoolStats pool = pool_stats();
  stats.bytes_in_use = static_cast<int64_t>(mx::get_active_memory()) + pool.in_use;
  stats.peak_bytes_in_use = static_cast<int64_t>(mx::get_peak_memory()) + pool.peak;
  stats.pool_bytes = static_cast<int64_t>(mx::get_cache_memory()) + pool.cached;
  stats.bytes_limit = on_cpu() ? physical_memory() : static_cast<int64_t>(mx::get_memory_limit());
  return stats;
}

void Device::clear_memory_stats() const {
  mx::reset_peak_memory();
  reset_pool_peak();
}

Result<const std::vector<Device*>*> devices() {
  static const auto* made = new Result<std::vector<Device*>>(make_devices());
  if (!made->ok()) return made->error();
  return &made->value();
}

mx::array end_marker() {
  return mx::array(mx::Shape{0}, mx::bool_,
                   std::make_shared<EndMarker>(mx::default_stream(mx::default_device())), {});
}

Error current_exception_as_error() {
  try {
    throw;
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

}  // namespace jaxmps::exec
