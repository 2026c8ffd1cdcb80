// What reduce_window and select_and_scatter share; internal to pool*.cc.
#pragma once

#include <cstdint>

#include "kernels/cpu/combine.h"
#include "kernels/cpu/pool.h"
#include "kernels/cpu/widen.h"

namespace jaxmps::cpu {

// How many elements the operand has, and how many windows there are.
inline int64_t elements_of(const WindowDims& dims) {
  int64_t total = 1;
  for (const WindowDim& dim : dims) total *= dim.in;
  return total;
}
inline int64_t windows_of(const WindowDims& dims) {
  int64_t total = 1;
  for (const WindowDim& dim : dims) total *= dim.out;
  return total;
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
