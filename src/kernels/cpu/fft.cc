#include "kernels/cpu/fft.h"

#include <cmath>
#include <complex>
#include <new>
#include <numbers>
#include <vector>

#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

using Complex = std::complex<double>;

Complex root(int64_t k, int64_t n) {
  const double angle = 2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(n);
  return {std::cos(angle), std::sin(angle)};
}

// A transform of one length in one direction, without scaling.
class Line {
 public:
  Line(int64_t n, bool inverse) : n_(n), inverse_(inverse) {
    size_ = 1;
    const bool power = (n & (n - 1)) == 0;
    while (size_ < (power ? n : 2 * n - 1)) size_ *= 2;
    roots_.resize(size_ / 2);
    for (int64_t k = 0; k < size_ / 2; ++k) roots_[k] = std::conj(root(k, size_));
    if (power) return;
    // Bluestein: j k = (j^2 + k^2 - (k - j)^2) / 2 makes the transform a convolution with a chirp.
    chirp_.resize(n);
    kernel_.assign(size_, 0);
    for (int64_t k = 0; k < n; ++k) {
      chirp_[k] = std::conj(root(k * k % (2 * n), 2 * n));
      kernel_[k] = std::conj(chirp_[k]);
      if (k) kernel_[size_ - k] = kernel_[k];
    }
    radix2(kernel_.data());
  }

  void run(Complex* x) const {
    if (inverse_) {
      for (int64_t i = 0; i < n_; ++i) x[i] = std::conj(x[i]);
    }
    if (chirp_.empty()) {
      radix2(x);
    } else {
      convolve(x);
    }
    if (inverse_) {
      for (int64_t i = 0; i < n_; ++i) x[i] = std::conj(x[i]);
    }
  }

 private:
  void radix2(Complex* x) const {
    for (int64_t i = 1, j = 0; i < size_; ++i) {
      int64_t bit = size_ >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      j ^= bit;
      if (i < j) std::swap(x[i], x[j]);
    }
    for (int64_t half = 1; half < size_; half *= 2) {
      const int64_t step = size_ / (2 * half);
      for (int64_t i = 0; i < size_; i += 2 * half) {
        for (int64_t k = 0; k < half; ++k) {
          const Complex w = roots_[k * step], b = x[i + k + half];
          const Complex t(w.real() * b.real() - w.imag() * b.imag(),
                          w.real() * b.imag() + w.imag() * b.real());
          x[i + k + half] = x[i + k] - t;
          x[i + k] += t;
        }
      }
    }
  }

  void convolve(Complex* x) const {
    std::vector<Complex> a(size_);
    for (int64_t i = 0; i < n_; ++i) a[i] = x[i] * chirp_[i];
    radix2(a.data());
    // The inverse transform is the conjugate of the transform of the conjugate.
    for (int64_t i = 0; i < size_; ++i) a[i] = std::conj(a[i] * kernel_[i]);
    radix2(a.data());
    const double scale = 1.0 / static_cast<double>(size_);
    for (int64_t i = 0; i < n_; ++i) x[i] = std::conj(a[i]) * scale * chirp_[i];
  }

  int64_t n_, size_;
  bool inverse_;
  std::vector<Complex> roots_, chirp_, kernel_;
};

// Transforms dimension d of one dense array of `dims`.
void along(const Line& line, const ir::Dims& dims, size_t d, Complex* data) {
  int64_t inner = 1, outer = 1;
  for (size_t i = 0; i < dims.size(); ++i)
    (i < d ? outer : i > d ? inner : outer) *= i == d ? 1 : dims[i];
  const int64_t n = dims[d];
  std::vector<Complex> buffer(n);
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t j = 0; j < inner; ++j) {
      Complex* at = data + o * n * inner + j;
      if (inner == 1) {
        line.run(at);
        continue;
      }
      for (int64_t i = 0; i < n; ++i) buffer[i] = at[i * inner];
      line.run(buffer.data());
      for (int64_t i = 0; i < n; ++i) at[i * inner] = buffer[i];
    }
  }
}

// The whole spectrum of a line from its non-negative half.
void complete(const Complex* half, int64_t n, Complex* line) {
  for (int64_t i = 0; i <= n / 2; ++i) line[i] = half[i];
  for (int64_t i = n / 2 + 1; i < n; ++i) line[i] = std::conj(half[n - i]);
  line[0] = line[0].real();
  if (n % 2 == 0) line[n / 2] = line[n / 2].real();
}

}  // namespace

void fft(const FftPlan& plan, const void* in, void* out) {
  const size_t rank = plan.lengths.size();
  const int64_t size = ir::element_count(plan.lengths);
  const int64_t last = rank ? plan.lengths.back() : 1;
  const int64_t rows = last ? size / last : 0, half = last / 2 + 1;
  const double scale = plan.inverse ? 1.0 / static_cast<double>(size) : 1.0;
  std::vector<Line> lines;
  for (int64_t n : plan.lengths) lines.emplace_back(n, plan.inverse);
  ir::Dims half_dims = plan.lengths;
  if (plan.real_output && rank) half_dims.back() = half;
  const int64_t in_size = plan.real_output ? rows * half : size;
  const int64_t out_size = plan.real_input ? rows * half : size;
  auto one = [&](int64_t b) {
    std::vector<Complex> x(in_size);
    for (int64_t i = 0; i < in_size; ++i) {
      x[i] = plan.real_input ? Complex(static_cast<const double*>(in)[b * in_size + i])
                             : static_cast<const Complex*>(in)[b * in_size + i];
    }
    if (plan.real_output) {
      for (size_t d = 0; d + 1 < rank; ++d) along(lines[d], half_dims, d, x.data());
      std::vector<Complex> line(last);
      double* to = static_cast<double*>(out) + b * size;
      for (int64_t r = 0; r < rows; ++r) {
        complete(x.data() + r * half, last, line.data());
        lines[rank - 1].run(line.data());
        for (int64_t i = 0; i < last; ++i) to[r * last + i] = line[i].real() * scale;
      }
      return;
    }
    for (size_t d = rank; d-- > 0;) along(lines[d], plan.lengths, d, x.data());
    Complex* to = static_cast<Complex*>(out) + b * out_size;
    const int64_t width = plan.real_input ? half : last;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < width; ++i) to[r * width + i] = x[r * last + i] * scale;
    }
  };
  parallel_for(plan.batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) one(b);
  });
}

}  // namespace jaxmps::cpu
