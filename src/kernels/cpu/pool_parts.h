// What reduce_window and select_and_scatter share; internal to pool*.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <vector>

#include "kernels/cpu/dtype.h"
#include "kernels/cpu/pool.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/threads.h"
#include "kernels/cpu/transpose.h"

namespace jaxmps::cpu {

inline int64_t product(std::span<const int64_t> extents) {
  int64_t total = 1;
  for (int64_t extent : extents) total *= extent;
  return total;
}

// A dense row-major view of an array, copied only when it is not dense already.
class Dense {
 public:
  Dense(size_t item, std::vector<int64_t> extents, const std::vector<int64_t>& strides,
        const void* data)
      : copy_(is_dense(extents, strides) ? 0 : static_cast<size_t>(product(extents)) * item),
        data_(data) {
    if (is_dense(extents, strides)) return;
    std::vector<int64_t> to(extents.size());
    int64_t size = 1;
    for (size_t d = extents.size(); d-- > 0; size *= extents[d]) to[d] = size;
    strided_copy(item, extents, strides, data, to, copy_.as<void>());
    data_ = copy_.as<void>();
  }

  const void* data() const { return data_; }

 private:
  static bool is_dense(const std::vector<int64_t>& extents, const std::vector<int64_t>& strides) {
    int64_t size = 1;
    for (size_t d = extents.size(); d-- > 0; size *= extents[d]) {
      if (extents[d] != 1 && strides[d] != size) return false;
    }
    return true;
  }

  Scratch copy_;
  const void* data_;
};

template <typename From, typename To>
void convert_items(const From* from, To* to, int64_t n) {
  parallel_for(n, 1 << 15, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = To(static_cast<float>(from[i]));
  });
}

// The window offsets [first, last) of position s that lie inside the input; REQUIRES: no base
// dilation.
struct WindowRange {
  int64_t first, last;
};
inline WindowRange inside(const WindowDim& d, int64_t s) {
  const int64_t origin = s * d.stride - d.pad_low;
  const int64_t step = d.window_dilation;
  const int64_t first = origin >= 0 ? 0 : (-origin + step - 1) / step;
  const int64_t room = d.in - origin;
  const int64_t fit = room <= 0 ? 0 : (room + step - 1) / step;
  const int64_t last = fit < d.window ? fit : d.window;
  return {first, last < first ? first : last};
}

}  // namespace jaxmps::cpu
