// 16-bit floats as float32 in memory of their own, and back; on all cores. Throws std::bad_alloc.
#pragma once

#include "kernels/cpu/dtype.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {

template <typename From, typename To>
void convert_items(const From* from, To* to, int64_t n) {
  parallel_for(n, 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = To(static_cast<float>(from[i]));
  });
}

class Widened {
 public:
  // Of so many floats, without values.
  explicit Widened(int64_t n) : copy_(static_cast<size_t>(n) * sizeof(float)) {}
  template <typename Half>
  Widened(const Half* from, int64_t n) : Widened(n) {
    convert_items(from, data(), n);
  }
  float* data() const { return copy_.as<float>(); }

 private:
  Scratch copy_;
};

}  // namespace jaxmps::cpu
