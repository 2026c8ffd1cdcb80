// Inclusive scans (cumulative sums, products, maxima, ...) along one dimension.
// 16-bit floats accumulate in float32. Long single rows are scanned in chunks of fixed size, so
// that results do not depend on the number of threads. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <functional>

#include "scalar/opcode.h"

namespace jaxmps::cpu {

// An array [outer][n][inner] is scanned along n; `to` may be `from`.
using ScanKernel = std::function<void(int64_t outer, int64_t n, int64_t inner, bool reverse,
                                      const void* from, void* to)>;
// By what combines two elements; null if there is no such scan of the type.
ScanKernel scan_kernel(scalar::Opcode op, ir::DType dtype);

}  // namespace jaxmps::cpu
