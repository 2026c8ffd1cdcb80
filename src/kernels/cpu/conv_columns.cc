// Convolution whose lhs has its batch adjacent, with a large window and a small result: gradients
// of the kernel. The products are summed over blocks of the window, in an order the shape fixes.

#include <algorithm>
#include <cstring>
#include <new>

#include "kernels/cpu/conv_plan.h"
#include "kernels/cpu/micro.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

constexpr int64_t kPanelRows = 512;  // rows of rhs packed at a time: a panel fits a core's cache
constexpr int64_t kTasks = 16;       // split the sum until there are about so many tasks
constexpr int64_t kPartialElements = int64_t{1} << 24;

template <typename T>
class ColumnPanels {
 public:
  ColumnPanels(const ConvLayout& plan, const T* lhs, const T* rhs, T* out)
      : plan_(plan), micro_(micro<T>()), lhs_(lhs), rhs_(rhs), out_(out) {
    width_ = micro_.width;
    panels_ = (plan.outs + width_ - 1) / width_;
    first_ = plan.axes[0].dim.kernel;
    rest_ = plan.windows / first_;
    ins_per_ = std::clamp<int64_t>(kPanelRows / plan.windows, 1, plan.ins);
    windows_per_ = std::clamp<int64_t>(kPanelRows / rest_, 1, first_);
    window_blocks_ = (first_ + windows_per_ - 1) / windows_per_;
    blocks_ = (plan.ins + ins_per_ - 1) / ins_per_ * window_blocks_;
    const int64_t wanted = (kTasks + plan.groups * panels_ - 1) / (plan.groups * panels_);
    result_ = plan.groups * plan.positions * plan.batch * plan.outs;
    splits_ = std::clamp<int64_t>(std::min(wanted, kPartialElements / result_), 1, blocks_);
    window_rhs_ = window_offsets(plan);
  }

  void run() {
    direct_ = splits_ == 1 && plan_.shape.out_feature == 1;
    Scratch partial(direct_ ? 0 : static_cast<size_t>(splits_ * result_) * sizeof(T));
    partial_ = partial.as<T>();
    parallel_for(plan_.groups * panels_ * splits_, 1, [&](int64_t begin, int64_t end) {
      Scratch packed(static_cast<size_t>(ins_per_ * windows_per_ * rest_ * width_) * sizeof(T));
      for (int64_t task = begin; task < end; ++task) {
        const int64_t split = task / (plan_.groups * panels_);
        const int64_t p = task % (plan_.groups * panels_);
        const int64_t from = blocks_ * split / splits_, to = blocks_ * (split + 1) / splits_;
        for (int64_t b = from; b < to; ++b) run_block(split, p, b, b > from, packed.as<T>());
      }
    });
    if (!direct_) reduce();
  }

 private:
  void run_block(int64_t split, int64_t p, int64_t b, bool accumulate, T* packed) const {
    const int64_t i0 = b / window_blocks_ * ins_per_;
    const int64_t ins = std::min(ins_per_, plan_.ins - i0);
    const int64_t w0 = b % window_blocks_ * windows_per_;
    const int64_t w1 = std::min(first_, w0 + windows_per_);
    pack(p, i0, ins, w0 * rest_, w1 * rest_, packed);
    ConvTaps taps;
    Tile<T, T> tile;
    tile.depth = ins;
    tile.a_stride = plan_.shape.lhs_feature;
    tile.b = packed;
    tile.b_stride = (w1 - w0) * rest_ * width_;
    tile.columns = std::min<int64_t>(width_, plan_.outs - p % panels_ * width_);
    tile.accumulate = accumulate;
    const T* lhs = lhs_ + p / panels_ * plan_.lhs_group + i0 * plan_.shape.lhs_feature;
    for (int64_t combination = 0; combination < plan_.combinations; ++combination) {
      const auto classes = classes_of(plan_, combination);
      fill_taps(plan_, classes, w0, w1, taps);
      for (int64_t& window : taps.window) window = (window - w0 * rest_) * width_;
      tile.taps = taps.lhs.data();
      tile.b_taps = taps.window.data();
      tile.tap_count = static_cast<int64_t>(taps.lhs.size());
      for_each_position(classes, [&](int64_t base, int64_t position, int64_t out) {
        run_position(split, p, lhs + base, position, out, tile);
      });
    }
  }

  // Calls body(lhs offset, flat output position, out offset) for the positions of a combination.
  template <typename Body>
  void for_each_position(const std::vector<const ConvClass*>& classes, const Body& body) const {
    const size_t rank = classes.size();
    std::vector<size_t> at(rank);
    for (const ConvClass* of : classes) {
      if (of->outs.empty()) return;
    }
    for (;;) {
      int64_t base = 0, position = 0, out = 0;
      for (size_t d = 0; d < rank; ++d) {
        const int64_t s = classes[d]->outs[at[d]];
        if (classes[d]->count > 0) base += plan_.axes[d].base(*classes[d], s);
        position = position * plan_.axes[d].out + s;
        out += s * plan_.axes[d].dim.out_stride;
      }
      body(base, position, out);
      size_t d = rank;
      while (d > 0 && ++at[d - 1] == classes[d - 1]->outs.size()) at[--d] = 0;
      if (d == 0) return;
    }
  }

  void run_position(int64_t split, int64_t p, const T* lhs, int64_t position, int64_t out,
                    Tile<T, T>& tile) const {
    const int64_t group = p / panels_;
    const int64_t j0 = p % panels_ * width_;
    T* to = direct_ ? out_ + group * plan_.out_group + out + j0
                    : partial_ + split * result_ + row_of(group, position) * plan_.outs + j0;
    const int64_t ld = direct_ ? plan_.shape.out_batch : plan_.outs;
    for (int64_t b0 = 0; b0 < plan_.batch; b0 += micro_.rows) {
      const int count = static_cast<int>(std::min<int64_t>(micro_.rows, plan_.batch - b0));
      T* c[kMaxMicroRows];
      for (int r = 0; r < count; ++r) c[r] = to + (b0 + r) * ld;
      tile.base = lhs + b0;
      tile.c = c;
      micro_.by_column(count, tile);
    }
  }

  int64_t row_of(int64_t group, int64_t position) const {
    return (group * plan_.positions + position) * plan_.batch;
  }

  void pack(int64_t p, int64_t i0, int64_t ins, int64_t w0, int64_t w1, T* to) const {
    const int64_t across = plan_.shape.rhs_out;
    const int64_t j0 = p % panels_ * width_;
    const int64_t columns = std::min<int64_t>(width_, plan_.outs - j0);
    const T* from = rhs_ + p / panels_ * plan_.rhs_group + j0 * across + i0 * plan_.shape.rhs_in;
    for (int64_t i = 0; i < ins; ++i, from += plan_.shape.rhs_in) {
      for (int64_t w = w0; w < w1; ++w, to += width_) {
        const T* row = from + window_rhs_[w];
        if (across == 1) {
          std::memcpy(to, row, static_cast<size_t>(columns) * sizeof(T));
        } else {
          for (int64_t j = 0; j < columns; ++j) to[j] = row[j * across];
        }
        for (int64_t j = columns; j < width_; ++j) to[j] = T(0);
      }
    }
  }

  // Adds the partial sums, first to last, into out.
  void reduce() const {
    const int64_t rows = plan_.groups * plan_.positions * plan_.batch;
    const int64_t grain = std::max<int64_t>(1, 16384 / plan_.outs);
    parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        T* sums = partial_ + row * plan_.outs;
        for (int64_t s = 1; s < splits_; ++s) {
          const T* more = sums + s * result_;
          for (int64_t j = 0; j < plan_.outs; ++j) sums[j] += more[j];
        }
        int64_t position = row / plan_.batch % plan_.positions;
        int64_t at = row % plan_.batch * plan_.shape.out_batch +
                     row / plan_.batch / plan_.positions * plan_.out_group;
        for (size_t d = plan_.axes.size(); d-- > 0;) {
          at += position % plan_.axes[d].out * plan_.axes[d].dim.out_stride;
          position /= plan_.axes[d].out;
        }
        const int64_t feature = plan_.shape.out_feature;
        for (int64_t j = 0; j < plan_.outs; ++j) out_[at + j * feature] = sums[j];
      }
    });
  }

  const ConvLayout& plan_;
  const Micro<T, T>& micro_;
  const T* const lhs_;
  const T* const rhs_;
  T* const out_;
  T* partial_ = nullptr;
  int64_t width_ = 0, panels_ = 0;
  int64_t first_ = 1, rest_ = 1;  // window extents: of the first axis, of all others
  int64_t ins_per_ = 1, windows_per_ = 1, window_blocks_ = 1, blocks_ = 1;
  int64_t result_ = 1, splits_ = 1;
  bool direct_ = false;
  std::vector<int64_t> window_rhs_;
};

}  // namespace

template <typename T>
void conv_columns(const ConvLayout& plan, const T* lhs, const T* rhs, T* out) {
  ColumnPanels<T>(plan, lhs, rhs, out).run();
}

template void conv_columns(const ConvLayout&, const float*, const float*, float*);
template void conv_columns(const ConvLayout&, const double*, const double*, double*);

}  // namespace jaxmps::cpu
