#include "kernels/cpu/transpose.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "kernels/cpu/dtype.h"
#include "kernels/cpu/threads.h"
#include "kernels/cpu/transpose_block.h"

namespace jaxmps::cpu {
namespace {

constexpr int kMaxRank = 32;
constexpr int64_t kGrainBytes = 1 << 16;  // copied by one chunk
constexpr int64_t kStream = 32;           // lines of a transposing block

struct Axis {
  int64_t extent, from, to;
};

// The axes that matter, outermost first: no extents of one, neighbours merged where both sides
// allow.
struct Axes {
  Axis at[kMaxRank];
  int rank = 0;
};

Axes normalised(std::span<const int64_t> extents, std::span<const int64_t> from,
                std::span<const int64_t> to) {
  Axes axes;
  for (size_t d = 0; d < extents.size(); ++d) {
    if (extents[d] != 1) axes.at[axes.rank++] = {extents[d], from[d], to[d]};
  }
  std::stable_sort(axes.at, axes.at + axes.rank,
                   [](const Axis& a, const Axis& b) { return std::abs(a.to) > std::abs(b.to); });
  int kept = 0;
  for (int d = 0; d < axes.rank; ++d) {
    const Axis& next = axes.at[d];
    if (kept > 0) {
      Axis& last = axes.at[kept - 1];
      if (last.from == next.extent * next.from && last.to == next.extent * next.to) {
        last = {last.extent * next.extent, next.from, next.to};
        continue;
      }
    }
    axes.at[kept++] = next;
  }
  axes.rank = kept;
  return axes;
}

template <typename T>
void copy_line(const T* from, int64_t from_step, T* to, int64_t to_step, int64_t n) {
  if (to_step == 1 && from_step == 1) {
    std::memcpy(to, from, static_cast<size_t>(n) * sizeof(T));
  } else if (to_step == 1 && from_step == 0) {
    const T value = *from;
    for (int64_t i = 0; i < n; ++i) to[i] = value;
  } else if (to_step == 1) {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i * from_step];
  } else {
    for (int64_t i = 0; i < n; ++i) to[i * to_step] = from[i * from_step];
  }
}

// Visits the outer axes of flat indices [begin, end) as (from, to) offsets.
template <typename Body>
void for_outer(const Axes& axes, int rank, int64_t begin, int64_t end, const Body& body) {
  int64_t at[kMaxRank];
  int64_t rest = begin, from = 0, to = 0;
  for (int d = rank - 1; d >= 0; --d) {
    at[d] = rest % axes.at[d].extent;
    rest /= axes.at[d].extent;
    from += at[d] * axes.at[d].from;
    to += at[d] * axes.at[d].to;
  }
  for (int64_t index = begin; index < end; ++index) {
    body(from, to);
    for (int d = rank - 1; d >= 0; --d) {
      from += axes.at[d].from;
      to += axes.at[d].to;
      if (++at[d] < axes.at[d].extent) break;
      at[d] = 0;
      from -= axes.at[d].extent * axes.at[d].from;
      to -= axes.at[d].extent * axes.at[d].to;
    }
  }
}

// Lines along the innermost axis.
template <typename T>
void copy_lines(const Axes& axes, const T* from, T* to) {
  const Axis line = axes.at[axes.rank - 1];
  int64_t lines = 1;
  for (int d = 0; d < axes.rank - 1; ++d) lines *= axes.at[d].extent;
  constexpr int64_t kGrain = kGrainBytes / static_cast<int64_t>(sizeof(T));
  if (lines == 1) {
    parallel_for(line.extent, kGrain, [&](int64_t begin, int64_t end) {
      copy_line(from + begin * line.from, line.from, to + begin * line.to, line.to, end - begin);
    });
    return;
  }
  const int64_t grain = std::max<int64_t>(1, kGrain / line.extent);
  parallel_for(lines, grain, [&](int64_t begin, int64_t end) {
    for_outer(axes, axes.rank - 1, begin, end, [&](int64_t at_from, int64_t at_to) {
      copy_line(from + at_from, line.from, to + at_to, line.to, line.extent);
    });
  });
}

// Blocks over the innermost axis of `to` and the axis along which `from` is dense.
template <typename T>
void copy_transposed(Axes axes, int dense, const T* from, T* to) {
  const Axis i_axis = axes.at[dense], j_axis = axes.at[axes.rank - 1];
  std::copy(axes.at + dense + 1, axes.at + axes.rank - 1, axes.at + dense);
  const int outer_rank = axes.rank - 2;
  const int64_t i_blocks = (i_axis.extent + kStream - 1) / kStream;
  // Short lines of `to` make wide blocks cheap; long ones are cut to keep the block in the cache.
  const int64_t wide = std::min<int64_t>(j_axis.extent, 8 * kStream);
  const int64_t j_blocks = (j_axis.extent + wide - 1) / wide;
  axes.at[outer_rank] = {i_blocks, kStream * i_axis.from, kStream * i_axis.to};
  axes.at[outer_rank + 1] = {j_blocks, wide * j_axis.from, wide * j_axis.to};
  int64_t blocks = 1;
  for (int d = 0; d < outer_rank + 2; ++d) blocks *= axes.at[d].extent;
  const int64_t block_bytes =
      std::min(kStream, i_axis.extent) * wide * static_cast<int64_t>(sizeof(T));
  const int64_t grain = std::max<int64_t>(1, kGrainBytes / block_bytes);
  parallel_for(blocks, grain, [&](int64_t begin, int64_t end) {
    int64_t index = begin;
    for_outer(axes, outer_rank + 2, begin, end, [&](int64_t at_from, int64_t at_to) {
      const int64_t i = index / j_blocks % i_blocks * kStream, j = index % j_blocks * wide;
      ++index;
      transpose_block(from + at_from, j_axis.from, to + at_to, i_axis.to,
                      std::min(kStream, i_axis.extent - i), std::min(wide, j_axis.extent - j));
    });
  });
}

template <typename T>
void copy_items(const Axes& axes, const void* from_data, void* to_data) {
  const T* from = static_cast<const T*>(from_data);
  T* to = static_cast<T*>(to_data);
  if (axes.rank == 0) {
    *to = *from;
    return;
  }
  const Axis& line = axes.at[axes.rank - 1];
  if (line.to == 1 && line.from != 1) {
    for (int d = axes.rank - 2; d >= 0; --d) {
      if (axes.at[d].from == 1 && axes.at[d].extent > 1) return copy_transposed(axes, d, from, to);
    }
  }
  copy_lines(axes, from, to);
}

}  // namespace

void strided_copy(size_t item_size, std::span<const int64_t> extents,
                  std::span<const int64_t> from_strides, const void* from,
                  std::span<const int64_t> to_strides, void* to) {
  for (int64_t extent : extents) {
    if (extent == 0) return;
  }
  const Axes axes = normalised(extents, from_strides, to_strides);
  with_item(item_size, [&](auto item) { copy_items<decltype(item)>(axes, from, to); });
}

void fill(size_t item_size, const void* item, int64_t n, void* to) {
  const int64_t extents[] = {n}, still[] = {0}, dense[] = {1};
  strided_copy(item_size, extents, still, item, dense, to);
}

}  // namespace jaxmps::cpu
