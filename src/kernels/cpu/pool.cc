#include "kernels/cpu/pool.h"

#include <algorithm>
#include <numeric>

#include "kernels/cpu/combine.h"
#include "kernels/cpu/loop.h"
#include "kernels/cpu/strided_copy.h"
#include "kernels/cpu/threads.h"
#include "kernels/cpu/widen.h"

namespace jaxmps::cpu {
namespace {

constexpr int64_t kGrain = 1 << 14;  // combinations worth one task

// How many elements the operand has, and how many windows there are.
int64_t elements_of(const WindowDims& dims) {
  int64_t total = 1;
  for (const WindowDim& dim : dims) total *= dim.in;
  return total;
}
int64_t windows_of(const WindowDims& dims) {
  int64_t total = 1;
  for (const WindowDim& dim : dims) total *= dim.out;
  return total;
}

// What a window holds of the input along one dimension.
struct Run {
  int64_t first, count;
  int64_t alike = 1;  // this window, and those after it in periods that hold as much
};
class Runs {
 public:
  explicit Runs(const WindowDim& dim)
      : dim_(dim),
        every_(dim.base_dilation / std::gcd(dim.base_dilation, dim.window_dilation)),
        period_(dim.base_dilation / std::gcd(dim.base_dilation, dim.stride)) {
    const int64_t room =
        (dim.in - 1) * dim.base_dilation + 1 + dim.pad_low - (dim.window - 1) * dim.window_dilation;
    if (room <= 0) return;
    full_from_ = dim.pad_low <= 0 ? 0 : (dim.pad_low - 1) / dim.stride + 1;
    full_to_ = std::min(dim.out, (room - 1) / dim.stride + 1);
  }
  int64_t period() const { return period_; }
  // How many positions windows move in a period, and lie between those of a run.
  int64_t advance() const { return period_ * dim_.stride / dim_.base_dilation; }
  int64_t apart() const { return every_ * dim_.window_dilation / dim_.base_dilation; }

  Run of(int64_t window) const {
    const int64_t origin = window * dim_.stride - dim_.pad_low;
    const int64_t base = dim_.base_dilation, step = dim_.window_dilation;
    const bool is_full = window >= full_from_ && window < full_to_;
    if (is_full && base == 1) return {origin, dim_.window, full_to_ - window};
    const int64_t room = (dim_.in - 1) * base + 1 - origin;
    const int64_t end = std::min(dim_.window, room <= 0 ? 0 : (room - 1) / step + 1);
    int64_t k = origin >= 0 ? 0 : (-origin - 1) / step + 1;
    while (k < end && (origin + k * step) % base != 0) ++k;
    const int64_t alike = is_full ? (full_to_ - window - 1) / period_ + 1 : 1;
    if (k >= end) return {0, 0, alike};
    return {(origin + k * step) / base, (end - k - 1) / every_ + 1, alike};
  }

 private:
  WindowDim dim_;
  int64_t every_, period_;               // elements of a window, and windows, up to one alike
  int64_t full_from_ = 0, full_to_ = 0;  // these windows lie inside
};

// --- reduce_window -------------------------------------------------------------------------------

// Windows that hold so many rows of columns each; and the elements from each to the next, also in
// the result.
struct Windows {
  int64_t n, advance, out_advance;
  int64_t rows, apart;
  int64_t columns;
};
// Reduces each window to a row.
using FoldRows = void (*)(const Windows& windows, const void* init, const void* in, void* out);
struct Fold {
  size_t bytes = 0;  // of an element
  FoldRows rows = nullptr;
};

template <typename F, typename T>
void fold_rows(const Windows& windows, const void* init, const void* in, void* out) {
  const auto [n, advance, out_advance, rows, apart, columns] = windows;
  const T first = *static_cast<const T*>(init);
  for (int64_t i = 0; i < n; ++i) {
    const T* from = static_cast<const T*>(in) + i * advance;
    T* to = static_cast<T*>(out) + i * out_advance;
    if (columns == 1) {
      T sum = first;
      for (int64_t k = 0; k < rows; ++k) sum = F::call(sum, from[k * apart]);
      *to = sum;
      continue;
    }
    if (rows == 0) std::fill_n(to, columns, first);
    for (int64_t k = 0; k < rows; ++k, from += apart) {
      if (k == 0) {
        JAXMPS_LOOP
        for (int64_t j = 0; j < columns; ++j) to[j] = F::call(first, from[j]);
      } else {
        JAXMPS_LOOP
        for (int64_t j = 0; j < columns; ++j) to[j] = F::call(to[j], from[j]);
      }
    }
  }
}

// The reduction along one dimension of [outer, dim.in, inner] into [outer, dim.out, inner].
void fold_dimension(const Fold& fold, const WindowDim& dim, int64_t outer, int64_t inner,
                    const void* init, const void* in, void* out) {
  if (outer * inner == 0) return;
  const Runs runs(dim);
  const int64_t grain = std::max<int64_t>(1, kGrain / (inner * dim.window));
  const auto bytes = [&](int64_t rows) { return static_cast<size_t>(rows * inner) * fold.bytes; };
  const bool side_by_side = inner == 1 && runs.period() == 1 && runs.advance() == 1;
  parallel_for(outer * dim.out, grain, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin / dim.out, window = begin % dim.out; begin < end; ++o, window = 0) {
      const int64_t some = std::min(end - begin, dim.out - window);
      for (int64_t phase = 0; phase < std::min(some, runs.period()); ++phase) {
        for (int64_t i = phase; i < some;) {
          const Run run = runs.of(window + i);
          const int64_t n = std::min(run.alike, (some - i - 1) / runs.period() + 1);
          const Windows windows =
              side_by_side ? Windows{1, 0, 0, run.count, runs.apart(), n}
                           : Windows{n,         runs.advance() * inner, runs.period() * inner,
                                     run.count, runs.apart() * inner,   inner};
          fold.rows(windows, init, static_cast<const char*>(in) + bytes(o * dim.in + run.first),
                    static_cast<char*>(out) + bytes(begin + i));
          i += n * runs.period();
        }
      }
      begin += some;
    }
  });
}

// A rectangular window is reduced one dimension after another, the most shrinking first.
void fold_dimensions(const Fold& fold, const WindowDims& dims, const void* init, const void* in,
                     void* out) {
  std::vector<size_t> order;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (!dims[d].is_trivial()) order.push_back(d);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return dims[a].out * dims[b].in < dims[b].out * dims[a].in;
  });
  if (order.empty()) {
    return parallel_for(elements_of(dims), kGrain, [&](int64_t begin, int64_t end) {
      const size_t offset = static_cast<size_t>(begin) * fold.bytes;
      fold.rows({1, 0, 0, 1, 0, end - begin}, init, static_cast<const char*>(in) + offset,
                static_cast<char*>(out) + offset);
    });
  }
  std::vector<int64_t> extents;
  for (const WindowDim& dim : dims) extents.push_back(dim.in);
  const auto product = [&](size_t from, size_t to) {
    return std::accumulate(extents.begin() + static_cast<int64_t>(from),
                           extents.begin() + static_cast<int64_t>(to), int64_t{1},
                           std::multiplies());
  };
  const std::vector<int64_t> ins = extents;
  int64_t largest = 0;
  for (const size_t d : order) {
    extents[d] = dims[d].out;
    largest = std::max(largest, product(0, dims.size()));
  }
  extents = ins;
  const size_t passes = order.size(), bytes = static_cast<size_t>(largest) * fold.bytes;
  const Scratch first(passes > 1 ? bytes : 0), second(passes > 2 ? bytes : 0);
  void* const halves[2] = {first.as<void>(), second.as<void>()};
  for (size_t i = 0; i < passes; ++i) {
    const size_t d = order[i];
    void* to = i + 1 == passes ? out : halves[i % 2];
    fold_dimension(fold, dims[d], product(0, d), product(d + 1, dims.size()), init, in, to);
    extents[d] = dims[d].out;
    in = to;
  }
}

// --- select_and_scatter --------------------------------------------------------------------------

constexpr int64_t kSelected = 64;  // columns selected at once

// Rows of elements, `inner` from each to the next, of which `columns` are looked at.
struct Rows {
  const void* from;
  int64_t count, inner, columns;
  int64_t index;  // of the first row among all
};
// The best of each column and the row it is in.
struct Kept {
  alignas(uint64_t) char best[kSelected * sizeof(uint64_t)] = {};
  int64_t place[kSelected] = {};
};
// `begins` if none has been kept. Orders are turned round by what is flipped in each element.
using SelectRows = void (*)(const Rows& rows, bool begins, uint64_t flip, Kept& kept);
// Adds n elements to the rows and the columns they have been selected from.
using AddAt = void (*)(const void* source, int64_t n, const int64_t* place, int64_t inner,
                       void* out);
struct Selection {
  size_t bytes = 0;  // of an element
  SelectRows select = nullptr;
  AddAt add = nullptr;
  uint64_t flip = 0;
};

template <typename T>
T flipped(T x, uint64_t flip) {
  if constexpr (std::is_floating_point_v<T>) {
    using Bits = decltype(bits_of(x));
    return from_bits(Bits(bits_of(x) ^ Bits(flip)));
  } else {
    return T(x ^ T(flip));
  }
}

// A tie, or a NaN, is settled as HLO says: the earlier one stays only when the comparison holds.
template <typename T, bool ties>
void select_rows(const Rows& rows, bool begins, uint64_t flip, Kept& kept) {
  const T* from = static_cast<const T*>(rows.from);
  T* best = reinterpret_cast<T*>(kept.best);
  int64_t* place = kept.place;
  const int64_t columns = rows.columns;
  for (int64_t k = 0; k < rows.count; ++k, from += rows.inner) {
    const int64_t index = rows.index + k;
    const bool takes = begins && k == 0;
    JAXMPS_LOOP
    for (int64_t j = 0; j < columns; ++j) {
      const T next = flipped(from[j], flip);
      const bool stays = !takes && (ties ? best[j] >= next : best[j] > next);
      best[j] = stays ? best[j] : next;
      place[j] = stays ? place[j] : index;
    }
  }
}

template <typename T>
void add_at(const void* source, int64_t n, const int64_t* place, int64_t inner, void* out) {
  const T* from = static_cast<const T*>(source);
  for (int64_t j = 0; j < n; ++j) {
    T& to = static_cast<T*>(out)[place[j] * inner + j];
    to = scalar::add_of(to, from[j]);
  }
}

// The dimensions from the first to the last that has a window; what lies before and after them is
// independent, so tasks never meet in `out`.
struct Region {
  WindowDims dims;
  std::vector<Runs> runs;
  int64_t outer = 1, inner = 1;
  int64_t ins = 1,
          outs = 1;  // elements of the operand and of the source, per outer and inner index
};

Region region_of(const WindowDims& dims) {
  size_t begin = 0, end = dims.size();
  Region region;
  while (begin < end && dims[begin].is_trivial()) region.outer *= dims[begin++].in;
  while (end > begin && dims[end - 1].is_trivial()) region.inner *= dims[--end].in;
  region.dims.assign(dims.begin() + static_cast<int64_t>(begin),
                     dims.begin() + static_cast<int64_t>(end));
  if (region.dims.empty()) region.dims.emplace_back();
  for (const WindowDim& dim : region.dims) region.runs.emplace_back(dim);
  region.ins = elements_of(region.dims);
  region.outs = windows_of(region.dims);
  return region;
}

class Scatter {
 public:
  Scatter(const Selection& how, const Region& region, const void* operand, const void* source,
          void* out)
      : how_(how),
        region_(region),
        operand_(static_cast<const char*>(operand)),
        source_(static_cast<const char*>(source)),
        out_(static_cast<char*>(out)) {}

  // Columns [j0, j0 + columns) of one outer index.
  void run(int64_t outer, int64_t j0, int64_t columns) const {
    const size_t rank = region_.dims.size();
    const int64_t inner = region_.inner;
    const char* operand = operand_ + bytes(outer * region_.ins * inner + j0);
    char* out = out_ + bytes(outer * region_.ins * inner + j0);
    std::vector<int64_t> at(rank), window(rank);
    std::vector<Run> runs(rank);
    Kept kept;
    for (int64_t position = 0; position < region_.outs; ++position) {
      bool empty = false;
      for (size_t d = 0; d < rank; ++d) {
        runs[d] = region_.runs[d].of(at[d]);
        empty = empty || runs[d].count == 0;
      }
      if (!empty) {
        select(operand, runs, window, columns, kept);
        const int64_t from = (outer * region_.outs + position) * inner + j0;
        how_.add(source_ + bytes(from), columns, kept.place, inner, out);
      }
      for (size_t d = rank; d-- > 0;) {
        if (++at[d] < region_.dims[d].out) break;
        at[d] = 0;
      }
    }
  }

 private:
  size_t bytes(int64_t elements) const { return static_cast<size_t>(elements) * how_.bytes; }

  // The rows of one window.
  void select(const char* operand, const std::vector<Run>& runs, std::vector<int64_t>& window,
              int64_t columns, Kept& kept) const {
    const size_t last = runs.size() - 1;
    for (bool begins = true;; begins = false) {
      int64_t index = 0;
      for (size_t d = 0; d < last; ++d) {
        index = index * region_.dims[d].in + runs[d].first + window[d];
      }
      index = index * region_.dims[last].in + runs[last].first;
      how_.select(
          {operand + bytes(index * region_.inner), runs[last].count, region_.inner, columns, index},
          begins, how_.flip, kept);
      size_t d = last;
      for (; d > 0 && ++window[d - 1] == runs[d - 1].count; --d) window[d - 1] = 0;
      if (d == 0) return;
    }
  }

  const Selection& how_;
  const Region& region_;
  const char* const operand_;
  const char* const source_;
  char* const out_;
};

void scatter(const Selection& how, const WindowDims& dims, const void* operand, const void* source,
             const void* init, void* out) {
  const Region region = region_of(dims);
  fill(how.bytes, init, region.outer * region.ins * region.inner, out);
  if (region.outer * region.outs * region.inner == 0) return;
  const int64_t chunks = (region.inner + kSelected - 1) / kSelected;
  const int64_t each = region.outs * std::min(kSelected, region.inner);
  parallel_for(region.outer * chunks, std::max<int64_t>(1, 4096 / each),
               [&](int64_t begin, int64_t end) {
                 const Scatter scatter(how, region, operand, source, out);
                 for (int64_t task = begin; task < end; ++task) {
                   const int64_t j0 = task % chunks * kSelected;
                   scatter.run(task / chunks, j0, std::min(kSelected, region.inner - j0));
                 }
               });
}

Selection selection_of(ir::CompareDirection direction, DType type) {
  using ir::CompareDirection;
  const bool ties = direction == CompareDirection::ge || direction == CompareDirection::le;
  const bool turned = direction == CompareDirection::lt || direction == CompareDirection::le;
  if (direction == CompareDirection::eq || direction == CompareDirection::ne ||
      type == DType::pred) {
    return {};
  }
  return with_element(scalar::without_sign(type), [&](auto element) -> Selection {
    using T = Computed<decltype(element)>;
    const uint64_t sign = uint64_t{1} << (8 * std::min(sizeof(T), sizeof(uint64_t)) - 1);
    if constexpr (kComplex<T>) {
      return {};
    } else if constexpr (std::is_integral_v<T>) {
      using S = std::make_signed_t<T>;
      return {sizeof(T), ties ? select_rows<S, true> : select_rows<S, false>, add_at<T>,
              (ir::is_signed_int(type) ? 0 : sign) ^ (turned ? ~uint64_t{0} : 0)};
    } else {
      return {sizeof(T), ties ? select_rows<T, true> : select_rows<T, false>, add_at<T>,
              turned ? sign : 0};
    }
  });
}

}  // namespace

ReduceWindow make_reduce_window(Opcode op, DType type, const WindowDims& dims) {
  constexpr int64_t kLong = 16;  // times as often is each element read
  if (std::any_of(dims.begin(), dims.end(),
                  [](const WindowDim& dim) { return dim.window / dim.stride > kLong; }))
    return nullptr;
  const Fold fold = with_combiner<Fold>(op, type, [](auto f, auto element) -> Fold {
    using F = decltype(f);
    using T = Computed<decltype(element)>;
    if constexpr (kCombinesValues<F, T>) return {sizeof(T), fold_rows<F, T>};
    return {};
  });
  if (!fold.rows) return nullptr;
  return [=](const void* in, const void* init, void* out) {
    const int64_t windows = windows_of(dims);
    if (windows == 0) return;
    if (!is_half(type)) return fold_dimensions(fold, dims, init, in, out);
    const Widened wide(type, in, elements_of(dims)), first(type, init, 1), sums(windows);
    fold_dimensions(fold, dims, first.data(), wide.data(), sums.data());
    sums.narrow(type, out);
  };
}

SelectAndScatter make_select_and_scatter(ir::CompareDirection select, DType type,
                                         const WindowDims& dims) {
  const Selection how = selection_of(select, type);
  if (!how.select) return nullptr;
  return [=](const void* operand, const void* source, const void* init, void* out) {
    if (!is_half(type)) return scatter(how, dims, operand, source, init, out);
    const int64_t ins = elements_of(dims);
    const Widened wide(type, operand, ins), wide_source(type, source, windows_of(dims));
    const Widened first(type, init, 1), sums(ins);
    scatter(how, dims, wide.data(), wide_source.data(), first.data(), sums.data());
    sums.narrow(type, out);
  };
}

}  // namespace jaxmps::cpu
