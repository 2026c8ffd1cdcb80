#include "exec/memory.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "base/fork.h"

namespace jaxmps::exec {
namespace {

namespace mx = mlx::core;

// What the Buffer of an array points to, by the allocator that the installed MLX was built with. A
// block of the pool has it in front of its data, which is at a multiple of 64.
enum class BufferLayout {
  unknown,
  size,  // a size_t with the size, right before the data: MLX for the CPU
  cuda,  // a CudaBuffer
};
constexpr size_t kAlignment = 64;
constexpr size_t kHeader = sizeof(size_t);
static_assert(sizeof(CudaBuffer) + kHeader <= kAlignment);
// Vector loads want no more than this; the allocators of the host give no less for large arrays.
constexpr uintptr_t kBorrowedAlignment = 16;
// Cached bytes beyond which blocks go back to the system.
constexpr int64_t kCacheLimit = int64_t(2) << 30;

// Four sizes per power of two: at most a quarter is wasted.
size_t round_size(size_t bytes) {
  if (bytes <= kAlignment) return kAlignment;
  const size_t step = std::max<size_t>(kAlignment, std::bit_ceil(bytes) / 8);
  return (bytes + step - 1) / step * step;
}

int bucket_of(size_t rounded) {
  const int log = std::bit_width(rounded) - 1;
  const size_t rest = rounded - (size_t(1) << log);
  return log * 8 + static_cast<int>(rest * 8 >> log);
}

class Pool {
 public:
  Pool() { hold_over_fork(mutex_); }

  void* take(size_t rounded) {
    std::vector<void*>& bucket = buckets_[bucket_of(rounded)];
    void* block = nullptr;
    {
      std::lock_guard lock(mutex_);
      if (!bucket.empty()) {
        block = bucket.back();
        bucket.pop_back();
        cached_ -= rounded;
      }
      in_use_ += rounded;
      peak_ = std::max(peak_, in_use_);
    }
    if (!block) block = fresh(rounded);
    return block;
  }

  void give(void* block, size_t rounded) {
    {
      std::lock_guard lock(mutex_);
      in_use_ -= rounded;
      if (cached_ + static_cast<int64_t>(rounded) <= kCacheLimit) {
        buckets_[bucket_of(rounded)].push_back(block);
        cached_ += rounded;
        return;
      }
    }
    std::free(block);
  }

  void trim() {
    std::lock_guard lock(mutex_);
    for (auto& bucket : buckets_) {
      for (void* block : bucket) std::free(block);
      bucket.clear();
    }
    cached_ = 0;
  }

  PoolStats stats() {
    std::lock_guard lock(mutex_);
    return {in_use_, peak_, cached_};
  }

  void reset_peak() {
    std::lock_guard lock(mutex_);
    peak_ = in_use_;
  }

 private:
  void* fresh(size_t rounded) {
    void* block = std::aligned_alloc(kAlignment, kAlignment + rounded);
    if (!block) {
      trim();
      block = std::aligned_alloc(kAlignment, kAlignment + rounded);
    }
    if (!block) {
      std::lock_guard lock(mutex_);
      in_use_ -= rounded;
      throw std::bad_alloc();
    }
    return block;
  }

  std::mutex mutex_;
  std::array<std::vector<void*>, 64 * 8> buckets_;
  int64_t in_use_ = 0, peak_ = 0, cached_ = 0;
};

Pool& pool() {
  static auto* instance = new Pool;  // never destroyed: arrays may outlive static destructors
  return *instance;
}

std::atomic<bool> cpu_alone{false};

// Of a block that MLX allocates. It may hand out a larger block that somebody gave back.
BufferLayout probe_layout() {
  const auto probe = mx::allocator::malloc(kAlignment);
  mx::allocator::Buffer buffer = probe.buffer();
  const char* data = static_cast<char*>(buffer.raw_ptr());
  const size_t size = mx::allocator::allocator().size(buffer);
  if (mx::cu::is_available()) {
    CudaBuffer header;
    std::memcpy(&header, buffer.ptr(), sizeof header);
    const bool fits = header.data == data && header.size == size && header.device == -1;
    return cpu_alone && fits ? BufferLayout::cuda : BufferLayout::unknown;
  }
  if (mx::is_available(mx::Device::gpu)) return BufferLayout::unknown;
  if (data != static_cast<const char*>(buffer.ptr()) + kHeader) return BufferLayout::unknown;
  size_t bytes;
  std::memcpy(&bytes, buffer.ptr(), sizeof bytes);
  return bytes >= kAlignment && bytes == size ? BufferLayout::size : BufferLayout::unknown;
}

BufferLayout layout() {
  static const BufferLayout layout = probe_layout();
  return layout;
}

void release(mx::allocator::Buffer buffer) {
  auto* data = static_cast<char*>(buffer.raw_ptr());
  size_t bytes;
  std::memcpy(&bytes, data - kHeader, sizeof bytes);
  pool().give(data - kAlignment, bytes);
}

}  // namespace

mx::array new_array(const mx::Shape& shape, mx::Dtype dtype) {
  size_t bytes = dtype.size();
  for (auto dim : shape) bytes *= static_cast<size_t>(dim);
  if (layout() == BufferLayout::unknown) {
    return mx::array(mx::allocator::malloc(std::max<size_t>(bytes, 1)), shape, dtype);
  }
  if (bytes > static_cast<size_t>(physical_memory())) throw std::bad_alloc();
  const size_t rounded = round_size(bytes);
  char* block = static_cast<char*>(pool().take(rounded));
  char* data = block + kAlignment;
  std::memcpy(data - kHeader, &rounded, sizeof rounded);
  char* header = data - kHeader;
  if (layout() == BufferLayout::cuda)
    header = reinterpret_cast<char*>(new (block) CudaBuffer{data, rounded, -1});
  return mx::array(mx::allocator::Data(mx::allocator::Buffer(header), release), shape, dtype);
}

void serve_cpu_alone() { cpu_alone = true; }

mx::array copy_of(const mx::array& dense) {
  mx::array copy = new_array(dense.shape(), dense.dtype());
  std::memcpy(copy.data<void>(), dense.data<void>(), dense.nbytes());
  return copy;
}

mx::array share(const mx::array& dense, const mx::Shape& shape, mx::Dtype dtype, int64_t offset) {
  mx::array view(shape, dtype, nullptr, {});
  // MLX has set the strides of a dense array.
  view.copy_shared_buffer(dense, mx::Strides(view.strides()), {true, true, shape.size() < 2},
                          view.size(), offset);
  view.set_status(dense.status());
  return view;
}

// An array is nothing but a shared pointer to its descriptor, and MLX tells the count only together
// with whether its allocator owns the memory.
long handle_count(const mx::array& array) {
  static_assert(sizeof(mx::array) == sizeof(std::shared_ptr<void>));
  return reinterpret_cast<const std::shared_ptr<void>&>(array).use_count();
}

bool is_exclusive(const mx::array& array) {
  return handle_count(array) == 1 && array.data_shared_ptr().use_count() == 1;
}

bool can_borrow(const void* data) {
  return layout() != BufferLayout::unknown &&
         reinterpret_cast<uintptr_t>(data) % kBorrowedAlignment == 0;
}

mx::array borrow(void* data, const mx::Shape& shape, mx::Dtype dtype,
                 std::function<void()> release) {
  if (layout() == BufferLayout::cuda) {
    const std::shared_ptr<CudaBuffer> header(new CudaBuffer{data, 0, -1});
    return mx::array(
        mx::allocator::Data(mx::allocator::Buffer(header.get()),
                            [header, release = std::move(release)](auto) { release(); }),
        shape, dtype);
  }
  // There is no header; nobody but MLX's own kernels and allocator would read it.
  mx::allocator::Buffer buffer(static_cast<char*>(data) - kHeader);
  return mx::array(mx::allocator::Data(buffer, [release = std::move(release)](auto) { release(); }),
                   shape, dtype);
}

int64_t physical_memory() {
  static const int64_t bytes =
      static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  return bytes;
}

PoolStats pool_stats() { return pool().stats(); }
void reset_pool_peak() { pool().reset_peak(); }

}  // namespace jaxmps::exec
