// Window reductions on raw pointers: reduce_window with one of the known combiners, and
// select_and_scatter as gradients of pooling use it.
//
// Runs on the pool of threads.h; callable from any thread; results do not depend on the number of
// threads. 16-bit floats are reduced in f32. All arrays are dense row-major. Kernels throw
// std::bad_alloc when memory runs out.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "ir/attr.h"
#include "scalar/scalar.h"

namespace jaxmps::cpu {

struct WindowDim {
  int64_t in = 1, out = 1;  // extents of the operand, and of the array of windows
  int64_t window = 1;
  int64_t stride = 1;
  int64_t pad_low = 0;
  int64_t pad_high = 0;
  int64_t base_dilation = 1;
  int64_t window_dilation = 1;

  bool is_trivial() const {
    return window == 1 && stride == 1 && pad_low == 0 && pad_high == 0 && base_dilation == 1;
  }
  // The operand position of element `k` of window `i`, or -1.
  int64_t source(int64_t i, int64_t k) const {
    const int64_t at = i * stride + k * window_dilation - pad_low;
    if (at < 0 || at % base_dilation != 0) return -1;
    return at / base_dilation < in ? at / base_dilation : -1;
  }
};
using WindowDims = std::vector<WindowDim>;

// `init` points to one element, with which the kernel may combine any number of times.
using ReduceWindow = std::function<void(const void* in, const void* init, void* out)>;
// Null where elements of the type are not reduced so.
ReduceWindow make_reduce_window(scalar::Opcode op, ir::DType type, const WindowDims& dims);

// out = init everywhere plus each source element at the place its window selects: a window keeps
// the first of two elements when `first <select> second`. One that holds no element of the operand
// scatters nothing. Windows have no dilations; select is an order (ge, gt, le, lt).
using SelectAndScatter = void (*)(const WindowDims& dims, const void* operand, const void* source,
                                  const void* init, void* out);
// Null for complex numbers and booleans.
SelectAndScatter select_and_scatter_kernel(ir::CompareDirection select, ir::DType type);

}  // namespace jaxmps::cpu
