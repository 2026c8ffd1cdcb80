// reduce_window with any combiner and any number of operands, and select_and_scatter with any
// functions, on the CPU.
#include <cstring>
#include <new>

#include "kernels/cpu/threads.h"
#include "ops/combiner.h"
#include "ops/window.h"

namespace jaxmps::ops {
namespace {

// The element offset of cell `k` of the window number `i`, or -1 in padding and between dilated
// elements.
int64_t cell_at(const WindowDims& dims, const ir::Dims& strides, int64_t i, int64_t k) {
  int64_t at = 0;
  for (size_t d = dims.size(); d-- > 0;) {
    const WindowDim& dim = dims[d];
    const int64_t source = dim.source(i % dim.out, k % dim.window);
    i /= dim.out;
    k /= dim.window;
    at = source < 0 || at < 0 ? -1 : at + source * strides[d];
  }
  return at;
}

int64_t cell_count(const WindowDims& dims) {
  int64_t cells = 1;
  for (const WindowDim& d : dims) cells *= d.window;
  return cells;
}

// Folds the cells of each window in row-major order onto the initial value; padding counts as cells
// of that value, as StableHLO says.
class GeneralWindows {
 public:
  GeneralWindows(const OpContext& ctx, const WindowDims& dims, Combiner combiner)
      : dims_(dims),
        strides_(ir::row_major_strides(ctx.in(0).dims)),
        outputs_(ctx.out().size()),
        cells_(cell_count(dims)),
        combiner_(std::move(combiner)),
        scanned_(scanned_dimension()) {}

  void operator()(const void* const* in, void* const* out) const {
    scanned_ >= 0 && repeats_init(in) ? scan(in, out) : each(in, out);
  }

  double work() const {
    return static_cast<double>(outputs_) * static_cast<double>(scanned_ >= 0 ? 1 : cells_);
  }

 private:
  // Longer windows that reach to the end are regrouped: from their first element on they would take
  // the square of their length. StableHLO leaves the grouping open, and XLA regroups them too.
  static constexpr int kLongestSuffix = 64;

  // The one dimension whose windows reach from every element to the first, or to the last; or -1.
  int scanned_dimension() const {
    int found = -1;
    for (size_t d = 0; d < dims_.size(); ++d) {
      const WindowDim& dim = dims_[d];
      if (dim.is_trivial()) continue;
      const bool plain = dim.stride == 1 && dim.base_dilation == 1 && dim.window_dilation == 1 &&
                         dim.window >= dim.in && dim.out == dim.in;
      const bool prefix = dim.pad_low == dim.window - 1 && dim.pad_high == 0;
      const bool suffix =
          dim.pad_high == dim.window - 1 && dim.pad_low == 0 && dim.window > kLongestSuffix;
      if (found >= 0 || !plain || !(prefix || suffix)) return -1;
      found = static_cast<int>(d);
    }
    return found;
  }

  // Whether any amount of padding is worth one cell of it.
  bool repeats_init(const void* const* in) const {
    const size_t count = combiner_.count();
    Combiner::Call call(count);
    std::vector<Element> once(count), twice(count);
    combiner_.set(once.data(), in + count, 0);
    twice = once;
    combiner_.combine(call, twice.data(), in + count, 0);
    return combiner_.same(once.data(), twice.data());
  }

  void scan(const void* const* in, void* const* out) const {
    const auto axis = static_cast<size_t>(scanned_);
    const int64_t length = dims_[axis].in;
    const int64_t lines = outputs_ / std::max<int64_t>(1, length);
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, length));
    cpu::parallel_for(lines, grain, [&](int64_t begin, int64_t end) {
      for (int64_t line = begin; line < end; ++line) {
        dims_[axis].pad_high > 0 ? suffixes(line, in, out) : prefixes(line, in, out);
      }
    });
  }

  int64_t start_of(int64_t line) const {
    const int64_t stride = strides_[static_cast<size_t>(scanned_)];
    return line / stride * stride * dims_[static_cast<size_t>(scanned_)].in + line % stride;
  }

  // The windows' own order: the padding, then the elements.
  void prefixes(int64_t line, const void* const* in, void* const* out) const {
    const auto axis = static_cast<size_t>(scanned_);
    Combiner::Call call(combiner_.count());
    std::vector<Element> total(combiner_.count());
    combiner_.set(total.data(), in + combiner_.count(), 0);
    int64_t at = start_of(line);
    for (int64_t i = 0; i < dims_[axis].in; ++i, at += strides_[axis]) {
      combiner_.combine(call, total.data(), in, at);
      combiner_.store(total.data(), out, at);
    }
  }

  // init, (element i, (element i + 1, ... padding)): the elements in order, grouped from the right.
  void suffixes(int64_t line, const void* const* in, void* const* out) const {
    const auto axis = static_cast<size_t>(scanned_);
    const size_t count = combiner_.count();
    const int64_t length = dims_[axis].in, stride = strides_[axis];
    Combiner::Call call(count);
    std::vector<Element> rest(count), total(count);
    combiner_.set(rest.data(), in + count, 0);
    for (int64_t i = length - 1; i >= 0; --i) {
      const int64_t at = start_of(line) + i * stride;
      // The first window of a line as long as itself has no padding.
      if (i == 0 && dims_[axis].window == length) {
        combiner_.set(total.data(), in + count, 0);
        for (int64_t k = 0; k < length; ++k) {
          combiner_.combine(call, total.data(), in, start_of(line) + k * stride);
        }
      } else {
        combiner_.combine(call, rest.data(), in, at, /*before=*/true);
        total = rest;
        combiner_.combine(call, total.data(), in + count, 0, /*before=*/true);
      }
      combiner_.store(total.data(), out, at);
    }
  }

  void each(const void* const* in, void* const* out) const {
    const size_t count = combiner_.count();
    const int64_t grain = std::max<int64_t>(1, kGrain / cells_);
    cpu::parallel_for(outputs_, grain, [&](int64_t begin, int64_t end) {
      Combiner::Call call(count);
      std::vector<Element> total(count);
      for (int64_t i = begin; i < end; ++i) {
        combiner_.set(total.data(), in + count, 0);
        for (int64_t cell = 0; cell < cells_; ++cell) {
          const int64_t at = cell_at(dims_, strides_, i, cell);
          combiner_.combine(call, total.data(), at < 0 ? in + count : in, std::max<int64_t>(at, 0));
        }
        combiner_.store(total.data(), out, i);
      }
    });
  }

  static constexpr int64_t kGrain = 512;  // calls of the program worth one task
  WindowDims dims_;
  ir::Dims strides_;
  int64_t outputs_, cells_;
  Combiner combiner_;
  int scanned_;
};

// select_and_scatter, one window after the other.
class GeneralSelectAndScatter {
 public:
  static Result<GeneralSelectAndScatter> create(const OpContext& ctx, const WindowDims& dims) {
    TRY(auto select, kernels::scalar_program(ctx.op.region(0)));
    TRY(auto scatter, kernels::scalar_program(ctx.op.region(1)));
    return GeneralSelectAndScatter(ctx, dims, std::move(select), std::move(scatter));
  }

  void operator()(const void* const* in, void* const* out) const {
    const auto* operand = static_cast<const char*>(in[0]);
    const auto* source = static_cast<const char*>(in[1]);
    auto* result = static_cast<char*>(out[0]);
    for (int64_t i = 0; i < elements_; ++i) {
      std::memcpy(result + i * bytes_, in[2], static_cast<size_t>(bytes_));
    }
    for (int64_t i = 0; i < windows_; ++i) {
      const int64_t at = selected(operand, i);
      if (at < 0) continue;
      Element combined;
      char* to = result + at * bytes_;
      const void* arguments[] = {to, source + i * bytes_};
      void* results[] = {combined.data()};
      kernels::evaluate(scatter_, arguments, results);
      std::memcpy(to, combined.data(), static_cast<size_t>(bytes_));
    }
  }

  double work() const {
    return static_cast<double>(elements_) +
           static_cast<double>(windows_) * static_cast<double>(cells_);
  }

 private:
  GeneralSelectAndScatter(const OpContext& ctx, const WindowDims& dims,
                          kernels::ScalarProgram select, kernels::ScalarProgram scatter)
      : dims_(dims),
        strides_(ir::row_major_strides(ctx.in(0).dims)),
        elements_(ctx.in(0).size()),
        windows_(ctx.in(1).size()),
        cells_(cell_count(dims)),
        bytes_(ir::byte_size(ctx.in(0).dtype)),
        select_(std::move(select)),
        scatter_(std::move(scatter)) {}

  // The element that a window selects; -1 if it holds none.
  int64_t selected(const char* operand, int64_t window) const {
    int64_t best = -1;
    for (int64_t cell = 0; cell < cells_; ++cell) {
      const int64_t at = cell_at(dims_, strides_, window, cell);
      if (at < 0) continue;
      uint8_t keeps = 0;
      if (best >= 0) {
        const void* arguments[] = {operand + best * bytes_, operand + at * bytes_};
        void* results[] = {&keeps};
        kernels::evaluate(select_, arguments, results);
      }
      if (!keeps) best = at;
    }
    return best;
  }

  WindowDims dims_;
  ir::Dims strides_;
  int64_t elements_, windows_, cells_, bytes_;
  kernels::ScalarProgram select_, scatter_;
};

}  // namespace

Result<Lowering> general_windows(const OpContext& ctx, const WindowDims& dims) {
  TRY(Combiner combiner, Combiner::create(ctx));
  GeneralWindows windows(ctx, dims, std::move(combiner));
  const double nanoseconds = 60 * windows.work();
  return everywhere(ctx, std::move(windows), nanoseconds);
}

Result<Lowering> general_select_and_scatter(const OpContext& ctx, const WindowDims& dims) {
  TRY(auto kernel, GeneralSelectAndScatter::create(ctx, dims));
  const double nanoseconds = 60 * kernel.work();
  return everywhere(ctx, std::move(kernel), nanoseconds);
}

}  // namespace jaxmps::ops
