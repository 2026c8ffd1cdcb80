#include "kernels/cpu/scan.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/combine.h"
#include "kernels/cpu/loop.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

constexpr int64_t kScanned = 1 << 15;     // elements of one row that are scanned in one go
constexpr int64_t kScannedColumns = 512;  // columns scanned together
constexpr int64_t kMostBytes = 16;        // of an element

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

// Arrays of n rows of so many columns; `distance` and `apart` elements from each to the next.
struct Arrays {
  int64_t count, distance;
  int64_t n, apart, columns;
};
// Scans them onto `sums`, one per column as it is computed with. `begins`: none yet; if not, there
// is one array.
using ScanRows = void (*)(const Arrays& arrays, const void* from, void* to, bool begins,
                          void* sums);
// Of one column.
using TotalRows = void (*)(const void* from, int64_t n, int64_t apart, void* sum);
struct Scan {
  int64_t bytes = 0, sum_bytes = 0;  // of an element
  ScanRows rows = nullptr;
  ScanRows sums = nullptr;  // of what sums are
  TotalRows total = nullptr;
};

template <typename F, typename T>
void scan_column(const T* in, T* out, int64_t n, int64_t apart, bool begins, Computed<T>* carried) {
  using Wide = Computed<T>;
  Wide sum = begins ? begun<F>(Wide(in[0])) : step<F, T>(*carried, Wide(in[0]));
  out[0] = T(sum);
  for (int64_t i = 1; i < n; ++i) {
    sum = step<F, T>(sum, Wide(in[i * apart]));
    out[i * apart] = T(sum);
  }
}

template <typename F, typename T>
void scan_rows(const Arrays& arrays, const void* from, void* to, bool begins, void* carried) {
  using Wide = Computed<T>;
  const auto [count, distance, n, apart, columns] = arrays;
  const T* in = static_cast<const T*>(from);
  T* out = static_cast<T*>(to);
  Wide* sums = static_cast<Wide*>(carried);
  for (int64_t a = 0; a < count; ++a, in += distance, out += distance) {
    if (columns == 1) {
      scan_column<F, T>(in, out, n, apart, begins, sums);
      continue;
    }
    for (int64_t j = 0; j < columns; ++j) {
      sums[j] = begun<F>(Wide(in[j]));
      out[j] = T(sums[j]);
    }
    for (int64_t i = 1; i < n; ++i) {
      JAXMPS_LOOP
      for (int64_t j = 0; j < columns; ++j) {
        sums[j] = step<F, T>(sums[j], Wide(in[i * apart + j]));
        out[i * apart + j] = T(sums[j]);
      }
    }
  }
}

template <typename F, typename T>
void total_rows(const void* from, int64_t n, int64_t apart, void* to) {
  using Wide = Computed<T>;
  const T* in = static_cast<const T*>(from);
  Wide sum = begun<F>(Wide(in[0]));
  for (int64_t i = 1; i < n; ++i) sum = step<F, T>(sum, Wide(in[i * apart]));
  *static_cast<Wide*>(to) = sum;
}

// One long row on all cores: the totals of chunks first, then every chunk with what comes before.
void scan_long_row(const Scan& how, const char* in, char* out, int64_t n, int64_t apart) {
  const int64_t chunks = (n + kScanned - 1) / kScanned, distance = kScanned * apart * how.bytes;
  const auto size = [&](int64_t c) { return std::min(kScanned, n - c * kScanned); };
  const Scratch totals(static_cast<size_t>(chunks * how.sum_bytes));
  const auto total = [&](int64_t c) { return totals.as<char>() + c * how.sum_bytes; };
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      how.total(in + c * distance, size(c), apart, total(c));
    }
  });
  how.sums({1, 0, chunks, 1, 1}, total(0), total(0), true, nullptr);
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      alignas(kMostBytes) char sum[kMostBytes] = {};
      if (c > 0) std::memcpy(sum, total(c - 1), static_cast<size_t>(how.sum_bytes));
      how.rows({1, 0, size(c), apart, 1}, in + c * distance, out + c * distance, c == 0, sum);
    }
  });
}

void scan(const Scan& how, int64_t outer, int64_t n, int64_t inner, bool reverse, const char* in,
          char* out) {
  if (outer * n * inner == 0) return;
  const int64_t apart = reverse ? -inner : inner;
  // The first of a column in the direction of the scan.
  const auto first = [&](int64_t o, int64_t column) {
    return ((o * n + (reverse ? n - 1 : 0)) * inner + column) * how.bytes;
  };
  if (inner == 1 && n > kScanned) {
    for (int64_t o = 0; o < outer; ++o) {
      scan_long_row(how, in + first(o, 0), out + first(o, 0), n, apart);
    }
    return;
  }
  const int64_t blocks = (inner + kScannedColumns - 1) / kScannedColumns;
  const int64_t grain = std::max<int64_t>(1, kScanned / (n * std::min(inner, kScannedColumns)));
  parallel_for(outer * blocks, grain, [&](int64_t begin, int64_t end) {
    alignas(kMostBytes) char sums[kScannedColumns * kMostBytes];
    while (begin < end) {
      const int64_t column = begin % blocks * kScannedColumns, at = first(begin / blocks, column);
      const int64_t count = blocks == 1 ? end - begin : 1;
      how.rows({count, n * inner, n, apart, std::min(kScannedColumns, inner - column)}, in + at,
               out + at, true, sums);
      begin += count;
    }
  });
}

}  // namespace

ScanKernel scan_kernel(scalar::Opcode op, ir::DType dtype) {
  const Scan how = with_combiner<Scan>(op, dtype, [](auto f, auto element) -> Scan {
    using F = decltype(f);
    using T = decltype(element);
    using Wide = Computed<T>;
    if constexpr (kCombinesValues<F, T>) {
      return {sizeof(T), sizeof(Wide), scan_rows<F, T>, scan_rows<F, Wide>, total_rows<F, T>};
    } else {
      return {};
    }
  });
  if (!how.rows) return nullptr;
  return [how](int64_t outer, int64_t n, int64_t inner, bool reverse, const void* from, void* to) {
    scan(how, outer, n, inner, reverse, static_cast<const char*>(from), static_cast<char*>(to));
  };
}

}  // namespace jaxmps::cpu
