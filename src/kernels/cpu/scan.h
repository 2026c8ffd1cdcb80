// Inclusive scans (cumulative sum, product, maximum, minimum) along one dimension.
// 16-bit floats accumulate in float32. Long single rows are scanned in chunks of fixed size, so
// that results do not depend on the number of threads. Pure functions; any thread.
#pragma once

#include <cstdint>

#include "ir/type.h"

namespace jaxmps::cpu {

enum class Scan : uint8_t { add, multiply, maximum, minimum };

// An array [outer][n][inner] is scanned along n.
using ScanKernel = void (*)(int64_t outer, int64_t n, int64_t inner, bool reverse, const void* in,
                            void* out);
// Null if the type has no such scan.
ScanKernel scan_kernel(Scan scan, ir::DType dtype);

}  // namespace jaxmps::cpu
