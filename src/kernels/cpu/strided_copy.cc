#include "kernels/cpu/strided_copy.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "kernels/cpu/dtype.h"
#include "kernels/cpu/threads.h"
#include "kernels/cpu/transpose_block.h"

namespace jaxmps::cpu {
namespace {

constexpr int64_t kCopiedBytes = 1 << 16;  // copied by one chunk
constexpr int64_t kStream = 32;            // lines of a transposing block

bool is_item(int64_t bytes) { return bytes <= 16 && (bytes & (bytes - 1)) == 0; }

// n items `from_step` and `to_step` bytes apart.
template <typename T>
void copy_line(const char* from, int64_t from_step, char* to, int64_t to_step, int64_t n) {
  constexpr int64_t kSize = sizeof(T);
  if (to_step == kSize && from_step == 0) {
    T value;
    std::memcpy(&value, from, kSize);
    for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * kSize, &value, kSize);
  } else if (to_step == kSize) {
    for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * kSize, from + i * from_step, kSize);
  } else {
    for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * to_step, from + i * from_step, kSize);
  }
}

}  // namespace

StridedCopy::StridedCopy(const ir::Dims& extents, const ir::Dims& from_strides,
                         const ir::Dims& to_strides, int64_t element_bytes)
    : run_(element_bytes), bytes_(element_bytes) {
  std::vector<Axis> axes;
  for (size_t d = 0; d < extents.size(); ++d) {
    bytes_ *= extents[d];
    if (extents[d] != 1) axes.push_back({extents[d], from_strides[d], to_strides[d]});
  }
  if (bytes_ == 0) return;
  std::stable_sort(axes.begin(), axes.end(),
                   [](const Axis& a, const Axis& b) { return std::abs(a.to) > std::abs(b.to); });
  for (const Axis& next : axes) {
    if (!axes_.empty() && axes_.back().from == next.extent * next.from &&
        axes_.back().to == next.extent * next.to) {
      axes_.back() = {axes_.back().extent * next.extent, next.from, next.to};
    } else {
      axes_.push_back(next);
    }
  }
  if (axes_.empty()) return;
  if (axes_.back().from == run_ && axes_.back().to == run_) {
    run_ *= axes_.back().extent;
    axes_.pop_back();
  } else if (axes_.back().to == run_ && std::all_of(axes_.begin(), axes_.end(), [&](const Axis& a) {
               return a.from % run_ == 0 && a.to % run_ == 0;
             })) {
    for (size_t d = axes_.size() - 1; d-- > 0 && turned_ == kMaxRank;) {
      if (axes_[d].from == run_) turned_ = d;
    }
  }
  if (!axes_.empty()) lines_ = bytes_ / run_ / axes_.back().extent;
}

// line(from, from step, to, to step, runs) for the lines along the innermost axis.
template <typename Line>
void StridedCopy::copy_lines(const char* from, char* to, const Line& line) const {
  const Axis inner = axes_.back();
  if (lines_ == 1) {
    parallel_for(inner.extent, kCopiedBytes / run_, [&](int64_t begin, int64_t end) {
      line(from + begin * inner.from, inner.from, to + begin * inner.to, inner.to, end - begin);
    });
    return;
  }
  parallel_for(lines_, kCopiedBytes / (run_ * inner.extent), [&](int64_t begin, int64_t end) {
    for_outer(axes_.data(), axes_.size() - 1, begin, end, [&](int64_t at_from, int64_t at_to) {
      line(from + at_from, inner.from, to + at_to, inner.to, inner.extent);
    });
  });
}

// Blocks over the innermost axis of `to` and the axis along which `from` is dense.
template <typename T>
void StridedCopy::copy_turned(const T* from, T* to) const {
  constexpr int64_t kSize = sizeof(T);
  const Axis i_axis = axes_[turned_], j_axis = axes_.back();
  const int64_t i_blocks = (i_axis.extent + kStream - 1) / kStream;
  // Short lines of `to` make wide blocks cheap; long ones are cut to keep the block in the cache.
  const int64_t wide = std::min<int64_t>(j_axis.extent, 8 * kStream);
  const int64_t j_blocks = (j_axis.extent + wide - 1) / wide;
  Axis outer[kMaxRank];
  size_t rank = 0;
  int64_t blocks = i_blocks * j_blocks;
  for (size_t d = 0; d + 1 < axes_.size(); ++d) {
    if (d == turned_) continue;
    outer[rank++] = axes_[d];
    blocks *= axes_[d].extent;
  }
  outer[rank++] = {i_blocks, kStream * i_axis.from, kStream * i_axis.to};
  outer[rank++] = {j_blocks, wide * j_axis.from, wide * j_axis.to};
  const int64_t block_bytes = std::min(kStream, i_axis.extent) * wide * kSize;
  parallel_for(blocks, kCopiedBytes / block_bytes, [&](int64_t begin, int64_t end) {
    int64_t index = begin;
    for_outer(outer, rank, begin, end, [&](int64_t at_from, int64_t at_to) {
      const int64_t i = index / j_blocks % i_blocks * kStream, j = index % j_blocks * wide;
      ++index;
      transpose_block(from + at_from / kSize, j_axis.from / kSize, to + at_to / kSize,
                      i_axis.to / kSize, std::min(kStream, i_axis.extent - i),
                      std::min(wide, j_axis.extent - j));
    });
  });
}

void StridedCopy::copy(const void* source, void* target) const {
  if (bytes_ == 0) return;
  if (axes_.empty()) return parallel_copy(target, source, run_);
  const char* from = static_cast<const char*>(source);
  char* to = static_cast<char*>(target);
  if (!is_item(run_)) {
    return copy_lines(from, to,
                      [this](const char* a, int64_t a_step, char* b, int64_t b_step, int64_t n) {
                        for (int64_t i = 0; i < n; ++i) {
                          std::memcpy(b + i * b_step, a + i * a_step, static_cast<size_t>(run_));
                        }
                      });
  }
  with_item(static_cast<size_t>(run_), [&](auto item) {
    using T = decltype(item);
    // A client's arrays may lie anywhere.
    const auto places = reinterpret_cast<uintptr_t>(from) | reinterpret_cast<uintptr_t>(to);
    if (turned_ != kMaxRank && places % sizeof(T) == 0) {
      copy_turned(static_cast<const T*>(source), static_cast<T*>(target));
    } else {
      copy_lines(from, to, copy_line<T>);
    }
  });
}

void parallel_copy(void* to, const void* from, int64_t bytes) {
  parallel_for(bytes, 4 * kCopiedBytes, [&](int64_t begin, int64_t end) {
    std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin,
                static_cast<size_t>(end - begin));
  });
}

void fill(size_t item_size, const void* item, int64_t n, void* to) {
  const auto size = static_cast<int64_t>(item_size);
  StridedCopy({n}, {0}, {size}, size).copy(item, to);
}

}  // namespace jaxmps::cpu
