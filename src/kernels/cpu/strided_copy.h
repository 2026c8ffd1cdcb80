// Copies between arrays of any strides: windows, slices, transposes, broadcasts, strided updates;
// and fills. A StridedCopy is built when a program is compiled and is immutable. Copies run on the
// pool of threads.h, callable from any thread, and need no memory of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ir/type.h"

namespace jaxmps::cpu {

class StridedCopy {
 public:
  StridedCopy() = default;
  // to[i * to_strides] = from[i * from_strides] for every index i of `extents`, strides in bytes.
  // They may be zero in the source and negative in both. The arrays may not overlap, and no two
  // indices may name one element of `to`. Elements of 1, 2, 4, 8 or 16 bytes.
  StridedCopy(const ir::Dims& extents, const ir::Dims& from_strides, const ir::Dims& to_strides,
              int64_t element_bytes);
  void copy(const void* from, void* to) const;

  int64_t bytes() const { return bytes_; }
  // What is contiguous in both arrays, in bytes; and the same if there is nothing else, or 0.
  int64_t run() const { return run_; }
  int64_t single_run() const { return axes_.empty() ? run_ : 0; }
  // visit(from, to) with the offsets of each run.
  template <typename F>
  void for_runs(F&& visit) const {
    if (bytes_ != 0) for_outer(axes_.data(), axes_.size(), 0, bytes_ / run_, visit);
  }

 private:
  static constexpr size_t kMaxRank = 64;  // as that of artifacts and of what clients give
  struct Axis {
    int64_t extent, from, to;
  };

  // Visits the row-major indices [begin, end) of so many axes as offsets.
  template <typename F>
  static void for_outer(const Axis* axes, size_t rank, int64_t begin, int64_t end, F&& visit) {
    int64_t at[kMaxRank];
    int64_t rest = begin, from = 0, to = 0;
    for (size_t d = rank; d-- > 0;) {
      at[d] = rest == 0 ? 0 : rest % axes[d].extent;
      rest = rest == 0 ? 0 : rest / axes[d].extent;
      from += at[d] * axes[d].from;
      to += at[d] * axes[d].to;
    }
    for (int64_t index = begin; index < end; ++index) {
      visit(from, to);
      for (size_t d = rank; d-- > 0;) {
        from += axes[d].from;
        to += axes[d].to;
        if (++at[d] < axes[d].extent) break;
        at[d] = 0;
        from -= axes[d].extent * axes[d].from;
        to -= axes[d].extent * axes[d].to;
      }
    }
  }

  template <typename Line>
  void copy_lines(const char* from, char* to, const Line& line) const;
  template <typename T>
  void copy_turned(const T* from, T* to) const;

  std::vector<Axis> axes_;  // outside of the runs, from the outermost in `to` on
  int64_t run_ = 0, bytes_ = 0;
  int64_t lines_ = 1;         // along the innermost axis
  size_t turned_ = kMaxRank;  // the axis along which `from` is dense, if blocks are transposed
};

// The same bytes.
void parallel_copy(void* to, const void* from, int64_t bytes);
// n copies of one item of 1, 2, 4, 8 or 16 bytes.
void fill(size_t item_size, const void* item, int64_t n, void* to);

}  // namespace jaxmps::cpu
