// The blocked matrix product over the micro-kernels; internal to gemm.cc.
//
// B is packed into panels as wide as the micro-kernel, A block by block, both only when reading
// them in place would be slower. Blocks depend on the shape alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/cpu/dtype.h"
#include "kernels/cpu/micro.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/threads.h"
#include "kernels/cpu/transpose_block.h"

namespace jaxmps::cpu {

// One product of a batch, in elements of the source type.
template <typename Src>
struct Operands {
  const Src* a;
  const Src* b;
  int64_t m, n, k;
  int64_t a_row, a_col, b_row, b_col;
};

// How sources become micro-kernel elements: one for one, or two steps of k in one pair.
template <typename Src, typename A>
struct Packing {
  static constexpr int64_t kPer = 1;
  // Whether sources side by side in memory already are micro-kernel elements.
  static constexpr bool kInPlace = std::is_same_v<Src, A>;
  static A make(const Src* at, int64_t, int64_t) { return static_cast<A>(*at); }
};

template <>
struct Packing<BF16, uint32_t> {
  static constexpr int64_t kPer = 2;
  static constexpr bool kInPlace = true;
  static uint32_t make(const BF16* at, int64_t stride, int64_t left) {
    return at->bits | (left > 1 ? static_cast<uint32_t>(at[stride].bits) << 16 : 0u);
  }
};

template <typename Src>
requires(std::is_integral_v<Src> && sizeof(Src) == 1) struct Packing<Src, uint32_t> {
  static constexpr int64_t kPer = 2;
  static constexpr bool kInPlace = false;
  static uint32_t make(const Src* at, int64_t stride, int64_t left) {
    const auto low = static_cast<uint16_t>(static_cast<int16_t>(*at));
    const auto high = static_cast<uint16_t>(left > 1 ? static_cast<int16_t>(at[stride]) : 0);
    return low | static_cast<uint32_t>(high) << 16;
  }
};

template <typename Src, typename A, typename C>
class PackedGemm {
 public:
  using Pack = Packing<Src, A>;
  static constexpr int64_t kPer = Pack::kPer;
  static constexpr bool kSame = std::is_same_v<Src, A>;
  static constexpr bool kPairs = kPer == 2;

  PackedGemm(const Micro<A, C>& micro, const Operands<Src>& o, C* c, int64_t ldc)
      : micro_(micro), o_(o), c_(c), ldc_(ldc) {
    panels_ = (o.n + micro.width - 1) / micro.width;
    steps_ = (o.k + kPer - 1) / kPer;
    const int64_t chunks = std::max<int64_t>(1, (steps_ + kDepth - 1) / kDepth);
    depth_ = std::max<int64_t>(1, (steps_ + chunks - 1) / chunks);
    // Packing pays when what is packed is read several times.
    if constexpr (kSame) {
      b_direct_ = o.b_col == 1 && o.m <= 4 * micro.rows;
    }
    if constexpr (Pack::kInPlace) {
      a_dense_ = o.a_col == 1 && o.k % kPer == 0;
      a_direct_ = a_dense_ && panels_ <= 4;
    }
    by_column_ = !kPairs && o.a_col != 1 && o.a_row == 1;
  }

  void run() {
    const int64_t packed = b_direct_ ? o_.n % micro_.width != 0 : panels_;
    Scratch b_block(static_cast<size_t>(packed * micro_.width * depth_) * sizeof(A));
    packed_b_ = b_block.as<A>();
    for (int64_t k0 = 0; k0 < steps_ || k0 == 0; k0 += depth_) run_chunk(k0);
  }

 private:
  static constexpr int64_t kDepth = 384;       // steps of k between two passes over C
  static constexpr int64_t kRows = 64;         // rows of A a task packs
  static constexpr int64_t kColumns = 512;     // columns of C a task computes
  static constexpr int64_t kTogether = 4;      // panels packed by one task
  static constexpr int64_t kInline = 1 << 18;  // products not worth waking a thread for

  void run_chunk(int64_t k0) {
    const int64_t depth = std::min(depth_, steps_ - k0);
    const bool small = o_.m * o_.n * o_.k <= kInline;
    const int64_t first = b_direct_ ? o_.n / micro_.width : 0;
    const int64_t packed = panels_ - first;
    parallel_for(packed, small ? packed : kTogether, [&](int64_t begin, int64_t end) {
      // A few steps of several panels at a time: that reads longer runs of B's rows.
      for (int64_t s = 0; s < depth; s += 32) {
        const int64_t until = std::min(depth, s + 32);
        for (int64_t p = begin; p < end; ++p) {
          pack_panel(first + p, k0, s, until, packed_b_ + p * panel());
        }
      }
    });
    const int64_t row_blocks = (o_.m + kRows - 1) / kRows;
    const int64_t wide = std::max<int64_t>(1, kColumns / micro_.width);
    const int64_t column_blocks = (panels_ + wide - 1) / wide;
    const int64_t tasks = row_blocks * column_blocks;
    parallel_for(tasks, small ? tasks : 1, [&](int64_t begin, int64_t end) {
      Scratch a_block(static_cast<size_t>((kRows + micro_.rows) * (depth + 16)) * sizeof(A));
      for (int64_t task = begin; task < end; ++task) {
        const int64_t p0 = task / row_blocks * wide;
        run_block(k0, depth, task % row_blocks * kRows, p0, std::min(p0 + wide, panels_),
                  a_block.as<A>());
      }
    });
  }

  int64_t panel() const { return micro_.width * depth_; }

  // Steps [begin, end) of panel p.
  void pack_panel(int64_t p, int64_t k0, int64_t begin, int64_t end, A* to) const {
    const int64_t width = micro_.width;
    const int64_t j0 = p * width;
    const int64_t columns = std::min(width, o_.n - j0);
    const Src* from = o_.b + k0 * kPer * o_.b_row + j0 * o_.b_col;
    const int64_t left = o_.k - k0 * kPer;
    int64_t first = begin;
    if constexpr (Pack::kInPlace) {
      // A transposed B: its columns are turned 16 steps at a time.
      const bool whole = o_.b_row == 1 && o_.b_col % kPer == 0 && columns == width;
      for (; whole && (first + 16) * kPer <= std::min(left, end * kPer); first += 16) {
        transpose_block(reinterpret_cast<const A*>(from + first * kPer), o_.b_col / kPer,
                        to + first * width, width, 16, columns);
      }
    }
    for (int64_t s = first; s < end; ++s) {
      const Src* row = from + s * kPer * o_.b_row;
      A* line = to + s * width;
      int64_t j = 0;
      if (o_.b_col == 1) {
        if constexpr (kSame) {
          std::memcpy(line, row, static_cast<size_t>(columns) * sizeof(A));
          j = columns;
        }
        // A loop without the question whether a second step is left is one the compiler vectorises.
        if (left - s * kPer >= kPer) {
          for (; j < columns; ++j) line[j] = Pack::make(row + j, o_.b_row, kPer);
        }
        for (; j < columns; ++j) line[j] = Pack::make(row + j, o_.b_row, 1);
      } else {
        for (; j < columns; ++j)
          line[j] = Pack::make(row + j * o_.b_col, o_.b_row, left - s * kPer);
      }
      for (; j < width; ++j) line[j] = A{};
    }
  }

  // Rows one after another, `ld` apart.
  void pack_rows(int64_t i0, int64_t rows, int64_t k0, int64_t depth, A* to, int64_t ld) const {
    const Src* from = o_.a + i0 * o_.a_row + k0 * kPer * o_.a_col;
    const int64_t left = o_.k - k0 * kPer;
    for (int64_t r0 = 0; r0 < rows; r0 += 16) {
      const int64_t r1 = std::min(rows, r0 + 16);
      if (o_.a_col == 1) {
        for (int64_t r = r0; r < r1; ++r) {
          const Src* row = from + r * o_.a_row;
          if (a_dense_) {
            std::memcpy(to + r * ld, row, static_cast<size_t>(depth) * sizeof(A));
          } else {
            for (int64_t s = 0; s < depth; ++s) {
              to[r * ld + s] = Pack::make(row + s * kPer, 1, left - s * kPer);
            }
          }
        }
        continue;
      }
      for (int64_t s = 0; s < depth; ++s) {
        const Src* column = from + s * kPer * o_.a_col;
        for (int64_t r = r0; r < r1; ++r) {
          to[r * ld + s] = Pack::make(column + r * o_.a_row, o_.a_col, left - s * kPer);
        }
      }
    }
  }

  // Tile by tile, each step's rows together, for an A whose rows are adjacent in memory.
  void pack_columns(int64_t i0, int64_t rows, int64_t k0, int64_t depth, A* to) const {
    const int64_t tile = micro_.rows;
    for (int64_t r0 = 0; r0 < rows; r0 += tile) {
      const int64_t count = std::min(tile, rows - r0);
      A* block = to + r0 * depth;
      for (int64_t s = 0; s < depth; ++s) {
        const Src* from = o_.a + i0 + r0 + (k0 + s) * o_.a_col;
        for (int64_t r = 0; r < count; ++r) block[s * tile + r] = Pack::make(from + r, 0, 1);
      }
    }
  }

  void run_block(int64_t k0, int64_t depth, int64_t i0, int64_t p0, int64_t p1, A* a_block) const {
    const int64_t rows = std::min(kRows, o_.m - i0);
    const int64_t ld = depth + 16;  // off a power of two, so that rows do not share cache sets
    if (by_column_) {
      pack_columns(i0, rows, k0, depth, a_block);
    } else if (!a_direct_) {
      pack_rows(i0, rows, k0, depth, a_block, ld);
    }
    const int64_t zero = 0;
    Tile<A, C> tile;
    tile.taps = tile.b_taps = &zero;
    tile.tap_count = 1;
    tile.depth = depth;
    tile.accumulate = k0 > 0;
    for (int64_t p = p0; p < p1; ++p) {
      const int64_t j0 = p * micro_.width;
      tile.columns = std::min<int64_t>(micro_.width, o_.n - j0);
      set_panel(p, k0, tile);
      for (int64_t r0 = 0; r0 < rows; r0 += micro_.rows) {
        const int count = static_cast<int>(std::min<int64_t>(micro_.rows, rows - r0));
        const A* row_at[16];
        C* c_at[16];
        for (int r = 0; r < count; ++r) {
          row_at[r] = by_column_ ? nullptr : row_pointer(a_block, i0, r0 + r, k0, ld);
          c_at[r] = c_ + (i0 + r0 + r) * ldc_ + j0;
        }
        tile.rows = row_at;
        tile.c = c_at;
        tile.base = a_block + r0 * depth;
        tile.a_stride = micro_.rows;
        if (by_column_) {
          micro_.by_column(count, tile);
        } else {
          micro_.by_row(count, tile);
        }
      }
    }
  }

  const A* row_pointer(const A* a_block, int64_t i0, int64_t r, int64_t k0, int64_t ld) const {
    if constexpr (Pack::kInPlace) {
      if (a_direct_) {
        return reinterpret_cast<const A*>(o_.a + (i0 + r) * o_.a_row + k0 * kPer);
      }
    }
    return a_block + r * ld;
  }

  void set_panel(int64_t p, int64_t k0, Tile<A, C>& tile) const {
    const int64_t full = o_.n / micro_.width;
    if constexpr (kSame) {
      if (b_direct_ && p < full) {
        tile.b = o_.b + k0 * o_.b_row + p * micro_.width;
        tile.b_stride = o_.b_row;
        return;
      }
    }
    tile.b = packed_b_ + (b_direct_ ? 0 : p) * panel();
    tile.b_stride = micro_.width;
  }

  const Micro<A, C>& micro_;
  const Operands<Src> o_;
  C* const c_;
  const int64_t ldc_;
  A* packed_b_ = nullptr;
  int64_t panels_ = 0;
  int64_t steps_ = 0;
  int64_t depth_ = 0;
  bool a_dense_ = false;
  bool a_direct_ = false;
  bool b_direct_ = false;
  bool by_column_ = false;
};

}  // namespace jaxmps::cpu
