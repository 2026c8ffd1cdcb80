#include "kernels/cpu/fft_line.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <numbers>

#include "kernels/cpu/scratch.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

constexpr std::align_val_t kTableAlign{64};
// Beyond this one transform would leave the second cache, in bytes.
constexpr int64_t kLong = 256 << 10;
// Lines of fewer elements are rather given a lane each than spread over the lanes.
constexpr int64_t kShort = 160;
// Lanes of this many elements fill half of the second cache.
constexpr int64_t kLongestInLanes = 2048;
// A line that is alone fills one lane, while a convolution of it fills them all.
constexpr int kMostAlone = 43;
constexpr int64_t kColumns = 4;  // groups of lanes in a chunk of a long transform

// Radices whose product is n.
std::vector<int> factors(int64_t n) {
  std::vector<int> found;
  const auto divide = [&](int radix) {
    // One factor 8 serves where 2 would be left.
    while (n % radix == 0 && !(radix == 4 && n % 16 == 8)) {
      found.push_back(radix);
      n /= radix;
    }
  };
  for (int radix : {4, 8, 2}) divide(radix);
  for (int radix = 3; radix <= kMostFftRadix; radix += 2) divide(radix);
  return found;
}

// Whether n has no prime factors beyond that one.
bool has_factors(int64_t n, int most) {
  for (int64_t p = 2; p <= most; ++p) {
    while (n % p == 0) n /= p;
  }
  return n == 1;
}

// The least product of small factors that is at least n.
int64_t smooth_from(int64_t n) {
  int64_t best = 0;
  for (int64_t odd : {1, 3, 5, 9, 15, 25, 27}) {
    int64_t size = 8 * odd;
    while (size < n) size *= 2;
    if (best == 0 || size < best) best = size;
  }
  return best;
}

}  // namespace

std::complex<double> fft_root(int64_t k, int64_t n) {
  // By octants, since the error of an angle grows with it.
  const int64_t octant = 8 * k / n, rest = 8 * k - octant * n;
  const double angle = std::numbers::pi / 4 *
                       (static_cast<double>(octant % 2 ? n - rest : rest) / static_cast<double>(n));
  double c = std::cos(angle), s = std::sin(angle);
  if (octant % 4 == 1 || octant % 4 == 2) std::swap(c, s);
  if (octant >= 2 && octant < 6) c = -c;
  if (octant >= 4) s = -s;
  return {c, -s};
}

template <typename T>
FftTable<T>::FftTable(int64_t size)
    : data_(static_cast<T*>(::operator new(static_cast<size_t>(size) * sizeof(T), kTableAlign))) {}

template <typename T>
void FftTable<T>::Free::operator()(T* data) const {
  ::operator delete(data, kTableAlign);
}

template <typename T>
void FftTable<T>::set(int64_t i, std::complex<double> value) const {
  (*this)[2 * i] = static_cast<T>(value.real());
  (*this)[2 * i + 1] = static_cast<T>(value.imag());
}

// --- planning -----------------------------------------------------------------------------------

template <typename T>
FftLinePlan<T>::FftLinePlan(int64_t n, int64_t lines, const FftKernels<T>& kernels)
    : kernels_(kernels), n_(n) {
  if (n <= 1) return;
  if (!has_factors(n, lines < kernels.width ? kMostAlone : kMostFftRadix)) {
    plan_convolution();
    return;
  }
  const double each = 8.0 / kernels.width;  // of an element and pass, in a tenth of a nanosecond
  nanoseconds_ = 20 + 0.1 * each * static_cast<double>(n) * (8 + std::log2(static_cast<double>(n)));
  if (2 * n * static_cast<int64_t>(sizeof(T)) >= kLong) {
    plan_long();
    return;
  }
  whole_ = plan_passes(n);
  plan_parts();
  prefers_lanes_ = n < kShort || (2 * parts_ <= kernels.width && n <= kLongestInLanes);
}

template <typename T>
FftTable<T> FftLinePlan<T>::spokes(int radix) const {
  FftTable<T> table(2 * (radix - 1));
  for (int k = 1; k < radix; ++k) table.set(k - 1, std::conj(fft_root(k, radix)));
  return table;
}

template <typename T>
typename FftLinePlan<T>::Passes FftLinePlan<T>::plan_passes(int64_t n) const {
  Passes plan;
  int64_t outer = 1;
  for (int radix : factors(n)) {
    const int64_t inner = n / outer / radix;
    FftTable<T> roots(2 * inner * (radix - 1));
    for (int64_t j = 0; j < inner; ++j) {
      for (int u = 1; u < radix; ++u) {
        roots.set(j * (radix - 1) + u - 1, fft_root(j * u, radix * inner));
      }
    }
    plan.tables.push_back(std::move(roots));
    plan.tables.push_back(spokes(radix));
    const auto last = plan.tables.end();
    plan.passes.push_back({radix, inner, outer, last[-2].data(), last[-1].data()});
    outer *= radix;
  }
  return plan;
}

template <typename T>
void FftLinePlan<T>::plan_parts() {
  for (int parts : {8, 7, 5, 4, 3, 2}) {
    if (parts <= kernels_.width && n_ % parts == 0) {
      parts_ = parts;
      break;
    }
  }
  if (parts_ == 0) return;
  const int64_t width = kernels_.width, n = n_ / parts_;
  part_ = plan_passes(n);
  part_spokes_ = spokes(parts_);
  part_roots_ = FftTable<T>(2 * width * n);
  for (int64_t k = 0; k < n; ++k) {
    for (int64_t p = 0; p < width; ++p) {
      const auto root = p < parts_ ? fft_root(k * p, n_) : 0;
      part_roots_[2 * width * k + p] = static_cast<T>(root.real());
      part_roots_[2 * width * k + width + p] = static_cast<T>(root.imag());
    }
  }
}

template <typename T>
void FftLinePlan<T>::plan_long() {
  long_ = std::make_unique<Long>();
  Long& plan = *long_;
  plan.n1 = static_cast<int64_t>(std::sqrt(static_cast<double>(n_)));
  while (n_ % plan.n1 != 0) --plan.n1;
  plan.n2 = n_ / plan.n1;
  plan.first = plan_passes(plan.n1);
  plan.second = plan_passes(plan.n2);
  const int64_t width = kernels_.width;
  plan.lanes = FftTable<T>(2 * width * plan.n1);
  for (int64_t k = 0; k < plan.n1; ++k) {
    for (int64_t l = 0; l < width; ++l) {
      const auto root = fft_root(k * l % n_, n_);
      plan.lanes[2 * width * k + l] = static_cast<T>(root.real());
      plan.lanes[2 * width * k + width + l] = static_cast<T>(root.imag());
    }
  }
  plan.shift = static_cast<int>(std::log2(static_cast<double>(n_)) / 2);
  const int64_t near = int64_t{1} << plan.shift, far = n_ / near + 1;
  plan.fine = FftTable<double>(2 * near);
  for (int64_t k = 0; k < near; ++k) plan.fine.set(k, fft_root(k, n_));
  plan.coarse = FftTable<double>(2 * far);
  for (int64_t k = 0; k < far; ++k) plan.coarse.set(k, fft_root(k * near % n_, n_));
}

// Bluestein: j k = (j^2 + k^2 - (k - j)^2) / 2 makes the transform a convolution with a chirp.
template <typename T>
void FftLinePlan<T>::plan_convolution() {
  const int64_t size = smooth_from(2 * n_ - 1);
  inner_ = std::make_unique<FftLinePlan>(size, 1, kernels_);
  nanoseconds_ = 2 * inner_->nanoseconds_ + static_cast<double>(size);
  chirp_ = FftTable<T>(2 * n_);
  FftTable<T> kernel(2 * size);
  std::fill(kernel.data(), kernel.data() + 2 * size, T{0});
  int64_t square = 0;  // modulo 2 n
  for (int64_t k = 0; k < n_; ++k) {
    const auto root = fft_root(square, 2 * n_);
    chirp_.set(k, root);
    const auto scaled = std::conj(root) / static_cast<double>(size);
    kernel.set(k, scaled);
    if (k) kernel.set(size - k, scaled);
    square = (square + 2 * k + 1) % (2 * n_);
  }
  spectrum_ = FftTable<T>(2 * size);
  inner_->row(kernel.data(), spectrum_.data(), false, 1);
}

// --- running ------------------------------------------------------------------------------------

template <typename T>
void FftLinePlan<T>::lines(const Passes& passes, int64_t n, int64_t count, FftPlace<const T*> in,
                           FftPlace<T*> out, T scale, const FftTwist<T>* twist, FftReal real,
                           const T* real_roots) const {
  const Scratch scratch(static_cast<size_t>(4 * (n + 1) * kernels_.width) * sizeof(T));
  kernels_.lines({n, passes.passes.data(), passes.count(), in, out, static_cast<int>(count), scale,
                  twist, real, real_roots, scratch.as<T>()});
}

template <typename T>
void FftLinePlan<T>::row(const T* in, T* out, bool is_inverse, T scale) const {
  if (inner_) return convolved_row(in, out, is_inverse, scale);
  if (long_) return long_row(in, out, is_inverse, scale);
  if (parts_ == 0) {
    return lines(whole_, n_, 1, {in, 1, 0, is_inverse}, {out, 1, 0, is_inverse}, scale);
  }
  const int64_t n = n_ / parts_;
  const Scratch scratch(static_cast<size_t>(4 * (n + 1) * kernels_.width) * sizeof(T));
  kernels_.line({n,
                 part_.passes.data(),
                 part_.count(),
                 parts_,
                 part_roots_.data(),
                 part_spokes_.data(),
                 {in, 1, 0, is_inverse},
                 {out, 1, 0, is_inverse},
                 scale,
                 scratch.as<T>()});
}

// Element j1 * n2 + j2 of the operand, k2 * n1 + k1 of the result.
template <typename T>
void FftLinePlan<T>::long_row(const T* in, T* out, bool is_inverse, T scale) const {
  const Long& plan = *long_;
  const int64_t n1 = plan.n1, n2 = plan.n2, width = kernels_.width;
  const Scratch scratch(static_cast<size_t>(2 * n_) * sizeof(T));
  T* between = scratch.as<T>();
  parallel_for(n2, kColumns * width, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; j += width) {
      const FftTwist<T> twist = {j, plan.lanes.data(), plan.coarse.data(), plan.fine.data(),
                                 plan.shift};
      lines(plan.first, n1, std::min(width, n2 - j), {in + 2 * j, n2, 1, is_inverse},
            {between + 2 * j, n2, 1, false}, 1, &twist);
    }
  });
  parallel_for(n1, kColumns * width, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; k += width) {
      lines(plan.second, n2, std::min(width, n1 - k), {between + 2 * k * n2, 1, n2, false},
            {out + 2 * k, n1, 1, is_inverse}, scale);
    }
  });
}

template <typename T>
void FftLinePlan<T>::convolved_row(const T* in, T* out, bool is_inverse, T scale) const {
  const int64_t size = inner_->n_;
  const Scratch scratch(static_cast<size_t>(4 * size) * sizeof(T));
  T *a = scratch.as<T>(), *b = a + 2 * size;
  kernels_.multiply(n_, {in, 1, 0, is_inverse}, chirp_.data(), {a, 1, 0, false}, 1);
  std::fill(a + 2 * n_, a + 2 * size, T{0});
  inner_->row(a, b, false, 1);
  kernels_.multiply(size, {b, 1, 0, false}, spectrum_.data(), {b, 1, 0, false}, 1);
  inner_->row(b, a, true, 1);
  kernels_.multiply(n_, {a, 1, 0, false}, chirp_.data(), {out, 1, 0, is_inverse}, scale);
}

template <typename T>
void FftLinePlan<T>::rows(int64_t count, const T* in, int64_t in_line, T* out, int64_t out_line,
                          bool is_inverse, T scale) const {
  const int64_t width = kernels_.width;
  if (n_ == 1) {
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t k = 0; k < 2; ++k) out[2 * r * out_line + k] = in[2 * r * in_line + k] * scale;
    }
  } else if (prefers_lanes_ && (count > 1 || parts_ == 0)) {
    for (int64_t r = 0; r < count; r += width) {
      lines(whole_, n_, std::min(width, count - r), {in + 2 * r * in_line, 1, in_line, is_inverse},
            {out + 2 * r * out_line, 1, out_line, is_inverse}, scale);
    }
  } else {
    for (int64_t r = 0; r < count; ++r) {
      row(in + 2 * r * in_line, out + 2 * r * out_line, is_inverse, scale);
    }
  }
}

template <typename T>
void FftLinePlan<T>::real_rows(int64_t count, const T* in, T* out, bool is_inverse, T scale,
                               const T* roots) const {
  const int64_t width = kernels_.width, in_line = n_ + is_inverse, out_line = n_ + !is_inverse;
  for (int64_t r = 0; r < count; r += width) {
    lines(whole_, n_, std::min(width, count - r), {in + 2 * r * in_line, 1, in_line, false},
          {out + 2 * r * out_line, 1, out_line, is_inverse}, scale, nullptr,
          is_inverse ? FftReal::result : FftReal::operand, roots);
  }
}

template <typename T>
void FftLinePlan<T>::columns(int64_t count, const T* in, T* out, int64_t step, bool is_inverse,
                             T scale) const {
  if (!inner_ && !long_) {
    return lines(whole_, n_, count, {in, step, 1, is_inverse}, {out, step, 1, is_inverse}, scale);
  }
  const Scratch scratch(static_cast<size_t>(2 * n_ * count) * sizeof(T));
  T* side = scratch.as<T>();
  const size_t pair = 2 * sizeof(T);
  for (int64_t k = 0; k < n_; ++k) {
    for (int64_t l = 0; l < count; ++l) {
      std::memcpy(side + 2 * (l * n_ + k), in + 2 * (k * step + l), pair);
    }
  }
  rows(count, side, n_, side, n_, is_inverse, scale);
  for (int64_t k = 0; k < n_; ++k) {
    for (int64_t l = 0; l < count; ++l) {
      std::memcpy(out + 2 * (k * step + l), side + 2 * (l * n_ + k), pair);
    }
  }
}

template class FftTable<float>;
template class FftTable<double>;
template class FftLinePlan<float>;
template class FftLinePlan<double>;

}  // namespace jaxmps::cpu
