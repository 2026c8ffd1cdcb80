#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <random>
#include <vector>

#include "kernels/cpu/pool.h"
#include "kernels/cpu/threads.h"

namespace jaxmps::cpu {
namespace {

int pick(std::mt19937& rng, int low, int high) {
  return low + static_cast<int>(rng() % static_cast<uint32_t>(high - low + 1));
}

template <typename T>
T value_of(int value) {
  if constexpr (std::is_same_v<T, BF16> || std::is_same_v<T, F16> || !std::is_arithmetic_v<T>) {
    return T(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

double number(double value) { return value; }
double number(std::complex<float> value) { return value.real() + 1000.0 * value.imag(); }

double combine(Reduction op, double a, double b) {
  switch (op) {
    case Reduction::kAdd:
      return a + b;
    case Reduction::kMul:
      return a * b;
    case Reduction::kMax:
      return std::max(a, b);
    case Reduction::kMin:
      return std::min(a, b);
  }
  return 0;
}

// Strides of a dense array whose dimensions are in random order in memory; returns its size.
int64_t shuffled_strides(std::mt19937& rng, const std::vector<int64_t>& extents,
                         std::vector<int64_t>& strides) {
  std::vector<size_t> order(extents.size());
  for (size_t d = 0; d < order.size(); ++d) order[d] = order.size() - 1 - d;
  if (pick(rng, 0, 1)) std::shuffle(order.begin(), order.end(), rng);
  strides.assign(extents.size(), 1);
  int64_t size = 1;
  for (size_t d : order) {
    strides[d] = size;
    size *= extents[d];
  }
  return size;
}

// Walks the cells of a window: body(operand offset, operand row-major index) for those inside.
template <typename Body>
void walk(const std::vector<WindowDim>& dims, int64_t out, const Body& body, bool pads = false) {
  int64_t cells = 1;
  for (const WindowDim& dim : dims) cells *= dim.window;
  for (int64_t w = 0; w < cells; ++w) {
    int64_t out_rest = out, w_rest = w, at = 0, flat = 0, size = 1;
    bool is_inside = true;
    for (size_t d = dims.size(); d-- > 0;) {
      const WindowDim& dim = dims[d];
      const int64_t x = out_rest % dim.out() * dim.stride - dim.pad_low +
                        w_rest % dim.window * dim.window_dilation;
      out_rest /= dim.out();
      w_rest /= dim.window;
      is_inside =
          is_inside && x >= 0 && x % dim.base_dilation == 0 && x / dim.base_dilation < dim.in;
      at += x / dim.base_dilation * dim.in_stride;
      flat += x / dim.base_dilation * size;
      size *= dim.in;
    }
    if (is_inside) body(at, flat);
    if (!is_inside && pads) body(-1, -1);
  }
}

std::vector<WindowDim> random_dims(std::mt19937& rng, bool dilations) {
  std::vector<WindowDim> dims(pick(rng, 0, 4));
  std::vector<int64_t> extents, strides;
  for (WindowDim& dim : dims) {
    dim.in = pick(rng, 0, 8) + 1;
    if (pick(rng, 0, 40) == 0) dim.in = 0;
    if (dims.size() < 3 && pick(rng, 0, 5) == 0) dim.in = 70;
    if (pick(rng, 0, 2) > 0) {
      dim.window = pick(rng, 1, 3);
      dim.stride = pick(rng, 1, 3);
      dim.pad_low = pick(rng, dilations ? -1 : 0, 2);
      dim.pad_high = pick(rng, dilations ? -1 : 0, 2);
      if (dilations) dim.base_dilation = pick(rng, 1, 2);
      if (dilations) dim.window_dilation = pick(rng, 1, 2);
    }
    extents.push_back(dim.in);
  }
  shuffled_strides(rng, extents, strides);
  for (size_t d = 0; d < dims.size(); ++d) dims[d].in_stride = strides[d];
  return dims;
}

template <typename T>
void check_reduce(const ReduceWindow& r, int init_value, std::mt19937& rng) {
  int64_t ins = 1, outs = 1;
  for (const WindowDim& dim : r.dims) {
    ins *= dim.in;
    outs *= dim.out();
  }
  std::vector<T> in(ins), out(outs, value_of<T>(99));
  const int top = r.op == Reduction::kMul ? 1 : 5;
  for (T& value : in) value = value_of<T>(pick(rng, std::is_unsigned_v<T> ? 0 : -top, top));
  const T init = value_of<T>(init_value);
  reduce_window(r, in.data(), &init, out.data());
  for (int64_t i = 0; i < outs; ++i) {
    double want = init_value;
    walk(
        r.dims, i,
        [&](int64_t at, int64_t) {
          want = combine(r.op, want, at < 0 ? init_value : number(in[at]));
        },
        true);
    ASSERT_EQ(number(out[i]), want) << "at " << i << " of " << outs;
  }
}

template <typename T>
void check_type(DType type) {
  std::mt19937 rng(4);
  for (int i = 0; i < 120; ++i) {
    ReduceWindow r;
    r.type = type;
    r.op = static_cast<Reduction>(i % 4);
    if (!reduce_window_supported(type, r.op)) continue;
    r.dims = random_dims(rng, true);
    const int identity = r.op == Reduction::kMul ? 1 : 0;
    check_reduce<T>(r, i % 8 < 4 ? identity : pick(rng, 0, 1), rng);
  }
}

class PoolTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { set_thread_count(3); }
  static void TearDownTestSuite() { set_thread_count(0); }
};

TEST_F(PoolTest, F32) { check_type<float>(DType::f32); }
TEST_F(PoolTest, F64) { check_type<double>(DType::f64); }
TEST_F(PoolTest, BF16) { check_type<BF16>(DType::bf16); }
TEST_F(PoolTest, F16) { check_type<F16>(DType::f16); }
TEST_F(PoolTest, I8) { check_type<int8_t>(DType::s8); }
TEST_F(PoolTest, I32) { check_type<int32_t>(DType::s32); }
TEST_F(PoolTest, U64) { check_type<uint64_t>(DType::u64); }
TEST_F(PoolTest, C64) { check_type<std::complex<float>>(DType::c64); }

TEST_F(PoolTest, BooleansAreAndAndOr) {
  ReduceWindow r;
  r.type = DType::pred;
  r.dims = {{4, 2, 1, 0, 0, 1, 1, 1}};
  const bool in[] = {true, true, false, false};
  bool out[3];
  const bool no = false, yes = true;
  for (Reduction op : {Reduction::kAdd, Reduction::kMax}) {
    r.op = op;
    reduce_window(r, in, &no, out);
    EXPECT_EQ(std::vector<bool>(out, out + 3), (std::vector<bool>{true, true, false}));
  }
  for (Reduction op : {Reduction::kMul, Reduction::kMin}) {
    r.op = op;
    reduce_window(r, in, &yes, out);
    EXPECT_EQ(std::vector<bool>(out, out + 3), (std::vector<bool>{true, false, false}));
  }
}

TEST_F(PoolTest, CumulativeReductions) {
  std::mt19937 rng(4);
  for (bool backward : {false, true}) {
    for (Reduction op : {Reduction::kAdd, Reduction::kMax, Reduction::kMin, Reduction::kMul}) {
      for (int axis = 0; axis < 3; ++axis) {
        ReduceWindow r;
        r.op = op;
        r.dims = {
            {5, 1, 1, 0, 0, 1, 1, 600 * 5}, {600, 1, 1, 0, 0, 1, 1, 5}, {5, 1, 1, 0, 0, 1, 1, 1}};
        WindowDim& dim = r.dims[axis];
        dim.window = dim.in;
        (backward ? dim.pad_high : dim.pad_low) = dim.in - 1;
        check_reduce<float>(r, op == Reduction::kMul ? 1 : op == Reduction::kAdd ? 0 : 2, rng);
      }
    }
  }
}

TEST_F(PoolTest, NaNWins) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float in[] = {1, nan, 3, 4};
  for (Reduction op : {Reduction::kMax, Reduction::kMin}) {
    ReduceWindow r;
    r.op = op;
    r.dims = {{4, 2, 2, 0, 0, 1, 1, 1}};
    const float init = op == Reduction::kMax ? -INFINITY : INFINITY;
    float out[2];
    reduce_window(r, in, &init, out);
    EXPECT_TRUE(std::isnan(out[0]));
    EXPECT_EQ(out[1], op == Reduction::kMax ? 4 : 3);
  }
}

template <typename T>
void check_scatter(DType type) {
  std::mt19937 rng(6);
  for (int i = 0; i < 120; ++i) {
    SelectAndScatter s;
    s.type = type;
    s.select = static_cast<Select>(i % 4);
    s.dims = random_dims(rng, false);
    std::vector<int64_t> outs;
    int64_t ins = 1;
    for (const WindowDim& dim : s.dims) {
      outs.push_back(dim.out());
      ins *= dim.in;
    }
    const int64_t count = shuffled_strides(rng, outs, s.source_strides);
    std::vector<T> operand(ins), source(count), out(ins, value_of<T>(55));
    // Few values, so that ties are common.
    for (T& value : operand) value = value_of<T>(pick(rng, 0, 3));
    for (T& value : source) value = value_of<T>(pick(rng, 0, 3));
    const T init = value_of<T>(1);
    select_and_scatter(s, operand.data(), source.data(), &init, out.data());
    std::vector<double> want(ins, 1);
    for (int64_t o = 0; o < count; ++o) {
      int64_t rest = o, from = 0, place = -1;
      for (size_t d = outs.size(); d-- > 0;) {
        from += rest % outs[d] * s.source_strides[d];
        rest /= outs[d];
      }
      double best = 0;
      walk(s.dims, o, [&](int64_t at, int64_t flat) {
        const double next = number(operand[at]);
        const bool keeps = s.select == Select::kGe   ? best >= next
                           : s.select == Select::kGt ? best > next
                           : s.select == Select::kLe ? best <= next
                                                     : best < next;
        if (place >= 0 && keeps) return;
        best = next;
        place = flat;
      });
      if (place >= 0) want[place] += number(source[from]);
    }
    for (int64_t j = 0; j < ins; ++j) ASSERT_EQ(number(out[j]), want[j]) << i << " at " << j;
  }
}

TEST_F(PoolTest, ScatterF32) { check_scatter<float>(DType::f32); }
TEST_F(PoolTest, ScatterF64) { check_scatter<double>(DType::f64); }
TEST_F(PoolTest, ScatterBF16) { check_scatter<BF16>(DType::bf16); }
TEST_F(PoolTest, ScatterI32) { check_scatter<int32_t>(DType::s32); }

TEST_F(PoolTest, SameBitsForAnyThreadCount) {
  std::mt19937 rng(2);
  std::normal_distribution<float> normal;
  std::vector<float> in(64 * 700 * 3);
  for (float& value : in) value = normal(rng);
  for (int axis = 0; axis < 3; ++axis) {
    ReduceWindow r;
    r.dims = {{64, 1, 1, 0, 0, 1, 1, 2100}, {700, 1, 1, 0, 0, 1, 1, 3}, {3, 1, 1, 0, 0, 1, 1, 1}};
    r.dims[axis].window = r.dims[axis].in;
    r.dims[axis].pad_low = r.dims[axis].in - 1;
    std::vector<std::vector<float>> results;
    const float init = 0;
    for (int threads : {1, 2, 5}) {
      set_thread_count(threads);
      reduce_window(r, in.data(), &init, results.emplace_back(in.size()).data());
    }
    EXPECT_EQ(results[0], results[1]);
    EXPECT_EQ(results[0], results[2]);
  }
}

}  // namespace
}  // namespace jaxmps::cpu
