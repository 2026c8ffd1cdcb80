// Windows of an array at positions read from an index array: the machinery of gather, scatter and
// the dynamic slices. StartIndices turns index vectors into byte offsets; it is built when a
// program is compiled and is immutable afterwards.
// All offsets and strides are in bytes unless named otherwise. Thread-safe: plain values.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/cpu/strided_copy.h"

namespace jaxmps::cpu {

// Reads `count` integers of an index type, `stride` elements apart; values that do not fit are
// saturated.
void load_indices(ir::DType dtype, const void* data, int64_t offset, int64_t stride, int64_t count,
                  int64_t* out);

// Where each window of a gather or scatter starts. Positions are numbered in row-major order of the
// batch dimensions of the index array.
class StartIndices {
 public:
  struct BatchDim {
    int64_t size;
    int64_t index_stride;    // in elements of the index array
    int64_t window_stride;   // in the array of windows (gather's result, scatter's updates)
    int64_t operand_stride;  // of a batching dimension, else 0
  };
  struct Component {
    int64_t index_offset;  // in elements of the index array
    int64_t limit;         // the largest start that keeps the window inside; may be negative
    int64_t operand_stride;
  };
  StartIndices() = default;
  StartIndices(ir::DType dtype, const std::vector<BatchDim>& batch,
               std::vector<Component> components);
  int64_t count() const { return count_; }

  static constexpr int64_t kBlock = 256;
  // For positions [begin, end): visit(operand offsets, their number, offset of the first window,
  // distance of the windows). Starts outside are clamped, or with Clamp = false have offset -1.
  template <bool Clamp, typename F>
  void for_blocks(const void* indices, int64_t begin, int64_t end, F&& visit) const;

 private:
  template <bool Clamp>
  void block(const void* indices, int64_t first_index, int64_t first_operand, int64_t n,
             int64_t* offsets) const;
  ir::DType dtype_ = ir::DType::s32;
  std::vector<BatchDim> batch_;
  std::vector<Component> components_;
  int64_t count_ = 1;
};

struct GatherPlan {
  StartIndices starts;
  StridedCopy window;  // from the operand to the result
};
void gather(const GatherPlan& plan, const void* operand, const void* indices, void* result);

template <bool Clamp>
void StartIndices::block(const void* indices, int64_t first_index, int64_t first_operand, int64_t n,
                         int64_t* offsets) const {
  int64_t values[kBlock];
  const BatchDim& inner = batch_.back();
  for (int64_t i = 0; i < n; ++i) offsets[i] = first_operand + i * inner.operand_stride;
  for (const Component& c : components_) {
    load_indices(dtype_, indices, first_index + c.index_offset, inner.index_stride, n, values);
    for (int64_t i = 0; i < n; ++i) {
      if constexpr (Clamp) {
        offsets[i] += std::clamp<int64_t>(values[i], 0, c.limit) * c.operand_stride;
      } else {
        const bool inside = values[i] >= 0 && values[i] <= c.limit && offsets[i] >= 0;
        offsets[i] = inside ? offsets[i] + values[i] * c.operand_stride : -1;
      }
    }
  }
}

template <bool Clamp, typename F>
void StartIndices::for_blocks(const void* indices, int64_t begin, int64_t end, F&& visit) const {
  int64_t offsets[kBlock];
  const BatchDim& inner = batch_.back();
  while (begin < end) {
    int64_t rest = begin / inner.size;
    const int64_t at = begin % inner.size;
    int64_t index = at * inner.index_stride, window = at * inner.window_stride;
    int64_t operand = at * inner.operand_stride;
    for (size_t d = batch_.size() - 1; d-- > 0;) {
      const int64_t i = rest % batch_[d].size;
      rest /= batch_[d].size;
      index += i * batch_[d].index_stride;
      window += i * batch_[d].window_stride;
      operand += i * batch_[d].operand_stride;
    }
    const int64_t n = std::min({end - begin, inner.size - at, kBlock});
    block<Clamp>(indices, index, operand, n, offsets);
    visit(offsets, n, window, inner.window_stride);
    begin += n;
  }
}

}  // namespace jaxmps::cpu
