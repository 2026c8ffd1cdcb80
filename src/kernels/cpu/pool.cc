#include "kernels/cpu/pool.h"

#include <algorithm>

#include "kernels/cpu/pool_parts.h"

namespace jaxmps::cpu {
namespace {

constexpr int64_t kChunk = 256;      // columns a task scans at once
constexpr int64_t kGrain = 1 << 14;  // combinations worth one task

struct Add {
  template <typename T>
  static T apply(T a, T b) {
    return scalar::add_of(a, b);
  }
};

struct Mul {
  template <typename T>
  static T apply(T a, T b) {
    if constexpr (kComplex<T>) {
      return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
    } else {
      return scalar::mul_of(a, b);
    }
  }
};

struct Max {
  template <typename T>
  static T apply(T a, T b) {
    return scalar::max_of(a, b);
  }
};

struct Min {
  template <typename T>
  static T apply(T a, T b) {
    return scalar::min_of(a, b);
  }
};

// The reduction along one dimension of [outer, dim.in, inner] into [outer, dim.out(), inner].
template <typename T, typename Op>
struct Pass {
  WindowDim dim;
  int64_t outer, inner;
  T init;

  void run(const T* in, T* out) const {
    if (outer * inner == 0) return;
    if (is_prefix()) return scan(in, out, false);
    if (is_suffix()) return scan(in, out, true);
    if (inner == 1) return along_last(in, out);
    const int64_t outs = dim.out();
    const int64_t grain = std::max<int64_t>(1, kGrain / (inner * dim.window));
    parallel_for(outer * outs, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        T* to = out + i * inner;
        for (int64_t j = 0; j < inner; ++j) to[j] = init;
        for_window(i % outs, [&](int64_t at) {
          const T* from = in + (i / outs * dim.in + at) * inner;
          for (int64_t j = 0; j < inner; ++j) to[j] = Op::apply(to[j], from[j]);
        });
      }
    });
  }

  // Every output meets all inputs up to its own place: a cumulative reduction.
  bool is_prefix() const {
    return is_plain() && dim.pad_low == dim.window - 1 && dim.pad_high == 0 && dim.window >= dim.in;
  }
  bool is_suffix() const {
    return is_plain() && dim.pad_high == dim.window - 1 && dim.pad_low == 0 && dim.window >= dim.in;
  }
  bool is_plain() const {
    return dim.stride == 1 && dim.base_dilation == 1 && dim.window_dilation == 1 && dim.in > 0;
  }

  // Calls body(position in the input) for the elements of the window of output s.
  template <typename Body>
  void for_window(int64_t s, const Body& body) const {
    if (dim.base_dilation == 1) {
      const WindowRange range = inside(dim, s);
      const int64_t origin = s * dim.stride - dim.pad_low;
      for (int64_t w = range.first; w < range.last; ++w) body(origin + w * dim.window_dilation);
      return;
    }
    for (int64_t w = 0; w < dim.window; ++w) {
      const int64_t at = s * dim.stride - dim.pad_low + w * dim.window_dilation;
      if (at < 0 || at % dim.base_dilation != 0 || at / dim.base_dilation >= dim.in) continue;
      body(at / dim.base_dilation);
    }
  }

  void along_last(const T* in, T* out) const {
    const int64_t outs = dim.out();
    const int64_t grain = std::max<int64_t>(1, kGrain / dim.window);
    parallel_for(outer * outs, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* from = in + i / outs * dim.in;
        T sum = init;
        for_window(i % outs, [&](int64_t at) { sum = Op::apply(sum, from[at]); });
        out[i] = sum;
      }
    });
  }

  void scan(const T* in, T* out, bool backward) const {
    const int64_t chunks = (inner + kChunk - 1) / kChunk;
    const int64_t width = std::min(inner, kChunk);
    const int64_t grain = std::max<int64_t>(1, kGrain / (width * dim.in));
    parallel_for(outer * chunks, grain, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t j0 = task % chunks * kChunk;
        const int64_t base = task / chunks * dim.in * inner + j0;
        scan_columns(in + base, out + base, std::min(kChunk, inner - j0), backward);
      }
    });
  }

  void scan_columns(const T* in, T* out, int64_t columns, bool backward) const {
    T sums[kChunk];
    for (int64_t j = 0; j < columns; ++j) sums[j] = init;
    for (int64_t s = 0; s < dim.in; ++s) {
      const int64_t at = (backward ? dim.in - 1 - s : s) * inner;
      for (int64_t j = 0; j < columns; ++j) {
        sums[j] = Op::apply(sums[j], in[at + j]);
        out[at + j] = sums[j];
      }
    }
  }
};

std::vector<int64_t> extents_of(const std::vector<WindowDim>& dims) {
  std::vector<int64_t> extents;
  extents.reserve(dims.size());
  for (const WindowDim& dim : dims) extents.push_back(dim.in);
  return extents;
}

bool is_trivial(const WindowDim& d) {
  return d.window == 1 && d.stride == 1 && d.pad_low == 0 && d.pad_high == 0 &&
         d.base_dilation == 1;
}

// A rectangular window is reduced one dimension after another, the most shrinking first.
template <typename T, typename Op>
void by_dimension(const ReduceWindow& r, const T* in, T init, T* out) {
  std::vector<int64_t> extents = extents_of(r.dims);
  std::vector<size_t> order;
  for (size_t d = 0; d < r.dims.size(); ++d) {
    if (!is_trivial(r.dims[d])) order.push_back(d);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return r.dims[a].out() * r.dims[b].in < r.dims[b].out() * r.dims[a].in;
  });
  if (order.empty()) {
    const int64_t n = product(extents);
    parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = Op::apply(init, in[i]);
    });
    return;
  }
  int64_t largest = 0;
  std::vector<int64_t> sizes = extents;
  for (size_t d : order) {
    sizes[d] = r.dims[d].out();
    largest = std::max(largest, product(sizes));
  }
  const size_t passes = order.size();
  Scratch first(passes > 1 ? static_cast<size_t>(largest) * sizeof(T) : 0);
  Scratch second(passes > 2 ? static_cast<size_t>(largest) * sizeof(T) : 0);
  T* const halves[2] = {first.as<T>(), second.as<T>()};
  for (size_t i = 0; i < passes; ++i) {
    const size_t d = order[i];
    const std::span<const int64_t> all(extents);
    const Pass<T, Op> pass{r.dims[d], product(all.first(d)), product(all.subspan(d + 1)), init};
    T* to = i + 1 == passes ? out : halves[i % 2];
    pass.run(in, to);
    extents[d] = r.dims[d].out();
    in = to;
  }
}

// With an init that is no identity the padding counts: every cell of the window, one by one.
template <typename T, typename Op>
void by_cell(const ReduceWindow& r, const T* in, T init, T* out) {
  const size_t rank = r.dims.size();
  int64_t outs = 1, cells = 1;
  for (const WindowDim& dim : r.dims) {
    outs *= dim.out();
    cells *= dim.window;
  }
  parallel_for(outs, std::max<int64_t>(1, kGrain / cells), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T sum = init;
      for (int64_t w = 0; w < cells; ++w) {
        int64_t out_rest = i, cell_rest = w, at = 0, size = 1;
        bool is_inside = true;
        for (size_t d = rank; d-- > 0;) {
          const WindowDim& dim = r.dims[d];
          const int64_t x = out_rest % dim.out() * dim.stride - dim.pad_low +
                            cell_rest % dim.window * dim.window_dilation;
          out_rest /= dim.out();
          cell_rest /= dim.window;
          is_inside =
              is_inside && x >= 0 && x % dim.base_dilation == 0 && x / dim.base_dilation < dim.in;
          at += x / dim.base_dilation * size;
          size *= dim.in;
        }
        sum = Op::apply(sum, is_inside ? in[at] : init);
      }
      out[i] = sum;
    }
  });
}

template <typename T>
void reduce_dense(const ReduceWindow& r, const T* in, T init, T* out) {
  switch (r.op) {
    case Reduction::kAdd:
      return init == T(0) ? by_dimension<T, Add>(r, in, init, out)
                          : by_cell<T, Add>(r, in, init, out);
    case Reduction::kMul:
      return init == T(1) ? by_dimension<T, Mul>(r, in, init, out)
                          : by_cell<T, Mul>(r, in, init, out);
    default:
      break;
  }
  if constexpr (!kComplex<T>) {
    // The init may be met any number of times: these reductions are idempotent.
    if (r.op == Reduction::kMax) return by_dimension<T, Max>(r, in, init, out);
    by_dimension<T, Min>(r, in, init, out);
  }
}

template <typename T>
void reduce_as(const ReduceWindow& r, const void* in, const void* init, void* out) {
  reduce_dense<T>(r, static_cast<const T*>(in), *static_cast<const T*>(init), static_cast<T*>(out));
}

template <typename Half>
void reduce_half(const ReduceWindow& r, const void* in, const void* init, void* out) {
  int64_t ins = 1, outs = 1;
  for (const WindowDim& dim : r.dims) {
    ins *= dim.in;
    outs *= dim.out();
  }
  Scratch wide(static_cast<size_t>(ins) * sizeof(float));
  Scratch sums(static_cast<size_t>(outs) * sizeof(float));
  convert_items(static_cast<const Half*>(in), wide.as<float>(), ins);
  reduce_dense<float>(r, wide.as<float>(), *static_cast<const Half*>(init), sums.as<float>());
  convert_items(sums.as<float>(), static_cast<Half*>(out), outs);
}

void reduce(const ReduceWindow& r, const void* in, const void* init, void* out) {
  if (r.type == DType::pred) {
    ReduceWindow b = r;  // of zeros and ones, on which max is "or" and min is "and"
    const bool either = r.op == Reduction::kAdd || r.op == Reduction::kMax;
    b.op = either ? Reduction::kMax : Reduction::kMin;
    return reduce_as<uint8_t>(b, in, init, out);
  }
  with_element(r.type, [&](auto element) {
    using T = decltype(element);
    if constexpr (kHalf<T>) {
      reduce_half<T>(r, in, init, out);
    } else {
      reduce_as<T>(r, in, init, out);
    }
  });
}

}  // namespace

int64_t WindowDim::out() const {
  const int64_t padded = (in > 0 ? (in - 1) * base_dilation + 1 : 0) + pad_low + pad_high;
  const int64_t covered = window > 0 ? (window - 1) * window_dilation + 1 : 0;
  return padded < covered ? 0 : (padded - covered) / stride + 1;
}

bool reduce_window_supported(DType type, Reduction op) {
  const bool complex = type == DType::c64 || type == DType::c128;
  return !complex || op == Reduction::kAdd || op == Reduction::kMul;
}

void reduce_window(const ReduceWindow& r, const void* in, const void* init, void* out) {
  std::vector<int64_t> strides;
  for (const WindowDim& dim : r.dims) {
    if (dim.out() == 0) return;
    strides.push_back(dim.in_stride);
  }
  const Dense dense(ir::byte_size(r.type), extents_of(r.dims), strides, in);
  reduce(r, dense.data(), init, out);
}

}  // namespace jaxmps::cpu
