#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <numbers>
#include <random>
#include <vector>

#include "kernels/cpu/fft.h"

namespace jaxmps::cpu {
namespace {

using Complex = std::complex<double>;
using ir::DType;
using ir::FftType;

// The definition, along one dimension; unscaled.
void transform(const ir::Dims& dims, size_t d, bool is_inverse, std::vector<Complex>* x) {
  int64_t inner = 1, n = dims[d];
  for (size_t e = d + 1; e < dims.size(); ++e) inner *= dims[e];
  std::vector<Complex> root(n), line(n);
  for (int64_t k = 0; k < n; ++k) {
    root[k] = std::polar(1.0, (is_inverse ? 2 : -2) * std::numbers::pi * k / n);
  }
  for (int64_t at = 0; at < static_cast<int64_t>(x->size()); ++at) {
    if (at / inner % n != 0) continue;
    for (int64_t k = 0; k < n; ++k) {
      line[k] = 0;
      for (int64_t j = 0; j < n; ++j) line[k] += (*x)[at + j * inner] * root[j * k % n];
    }
    for (int64_t k = 0; k < n; ++k) (*x)[at + k * inner] = line[k];
  }
}

ir::Dims halved(ir::Dims dims) {
  dims.back() = dims.back() / 2 + 1;
  return dims;
}

// Of real numbers `whole`, or complex ones, all numbers of whose half are independent.
template <typename T>
void check(FftType type, const ir::Dims& dims, size_t rank, const VecTable& vectors) {
  std::mt19937 random(7);
  std::normal_distribution<double> normal;
  const bool is_real = type == FftType::rfft || type == FftType::irfft;
  const bool is_inverse = type == FftType::ifft || type == FftType::irfft;
  const int64_t size = ir::element_count(dims);
  std::vector<Complex> whole(size);
  for (Complex& c : whole) c = {normal(random), type == FftType::rfft ? 0 : normal(random)};
  const ir::Ints lengths(dims.end() - rank, dims.end());
  std::vector<T> in;
  const auto append = [&](const std::vector<Complex>& from, bool is_half, std::vector<T>* to) {
    for (int64_t i = 0; i < size; ++i) {
      if (is_half && i % dims.back() > dims.back() / 2) continue;
      to->push_back(static_cast<T>(from[i].real()));
      to->push_back(static_cast<T>(from[i].imag()));
    }
  };
  std::vector<Complex> spectrum = whole;
  for (size_t d = dims.size() - rank; d < dims.size(); ++d) {
    transform(dims, d, is_inverse, &spectrum);
  }
  std::vector<T> want;
  double scale = 1;
  if (type == FftType::irfft) {
    // From real numbers to their spectrum, by the definition, and back.
    for (Complex& c : whole) c = c.real();
    spectrum = whole;
    for (size_t d = dims.size() - rank; d < dims.size(); ++d) transform(dims, d, false, &spectrum);
    append(spectrum, true, &in);
    for (const Complex& c : whole) want.push_back(static_cast<T>(c.real()));
  } else {
    for (int64_t n : lengths) scale *= is_inverse ? static_cast<double>(n) : 1;
    for (Complex& c : spectrum) c /= scale;
    append(spectrum, is_real, &want);
    if (is_real) {
      for (const Complex& c : whole) in.push_back(static_cast<T>(c.real()));
    } else {
      append(whole, false, &in);
    }
  }
  const Fft plan = plan_fft(type, sizeof(T) == 4 ? DType::f32 : DType::f64,
                            type == FftType::irfft ? halved(dims) : dims, lengths, vectors);
  std::vector<T> out(want.size());
  plan.run(in.data(), out.data());
  double error = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += std::norm(static_cast<double>(out[i]) - static_cast<double>(want[i]));
    norm += std::norm(static_cast<double>(want[i]));
  }
  const double bound = sizeof(T) == 4 ? 6e-7 : 2e-14;  // of the definition in double, too
  EXPECT_LE(std::sqrt(error), bound * std::sqrt(norm))
      << vectors.name << " " << sizeof(T) << " " << static_cast<int>(type) << " " << dims[0] << "x"
      << dims.back() << " rank " << rank;
}

void check_all(const ir::Dims& dims, size_t rank) {
  for (const char* name : {"base", "avx2"}) {
    const VecTable* vectors = vec_table(name);
    if (!vectors) continue;
    for (FftType type : {FftType::fft, FftType::ifft, FftType::rfft, FftType::irfft}) {
      check<float>(type, dims, rank, *vectors);
      check<double>(type, dims, rank, *vectors);
    }
  }
}

TEST(Fft, Lengths) {
  for (int64_t n = 1; n <= 130; ++n) check_all({n}, 1);
  for (int64_t n : {143, 169, 210, 243, 256, 343, 360, 384, 500, 512, 625, 997, 1000, 1001, 1024,
                    1331, 1536, 2048, 2197}) {
    check_all({n}, 1);
  }
}

TEST(Fft, Batches) {
  for (int64_t n : {2, 3, 7, 12, 13, 16, 45, 64, 100, 128, 143, 251, 500}) {
    for (int64_t batch : {2, 7, 8, 17}) check_all({batch, n}, 1);
  }
}

TEST(Fft, SeveralDimensions) {
  for (int64_t n : {1, 2, 5, 8, 12, 17, 31}) {
    for (int64_t m : {1, 3, 8, 15, 16, 20, 34}) check_all({n, m}, 2);
  }
  check_all({3, 5, 9}, 2);
  check_all({4, 3, 6, 5}, 3);
  check_all({2, 8, 16, 10}, 3);
}

// Beyond what the definition computes: there and back, and single waves.
template <typename T>
void check_long(int64_t n, double bound) {
  const DType real = sizeof(T) == 4 ? DType::f32 : DType::f64;
  std::mt19937 random(7);
  std::normal_distribution<double> normal;
  const ir::Dims half = {n / 2 + 1};
  std::vector<T> x(n), spectrum(2 * half[0]), back(n);
  for (int64_t wave : {int64_t{1}, n / 3}) {
    for (int64_t i = 0; i < n; ++i) {
      x[i] = static_cast<T>(std::cos(2 * std::numbers::pi * (i * wave % n) / n));
    }
    plan_fft(FftType::rfft, real, {n}, {n}).run(x.data(), spectrum.data());
    spectrum[2 * wave] -= static_cast<T>(n) / 2;
    double error = 0;
    for (T s : spectrum) error += s * s;
    EXPECT_LE(std::sqrt(error), bound * n) << n << " wave " << wave;
  }
  for (T& value : x) value = static_cast<T>(normal(random));
  plan_fft(FftType::rfft, real, {n}, {n}).run(x.data(), spectrum.data());
  plan_fft(FftType::irfft, real, half, {n}).run(spectrum.data(), back.data());
  double error = 0;
  for (int64_t i = 0; i < n; ++i) error += std::norm(static_cast<double>(x[i] - back[i]));
  EXPECT_LE(std::sqrt(error), bound * std::sqrt(n)) << n;
}

TEST(Fft, LongLines) {
  for (int64_t n : {1 << 16, 1 << 20, 3 * 5 * 7 * 1024, 177147, 100003, 200006}) {
    check_long<float>(n, 1e-6);
    check_long<double>(n, 4e-15);
  }
}

TEST(Fft, LongColumns) {
  // Line l of [n, 2] is a wave of l + 1 periods.
  const int64_t n = 1 << 15;
  std::vector<float> x(4 * n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t l = 0; l < 2; ++l) {
      const double angle = 2 * std::numbers::pi * ((l + 1) * i) / n;
      x[2 * (2 * i + l)] = static_cast<float>(std::cos(angle));
      x[2 * (2 * i + l) + 1] = static_cast<float>(std::sin(angle));
    }
  }
  plan_fft(FftType::fft, DType::f32, {n, 2}, {n, 2}).run(x.data(), x.data());
  // Sums and differences of the two lines.
  for (int64_t k = 0; k < n; ++k) {
    for (int64_t l = 0; l < 2; ++l) {
      const double want = k == 1 ? n : k == 2 ? (l == 0 ? n : -n) : 0;
      EXPECT_NEAR(x[2 * (2 * k + l)], want, 0.05) << k << " " << l;
    }
  }
}

TEST(Fft, Empty) {
  for (const ir::Dims& dims : {ir::Dims{0}, {3, 0}, {0, 4}}) {
    plan_fft(FftType::fft, DType::f32, dims, {dims.back()}).run(nullptr, nullptr);
  }
}

}  // namespace
}  // namespace jaxmps::cpu
