// Fusions as kernels of a GPU, in one of its languages.
//
// Printing is a pure function of the fusion and the dialect: shapes are constants of the text, so
// equal fusions print equal text, which may be the key of a cache of compiled kernels.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "fusion/fusion.h"
#include "kernels/gpu_dialect.h"

namespace jaxmps::kernels {

// An output of a kernel that is the memory of an input, some bytes of which are written. Both are
// numbers in the kernel's lists.
struct GpuUpdate {
  int output, input;
  int64_t bytes;
};

// Parameters, all of them pointers to dense row-major arrays: the inputs, the scratch memory if it
// is read, the outputs, the scratch memory if it is written, the counters if it has them.
struct GpuKernel {
  static constexpr int kCounters = 32;
  std::string name;
  std::string source;                // begins with the dialect's prelude
  int64_t blocks = 1;                // along one axis,
  int threads = 256;                 // each of so many
  std::vector<int> inputs, outputs;  // of the fusion: what it reads, or updates, and writes
  std::vector<GpuUpdate> updates;
  int64_t scratch_bytes = 0;  // that it writes for the next kernel, or for its last block
  bool reads_scratch = false;
  // kCounters u32s that are 0, and are again at its end: which of its blocks have ended. Kernels
  // that share them must not overlap.
  bool has_counters = false;
  std::vector<int64_t> reads;  // bytes of each input, as often as it has to come from memory
  // Estimated, on a slow machine. Where that is too long (ir::Pace), the blocks are launched in so
  // many pieces, and the number of a piece's first block is the last parameter, a u32.
  double nanoseconds = 0;
  int64_t pieces = 1;
};

// One kernel, or two for long reductions: the second reads what the first wrote to scratch memory.
struct GpuFusion {
  std::vector<GpuKernel> kernels;
};

// Loops, rows and columns of the target's longest length, and reductions of any length and along
// any axes whose elements are not read again with their result; other fusions are refused, as are
// float64 and kernels beyond the target's limits.
Result<GpuFusion> print_gpu(const Fusion& fusion, const Dialect& dialect);

}  // namespace jaxmps::kernels
