#include "kernels/cpu/rng.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <random>

#include "base/fork.h"
#include "kernels/cpu/threads.h"
#include "scalar/portable.h"

namespace jaxmps::cpu {
namespace {

constexpr int64_t kRandomGrain = 1 << 13;  // elements of one chunk
constexpr int kLanes = 64;                 // blocks computed together, so that the loops vectorise

// The blocks of counters [counter, counter + kLanes) under one key.
struct ThreefryBlocks {
  uint32_t x0[kLanes], x1[kLanes];
  ThreefryBlocks(uint64_t key, uint64_t counter) {
    for (int i = 0; i < kLanes; ++i) {
      const uint64_t c = counter + static_cast<uint64_t>(i);
      const auto words =
          scalar::threefry_of(static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32),
                              static_cast<uint32_t>(c), static_cast<uint32_t>(c >> 32));
      x0[i] = words.x0;
      x1[i] = words.x1;
    }
  }
};

void philox_lanes(uint64_t key, uint32_t (&c)[4][kLanes]) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kLanes; ++i) {
      const uint64_t p0 = uint64_t{c[0][i]} * 0xd2511f53u, p1 = uint64_t{c[2][i]} * 0xcd9e8d57u;
      c[0][i] = static_cast<uint32_t>(p1 >> 32) ^ c[1][i] ^ k0;
      c[1][i] = static_cast<uint32_t>(p1);
      c[2][i] = static_cast<uint32_t>(p0 >> 32) ^ c[3][i] ^ k1;
      c[3][i] = static_cast<uint32_t>(p0);
    }
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
}

void store(void* out, int64_t at, int bytes, uint32_t word) {
  char* to = static_cast<char*>(out) + at * bytes;
  if (bytes == 1) *reinterpret_cast<uint8_t*>(to) = static_cast<uint8_t>(word);
  if (bytes == 2) *reinterpret_cast<uint16_t*>(to) = static_cast<uint16_t>(word);
  if (bytes == 4) *reinterpret_cast<uint32_t*>(to) = word;
}

// How a shape is cut into the pairs of words that blocks give: along its first even dimension, or
// the largest if all are odd; element (.., 2 s + w, ..) is word w of block (.., s, ..).
struct Pairs {
  int64_t outer = 1, size = 1, half = 1, inner = 1;
  explicit Pairs(const ir::Dims& dims) {
    size_t split = 0;
    bool even = false;
    for (size_t d = 0; d < dims.size() && !even; ++d) {
      even = dims[d] % 2 == 0;
      if (even || dims[d] > dims[split]) split = d;
    }
    for (size_t d = 0; d < dims.size(); ++d) {
      (d < split ? outer : d == split ? size : inner) *= dims[d];
    }
    half = (size + 1) / 2;
  }
  int64_t blocks() const { return outer * half * inner; }
};

}  // namespace

void threefry_bits(const ir::Dims& dims, int element_bytes, const uint64_t* state,
                   uint64_t* new_state, void* out) {
  const uint64_t key = state[0], counter = state[1];
  new_state[0] = key;
  if (element_bytes == 8) {
    const int64_t count = ir::element_count(dims);
    uint64_t* to = static_cast<uint64_t*>(out);
    parallel_for(count, kRandomGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i += kLanes) {
        const ThreefryBlocks blocks(key, counter + static_cast<uint64_t>(i));
        const int64_t n = std::min<int64_t>(kLanes, end - i);
        for (int64_t j = 0; j < n; ++j) to[i + j] = blocks.x0[j] | uint64_t{blocks.x1[j]} << 32;
      }
    });
    new_state[1] = counter + static_cast<uint64_t>(count);
    return;
  }
  const Pairs pairs(dims);
  parallel_for(pairs.blocks(), kRandomGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kLanes) {
      const ThreefryBlocks blocks(key, counter + static_cast<uint64_t>(i));
      const int64_t n = std::min<int64_t>(kLanes, end - i);
      for (int64_t j = 0; j < n; ++j) {
        const int64_t inner = (i + j) % pairs.inner, rest = (i + j) / pairs.inner;
        const int64_t s = rest % pairs.half, outer = rest / pairs.half;
        const int64_t at = (outer * pairs.size + 2 * s) * pairs.inner + inner;
        store(out, at, element_bytes, blocks.x0[j]);
        if (2 * s + 1 < pairs.size) store(out, at + pairs.inner, element_bytes, blocks.x1[j]);
      }
    }
  });
  new_state[1] = counter + static_cast<uint64_t>(pairs.blocks());
}

void philox_bits(int64_t count, int element_bytes, int state_words, const uint64_t* state,
                 uint64_t* new_state, void* out) {
  const uint64_t key = state[0], low = state[1];
  const uint64_t high = state_words > 2 ? state[2] : key;
  const int64_t per_block = element_bytes == 8 ? 2 : 4;
  const int64_t blocks = (count + per_block - 1) / per_block;
  parallel_for(blocks, kRandomGrain / 4, [&](int64_t begin, int64_t end) {
    uint32_t c[4][kLanes];
    for (int64_t i = begin; i < end; i += kLanes) {
      for (int j = 0; j < kLanes; ++j) {
        const uint64_t l = low + static_cast<uint64_t>(i + j);
        const uint64_t h = high + (l < low ? 1 : 0);
        c[0][j] = static_cast<uint32_t>(l);
        c[1][j] = static_cast<uint32_t>(l >> 32);
        c[2][j] = static_cast<uint32_t>(h);
        c[3][j] = static_cast<uint32_t>(h >> 32);
      }
      philox_lanes(key, c);
      const int64_t n = std::min<int64_t>(kLanes, end - i);
      for (int64_t j = 0; j < n; ++j) {
        const int64_t first = (i + j) * per_block;
        for (int64_t w = 0; w < per_block && first + w < count; ++w) {
          if (element_bytes == 8) {
            static_cast<uint64_t*>(out)[first + w] = c[2 * w][j] | uint64_t{c[2 * w + 1][j]} << 32;
          } else {
            store(out, first + w, element_bytes, c[w][j]);
          }
        }
      }
    }
  });
  new_state[0] = key;
  new_state[1] = low + static_cast<uint64_t>(blocks);
  if (state_words > 2) new_state[2] = high + (new_state[1] < low ? 1 : 0);
}

void system_random(int64_t words, uint64_t* out) {
  static std::mutex mutex;
  static uint64_t state[3] = {};
  static bool seeded = false;
  static std::once_flag registered;
  std::call_once(registered, [] {
    after_fork_in_child([] {
      renew(mutex);
      seeded = false;  // not the numbers of the parent
    });
  });
  const std::lock_guard lock(mutex);
  if (!seeded) {
    std::random_device device;
    for (uint64_t& word : state) word = uint64_t{device()} << 32 | device();
    seeded = true;
  }
  uint64_t next[3];
  philox_bits(words, 8, 3, state, next, out);
  std::copy(next, next + 3, state);
}

}  // namespace jaxmps::cpu
