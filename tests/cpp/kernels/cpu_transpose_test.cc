#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/cpu/strided_copy.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

using Index = std::vector<int64_t>;

// Copies `count` items of `item` bytes one by one, and compares every byte of the target.
void check(size_t item, const Index& extents, const Index& from, int64_t from_size, int64_t from_at,
           const Index& to, int64_t to_size, int64_t to_at) {
  std::mt19937 rng(1);
  std::vector<unsigned char> source(from_size * item), target(to_size * item, 0xee), want;
  for (unsigned char& byte : source) byte = static_cast<unsigned char>(rng());
  want = target;
  int64_t total = 1;
  for (int64_t extent : extents) total *= extent;
  for (int64_t i = 0; i < total; ++i) {
    int64_t rest = i, a = from_at, b = to_at;
    for (size_t d = extents.size(); d-- > 0;) {
      a += rest % extents[d] * from[d];
      b += rest % extents[d] * to[d];
      rest /= extents[d];
    }
    std::memcpy(&want[b * item], &source[a * item], item);
  }
  const auto in_bytes = [&](Index strides) {
    for (int64_t& stride : strides) stride *= static_cast<int64_t>(item);
    return strides;
  };
  const StridedCopy copy(extents, in_bytes(from), in_bytes(to), static_cast<int64_t>(item));
  copy.copy(source.data() + from_at * item, target.data() + to_at * item);
  ASSERT_EQ(target, want) << "item " << item << " rank " << extents.size();
}

// Strides for dimensions in random memory order, some with room between; returns the size.
int64_t random_layout(std::mt19937& rng, const Index& extents, Index& strides, bool gaps) {
  std::vector<size_t> order(extents.size());
  for (size_t d = 0; d < order.size(); ++d) order[d] = order.size() - 1 - d;
  if (rng() % 3 != 0) std::shuffle(order.begin(), order.end(), rng);
  strides.assign(extents.size(), 0);
  int64_t size = 1;
  for (size_t d : order) {
    strides[d] = size;
    size *= extents[d];
    if (gaps && rng() % 4 == 0) size += rng() % 3;
  }
  return std::max<int64_t>(size, 1);
}

TEST(StridedCopy, RandomLayouts) {
  std::mt19937 rng(3);
  for (int i = 0; i < 1500; ++i) {
    Index extents(rng() % 6), from, to;
    for (int64_t& extent : extents) extent = rng() % 9 + (rng() % 30 != 0);
    if (!extents.empty() && i % 3 == 0) extents[rng() % extents.size()] = 75;
    const bool gaps = i % 2 == 0;
    int64_t from_size = random_layout(rng, extents, from, gaps);
    const int64_t to_size = random_layout(rng, extents, to, gaps);
    int64_t from_at = 0, to_at = 0;
    for (size_t d = 0; d < extents.size(); ++d) {
      if (rng() % 8 == 0) from[d] = 0;  // a broadcast
      if (rng() % 8 == 0 && extents[d] > 0) {
        from_at += (extents[d] - 1) * from[d];
        from[d] = -from[d];
      }
      if (rng() % 8 == 0 && extents[d] > 0) {
        to_at += (extents[d] - 1) * to[d];
        to[d] = -to[d];
      }
    }
    check(size_t{1} << (i % 5), extents, from, from_size, from_at, to, to_size, to_at);
  }
}

TEST(StridedCopy, LargeTransposesOnAnyThreadCount) {
  for (int threads : {1, 2, 5}) {
    set_thread_count(threads);
    for (size_t item : {1, 2, 4, 8, 16}) {
      check(item, {301, 503}, {1, 301}, 301 * 503, 0, {503, 1}, 301 * 503, 0);
      check(item, {3, 70, 5, 90}, {70 * 5 * 90, 1, 70, 70 * 5}, 3 * 70 * 5 * 90, 0,
            {70 * 5 * 90, 5 * 90, 90, 1}, 3 * 70 * 5 * 90, 0);
      check(item, {100000}, {1}, 100000, 0, {1}, 100000, 0);
    }
  }
  set_thread_count(0);
}

TEST(Fill, WritesEveryItem) {
  const uint64_t item[2] = {0x0123456789abcdefu, 0xfedcba9876543210u};
  for (size_t size : {1, 2, 4, 8, 16}) {
    for (int64_t n : {0, 1, 7, 100000}) {
      std::vector<unsigned char> to((n + 1) * size, 0x11);
      fill(size, item, n, to.data());
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(std::memcmp(&to[i * size], item, size), 0);
      for (size_t b = 0; b < size; ++b) ASSERT_EQ(to[n * size + b], 0x11);
    }
  }
}

}  // namespace
}  // namespace jaxmps::cpu
