#include "kernels/cpu/scan.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/combine.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

constexpr int64_t kChunk = 1 << 15;  // elements of one row that are scanned in one go
constexpr int64_t kColumns = 512;    // columns scanned together

// Each step waits for the one before, so what changes nothing is seen first.
template <typename F, typename T>
Computed<T> step(Computed<T> a, Computed<T> b) {
  if constexpr (std::is_same_v<F, scalar::Function<Opcode::max>>) return a > b ? a : F::call(a, b);
  if constexpr (std::is_same_v<F, scalar::Function<Opcode::min>>) return a < b ? a : F::call(a, b);
  return F::call(a, b);
}

// What the first element alone comes to; a sum begins with +0.
template <typename F, typename Wide>
Wide begun(Wide x) {
  if constexpr (std::is_same_v<F, scalar::Function<Opcode::add>>) return Wide(0) + x;
  return x;
}

// n elements `apart` places from each other, the first accumulated onto `*carry` if there is one;
// answers the last.
template <typename F, typename T>
Computed<T> scan_run(const T* in, T* out, int64_t n, int64_t apart, const Computed<T>* carry) {
  using Wide = Computed<T>;
  Wide sum = carry ? step<F, T>(*carry, Wide(in[0])) : begun<F>(Wide(in[0]));
  out[0] = T(sum);
  for (int64_t i = 1; i < n; ++i) {
    sum = step<F, T>(sum, Wide(in[i * apart]));
    out[i * apart] = T(sum);
  }
  return sum;
}

// One long row on all cores: the totals of chunks first, then every chunk with what comes before.
template <typename F, typename T>
void scan_long_row(const T* in, T* out, int64_t n, bool reverse) {
  using Wide = Computed<T>;
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  // Chunk c in the direction of the scan.
  auto first = [&](int64_t c) { return reverse ? n - 1 - c * kChunk : c * kChunk; };
  auto size = [&](int64_t c) { return std::min(kChunk, n - c * kChunk); };
  const int64_t apart = reverse ? -1 : 1;
  std::vector<Wide> totals(chunks);
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      const T* from = in + first(c);
      Wide sum = Wide(from[0]);
      for (int64_t i = 1; i < size(c); ++i) sum = step<F, T>(sum, Wide(from[i * apart]));
      totals[c] = sum;
    }
  });
  for (int64_t c = 1; c < chunks; ++c) totals[c] = step<F, T>(totals[c - 1], totals[c]);
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      scan_run<F, T>(in + first(c), out + first(c), size(c), apart, c ? &totals[c - 1] : nullptr);
    }
  });
}

template <typename F, typename T>
void scan_columns(const T* in, T* out, int64_t n, int64_t inner, bool reverse, int64_t columns) {
  using Wide = Computed<T>;
  Wide sums[kColumns];
  for (int64_t i = 0; i < n; ++i) {
    const int64_t row = (reverse ? n - 1 - i : i) * inner;
    for (int64_t j = 0; j < columns; ++j) {
      sums[j] = i ? step<F, T>(sums[j], Wide(in[row + j])) : begun<F>(Wide(in[row + j]));
      out[row + j] = T(sums[j]);
    }
  }
}

template <typename F, typename T>
void scan(int64_t outer, int64_t n, int64_t inner, bool reverse, const void* from, void* to) {
  const T* in = static_cast<const T*>(from);
  T* out = static_cast<T*>(to);
  if (outer * n * inner == 0) return;
  if (inner == 1) {
    if (n > kChunk) {
      for (int64_t o = 0; o < outer; ++o) scan_long_row<F, T>(in + o * n, out + o * n, n, reverse);
      return;
    }
    parallel_for(outer, std::max<int64_t>(1, kChunk / n), [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        const int64_t first = o * n + (reverse ? n - 1 : 0);
        scan_run<F, T>(in + first, out + first, n, reverse ? -1 : 1, nullptr);
      }
    });
    return;
  }
  const int64_t blocks = (inner + kColumns - 1) / kColumns;
  const int64_t grain = std::max<int64_t>(1, kChunk / (n * std::min(inner, kColumns)));
  parallel_for(outer * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t column = b % blocks * kColumns;
      const int64_t at = b / blocks * n * inner + column;
      scan_columns<F, T>(in + at, out + at, n, inner, reverse, std::min(kColumns, inner - column));
    }
  });
}

}  // namespace

ScanKernel scan_kernel(scalar::Opcode op, ir::DType dtype) {
  return with_combiner<ScanKernel>(op, dtype, [](auto f, auto element) -> ScanKernel {
    using F = decltype(f);
    using T = decltype(element);
    if constexpr (kCombinesValues<F, T>) return scan<F, T>;
    return nullptr;
  });
}

}  // namespace jaxmps::cpu
