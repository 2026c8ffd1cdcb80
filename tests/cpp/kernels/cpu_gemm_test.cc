#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <complex>
#include <memory>
#include <random>
#include <vector>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

using Complex = std::complex<double>;

template <typename T>
auto widen(T value) {
  if constexpr (std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>) {
    return Complex(value.real(), value.imag());
  } else if constexpr (std::is_same_v<T, BF16> || std::is_same_v<T, F16>) {
    return static_cast<double>(static_cast<float>(value));
  } else {
    return static_cast<double>(value);
  }
}

// Small integers: every product and sum below is exact in every type, so equality is the test.
template <typename T>
T random_value(std::mt19937& rng, int limit) {
  const int value = static_cast<int>(rng() % (2 * limit + 1)) - limit;
  if constexpr (std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>) {
    return T(value, static_cast<int>(rng() % 3) - 1);
  } else if constexpr (std::is_same_v<T, BF16> || std::is_same_v<T, F16>) {
    return T(static_cast<float>(value));
  } else if constexpr (std::is_same_v<T, bool>) {
    return value > limit / 2;
  } else if constexpr (std::is_unsigned_v<T>) {
    return static_cast<T>(value + limit);
  } else {
    return static_cast<T>(value);
  }
}

template <typename T>
struct Buffer {
  explicit Buffer(size_t n) : data(new T[n]), size(n) {}
  std::unique_ptr<T[]> data;
  size_t size;
};

template <typename In, typename Out>
void check_product(Gemm g, int limit, std::mt19937& rng) {
  int64_t batch = 1;
  const int64_t a_size = g.m * g.k + 3, b_size = g.k * g.n + 5, c_size = g.m * (g.n + 2);
  for (GemmBatch& dim : g.batch) batch *= dim.size;
  int64_t a_step = a_size, b_step = b_size, c_step = c_size;
  for (size_t d = g.batch.size(); d-- > 0;) {
    g.batch[d].a = a_step;
    g.batch[d].b = b_step;
    g.batch[d].c = c_step;
    a_step *= g.batch[d].size;
    b_step *= g.batch[d].size;
    c_step *= g.batch[d].size;
  }
  Buffer<In> a(batch * a_size + 1), b(batch * b_size + 1);
  Buffer<Out> c(c_step + 1);
  for (size_t i = 0; i < a.size; ++i) a.data[i] = random_value<In>(rng, limit);
  for (size_t i = 0; i < b.size; ++i) b.data[i] = random_value<In>(rng, limit);
  for (size_t i = 0; i < c.size; ++i) c.data[i] = random_value<Out>(rng, limit);
  gemm(g, a.data.get(), b.data.get(), c.data.get());
  for (int64_t s = 0; s < batch; ++s) {
    for (int64_t i = 0; i < g.m; ++i) {
      for (int64_t j = 0; j < g.n; ++j) {
        const int64_t at = s * c_size + i * g.c_row + j;
        decltype(widen(c.data[at])) sum{};
        for (int64_t k = 0; k < g.k; ++k) {
          sum += widen(a.data[s * a_size + i * g.a_row + k * g.a_col]) *
                 widen(b.data[s * b_size + k * g.b_row + j * g.b_col]);
        }
        if constexpr (std::is_same_v<Out, bool>) {
          ASSERT_EQ(c.data[at], sum > 0);
        } else if constexpr (std::is_integral_v<Out>) {
          ASSERT_EQ(c.data[at], static_cast<Out>(static_cast<int64_t>(sum)));
        } else if constexpr (std::is_same_v<Out, BF16> || std::is_same_v<Out, F16>) {
          ASSERT_EQ(c.data[at].bits, Out(static_cast<float>(sum)).bits);
        } else {
          ASSERT_EQ(widen(c.data[at]), sum)
              << i << "," << j << " of " << g.m << "x" << g.n << "x" << g.k;
        }
      }
    }
  }
}

template <typename In, typename Out>
void check_many(DType in, DType out, int limit = 4) {
  std::mt19937 rng(7);
  const std::vector<std::vector<int64_t>> shapes = {
      {0, 3, 2},     {3, 0, 2},     {3, 2, 0},   {1, 1, 1},   {1, 37, 19},
      {41, 1, 23},   {1, 1, 300},   {8, 32, 16}, {9, 33, 17}, {70, 40, 5},
      {65, 131, 90}, {70, 70, 401}, {3, 600, 7}, {5, 100, 64}};
  for (const auto& shape : shapes) {
    for (int form = 0; form < 4; ++form) {
      Gemm g;
      g.in = in;
      g.out = out;
      g.m = shape[0];
      g.n = shape[1];
      g.k = shape[2];
      const bool ta = form & 1, tb = form & 2;
      g.a_row = ta ? 1 : g.k;
      g.a_col = ta ? g.m : 1;
      g.b_row = tb ? 1 : g.n;
      g.b_col = tb ? g.k : 1;
      g.c_row = g.n + 2;
      if (form % 3 == 1 && g.m * g.n * g.k < 200000) g.batch = {{2, 0, 0, 0}, {3, 0, 0, 0}};
      check_product<In, Out>(g, limit, rng);
    }
  }
}

class GemmTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { set_thread_count(3); }
  static void TearDownTestSuite() { set_thread_count(0); }
};

TEST_F(GemmTest, F32) { check_many<float, float>(DType::f32, DType::f32); }
TEST_F(GemmTest, F64) { check_many<double, double>(DType::f64, DType::f64); }
TEST_F(GemmTest, C64) {
  check_many<std::complex<float>, std::complex<float>>(DType::c64, DType::c64);
}
TEST_F(GemmTest, C128) {
  check_many<std::complex<double>, std::complex<double>>(DType::c128, DType::c128);
}
TEST_F(GemmTest, BF16) { check_many<BF16, BF16>(DType::bf16, DType::bf16); }
TEST_F(GemmTest, BF16ToF32) { check_many<BF16, float>(DType::bf16, DType::f32); }
TEST_F(GemmTest, F16) { check_many<F16, F16>(DType::f16, DType::f16, 2); }
TEST_F(GemmTest, F16ToF32) { check_many<F16, float>(DType::f16, DType::f32); }
TEST_F(GemmTest, Bool) { check_many<bool, bool>(DType::pred, DType::pred); }
TEST_F(GemmTest, I8) { check_many<int8_t, int8_t>(DType::s8, DType::s8, 100); }
TEST_F(GemmTest, I8ToI32) { check_many<int8_t, int32_t>(DType::s8, DType::s32, 127); }
TEST_F(GemmTest, U8ToI32) { check_many<uint8_t, int32_t>(DType::u8, DType::s32, 100); }
TEST_F(GemmTest, I16ToI32) { check_many<int16_t, int32_t>(DType::s16, DType::s32, 1000); }
TEST_F(GemmTest, I32) { check_many<int32_t, int32_t>(DType::s32, DType::s32); }
TEST_F(GemmTest, U32) { check_many<uint32_t, uint32_t>(DType::u32, DType::u32); }
TEST_F(GemmTest, I64) { check_many<int64_t, int64_t>(DType::s64, DType::s64); }
TEST_F(GemmTest, U16) { check_many<uint16_t, uint16_t>(DType::u16, DType::u16); }

TEST_F(GemmTest, IntegersWrap) {
  const std::vector<int32_t> a = {1 << 30, 1 << 30}, b = {2, 2};
  int32_t c = 5;
  Gemm g;
  g.in = g.out = DType::s32;
  g.m = g.n = 1;
  g.k = g.a_row = 2;
  g.b_row = g.c_row = 1;
  gemm(g, a.data(), b.data(), &c);
  EXPECT_EQ(c, 0);
}

TEST_F(GemmTest, AStrideOfZeroIsABroadcast) {
  const std::vector<float> a = {1, 2, 3}, b = {1, 2, 3, 4, 5, 6};
  std::vector<float> c(8);
  Gemm g;
  g.m = 4;
  g.n = 2;
  g.k = 3;
  g.a_row = 0;
  g.b_row = g.c_row = 2;
  gemm(g, a.data(), b.data(), c.data());
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(c[2 * i], 22);
    EXPECT_EQ(c[2 * i + 1], 28);
  }
}

TEST_F(GemmTest, SameBitsForAnyThreadCount) {
  std::mt19937 rng(3);
  std::normal_distribution<float> normal;
  for (const auto& [m, n, k] : std::vector<std::array<int64_t, 3>>{
           {300, 700, 900}, {1, 900, 800}, {900, 1, 5000}, {64, 64, 4000}}) {
    std::vector<float> a(m * k), b(k * n);
    for (float& value : a) value = normal(rng);
    for (float& value : b) value = normal(rng);
    std::vector<std::vector<float>> results;
    for (int threads : {1, 2, 5}) {
      set_thread_count(threads);
      Gemm g;
      g.m = m;
      g.n = n;
      g.k = k;
      g.a_row = k;
      g.b_row = g.c_row = n;
      auto& c = results.emplace_back(m * n);
      gemm(g, a.data(), b.data(), c.data());
    }
    EXPECT_EQ(results[0], results[1]);
    EXPECT_EQ(results[0], results[2]);
    double worst = 0;
    for (int64_t i = 0; i < m; i += 7) {
      for (int64_t j = 0; j < n; j += 5) {
        double sum = 0;
        for (int64_t p = 0; p < k; ++p) sum += double(a[i * k + p]) * b[p * n + j];
        worst = std::max(worst, std::abs(sum - results[0][i * n + j]) / std::sqrt(double(k)));
      }
    }
    EXPECT_LT(worst, 3e-6);
  }
}

TEST(Half, ConversionsRoundTripAndRoundToEven) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    F16 half;
    half.bits = static_cast<uint16_t>(bits);
    const float wide = half;
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(F16(wide))));
    } else {
      ASSERT_EQ(F16(wide).bits, bits);
    }
    BF16 brain;
    brain.bits = static_cast<uint16_t>(bits);
    if (!std::isnan(static_cast<float>(brain))) {
      ASSERT_EQ(BF16(static_cast<float>(brain)).bits, bits);
    }
  }
  EXPECT_EQ(F16(65519.f).bits, 0x7bff);
  EXPECT_EQ(F16(65520.f).bits, 0x7c00);
  EXPECT_EQ(F16(1.f + 1.f / 2048).bits, 0x3c00);  // a tie, to even
  EXPECT_EQ(F16(1.f + 3.f / 2048).bits, 0x3c02);
  EXPECT_EQ(F16(2.98023223876953125e-8f).bits, 0);  // half of the smallest subnormal
  EXPECT_EQ(F16(2.9802326e-8f).bits, 1);
  EXPECT_EQ(BF16(1.f + 1.f / 256).bits, 0x3f80);
  EXPECT_EQ(BF16(1.f + 3.f / 256).bits, 0x3f82);
  EXPECT_TRUE(std::isnan(static_cast<float>(BF16(std::nanf("")))));
}

TEST(BlasLibrary, MissingOnesAreReported) {
  if (blas() == nullptr) {
    EXPECT_FALSE(blas_error().empty());
    EXPECT_EQ(blas_symbol("sgetrf_"), nullptr);
  } else {
    EXPECT_TRUE(blas_error().empty());
    EXPECT_NE(blas_symbol("sgetrf_"), nullptr);
    EXPECT_EQ(blas_symbol("no_such_function_"), nullptr);
  }
}

}  // namespace
}  // namespace jaxmps::cpu
