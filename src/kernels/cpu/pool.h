// Window reductions on raw pointers: reduce_window with one of the known combiners, and
// select_and_scatter as gradients of pooling use it.
//
// Runs on the pool of threads.h; callable from any thread; results do not depend on the number of
// threads. 16-bit floats are reduced in f32. All arrays are dense row-major. Kernels throw
// std::bad_alloc when memory runs out.
#pragma once

#include <cstdint>
#include <functional>

#include "ir/window.h"
#include "scalar/opcode.h"

namespace jaxmps::cpu {

using ir::WindowDim;
using ir::WindowDims;

// `init` points to one element, with which the kernel may combine any number of times.
using ReduceWindow = std::function<void(const void* in, const void* init, void* out)>;
// Null where elements of the type are not reduced so, and where windows are long: then those of 1,
// 2, 4, ... elements take less (passes/expand_combiners.cc).
ReduceWindow make_reduce_window(scalar::Opcode op, ir::DType type, const WindowDims& dims);

// out = init everywhere plus each source element at the place its window selects: a window keeps
// the first of two elements when `first <select> second`. One that holds no element of the operand
// scatters nothing. Windows have no dilations; select is an order (ge, gt, le, lt).
using SelectAndScatter =
    std::function<void(const void* operand, const void* source, const void* init, void* out)>;
// Null for complex numbers and booleans.
SelectAndScatter make_select_and_scatter(ir::CompareDirection select, ir::DType type,
                                         const WindowDims& dims);

}  // namespace jaxmps::cpu
