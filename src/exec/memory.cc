#include "exec/memory.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#include "base/fork.h"

namespace jaxmps::exec {
namespace {

namespace mx = mlx::core;

// MLX's CPU allocator hands out pointers whose data begins sizeof(size_t) after the buffer's
// address, with the size in front. A block here is laid out the same way, its data at a multiple
// of 64.
constexpr size_t kAlignment = 64;
constexpr size_t kHeader = sizeof(size_t);
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

// Whether MLX's allocator is the plain CPU one, whose Buffer is the address of a header with the
// size. It may hand out a larger block that somebody gave back.
bool has_plain_allocator() {
  static const bool plain = [] {
    auto probe = mx::allocator::malloc(kAlignment);
    mx::allocator::Buffer buffer = probe.buffer();
    if (mx::is_available(mx::Device::gpu) ||
        static_cast<char*>(buffer.raw_ptr()) != static_cast<char*>(buffer.ptr()) + kHeader) {
      return false;
    }
    size_t bytes;
    std::memcpy(&bytes, buffer.ptr(), sizeof bytes);
    return bytes >= kAlignment && bytes == mx::allocator::allocator().size(buffer);
  }();
  return plain;
}

void release(mx::allocator::Buffer buffer) {
  char* data = static_cast<char*>(buffer.ptr()) + kHeader;
  size_t bytes;
  std::memcpy(&bytes, data - kHeader, sizeof bytes);
  pool().give(data - kAlignment, bytes);
}

}  // namespace

mx::array new_array(const mx::Shape& shape, mx::Dtype dtype) {
  size_t bytes = dtype.size();
  for (auto dim : shape) bytes *= static_cast<size_t>(dim);
  if (!has_plain_allocator()) {
    return mx::array(mx::allocator::malloc(std::max<size_t>(bytes, 1)), shape, dtype);
  }
  if (bytes > static_cast<size_t>(physical_memory())) throw std::bad_alloc();
  const size_t rounded = round_size(bytes);
  char* data = static_cast<char*>(pool().take(rounded)) + kAlignment;
  std::memcpy(data - kHeader, &rounded, sizeof rounded);
  return mx::array(mx::allocator::Data(mx::allocator::Buffer(data - kHeader), release), shape,
                   dtype);
}

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

bool can_borrow(const void* data) {
  return has_plain_allocator() && reinterpret_cast<uintptr_t>(data) % kBorrowedAlignment == 0;
}

mx::array borrow(void* data, const mx::Shape& shape, mx::Dtype dtype,
                 std::function<void()> release) {
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
void trim_pool() { pool().trim(); }

}  // namespace jaxmps::exec
