// Window reductions on raw pointers: reduce_window with one of the known reductions, cumulative
// sums among it, and select_and_scatter as gradients of pooling use it.
//
// Runs on the pool of threads.h; callable from any thread; results do not depend on the number of
// threads. 16-bit floats are reduced in f32. Outputs are dense row-major, inputs of any strides.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/dtype.h"

namespace jaxmps::cpu {

// On booleans kAdd and kMax are "or", kMul and kMin "and". Complex types take kAdd and kMul.
enum class Reduction { kAdd, kMul, kMax, kMin };

struct WindowDim {
  int64_t in = 1;
  int64_t window = 1;
  int64_t stride = 1;
  int64_t pad_low = 0;
  int64_t pad_high = 0;
  int64_t base_dilation = 1;
  int64_t window_dilation = 1;
  int64_t in_stride = 0;  // in elements

  int64_t out() const;
};

struct ReduceWindow {
  DType type = DType::f32;
  Reduction op = Reduction::kAdd;
  std::vector<WindowDim> dims;
};

bool reduce_window_supported(DType type, Reduction op);

// REQUIRES: reduce_window_supported. `init` points to one element. Throws std::bad_alloc when
// memory runs out, as does the other.
void reduce_window(const ReduceWindow& r, const void* in, const void* init, void* out);

// Which of two elements a window keeps: the first when `first <compare> second` holds.
enum class Select { kGe, kGt, kLe, kLt };

struct SelectAndScatter {
  DType type = DType::f32;  // a real type other than bool
  Select select = Select::kGe;
  std::vector<WindowDim> dims;          // of the operand; no dilations
  std::vector<int64_t> source_strides;  // of the source, whose extents are dims' out()
};

// out = init everywhere plus each source element at the place its window selects. A window that
// holds no element of the operand scatters nothing.
void select_and_scatter(const SelectAndScatter& s, const void* operand, const void* source,
                        const void* init, void* out);

}  // namespace jaxmps::cpu
