#include "kernels/cpu/scan.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/dtype.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

constexpr int64_t kChunk = 1 << 15;  // elements of one row that are scanned in one go
constexpr int64_t kColumns = 512;    // columns scanned together

template <Scan S, typename T>
struct Accumulator {
  using Wide = Computed<T>;
  static Wide apply(Wide a, Wide b) {
    // Each step waits for the one before, so what changes nothing is seen first.
    if constexpr (S == Scan::maximum) return a > b ? a : scalar::max_of(a, b);
    if constexpr (S == Scan::minimum) return a < b ? a : scalar::min_of(a, b);
    if constexpr (S == Scan::add) return scalar::add_of(a, b);
    if constexpr (S == Scan::multiply) return scalar::mul_of(a, b);
  }
};

// What the first element alone comes to; a sum begins with +0.
template <Scan S, typename Wide>
Wide begun(Wide x) {
  if constexpr (S == Scan::add) return Wide(0) + x;
  return x;
}

// n elements `step` apart, the first accumulated onto `*carry` if there is one; answers the last.
template <Scan S, typename T>
auto scan_run(const T* in, T* out, int64_t n, int64_t step,
              const typename Accumulator<S, T>::Wide* carry) {
  using A = Accumulator<S, T>;
  using Wide = typename A::Wide;
  Wide sum = carry ? A::apply(*carry, Wide(in[0])) : begun<S>(Wide(in[0]));
  out[0] = T(sum);
  for (int64_t i = 1; i < n; ++i) {
    sum = A::apply(sum, Wide(in[i * step]));
    out[i * step] = T(sum);
  }
  return sum;
}

// One long row on all cores: the totals of chunks first, then every chunk with what comes before.
template <Scan S, typename T>
void scan_long_row(const T* in, T* out, int64_t n, bool reverse) {
  using A = Accumulator<S, T>;
  using Wide = typename A::Wide;
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  // Chunk c in the direction of the scan.
  auto first = [&](int64_t c) { return reverse ? n - 1 - c * kChunk : c * kChunk; };
  auto size = [&](int64_t c) { return std::min(kChunk, n - c * kChunk); };
  const int64_t step = reverse ? -1 : 1;
  std::vector<Wide> totals(chunks);
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      const T* from = in + first(c);
      Wide sum = Wide(from[0]);
      for (int64_t i = 1; i < size(c); ++i) sum = A::apply(sum, Wide(from[i * step]));
      totals[c] = sum;
    }
  });
  for (int64_t c = 1; c < chunks; ++c) totals[c] = A::apply(totals[c - 1], totals[c]);
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      scan_run<S, T>(in + first(c), out + first(c), size(c), step, c ? &totals[c - 1] : nullptr);
    }
  });
}

template <Scan S, typename T>
void scan_columns(const T* in, T* out, int64_t n, int64_t inner, bool reverse, int64_t columns) {
  using A = Accumulator<S, T>;
  using Wide = typename A::Wide;
  Wide sums[kColumns];
  for (int64_t i = 0; i < n; ++i) {
    const int64_t row = (reverse ? n - 1 - i : i) * inner;
    for (int64_t j = 0; j < columns; ++j) {
      sums[j] = i ? A::apply(sums[j], Wide(in[row + j])) : begun<S>(Wide(in[row + j]));
      out[row + j] = T(sums[j]);
    }
  }
}

template <Scan S, typename T>
void scan(int64_t outer, int64_t n, int64_t inner, bool reverse, const void* from, void* to) {
  const T* in = static_cast<const T*>(from);
  T* out = static_cast<T*>(to);
  if (outer * n * inner == 0) return;
  if (inner == 1) {
    if (n > kChunk) {
      for (int64_t o = 0; o < outer; ++o) scan_long_row<S, T>(in + o * n, out + o * n, n, reverse);
      return;
    }
    parallel_for(outer, std::max<int64_t>(1, kChunk / n), [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        const int64_t first = o * n + (reverse ? n - 1 : 0);
        scan_run<S, T>(in + first, out + first, n, reverse ? -1 : 1, nullptr);
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
      scan_columns<S, T>(in + at, out + at, n, inner, reverse, std::min(kColumns, inner - column));
    }
  });
}

template <Scan S>
ScanKernel of_type(ir::DType dtype) {
  constexpr bool kSums = S == Scan::add || S == Scan::multiply;
  if (kSums && dtype == DType::pred) return nullptr;
  return with_element(dtype, [](auto element) -> ScanKernel {
    using T = decltype(element);
    if constexpr (kSums || !kComplex<T>) {
      return scan<S, T>;
    } else {
      return nullptr;
    }
  });
}

}  // namespace

ScanKernel scan_kernel(Scan kind, ir::DType dtype) {
  switch (kind) {
    case Scan::add:
      return of_type<Scan::add>(dtype);
    case Scan::multiply:
      return of_type<Scan::multiply>(dtype);
    case Scan::maximum:
      return of_type<Scan::maximum>(dtype);
    case Scan::minimum:
      return of_type<Scan::minimum>(dtype);
  }
  return nullptr;
}

}  // namespace jaxmps::cpu
