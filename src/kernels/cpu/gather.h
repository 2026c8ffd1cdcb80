// Windows of an array at positions read from an index array: the machinery of gather, scatter and
// the dynamic slices. A StridedCopy copies one window; StartIndices turns index vectors into byte
// offsets; both are built when a program is compiled and are immutable afterwards.
// All offsets and strides are in bytes unless named otherwise. Thread-safe: plain values.
#ifndef JAXMPS_KERNELS_CPU_GATHER_H_
#define JAXMPS_KERNELS_CPU_GATHER_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "ir/type.h"

namespace jaxmps::cpu {

// Copies a box between two strided layouts. Neighbouring dimensions that are contiguous in both are
// merged, so that the innermost run is as long as possible.
class StridedCopy {
 public:
  StridedCopy() = default;
  StridedCopy(const ir::Dims& sizes, const ir::Dims& from_strides, const ir::Dims& to_strides,
              int64_t element_bytes);
  void copy(const char* from, char* to) const;
  // The same, spread over all cores when the window is large.
  void copy_parallel(const char* from, char* to) const;
  int64_t bytes() const { return bytes_; }
  // The number of contiguous bytes if the window is a single run, else 0.
  int64_t single_run() const { return outer_.empty() ? run_ : 0; }
  // The runs of the window: for each, its offset in the two layouts.
  template <typename F>
  void for_runs(F&& visit) const;
  int64_t run() const { return run_; }

 private:
  struct Dim {
    int64_t size, from, to;
  };
  void copy_dims(size_t dim, const char* from, char* to) const;
  std::vector<Dim> outer_;
  int64_t run_ = 0;
  int64_t bytes_ = 0;
};

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

void parallel_copy(void* to, const void* from, int64_t bytes);

template <typename F>
void StridedCopy::for_runs(F&& visit) const {
  if (bytes_ == 0) return;
  constexpr size_t kMaxDims = 32;
  std::array<int64_t, kMaxDims> position{};
  int64_t from = 0, to = 0;
  for (;;) {
    visit(from, to);
    size_t d = outer_.size();
    for (;;) {
      if (d == 0) return;
      --d;
      from += outer_[d].from;
      to += outer_[d].to;
      if (++position[d] < outer_[d].size) break;
      from -= outer_[d].from * outer_[d].size;
      to -= outer_[d].to * outer_[d].size;
      position[d] = 0;
    }
  }
}

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

#endif  // JAXMPS_KERNELS_CPU_GATHER_H_
