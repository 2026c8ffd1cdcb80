#include "kernels/cpu/fft.h"

#include <algorithm>
#include <memory>
#include <string_view>
#include <vector>

#include "kernels/cpu/fft_line.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

constexpr double kWorthWaking = 20e3;  // nanoseconds that are worth waking a thread for

const FftSet& set_for(const VecTable& vectors) {
  const FftSet* wide = std::string_view(vectors.name) == "base" ? nullptr : fft_set_avx2();
  return wide ? *wide : *fft_set_generic();
}

template <typename T>
const FftKernels<T>& kernels_of(const FftSet& set) {
  if constexpr (sizeof(T) == 4) {
    return set.f32;
  } else {
    return set.f64;
  }
}

int64_t grain_for(double nanoseconds) {
  return static_cast<int64_t>(std::max(1.0, kWorthWaking / (nanoseconds + 1)));
}

// Lines of real numbers on one side, along the last dimension: n real numbers and n / 2 + 1 complex
// ones. Where n is even, the real numbers are taken as n / 2 complex ones.
template <typename T>
class RealLine {
 public:
  RealLine(int64_t n, int64_t lines, const FftKernels<T>& kernels)
      : kernels_(kernels), n_(n), half_(n / 2), line_(n % 2 ? n : n / 2, lines, kernels) {
    if (n % 2) return;
    roots_ = FftTable<T>(2 * (half_ / 2 + 1));
    for (int64_t k = 0; k <= half_ / 2; ++k) roots_.set(k, fft_root(k, n));
  }

  const FftLinePlan<T>& line() const { return line_; }
  int64_t length() const { return n_; }
  double nanoseconds() const { return line_.nanoseconds() + 10 + static_cast<double>(half_); }

  void forward(int64_t count, const T* in, T* out, T scale) const {
    const int64_t width = half_ + 1;
    if (n_ % 2) {
      const Scratch scratch(static_cast<size_t>(2 * n_ * count) * sizeof(T));
      T* whole = scratch.as<T>();
      for (int64_t i = 0; i < n_ * count; ++i) {
        whole[2 * i] = in[i];
        whole[2 * i + 1] = 0;
      }
      line_.rows(count, whole, n_, whole, n_, false, scale);
      for (int64_t r = 0; r < count; ++r) {
        std::copy_n(whole + 2 * n_ * r, 2 * width, out + 2 * width * r);
      }
      return;
    }
    if (line_.takes_real(count)) {
      return line_.real_rows(count, in, out, false, scale, roots_.data());
    }
    line_.rows(count, in, half_, out, width, false, scale);
    for (int64_t r = 0; r < count; ++r) {
      T* x = out + 2 * width * r;
      std::copy_n(x, 2, x + 2 * half_);
      in_parts(
          [&](int64_t from, int64_t to) { kernels_.untangle(half_, roots_.data(), x, from, to); });
    }
  }

  void backward(int64_t count, const T* in, T* out, T scale) const {
    if (n_ % 2 == 0 && line_.takes_real(count)) {
      return line_.real_rows(count, in, out, true, scale, roots_.data());
    }
    const int64_t width = half_ + 1, whole = n_ % 2 ? n_ : width;
    const Scratch scratch(static_cast<size_t>(2 * whole * count) * sizeof(T));
    T* lines = scratch.as<T>();
    for (int64_t r = 0; r < count; ++r) {
      const T* x = in + 2 * width * r;
      T* to = lines + 2 * whole * r;
      if (n_ % 2) {
        complete(x, to);
      } else {
        in_parts([&](int64_t begin, int64_t end) {
          kernels_.tangle(half_, roots_.data(), x, to, begin, end);
        });
      }
    }
    if (n_ % 2 == 0) return line_.rows(count, lines, whole, out, half_, true, scale);
    line_.rows(count, lines, n_, lines, n_, true, scale);
    for (int64_t i = 0; i < n_ * count; ++i) out[i] = lines[2 * i];
  }

 private:
  // The whole spectrum from its non-negative half.
  void complete(const T* half, T* whole) const {
    whole[0] = half[0];
    whole[1] = 0;
    for (int64_t k = 1; k <= half_; ++k) {
      std::copy_n(half + 2 * k, 2, whole + 2 * k);
      whole[2 * (n_ - k)] = half[2 * k];
      whole[2 * (n_ - k) + 1] = -half[2 * k + 1];
    }
  }

  template <typename Body>
  void in_parts(const Body& body) const {
    parallel_for(half_ / 2 + 1, int64_t{1} << 15, body);
  }

  const FftKernels<T>& kernels_;
  const int64_t n_, half_;
  FftLinePlan<T> line_;
  FftTable<T> roots_;
};

// What is transformed along one dimension: `outer` blocks of n lines of `inner` elements.
template <typename T>
struct Axis {
  int64_t outer, inner;
  FftLinePlan<T> line;

  double nanoseconds() const {
    const auto lines = static_cast<double>(outer * inner);
    return lines * line.nanoseconds();
  }
};

template <typename T>
class Plan {
 public:
  Plan(ir::FftType type, const ir::Dims& dims, const ir::Ints& lengths,
       const FftKernels<T>& kernels)
      : kernels_(kernels),
        type_(type),
        is_inverse_(type == ir::FftType::ifft || type == ir::FftType::irfft) {
    const bool is_real = type == ir::FftType::rfft || type == ir::FftType::irfft;
    batch_ = 1;
    for (size_t d = 0; d + lengths.size() < dims.size(); ++d) batch_ *= dims[d];
    size_ = ir::element_count(lengths);
    if (batch_ * size_ == 0) return;
    const int64_t last = is_real ? lengths.back() / 2 + 1 : lengths.back();
    row_count_ = batch_ * size_ / lengths.back();
    spectrum_ = row_count_ * last;
    int64_t outer = row_count_, inner = last;
    if (is_real) {
      real_ = std::make_unique<RealLine<T>>(lengths.back(), row_count_, kernels);
      nanoseconds_ += static_cast<double>(row_count_) * real_->nanoseconds();
    } else {
      add(outer, 1, lengths.back());
    }
    for (size_t d = lengths.size() - 1; d-- > 0; inner *= lengths[d]) {
      outer /= lengths[d];
      add(outer, inner, lengths[d]);
    }
  }

  double nanoseconds() const { return nanoseconds_; }

  void run(const T* in, T* out) const {
    if (batch_ * size_ == 0) return;
    const T scale = is_inverse_ ? static_cast<T>(1.0 / static_cast<double>(size_)) : T{1};
    if (type_ == ir::FftType::irfft && !axes_.empty()) {
      const Scratch scratch(static_cast<size_t>(2 * spectrum_) * sizeof(T));
      T* between = scratch.as<T>();
      for (const Axis<T>& axis : axes_) {
        transform(axis, &axis == &axes_.front() ? in : between, between, 1);
      }
      return transform_real(between, out, scale);
    }
    if (real_) transform_real(in, out, scale);
    for (const Axis<T>& axis : axes_) {
      const bool is_first = !real_ && &axis == &axes_.front();
      transform(axis, is_first ? in : out, out, &axis == &axes_.back() && !real_ ? scale : T{1});
    }
  }

 private:
  void add(int64_t outer, int64_t inner, int64_t n) {
    axes_.push_back({outer, inner, FftLinePlan<T>(n, outer * inner, kernels_)});
    nanoseconds_ += axes_.back().nanoseconds();
  }

  // body(begin, end) for the rows that a line plan takes.
  template <typename Body>
  void for_rows(const FftLinePlan<T>& line, int64_t rows, double nanoseconds,
                const Body& body) const {
    if (line.is_shared()) {
      for (int64_t r = 0; r < rows; ++r) body(r, r + 1);
      return;
    }
    const int64_t unit = line.batch();
    const int64_t grain = grain_for(nanoseconds * static_cast<double>(unit)) * unit;
    // Rows are taken together for as long as their scratch memory is small.
    const int64_t most = std::max<int64_t>(unit, 16);
    parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r += most) body(r, std::min(end, r + most));
    });
  }

  void transform_real(const T* in, T* out, T scale) const {
    const int64_t n = real_->length(), width = n / 2 + 1;
    for_rows(real_->line(), row_count_, real_->nanoseconds(), [&](int64_t begin, int64_t end) {
      if (type_ == ir::FftType::rfft) {
        real_->forward(end - begin, in + begin * n, out + 2 * begin * width, scale);
      } else {
        real_->backward(end - begin, in + 2 * begin * width, out + begin * n, scale);
      }
    });
  }

  void transform(const Axis<T>& axis, const T* in, T* out, T scale) const {
    const int64_t n = axis.line.length();
    if (axis.inner == 1) {
      return for_rows(axis.line, axis.outer, axis.line.nanoseconds(),
                      [&](int64_t begin, int64_t end) {
                        const int64_t at = 2 * begin * n;
                        axis.line.rows(end - begin, in + at, n, out + at, n, is_inverse_, scale);
                      });
    }
    const int64_t width = kernels_.width, groups = (axis.inner + width - 1) / width;
    const double each = axis.line.nanoseconds() * static_cast<double>(width);
    parallel_for(axis.outer * groups, grain_for(each), [&](int64_t begin, int64_t end) {
      for (int64_t g = begin; g < end; ++g) {
        const int64_t first = g % groups * width;
        const int64_t at = 2 * (g / groups * n * axis.inner + first);
        axis.line.columns(std::min(width, axis.inner - first), in + at, out + at, axis.inner,
                          is_inverse_, scale);
      }
    });
  }

  const FftKernels<T>& kernels_;
  const ir::FftType type_;
  const bool is_inverse_;
  int64_t batch_, size_;
  int64_t row_count_ = 0, spectrum_ = 0;  // lines along the last dimension; complex numbers of them
  std::unique_ptr<RealLine<T>> real_;     // along the last dimension
  std::vector<Axis<T>> axes_;             // in this order, beside real_
  double nanoseconds_ = 100;
};

template <typename T>
Fft plan_for(ir::FftType type, const ir::Dims& dims, const ir::Ints& lengths,
             const VecTable& vectors) {
  auto plan = std::make_shared<const Plan<T>>(type, dims, lengths, kernels_of<T>(set_for(vectors)));
  const double nanoseconds = plan->nanoseconds();
  return {[plan = std::move(plan)](const void* in, void* out) {
            plan->run(static_cast<const T*>(in), static_cast<T*>(out));
          },
          nanoseconds};
}

}  // namespace

Fft plan_fft(ir::FftType type, ir::DType real, const ir::Dims& dims, const ir::Ints& lengths,
             const VecTable& vectors) {
  return real == ir::DType::f64 ? plan_for<double>(type, dims, lengths, vectors)
                                : plan_for<float>(type, dims, lengths, vectors);
}

}  // namespace jaxmps::cpu
