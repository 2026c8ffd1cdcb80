// Convolution whose lhs has its features adjacent: forward passes and gradients of the input.
// Tiles of output positions read lhs in place, one pointer a position, against packed kernels.

#include <algorithm>
#include <new>

#include "kernels/cpu/conv_plan.h"
#include "kernels/cpu/micro.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/threads.h"
#include "kernels/cpu/transpose_block.h"

namespace jaxmps::cpu {
namespace {

constexpr size_t kSharedBytes = size_t{1} << 20;   // packed kernels that stay in a core's cache
constexpr size_t kPackedBytes = size_t{64} << 20;  // the most memory for packed kernels
constexpr int64_t kBlocksPerTask = 8;              // else: blocks per packing of one panel
constexpr int kMaxWidth = 64;

template <typename T>
class ConvRows {
 public:
  ConvRows(const ConvLayout& plan, const T* lhs, const T* rhs, T* out)
      : plan_(plan), micro_(micro<T>()), lhs_(lhs), rhs_(rhs), out_(out) {
    width_ = micro_.width;
    panels_ = (plan.outs + width_ - 1) / width_;
    panel_ = plan.windows * plan.ins * width_;
    window_rhs_ = window_offsets(plan);
  }

  void run() {
    const int64_t panels = plan_.groups * panels_;
    const auto blocks = static_cast<int64_t>(plan_.blocks.size());
    const int64_t chunks = (blocks + kBlocksPerTask - 1) / kBlocksPerTask;
    const size_t bytes = static_cast<size_t>(panels * panel_) * sizeof(T);
    const bool shared = bytes <= kSharedBytes;
    // Each panel needed once is packed where it is used, and still in the cache then.
    if (!shared && (chunks == 1 || bytes > kPackedBytes))
      return run_panels(panels, chunks, nullptr);
    Scratch packed(bytes);
    T* all = packed.as<T>();
    parallel_for(panels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) pack(p, all + p * panel_);
    });
    if (!shared) return run_panels(panels, chunks, all);
    parallel_for(plan_.groups * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t group = task / blocks;
        Block block(*this, task % blocks, group);
        for (int64_t p = 0; p < panels_; ++p) block.run(p, all + (group * panels_ + p) * panel_);
      }
    });
  }

 private:
  // Panel after panel, each over chunks of blocks; packs as it goes when `all` is null.
  void run_panels(int64_t panels, int64_t chunks, const T* all) const {
    const auto blocks = static_cast<int64_t>(plan_.blocks.size());
    parallel_for(panels * chunks, 1, [&](int64_t begin, int64_t end) {
      Scratch own(all == nullptr ? static_cast<size_t>(panel_) * sizeof(T) : 0);
      for (int64_t task = begin; task < end; ++task) {
        const int64_t p = task / chunks;
        if (all == nullptr) pack(p, own.as<T>());
        const T* panel = all == nullptr ? own.as<T>() : all + p * panel_;
        const int64_t first = task % chunks * kBlocksPerTask;
        for (int64_t b = first; b < std::min(blocks, first + kBlocksPerTask); ++b) {
          Block(*this, b, p / panels_).run(p % panels_, panel);
        }
      }
    });
  }

  // One block of rows: where each row starts in lhs and out, and the taps they share.
  class Block {
   public:
    Block(const ConvRows& of, int64_t index, int64_t group) : of_(of) {
      const ConvLayout& plan = of.plan_;
      const ConvBlock& block = plan.blocks[index];
      const auto classes = classes_of(plan, block.combination);
      fill_taps(plan, classes, 0, plan.axes[0].dim.kernel, taps_);
      merge_taps();
      for (int64_t& window : taps_.window) window *= plan.ins * of.width_;
      fill_rows(block, classes, group * plan.lhs_group, group * plan.out_group);
    }

    void run(int64_t p, const T* packed) {
      const int64_t feature = of_.plan_.shape.out_feature;
      const int64_t j0 = p * of_.width_;
      Tile<T, T> tile;
      tile.taps = taps_.lhs.data();
      tile.b_taps = taps_.window.data();
      tile.tap_count = static_cast<int64_t>(taps_.lhs.size());
      tile.depth = depth_;
      tile.b = packed;
      tile.b_stride = of_.width_;
      tile.columns = std::min<int64_t>(of_.width_, of_.plan_.outs - j0);
      const auto total = static_cast<int64_t>(in_.size());
      for (int64_t r0 = 0; r0 < total; r0 += of_.micro_.rows) {
        const int count = static_cast<int>(std::min<int64_t>(of_.micro_.rows, total - r0));
        const T* rows[kMaxMicroRows];
        T* c[kMaxMicroRows];
        T spill[kMaxMicroRows * kMaxWidth];
        for (int r = 0; r < count; ++r) {
          rows[r] = of_.lhs_ + in_[r0 + r];
          c[r] = feature == 1 ? of_.out_ + out_[r0 + r] + j0 : spill + r * kMaxWidth;
        }
        tile.rows = rows;
        tile.c = c;
        of_.micro_.by_row(count, tile);
        if (feature == 1) continue;
        for (int64_t j = 0; j < tile.columns; ++j) {
          for (int r = 0; r < count; ++r) {
            of_.out_[out_[r0 + r] + (j0 + j) * feature] = spill[r * kMaxWidth + j];
          }
        }
      }
    }

   private:
    // Taps that follow each other in lhs and in the window become one, longer.
    void merge_taps() {
      const int64_t ins = of_.plan_.ins;
      depth_ = ins;
      const int64_t count = static_cast<int64_t>(taps_.lhs.size());
      int64_t run = 1;
      while (run < count && taps_.lhs[run] == taps_.lhs[0] + run * ins &&
             taps_.window[run] == taps_.window[0] + run) {
        ++run;
      }
      if (run == 1 || count % run != 0) return;
      for (int64_t t = 0; t < count; ++t) {
        const int64_t head = t - t % run;
        if (taps_.lhs[t] != taps_.lhs[head] + (t - head) * ins) return;
        if (taps_.window[t] != taps_.window[head] + (t - head)) return;
      }
      for (int64_t t = 0; t * run < count; ++t) {
        taps_.lhs[t] = taps_.lhs[t * run];
        taps_.window[t] = taps_.window[t * run];
      }
      taps_.lhs.resize(count / run);
      taps_.window.resize(count / run);
      depth_ = run * ins;
    }

    void fill_rows(const ConvBlock& block, const std::vector<const ConvClass*>& classes, int64_t in,
                   int64_t out) {
      const ConvLayout& plan = of_.plan_;
      const size_t rank = classes.size();
      std::vector<int64_t> at(rank);
      int64_t rest = block.begin;
      for (size_t d = rank; d-- > 0;) {
        const auto extent = static_cast<int64_t>(classes[d]->outs.size());
        at[d] = rest % extent;
        rest /= extent;
      }
      for (int64_t row = block.begin; row < block.end; ++row) {
        int64_t from = in + rest * plan.shape.lhs_batch;
        int64_t to = out + rest * plan.shape.out_batch;
        for (size_t d = 0; d < rank; ++d) {
          const int64_t s = classes[d]->outs[at[d]];
          if (classes[d]->count > 0) from += plan.axes[d].base(*classes[d], s);
          to += s * plan.axes[d].dim.out_stride;
        }
        in_.push_back(from);
        out_.push_back(to);
        size_t d = rank;
        while (d > 0 && ++at[d - 1] == static_cast<int64_t>(classes[d - 1]->outs.size()))
          at[--d] = 0;
        if (d == 0) ++rest;
      }
    }

    const ConvRows& of_;
    ConvTaps taps_;
    int64_t depth_ = 0;
    std::vector<int64_t> in_, out_;
  };

  // Panel p: windows in order, then features, then `width_` outputs, padded with zeros.
  void pack(int64_t p, T* to) const {
    const int64_t j0 = p % panels_ * width_;
    const int64_t columns = std::min<int64_t>(width_, plan_.outs - j0);
    const int64_t in = plan_.shape.rhs_in, across = plan_.shape.rhs_out;
    const T* from = rhs_ + p / panels_ * plan_.rhs_group + j0 * across;
    for (int64_t w = 0; w < plan_.windows; ++w, to += plan_.ins * width_) {
      const T* window = from + window_rhs_[w];
      for (int64_t i0 = 0; i0 < plan_.ins; i0 += 16) {
        const int64_t i1 = std::min(plan_.ins, i0 + 16);
        if (across == 1) {
          for (int64_t i = i0; i < i1; ++i) {
            for (int64_t j = 0; j < columns; ++j) to[i * width_ + j] = window[i * in + j];
          }
        } else if (in == 1) {
          transpose_block(window + i0, across, to + i0 * width_, width_, i1 - i0, columns);
        } else {
          for (int64_t j = 0; j < columns; ++j) {
            for (int64_t i = i0; i < i1; ++i) to[i * width_ + j] = window[i * in + j * across];
          }
        }
        for (int64_t i = i0; i < i1; ++i) {
          for (int64_t j = columns; j < width_; ++j) to[i * width_ + j] = T(0);
        }
      }
    }
  }

  const ConvLayout& plan_;
  const Micro<T, T>& micro_;
  const T* const lhs_;
  const T* const rhs_;
  T* const out_;
  int64_t width_ = 0;
  int64_t panels_ = 0;
  int64_t panel_ = 0;
  std::vector<int64_t> window_rhs_;
};

}  // namespace

template <typename T>
void conv_rows(const ConvLayout& plan, const T* lhs, const T* rhs, T* out) {
  ConvRows<T>(plan, lhs, rhs, out).run();
}

template void conv_rows(const ConvLayout&, const float*, const float*, float*);
template void conv_rows(const ConvLayout&, const double*, const double*, double*);

}  // namespace jaxmps::cpu
