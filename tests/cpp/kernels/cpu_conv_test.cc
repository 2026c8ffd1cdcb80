#include <gtest/gtest.h>

#include <complex>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/conv.h"
#include "kernels/cpu/conv_plan.h"
#include "kernels/cpu/threads.h"
#include "kernels/support.h"

namespace jaxmps::cpu {
namespace {

using test::pick;

// Dense strides in a random dimension order.
template <typename... Ends>
void lay_out(std::mt19937& rng, std::vector<std::pair<int64_t*, int64_t>> dims) {
  std::shuffle(dims.begin(), dims.end(), rng);
  int64_t size = 1;
  for (auto& [stride, extent] : dims) {
    *stride = size;
    size *= extent;
  }
}

struct Sizes {
  int64_t lhs = 1, rhs = 1, out = 1;
};

Sizes sizes_of(const ConvShape& s) {
  const int64_t groups = s.feature_groups;
  Sizes sizes{s.batch * s.in_features, s.in_features / groups * s.out_features,
              s.batch / s.batch_groups * s.out_features};
  for (const ConvDim& d : s.spatial) {
    sizes.lhs *= d.in;
    sizes.rhs *= d.kernel;
    sizes.out *= d.out();
  }
  return sizes;
}

// By the definition of the operation, one index at a time.
template <typename T, typename S>
std::vector<S> expected(const ConvShape& s, const std::vector<T>& lhs, const std::vector<T>& rhs) {
  const Sizes sizes = sizes_of(s);
  std::vector<S> out(sizes.out);
  const int64_t ins = s.in_features / s.feature_groups;
  const int64_t batch = s.batch / s.batch_groups;
  const int64_t per_group = s.out_features / (s.feature_groups * s.batch_groups);
  int64_t positions = 1, windows = 1;
  for (const ConvDim& d : s.spatial) {
    positions *= d.out();
    windows *= d.kernel;
  }
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t o = 0; o < s.out_features; ++o) {
      const int64_t group = o / per_group;
      const int64_t lhs_b = s.batch_groups > 1 ? group * batch + b : b;
      const int64_t lhs_f = s.feature_groups > 1 ? group * ins : 0;
      for (int64_t p = 0; p < positions; ++p) {
        S sum{};
        int64_t to = b * s.out_batch + o * s.out_feature;
        for (int64_t w = 0; w < windows; ++w) {
          int64_t at = 0, kernel = 0, p_rest = p, w_rest = w;
          bool inside = true;
          if (w == 0) to = b * s.out_batch + o * s.out_feature;
          for (const ConvDim& d : s.spatial) {
            const int64_t pos = p_rest % d.out(), win = w_rest % d.kernel;
            p_rest /= d.out();
            w_rest /= d.kernel;
            const int64_t x = pos * d.stride - d.pad_low + win * d.rhs_dilation;
            inside = inside && x >= 0 && x % d.lhs_dilation == 0 && x / d.lhs_dilation < d.in;
            at += x / d.lhs_dilation * d.lhs_stride;
            kernel += (d.reversal ? d.kernel - 1 - win : win) * d.rhs_stride;
            if (w == 0) to += pos * d.out_stride;
          }
          if (!inside) continue;
          for (int64_t i = 0; i < ins; ++i) {
            sum += static_cast<S>(lhs[at + lhs_b * s.lhs_batch + (lhs_f + i) * s.lhs_feature]) *
                   static_cast<S>(rhs[kernel + i * s.rhs_in + o * s.rhs_out]);
          }
        }
        if (windows == 0) {
          int64_t p_rest = p;
          for (const ConvDim& d : s.spatial) {
            to += p_rest % d.out() * d.out_stride;
            p_rest /= d.out();
          }
        }
        out[to] = sum;
      }
    }
  }
  return out;
}

template <typename T>
T small_value(std::mt19937& rng) {
  const int value = pick(rng, -3, 3);
  if constexpr (std::is_same_v<T, std::complex<float>>) {
    return T(static_cast<float>(value), static_cast<float>(pick(rng, -1, 1)));
  } else if constexpr (std::is_same_v<T, BF16> || std::is_same_v<T, F16>) {
    return T(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

// Small integers keep every sum exact, so that equality is the test.
template <typename T, typename S>
void check(const ConvShape& s, std::mt19937& rng, const std::string& what) {
  const Sizes sizes = sizes_of(s);
  std::vector<T> lhs(sizes.lhs), rhs(sizes.rhs), out(sizes.out, static_cast<T>(S(77)));
  for (T& value : lhs) value = small_value<T>(rng);
  for (T& value : rhs) value = small_value<T>(rng);
  const ConvPlan plan = make_conv_plan(s);
  run_conv(*plan, lhs.data(), rhs.data(), out.data());
  const auto want = expected<T, S>(s, lhs, rhs);
  for (int64_t i = 0; i < sizes.out; ++i) {
    ASSERT_EQ(static_cast<S>(out[i]), static_cast<S>(static_cast<T>(want[i])))
        << what << " at " << i << " form " << static_cast<int>(plan->form);
  }
}

enum class Order { kRandom, kChannelsLast, kKernelGradient };

void lay_out_shape(ConvShape& s, Order order, std::mt19937& rng) {
  std::vector<std::pair<int64_t*, int64_t>> lhs, rhs, out;
  const auto add_spatial = [&] {
    for (size_t d = s.spatial.size(); d-- > 0;) {
      ConvDim& dim = s.spatial[d];
      lhs.push_back({&dim.lhs_stride, dim.in});
      rhs.push_back({&dim.rhs_stride, dim.kernel});
      out.push_back({&dim.out_stride, dim.out()});
    }
  };
  const bool gradient = order == Order::kKernelGradient;
  lhs.push_back(gradient ? std::pair{&s.lhs_batch, s.batch}
                         : std::pair{&s.lhs_feature, s.in_features});
  rhs.push_back({&s.rhs_out, s.out_features});
  out.push_back({&s.out_feature, s.out_features});
  if (!gradient) rhs.push_back({&s.rhs_in, s.in_features / s.feature_groups});
  if (gradient) out.push_back({&s.out_batch, s.batch / s.batch_groups});
  add_spatial();
  lhs.push_back(gradient ? std::pair{&s.lhs_feature, s.in_features}
                         : std::pair{&s.lhs_batch, s.batch});
  if (gradient) rhs.push_back({&s.rhs_in, s.in_features / s.feature_groups});
  if (!gradient) out.push_back({&s.out_batch, s.batch / s.batch_groups});
  for (auto* dims : {&lhs, &rhs, &out}) {
    if (order == Order::kRandom) std::shuffle(dims->begin(), dims->end(), rng);
    int64_t size = 1;
    for (auto& [stride, extent] : *dims) {
      *stride = size;
      size *= extent;
    }
  }
}

ConvShape random_shape(std::mt19937& rng, int scale) {
  ConvShape s;
  const int rank = pick(rng, 0, 3);
  const int size = rank == 3 ? 5 : rank == 2 ? 8 : 20;
  for (int d = 0; d < rank; ++d) {
    ConvDim dim;
    dim.in = pick(rng, 0, size) + (pick(rng, 0, 3) > 0);
    dim.kernel = pick(rng, 1, 4);
    dim.stride = pick(rng, 1, 3);
    dim.lhs_dilation = pick(rng, 1, 3);
    dim.rhs_dilation = pick(rng, 1, 3);
    dim.pad_low = pick(rng, -2, 3);
    dim.pad_high = pick(rng, -2, 3);
    dim.reversal = pick(rng, 0, 1) == 1;
    s.spatial.push_back(dim);
  }
  const int groups = pick(rng, 0, 2) == 0 ? pick(rng, 2, 4) : 1;
  const bool by_batch = pick(rng, 0, 1) == 1;
  s.feature_groups = by_batch ? 1 : groups;
  s.batch_groups = by_batch ? groups : 1;
  s.batch = pick(rng, 1, 3 * scale) * s.batch_groups;
  s.in_features = pick(rng, 1, 3 * scale) * s.feature_groups;
  s.out_features = pick(rng, 1, 6 * scale) * groups;
  return s;
}

class ConvTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { set_thread_count(3); }
  static void TearDownTestSuite() { set_thread_count(0); }

  template <typename T, typename S>
  static void random_shapes(DType type, int count) {
    std::mt19937 rng(11);
    for (int i = 0; i < count; ++i) {
      ConvShape s = random_shape(rng, i % 4 == 0 ? 6 : 2);
      s.type = type;
      lay_out_shape(s, static_cast<Order>(i % 3), rng);
      check<T, S>(s, rng, "shape " + std::to_string(i));
    }
  }
};

TEST_F(ConvTest, F32) { random_shapes<float, double>(DType::f32, 1500); }
TEST_F(ConvTest, F64) { random_shapes<double, double>(DType::f64, 300); }
TEST_F(ConvTest, BF16) { random_shapes<BF16, float>(DType::bf16, 200); }
TEST_F(ConvTest, F16) { random_shapes<F16, float>(DType::f16, 200); }
TEST_F(ConvTest, I32) { random_shapes<int32_t, int32_t>(DType::s32, 100); }
TEST_F(ConvTest, I8) { random_shapes<int8_t, int8_t>(DType::s8, 100); }
TEST_F(ConvTest, C64) { random_shapes<std::complex<float>, std::complex<float>>(DType::c64, 100); }

ConvShape image(int64_t batch, int64_t size, int64_t in, int64_t out, int64_t kernel,
                int64_t stride) {
  ConvShape s;
  s.batch = batch;
  s.in_features = in;
  s.out_features = out;
  for (int d = 0; d < 2; ++d) {
    ConvDim dim;
    dim.in = size;
    dim.kernel = kernel;
    dim.stride = stride;
    dim.pad_low = dim.pad_high = kernel / 2;
    s.spatial.push_back(dim);
  }
  return s;
}

TEST_F(ConvTest, ImagesOfEveryForm) {
  std::mt19937 rng(5);
  for (int stride : {1, 2}) {
    for (int kernel : {1, 3}) {
      for (Order order : {Order::kChannelsLast, Order::kKernelGradient, Order::kRandom}) {
        ConvShape s = image(5, 11, 20, 70, kernel, stride);
        lay_out_shape(s, order, rng);
        check<float, double>(s, rng, "image");
      }
    }
  }
}

TEST_F(ConvTest, AKernelTooLargeToShare) {
  std::mt19937 rng(6);
  ConvShape s = image(40, 4, 300, 130, 3, 1);
  lay_out_shape(s, Order::kChannelsLast, rng);
  check<float, double>(s, rng, "wide");
}

TEST_F(ConvTest, AKernelGradientInManyBlocks) {
  std::mt19937 rng(6);
  ConvShape s = image(9, 40, 3, 40, 38, 1);
  for (ConvDim& d : s.spatial) d.pad_low = d.pad_high = 0;
  lay_out_shape(s, Order::kKernelGradient, rng);
  EXPECT_EQ(make_conv_plan(s)->form, ConvForm::kColumns);
  check<float, double>(s, rng, "gradient");
}

TEST_F(ConvTest, OneChannelAGroup) {
  std::mt19937 rng(8);
  for (bool by_batch : {false, true}) {
    ConvShape s = image(3, 9, 83, 83, 3, 1);
    if (by_batch) std::swap(s.batch, s.in_features);
    (by_batch ? s.batch_groups : s.feature_groups) = 83;
    lay_out_shape(s, by_batch ? Order::kKernelGradient : Order::kChannelsLast, rng);
    EXPECT_EQ(make_conv_plan(s)->form, ConvForm::kLanes);
    check<float, double>(s, rng, "depthwise");
  }
}

TEST_F(ConvTest, SameBitsForAnyThreadCount) {
  std::mt19937 rng(9);
  std::normal_distribution<float> normal;
  for (Order order : {Order::kChannelsLast, Order::kKernelGradient, Order::kRandom}) {
    for (bool wide : {false, true}) {
      ConvShape s =
          order == Order::kKernelGradient ? image(30, 9, 7, 40, 8, 1) : image(7, 9, 30, 40, 3, 1);
      if (wide) s.out_features = 300;
      if (wide && order != Order::kKernelGradient) s.in_features = 200;
      lay_out_shape(s, order, rng);
      const Sizes sizes = sizes_of(s);
      std::vector<float> lhs(sizes.lhs), rhs(sizes.rhs);
      for (float& value : lhs) value = normal(rng);
      for (float& value : rhs) value = normal(rng);
      const ConvPlan plan = make_conv_plan(s);
      std::vector<std::vector<float>> results;
      for (int threads : {1, 2, 5}) {
        set_thread_count(threads);
        auto& out = results.emplace_back(sizes.out);
        run_conv(*plan, lhs.data(), rhs.data(), out.data());
      }
      EXPECT_EQ(results[0], results[1]);
      EXPECT_EQ(results[0], results[2]);
    }
  }
}

}  // namespace
}  // namespace jaxmps::cpu
