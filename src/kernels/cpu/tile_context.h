// One thread's view of a run of a tile kernel: where it is and where its values lie. Internal to
// tile_*.cc. The memory it points into is the run's; nothing here is shared between threads.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels/cpu/tile_program.h"

namespace jaxmps::cpu {

using kernels::kMaxAxes;

struct Context {
  const TileKernel::Impl& k;
  const void* const* inputs;
  void* const* outputs;
  char* uniform;
  char* group;
  char* tile;
  char** at;            // address per entry
  int64_t i[kMaxAxes];  // the point where the tile or group starts
  int64_t chunk_length = 1;
  int64_t panel = -1;  // the panel of groups that is in memory
  // Batched values are there for points [batch_begin, batch_end) of the outer axes; this context
  // visits none from `outer_end` on.
  int64_t batch_begin = 0, batch_end = 0, outer_end = 0, outer = 0;
  int walk_begin = 0, walk_end = 0;  // the axes along which loads and stores walk
  // What the next tiles read and write, to be fetched while this one is computed: memory is far
  // away, and what the hardware foresees ends with each page.
  struct Ahead {
    const char *from, *end;
  };
  static constexpr int kMostAhead = 4;
  Ahead ahead[kMostAhead] = {};
  int ahead_count = 0;

  void look_ahead() {
    constexpr int64_t kLine = 64;
    Ahead& next = ahead[ahead_count - 1];
    const char* until = std::min(next.end, next.from + k.ahead_by_step);
    for (; next.from < until; next.from += kLine) __builtin_prefetch(next.from);
    if (next.from >= next.end) --ahead_count;
  }

  void init() {
    char* areas[] = {uniform, group, tile, nullptr};
    for (size_t e = 0; e < k.entries.size(); ++e) {
      const Entry& entry = k.entries[e];
      at[e] = areas[static_cast<int>(entry.area)] + entry.offset;
    }
    for (size_t a = 0; a < k.dims.size(); ++a) i[a] = 0;
    outer_end = k.outer_count;
    walk_begin = k.tile_begin;
    walk_end = static_cast<int>(k.dims.size());
  }

  void select_in_batch() {
    for (const Batched& b : k.batched) {
      const Entry& entry = k.entries[static_cast<size_t>(b.entry)];
      at[b.entry] = group + entry.offset + (outer - batch_begin) * b.size;
    }
  }
  void fill_batch();

  void set_axes(int begin, int end, int64_t linear) {
    for (int a = end - 1; a >= begin; --a) {
      const int64_t extent = k.dims[static_cast<size_t>(a)];
      if (a == begin) {
        i[a] = linear;
        break;
      }
      i[a] = linear % extent;
      linear /= extent;
    }
  }

  int64_t position(int64_t offset, const std::vector<int64_t>& strides) const {
    for (size_t a = 0; a < strides.size(); ++a) offset += strides[a] * i[a];
    return offset;
  }

  // The j-th number of a shift, in elements; 0 if there is none.
  int64_t shifted(const Shift& shift, int64_t j) const {
    if (shift.entry < 0) return 0;
    if (shift.single) j = 0;
    return number(shift, j);
  }
  int64_t number(const Shift& shift, int64_t j) const {
    const char* values = at[shift.entry];
    return shift.wide ? reinterpret_cast<const int64_t*>(values)[j]
                      : reinterpret_cast<const int32_t*>(values)[j];
  }

  // The rows that a gather reads are nowhere near each other.
  static void foresee(const char* row, int64_t bytes) {
    constexpr int64_t kLine = 64, kMost = 2048;
    for (int64_t line = 0; line < std::min(bytes, kMost); line += kLine) {
      __builtin_prefetch(row + line);
    }
  }

  void expect(const Binding& b, const char* here) {
    if (b.tile_bytes == 0 || ahead_count == kMostAhead) return;
    const char* next = here + b.to_next;
    ahead[ahead_count++] = {next, next + b.tile_bytes};
  }

  void bind(const Binding& b, int64_t red_start) {
    if (b.kind == Binding::Kind::input) {
      const Access& access = k.accesses[static_cast<size_t>(b.index)];
      const int64_t start = position(access.offset, access.strides);
      char* base = static_cast<char*>(const_cast<void*>(inputs[access.input])) + start * b.size;
      expect(b, base);
      at[b.entry] = base + shifted(b.shift, 0) * b.size;
      if (b.shift.batched && outer + 1 < batch_end) {
        foresee(base + number(b.shift, 1) * b.size, std::min(k.rows, k.red_count) * b.size);
      }
    } else if (b.kind == Binding::Kind::output) {
      const OutputPart& part = k.parts[static_cast<size_t>(b.index)];
      at[b.entry] =
          static_cast<char*>(outputs[part.output]) + position(part.offset, part.strides) * b.size;
      expect(b, at[b.entry]);
    } else if (b.kind == Binding::Kind::row) {
      at[b.entry] = tile + b.offset + red_start * b.size;
    } else {
      const int64_t line = i[k.red_begin - 1] % kPanel;
      at[b.entry] = tile + b.offset + (line * panel_pitch(k.red_count) + red_start) * b.size;
    }
  }

  void fill_panels();

  static constexpr int64_t kShortRow = 64;
  // Positions along the last axis; rows of it along the one before, and sheets of whole rows along
  // the one before that.
  struct Block {
    int64_t length = 1, rows = 1, sheets = 1;
    int64_t count() const { return length * rows * sheets; }
  };
  // Calls run(point, block) for each straight run of n elements or, with `in_blocks`, for as many
  // short rows as make a block.
  template <typename Run>
  void walk(int64_t n, bool in_blocks, Run run) {
    const int rank = static_cast<int>(k.dims.size());
    if (rank == 0) return run(i, Block());
    int64_t at_axis[kMaxAxes];
    std::memcpy(at_axis, i, sizeof(int64_t) * static_cast<size_t>(rank));
    const int last = walk_end - 1;
    // The result of a reduction over nothing is one point of an axis without any.
    if (n == 1 || walk_begin == walk_end) return run(at_axis, Block());
    const auto extent = [&](int axis) { return k.dims[static_cast<size_t>(axis)]; };
    while (n > 0) {
      Block block;
      block.length = std::min(n, extent(last) - at_axis[last]);
      int axis = last;  // the block is as many positions of this one
      int64_t count = block.length;
      if (in_blocks && extent(last) <= kShortRow && block.length == extent(last)) {
        for (int64_t* more : {&block.rows, &block.sheets}) {
          if (axis == walk_begin || count != extent(axis)) break;
          --axis;
          count = *more = std::min(n / block.count(), extent(axis) - at_axis[axis]);
        }
      }
      run(at_axis, block);
      n -= block.count();
      at_axis[axis] += count;
      for (int a = axis; a > walk_begin && at_axis[a] == extent(a); --a) {
        at_axis[a] = 0;
        ++at_axis[a - 1];
      }
    }
  }

  void load(const Step& step, int64_t n);
  void store(const Step& step, int64_t n);
  void execute(const std::vector<Step>& steps, int64_t n);
};

}  // namespace jaxmps::cpu
