// 16-bit floats as float32 in memory of their own, and back; on all cores. Throws std::bad_alloc.
#pragma once

#include "kernels/cpu/dtype.h"
#include "kernels/cpu/scratch.h"

namespace jaxmps::cpu {

inline bool is_half(DType type) { return type == DType::f16 || type == DType::bf16; }

class Widened {
 public:
  // Of n floats, without values.
  explicit Widened(int64_t n) : n_(n), floats_(static_cast<size_t>(n) * sizeof(float)) {}
  // Of n elements of a type that is_half.
  Widened(DType half, const void* from, int64_t n);
  void narrow(DType half, void* to) const;
  float* data() const { return floats_.as<float>(); }

 private:
  int64_t n_;
  Scratch floats_;
};

}  // namespace jaxmps::cpu
