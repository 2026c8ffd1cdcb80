// Scatter on the CPU: updates are combined into the operand in row-major order of the update
// windows, so results do not depend on the number of threads, and repeated indices are defined.
// Windows that do not lie wholly inside the operand are skipped.
// Plans are built when a program is compiled and are immutable; thread-safe.
#pragma once

#include <vector>

#include "ir/combiner.h"
#include "kernels/cpu/gather.h"

namespace jaxmps::cpu {

// Combines `n` windows: window i lies at operand + offsets[i] (skipped if negative) and at
// updates + i * step, `run` contiguous elements each.
using ScatterKernel = void (*)(char* operand, const char* updates, const int64_t* offsets,
                               int64_t n, int64_t step, int64_t run);
// Null if the type has no such combination (complex minimum, small floats other than overwrite).
ScatterKernel scatter_kernel(const ir::Combination& how, ir::DType dtype);

class ScatterPlan {
 public:
  ScatterPlan(StartIndices starts, const ir::Dims& sizes, const ir::Dims& operand_strides,
              const ir::Dims& update_strides, int64_t element_bytes, int64_t operand_bytes);

  // `operand` is the result: it already holds the operand's values.
  void run(ScatterKernel kernel, void* operand, const void* indices, const void* updates) const;
  // Visits every element of every window inside, in order: visit(operand offset, update offset).
  template <typename F>
  void for_elements(const void* indices, F&& visit) const;

  int64_t count() const { return starts_.count(); }

 private:
  // A piece of the work that touches its own part of the operand: of the window, or of the range of
  // offsets.
  struct Part {
    StridedCopy window;  // from updates to operand
    int64_t operand_offset, update_offset;
    int64_t begin, end;  // operand offsets of windows
  };
  void run_part(const Part& part, ScatterKernel kernel, char* operand, const void* indices,
                const char* updates) const;
  StartIndices starts_;
  StridedCopy window_;
  std::vector<Part> parts_;
  int64_t window_bytes_;
  int64_t element_bytes_;
};

template <typename F>
void ScatterPlan::for_elements(const void* indices, F&& visit) const {
  if (window_bytes_ == 0) return;
  starts_.for_blocks<false>(indices, 0, starts_.count(),
                            [&](const int64_t* offsets, int64_t n, int64_t first, int64_t step) {
                              for (int64_t i = 0; i < n; ++i) {
                                if (offsets[i] < 0) continue;
                                window_.for_runs([&](int64_t from, int64_t to) {
                                  for (int64_t b = 0; b < window_.run(); b += element_bytes_) {
                                    visit(offsets[i] + to + b, first + i * step + from + b);
                                  }
                                });
                              }
                            });
}

}  // namespace jaxmps::cpu
