#include "kernels/cpu/sort.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>
#include <utility>

#include "kernels/cpu/dtype.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

using ir::DType;

constexpr int64_t kSmall = 256;          // below: comparison sort
constexpr int64_t kParallel = 1 << 16;   // from here on a single row is spread over all cores
constexpr int64_t kSortGrain = 1 << 14;  // elements of one chunk of rows

// Key and position: sorted by key, equal keys by position. Narrow keys are packed into one word.
struct Packed {
  uint64_t word;
  static Packed make(uint64_t key, uint64_t position) { return {key << 32 | position}; }
  uint64_t key() const { return word >> 32; }
  uint64_t position() const { return word & 0xffffffffu; }
  bool operator<(const Packed& other) const { return word < other.word; }
};
struct Wide {
  uint64_t bits;
  uint64_t at;
  static Wide make(uint64_t key, uint64_t position) { return {key, position}; }
  uint64_t key() const { return bits; }
  uint64_t position() const { return at; }
  bool operator<(const Wide& other) const {
    return bits != other.bits ? bits < other.bits : at < other.at;
  }
};

template <typename E>
void radix_sort(E* a, E* scratch, int64_t n, int bits) {
  if (n < kSmall) return std::sort(a, a + n);
  const int digit = n < 4096 ? 8 : 11;
  const int passes = (bits + digit - 1) / digit;
  const uint64_t mask = (uint64_t{1} << digit) - 1;
  std::vector<uint32_t> counts(static_cast<size_t>(passes) << digit);
  for (int64_t i = 0; i < n; ++i) {
    uint64_t key = a[i].key();
    for (int p = 0; p < passes; ++p, key >>= digit) ++counts[(p << digit) + (key & mask)];
  }
  E* from = a;
  E* to = scratch;
  for (int p = 0; p < passes; ++p) {
    uint32_t* count = &counts[static_cast<size_t>(p) << digit];
    const int shift = p * digit;
    if (count[from[0].key() >> shift & mask] == n) continue;  // all elements share this digit
    uint32_t sum = 0;
    for (uint64_t d = 0; d <= mask; ++d) sum += std::exchange(count[d], sum);
    for (int64_t i = 0; i < n; ++i) to[count[from[i].key() >> shift & mask]++] = from[i];
    std::swap(from, to);
  }
  if (from != a) std::copy(from, from + n, a);
}

// How many of the first `rank` elements of the merge of a and b come from a.
template <typename E>
int64_t split_merge(const E* a, int64_t na, const E* b, int64_t nb, int64_t rank) {
  int64_t low = std::max<int64_t>(0, rank - nb), high = std::min(rank, na);
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (b[rank - middle - 1] < a[middle]) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// Sorts chunks on all cores and merges them pairwise, each merge on all cores.
template <typename E>
void parallel_sort(E* a, E* scratch, int64_t n, int bits) {
  int64_t chunks = 1;
  while (chunks * 2 <= thread_count() && n / (chunks * 2) >= kParallel / 4) chunks *= 2;
  if (chunks == 1) return radix_sort(a, scratch, n, bits);
  auto bound = [&](int64_t c) { return n * c / chunks; };
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      radix_sort(a + bound(c), scratch + bound(c), bound(c + 1) - bound(c), bits);
    }
  });
  E* from = a;
  E* to = scratch;
  for (int64_t width = 1; width < chunks; width *= 2) {
    // `chunks` pieces of output in all, the same number for each pair of runs.
    parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t piece = begin; piece < end; ++piece) {
        const int64_t pair = piece / (2 * width) * 2 * width;
        const int64_t start = bound(pair), middle = bound(pair + width),
                      stop = bound(pair + 2 * width);
        const E *x = from + start, *y = from + middle;
        const int64_t nx = middle - start, ny = stop - middle;
        const int64_t k0 = bound(piece) - start, k1 = bound(piece + 1) - start;
        const int64_t i0 = split_merge(x, nx, y, ny, k0), i1 = split_merge(x, nx, y, ny, k1);
        std::merge(x + i0, x + i1, y + (k0 - i0), y + (k1 - i1), to + start + k0);
      }
    });
    std::swap(from, to);
  }
  if (from != a) {
    parallel_for(n, kSortGrain,
                 [&](int64_t b, int64_t e) { std::copy(from + b, from + e, a + b); });
  }
}

int key_bits(const SortKey& key) { return 8 * ir::byte_size(key.key_dtype()); }

// The bits of a float as an unsigned integer of the same order.
template <typename U>
U order_float(U bits, U infinity, const SortKey& key) {
  constexpr U kSign = static_cast<U>(U{1} << (8 * sizeof(U) - 1));
  const U magnitude = static_cast<U>(bits & static_cast<U>(~kSign));
  if (key.equal_zeros && magnitude == 0) bits = 0;
  if (key.equal_nans && magnitude > infinity) bits = static_cast<U>(~kSign);
  return static_cast<U>(bits & kSign ? ~bits : bits | kSign);
}

template <typename U, typename Order>
void encode_as(const char* base, int64_t stride, int64_t part, bool descending,
               const uint32_t* permutation, int64_t begin, int64_t end, uint64_t* keys, int shift,
               Order order) {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t at = permutation ? permutation[i] : i;
    U bits;
    std::memcpy(&bits, base + at * stride + part, sizeof(U));
    U ordered = order(bits);
    if (descending) ordered = static_cast<U>(~ordered);
    keys[i] |= static_cast<uint64_t>(ordered) << shift;
  }
}

// Ors the encoded keys of a row, shifted, into keys[begin, end).
void encode(const SortKey& key, const void* row, int64_t stride_elements,
            const uint32_t* permutation, int64_t begin, int64_t end, uint64_t* keys, int shift) {
  const char* base = static_cast<const char*>(row);
  const int64_t stride = stride_elements * ir::byte_size(key.dtype);
  const int64_t part = key.part == SortKey::Part::imag ? ir::byte_size(key.dtype) / 2 : 0;
  auto run = [&]<typename U>(U, auto order) {
    encode_as<U>(base, stride, part, key.descending, permutation, begin, end, keys, shift, order);
  };
  auto flip = [&]<typename U>(U zero) {
    run(zero, [](U x) { return static_cast<U>(x ^ U{1} << (8 * sizeof(U) - 1)); });
  };
  auto same = [&]<typename U>(U zero) { run(zero, [](U x) { return x; }); };
  auto real = [&]<typename U>(U infinity) {
    run(infinity, [&, infinity](U x) { return order_float<U>(x, infinity, key); });
  };
  switch (key.key_dtype()) {
    case DType::s2:
    case DType::s4:
    case DType::s8:
      return flip(uint8_t{});
    case DType::s16:
      return flip(uint16_t{});
    case DType::s32:
      return flip(uint32_t{});
    case DType::s64:
    case DType::index:
      return flip(uint64_t{});
    case DType::u16:
      return same(uint16_t{});
    case DType::u32:
      return same(uint32_t{});
    case DType::u64:
      return same(uint64_t{});
    case DType::f16:
      return real(uint16_t{0x7c00});
    case DType::bf16:
      return real(uint16_t{0x7f80});
    case DType::f32:
      return real(uint32_t{0x7f800000});
    case DType::f64:
      return real(uint64_t{0x7ff0000000000000});
    default:
      return same(uint8_t{});
  }
}

// out[i] = in[order[i]] for one row of one operand.
void permute(int bytes, const void* in, void* out, int64_t stride, const uint32_t* order,
             int64_t begin, int64_t end) {
  with_item(static_cast<size_t>(bytes), [&](auto item) {
    const auto* from = static_cast<const decltype(item)*>(in);
    auto* to = static_cast<decltype(item)*>(out);
    for (int64_t i = begin; i < end; ++i) to[i * stride] = from[order[i] * stride];
  });
}

// Working memory of one row, reused for the rows of a chunk.
struct Work {
  explicit Work(int64_t n) : order(n), keys(n), packed(std::make_unique<Packed[]>(2 * n)) {}
  std::vector<uint32_t> order;
  std::vector<uint64_t> keys;
  std::unique_ptr<Packed[]> packed;
  std::unique_ptr<Wide[]> wide;
};

void for_range(bool parallel, int64_t n, FunctionRef<void(int64_t, int64_t)> body) {
  if (parallel) return parallel_for(n, kSortGrain, body);
  body(0, n);
}

template <typename E>
void sort_pairs(Work& work, E* pairs, int64_t n, int bits, bool first, bool parallel) {
  for_range(parallel, n, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) pairs[i] = E::make(work.keys[i], i);
  });
  if (parallel) {
    parallel_sort(pairs, pairs + n, n, bits);
  } else {
    radix_sort(pairs, pairs + n, n, bits);
  }
  // Positions of a later pass are positions in the order so far.
  std::vector<uint32_t> previous;
  if (!first) previous = work.order;
  for_range(parallel, n, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint64_t at = pairs[i].position();
      work.order[i] = first ? static_cast<uint32_t>(at) : previous[at];
    }
  });
}

// The order of one row: keys in groups of at most 64 bits, least significant group first.
void order_row(const SortPlan& plan, const void* const* rows, Work& work, bool parallel) {
  int last = static_cast<int>(plan.keys.size());
  for (bool first = true; last > 0; first = false) {
    int bits = 0, begin = last;
    while (begin > 0 && bits + key_bits(plan.keys[begin - 1]) <= 64) {
      bits += key_bits(plan.keys[--begin]);
    }
    for_range(parallel, plan.n, [&](int64_t b, int64_t e) {
      std::fill(work.keys.begin() + b, work.keys.begin() + e, 0);
      for (int k = begin, shift = bits; k < last; ++k) {
        const SortKey& key = plan.keys[k];
        shift -= key_bits(key);
        encode(key, rows[key.operand], plan.inner, first ? nullptr : work.order.data(), b, e,
               work.keys.data(), shift);
      }
    });
    if (bits <= 32) {
      sort_pairs(work, work.packed.get(), plan.n, bits, first, parallel);
    } else {
      if (!work.wide) work.wide = std::make_unique<Wide[]>(2 * plan.n);
      sort_pairs(work, work.wide.get(), plan.n, bits, first, parallel);
    }
    last = begin;
  }
}

int64_t row_offset(const SortPlan& plan, int64_t row) {
  return row / plan.inner * plan.n * plan.inner + row % plan.inner;
}

std::vector<const void*> rows_at(const SortPlan& plan, const void* const* in, int64_t offset) {
  std::vector<const void*> rows;
  for (size_t i = 0; i < plan.element_bytes.size(); ++i) {
    rows.push_back(static_cast<const char*>(in[i]) + offset * plan.element_bytes[i]);
  }
  return rows;
}

void apply_order(const SortPlan& plan, const std::vector<const void*>& rows, void* const* out,
                 int64_t offset, const uint32_t* order, bool parallel) {
  for (size_t i = 0; i < rows.size(); ++i) {
    const int bytes = plan.element_bytes[i];
    char* to = static_cast<char*>(out[i]) + offset * bytes;
    for_range(parallel, plan.n, [&](int64_t begin, int64_t end) {
      permute(bytes, rows[i], to, plan.inner, order, begin, end);
    });
  }
}

// Calls work(row offset, state) for all rows, on all cores; state is made once per chunk.
template <typename Make, typename F>
void for_rows(const SortPlan& plan, Make make, F&& work) {
  const int64_t rows = plan.outer * plan.inner;
  parallel_for(rows, std::max<int64_t>(1, kSortGrain / plan.n), [&](int64_t begin, int64_t end) {
    auto state = make();
    for (int64_t row = begin; row < end; ++row) work(row_offset(plan, row), state);
  });
}

}  // namespace

DType SortKey::key_dtype() const { return part == Part::whole ? dtype : ir::real_type(dtype); }

bool can_encode(const SortKey& key) {
  const DType d = key.key_dtype();
  return !ir::is_complex(d) && !(d >= DType::f8e5m2 && d <= DType::f6e3m2fn);
}

void sort(const SortPlan& plan, const void* const* in, void* const* out) {
  const int64_t rows = plan.outer * plan.inner;
  if (rows == 0 || plan.n == 0) return;
  if (plan.n >= kParallel && rows < 2 * thread_count()) {
    Work work(plan.n);
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t offset = row_offset(plan, row);
      const auto at = rows_at(plan, in, offset);
      order_row(plan, at.data(), work, true);
      apply_order(plan, at, out, offset, work.order.data(), true);
    }
    return;
  }
  for_rows(
      plan, [&] { return Work(plan.n); },
      [&](int64_t offset, Work& work) {
        const auto at = rows_at(plan, in, offset);
        order_row(plan, at.data(), work, false);
        apply_order(plan, at, out, offset, work.order.data(), false);
      });
}

void sort_by(const SortPlan& plan, const std::function<Before(const void* const*)>& make_before,
             const void* const* in, void* const* out) {
  if (plan.outer * plan.inner == 0 || plan.n == 0) return;
  struct State {
    Before before;
    std::vector<uint32_t> order;
  };
  auto make = [&] { return State{make_before(in), std::vector<uint32_t>(plan.n)}; };
  for_rows(plan, make, [&](int64_t offset, State& state) {
    std::iota(state.order.begin(), state.order.end(), 0u);
    std::stable_sort(state.order.begin(), state.order.end(), [&](uint32_t a, uint32_t b) {
      return state.before(offset + a * plan.inner, offset + b * plan.inner);
    });
    apply_order(plan, rows_at(plan, in, offset), out, offset, state.order.data(), false);
  });
}

void top_k(DType dtype, int64_t rows, int64_t n, int64_t k, const void* in, void* values,
           int32_t* indices) {
  if (rows == 0 || k == 0) return;
  const SortKey key{.operand = 0, .dtype = dtype, .descending = true};
  const int bytes = ir::byte_size(dtype);
  auto select = [&]<typename E>(E) {
    parallel_for(rows, std::max<int64_t>(1, kSortGrain / n), [&](int64_t begin, int64_t end) {
      std::vector<uint64_t> keys(n);
      std::vector<E> pairs(n);
      std::vector<uint32_t> order(k);
      for (int64_t row = begin; row < end; ++row) {
        const char* from = static_cast<const char*>(in) + row * n * bytes;
        std::fill(keys.begin(), keys.end(), 0);
        encode(key, from, 1, nullptr, 0, n, keys.data(), 0);
        for (int64_t i = 0; i < n; ++i) pairs[i] = E::make(keys[i], i);
        if (k < n) std::nth_element(pairs.begin(), pairs.begin() + k, pairs.end());
        std::sort(pairs.begin(), pairs.begin() + k);
        for (int64_t i = 0; i < k; ++i) {
          order[i] = static_cast<uint32_t>(pairs[i].position());
          indices[row * k + i] = static_cast<int32_t>(order[i]);
        }
        permute(bytes, from, static_cast<char*>(values) + row * k * bytes, 1, order.data(), 0, k);
      }
    });
  };
  bytes <= 4 ? select(Packed{}) : select(Wide{});
}

}  // namespace jaxmps::cpu
