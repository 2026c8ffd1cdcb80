#include "kernels/cpu/pool.h"

#include <algorithm>
#include <numeric>

#include "kernels/cpu/pool_parts.h"

namespace jaxmps::cpu {
namespace {

constexpr int64_t kGrain = 1 << 14;  // combinations worth one task

// The reduction along one dimension of [outer, dim.in, inner] into [outer, dim.out(), inner].
template <typename T, typename F>
struct Pass {
  WindowDim dim;
  int64_t outer, inner;
  T init;

  void run(const T* in, T* out) const {
    if (outer * inner == 0) return;
    if (inner == 1) return along_last(in, out);
    const int64_t outs = dim.out;
    const int64_t grain = std::max<int64_t>(1, kGrain / (inner * dim.window));
    parallel_for(outer * outs, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        T* to = out + i * inner;
        for (int64_t j = 0; j < inner; ++j) to[j] = init;
        for_window(i % outs, [&](int64_t at) {
          const T* from = in + (i / outs * dim.in + at) * inner;
          for (int64_t j = 0; j < inner; ++j) to[j] = F::call(to[j], from[j]);
        });
      }
    });
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
      if (const int64_t at = dim.source(s, w); at >= 0) body(at);
    }
  }

  void along_last(const T* in, T* out) const {
    const int64_t outs = dim.out;
    const int64_t grain = std::max<int64_t>(1, kGrain / dim.window);
    parallel_for(outer * outs, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* from = in + i / outs * dim.in;
        T sum = init;
        for_window(i % outs, [&](int64_t at) { sum = F::call(sum, from[at]); });
        out[i] = sum;
      }
    });
  }
};

// A rectangular window is reduced one dimension after another, the most shrinking first.
template <typename T, typename F>
void by_dimension(const WindowDims& dims, const T* in, T init, T* out) {
  std::vector<size_t> order;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (!dims[d].is_trivial()) order.push_back(d);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return dims[a].out * dims[b].in < dims[b].out * dims[a].in;
  });
  if (order.empty()) {
    parallel_for(elements_of(dims), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = F::call(init, in[i]);
    });
    return;
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
  const size_t passes = order.size();
  const Scratch first(passes > 1 ? static_cast<size_t>(largest) * sizeof(T) : 0);
  const Scratch second(passes > 2 ? static_cast<size_t>(largest) * sizeof(T) : 0);
  T* const halves[2] = {first.as<T>(), second.as<T>()};
  for (size_t i = 0; i < passes; ++i) {
    const size_t d = order[i];
    const Pass<T, F> pass{dims[d], product(0, d), product(d + 1, dims.size()), init};
    T* to = i + 1 == passes ? out : halves[i % 2];
    pass.run(in, to);
    extents[d] = dims[d].out;
    in = to;
  }
}

template <typename F, typename T>
void reduce(const WindowDims& dims, const void* in, const void* init, void* out) {
  if (windows_of(dims) == 0) return;
  const T* from = static_cast<const T*>(in);
  const T first = *static_cast<const T*>(init);
  T* to = static_cast<T*>(out);
  if constexpr (kHalf<T>) {
    const Widened wide(from, elements_of(dims)), sums(windows_of(dims));
    by_dimension<float, F>(dims, wide.data(), first, sums.data());
    convert_items(sums.data(), to, windows_of(dims));
  } else {
    by_dimension<T, F>(dims, from, first, to);
  }
}

}  // namespace

ReduceWindow make_reduce_window(Opcode op, DType type, const WindowDims& dims) {
  constexpr int64_t kLong = 16;  // times as often is each element read
  if (std::any_of(dims.begin(), dims.end(),
                  [](const WindowDim& dim) { return dim.window / dim.stride > kLong; }))
    return nullptr;
  return with_combiner<ReduceWindow>(op, type, [&](auto f, auto element) -> ReduceWindow {
    using F = decltype(f);
    using T = decltype(element);
    if constexpr (kCombinesValues<F, T>) {
      return [dims](const void* in, const void* init, void* out) {
        reduce<F, T>(dims, in, init, out);
      };
    } else {
      return nullptr;
    }
  });
}

}  // namespace jaxmps::cpu
