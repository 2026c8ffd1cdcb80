#include "kernels/cpu/scratch.h"

#include <algorithm>
#include <new>
#include <vector>

namespace jaxmps::cpu {
namespace {

constexpr std::align_val_t kAlign{64};
constexpr size_t kCacheBytes = size_t{64} << 20;
constexpr size_t kCacheBlocks = 16;

struct Block {
  void* data;
  size_t bytes;
};

struct Cache {
  std::vector<Block> blocks;
  size_t total = 0;

  Cache() { blocks.reserve(kCacheBlocks); }
  ~Cache() {
    for (const Block& block : blocks) ::operator delete(block.data, kAlign);
  }
};

Cache& cache() {
  thread_local Cache of_thread;
  return of_thread;
}

}  // namespace

Scratch::Scratch(size_t bytes) : data_(nullptr), bytes_(bytes) {
  if (bytes == 0) return;
  Cache& free = cache();
  auto best = free.blocks.end();
  for (auto it = free.blocks.begin(); it != free.blocks.end(); ++it) {
    const bool fits = it->bytes >= bytes && it->bytes / 4 <= std::max<size_t>(bytes, 4096);
    if (fits && (best == free.blocks.end() || it->bytes < best->bytes)) best = it;
  }
  if (best != free.blocks.end()) {
    data_ = best->data;
    bytes_ = best->bytes;
    free.total -= best->bytes;
    free.blocks.erase(best);
    return;
  }
  bytes_ = (bytes + 4095) / 4096 * 4096;
  data_ = ::operator new(bytes_, kAlign);
}

Scratch::~Scratch() {
  if (data_ == nullptr) return;
  Cache& free = cache();
  while (!free.blocks.empty() &&
         (free.blocks.size() >= kCacheBlocks || free.total + bytes_ > kCacheBytes)) {
    free.total -= free.blocks.front().bytes;
    ::operator delete(free.blocks.front().data, kAlign);
    free.blocks.erase(free.blocks.begin());
  }
  if (bytes_ > kCacheBytes) {
    ::operator delete(data_, kAlign);
    return;
  }
  free.total += bytes_;
  free.blocks.push_back({data_, bytes_});
}

}  // namespace jaxmps::cpu
