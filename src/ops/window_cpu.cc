// CPU kernels of reduce_window and select_and_scatter: one pass over the windows, in parallel over
// the result. The innermost dimension is a vector where no window extends along it (NHWC pooling).
#include <algorithm>
#include <new>

#include "kernels/cpu/dtype.h"
#include "kernels/cpu/threads.h"
#include "ops/window.h"

namespace jaxmps::ops {
namespace {

using ir::OpId;

// 16-bit floats add up in float32.
template <typename T>
struct Accumulator {
  using type = T;
};
template <>
struct Accumulator<cpu::BF16> {
  using type = float;
};
template <>
struct Accumulator<cpu::F16> {
  using type = float;
};

template <OpId id, typename A>
A combine(A a, A b) {
  if constexpr (id == OpId::add) {
    if constexpr (std::is_integral_v<A>) {
      using U = std::make_unsigned_t<A>;
      return static_cast<A>(static_cast<U>(static_cast<U>(a) + static_cast<U>(b)));
    } else {
      return a + b;
    }
  } else if constexpr (id == OpId::maximum) {
    return a > b || a != a ? a : b;
  } else {
    return a < b || a != a ? a : b;
  }
}

int64_t product(const WindowDims& dims, size_t from, size_t to, bool of_output) {
  int64_t size = 1;
  for (size_t d = from; d < to; ++d) size *= of_output ? dims[d].output : dims[d].input;
  return size;
}

// The walk shared by both kernels. Dimensions [0, split) have windows (or none at all); those from
// `split` on are one contiguous vector.
struct Walk {
  WindowDims dims;
  size_t split = 0;
  int64_t vector = 1;
  ir::Dims strides;  // of the operand, in elements

  explicit Walk(const WindowDims& all) : dims(all), split(all.size()) {
    while (split > 0 && dims[split - 1].trivial()) --split;
    vector = product(dims, split, dims.size(), false);
    strides.assign(split, vector);
    for (size_t d = split; d-- > 1;) strides[d - 1] = strides[d] * dims[d].input;
  }
  int64_t windows() const { return product(dims, 0, split, true); }

  // The coordinates of window number `index`.
  void place(int64_t index, int* at) const {
    for (size_t d = split; d-- > 0;) {
      at[d] = static_cast<int>(index % dims[d].output);
      index /= dims[d].output;
    }
  }

  // Calls visit(offset) for the operand elements of the window in order; offset -1: padding.
  template <typename Visit>
  void elements(const int* at, int* k, Visit visit) const {
    std::fill(k, k + split, 0);
    for (;;) {
      int64_t offset = 0;
      for (size_t d = 0; d < split && offset >= 0; ++d) {
        const int source = dims[d].source(at[d], k[d]);
        offset = source < 0 ? -1 : offset + source * strides[d];
      }
      visit(offset);
      size_t d = split;
      while (d > 0 && ++k[d - 1] == dims[d - 1].size) k[--d] = 0;
      if (d == 0) return;
    }
  }
};

constexpr int64_t kVector = 256;

template <typename T, OpId id>
void reduce_windows(const Walk& walk, const void* const* in, void* const* out) {
  using A = typename Accumulator<T>::type;
  const auto* x = static_cast<const T*>(in[0]);
  const A init = static_cast<A>(*static_cast<const T*>(in[1]));
  auto* y = static_cast<T*>(out[0]);
  int64_t window = 1;
  for (size_t d = 0; d < walk.split; ++d) window *= walk.dims[d].size;
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, window * walk.vector));
  const bool ok = cpu::parallel_for(walk.windows(), grain, [&](int64_t begin, int64_t end) {
    std::vector<int> at(walk.split + 1), k(walk.split + 1);
    A sums[kVector];
    for (int64_t i = begin; i < end; ++i) {
      walk.place(i, at.data());
      for (int64_t v = 0; v < walk.vector; v += kVector) {
        const int64_t n = std::min(kVector, walk.vector - v);
        std::fill(sums, sums + n, init);
        walk.elements(at.data(), k.data(), [&](int64_t offset) {
          if (offset < 0) {
            for (int64_t c = 0; c < n; ++c) sums[c] = combine<id>(sums[c], init);
          } else {
            const T* row = x + offset + v;
            for (int64_t c = 0; c < n; ++c) sums[c] = combine<id>(sums[c], static_cast<A>(row[c]));
          }
        });
        for (int64_t c = 0; c < n; ++c) y[i * walk.vector + v + c] = static_cast<T>(sums[c]);
      }
    }
  });
  if (!ok) throw std::bad_alloc();
}

template <typename T>
Native reducer(const WindowDims& dims, OpId id) {
  auto kernel = [&]<OpId op>() -> Native {
    return [walk = Walk(dims)](const void* const* in, void* const* out) {
      reduce_windows<T, op>(walk, in, out);
    };
  };
  switch (id) {
    case OpId::add:
      return kernel.template operator()<OpId::add>();
    case OpId::maximum:
      return kernel.template operator()<OpId::maximum>();
    case OpId::minimum:
      return kernel.template operator()<OpId::minimum>();
    default:
      return nullptr;
  }
}

// One image at a time: the leading dimensions without windows are independent, the rest is one
// task, because windows may overlap.
template <typename T>
struct SelectAndScatter {
  WindowDims dims;
  bool greater, equal;
  size_t lead = 0;  // dimensions without windows in front

  void operator()(const void* const* in, void* const* out) const {
    const WindowDims inner(dims.begin() + static_cast<int64_t>(lead), dims.end());
    const Walk walk(inner);
    const int64_t tasks = product(dims, 0, lead, false);
    const int64_t operand = product(inner, 0, inner.size(), false);
    const int64_t source = product(inner, 0, inner.size(), true);
    const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, operand));
    const bool ok = cpu::parallel_for(tasks, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        image(walk, static_cast<const T*>(in[0]) + i * operand,
              static_cast<const T*>(in[1]) + i * source, *static_cast<const T*>(in[2]),
              static_cast<T*>(out[0]) + i * operand, operand);
      }
    });
    if (!ok) throw std::bad_alloc();
  }

 private:
  using A = typename Accumulator<T>::type;

  bool keeps(A a, A b) const { return equal && a == b ? true : greater ? a > b : a < b; }

  void image(const Walk& walk, const T* x, const T* source, T init, T* y, int64_t size) const {
    std::vector<A> sums(static_cast<size_t>(size), static_cast<A>(init));
    std::vector<int> at(walk.split + 1), k(walk.split + 1);
    std::vector<int64_t> best(static_cast<size_t>(walk.vector));
    for (int64_t w = 0; w < walk.windows(); ++w) {
      walk.place(w, at.data());
      std::fill(best.begin(), best.end(), -1);
      walk.elements(at.data(), k.data(), [&](int64_t offset) {
        if (offset < 0) return;
        for (int64_t c = 0; c < walk.vector; ++c) {
          const int64_t held = best[c];
          if (held < 0 || !keeps(static_cast<A>(x[held]), static_cast<A>(x[offset + c]))) {
            best[c] = offset + c;
          }
        }
      });
      for (int64_t c = 0; c < walk.vector; ++c) {
        if (best[c] < 0) continue;
        A& sum = sums[best[c]];
        sum = combine<OpId::add>(sum, static_cast<A>(source[w * walk.vector + c]));
      }
    }
    for (int64_t i = 0; i < size; ++i) y[i] = static_cast<T>(sums[i]);
  }
};

// Calls f with a T* null pointer of the type's C++ counterpart.
template <typename F>
Native with_type(DType dtype, F f) {
  switch (dtype) {
    case DType::f32:
      return f(static_cast<float*>(nullptr));
    case DType::f64:
      return f(static_cast<double*>(nullptr));
    case DType::f16:
      return f(static_cast<cpu::F16*>(nullptr));
    case DType::bf16:
      return f(static_cast<cpu::BF16*>(nullptr));
    case DType::s8:
      return f(static_cast<int8_t*>(nullptr));
    case DType::u8:
      return f(static_cast<uint8_t*>(nullptr));
    case DType::s16:
      return f(static_cast<int16_t*>(nullptr));
    case DType::u16:
      return f(static_cast<uint16_t*>(nullptr));
    case DType::s32:
      return f(static_cast<int32_t*>(nullptr));
    case DType::u32:
      return f(static_cast<uint32_t*>(nullptr));
    case DType::s64:
      return f(static_cast<int64_t*>(nullptr));
    case DType::u64:
      return f(static_cast<uint64_t*>(nullptr));
    default:
      return nullptr;
  }
}

}  // namespace

Native native_reduce_window(const OpContext& ctx, const WindowDims& dims, OpId combiner) {
  return with_type(ctx.in(0).dtype, [&]<typename T>(T*) { return reducer<T>(dims, combiner); });
}

Native native_select_and_scatter(const OpContext& ctx, const WindowDims& dims, bool select_greater,
                                 bool select_equal) {
  return with_type(ctx.in(0).dtype, [&]<typename T>(T*) -> Native {
    SelectAndScatter<T> kernel{dims, select_greater, select_equal};
    while (kernel.lead < dims.size() && dims[kernel.lead].trivial()) ++kernel.lead;
    return kernel;
  });
}

}  // namespace jaxmps::ops
