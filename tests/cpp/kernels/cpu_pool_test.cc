#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <random>
#include <vector>

#include "kernels/cpu/dtype.h"
#include "kernels/cpu/pool.h"
#include "kernels/cpu/threads.h"
#include "kernels/support.h"

namespace jaxmps::cpu {
namespace {

using test::pick;
using ir::CompareDirection;
using ir::DType;
using scalar::Opcode;

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

double combine(Opcode op, double a, double b) {
  switch (op) {
    case Opcode::add:
      return a + b;
    case Opcode::mul:
      return a * b;
    case Opcode::max:
      return std::max(a, b);
    default:
      return std::min(a, b);
  }
}

// Walks the cells of a window: body(operand offset) for those inside, and for padding with -1.
template <typename Body>
void walk(const WindowDims& dims, int64_t out, const Body& body) {
  int64_t cells = 1;
  for (const WindowDim& dim : dims) cells *= dim.window;
  for (int64_t w = 0; w < cells; ++w) {
    int64_t out_rest = out, w_rest = w, at = 0, size = 1;
    bool is_inside = true;
    for (size_t d = dims.size(); d-- > 0;) {
      const WindowDim& dim = dims[d];
      const int64_t x =
          out_rest % dim.out * dim.stride - dim.pad_low + w_rest % dim.window * dim.window_dilation;
      out_rest /= dim.out;
      w_rest /= dim.window;
      is_inside =
          is_inside && x >= 0 && x % dim.base_dilation == 0 && x / dim.base_dilation < dim.in;
      at += x / dim.base_dilation * size;
      size *= dim.in;
    }
    body(is_inside ? at : -1);
  }
}

int64_t extent(const WindowDim& d) {
  const int64_t padded = (d.in > 0 ? (d.in - 1) * d.base_dilation + 1 : 0) + d.pad_low + d.pad_high;
  const int64_t covered = (d.window - 1) * d.window_dilation + 1;
  return padded < covered ? 0 : (padded - covered) / d.stride + 1;
}

WindowDims random_dims(std::mt19937& rng, bool dilations) {
  WindowDims dims(pick(rng, 0, 4));
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
    dim.out = extent(dim);
  }
  return dims;
}

template <typename T>
void check_reduce(DType type, Opcode op, const WindowDims& dims, int init_value,
                  std::mt19937& rng) {
  const ReduceWindow kernel = make_reduce_window(op, type, dims);
  int64_t ins = 1, outs = 1;
  for (const WindowDim& dim : dims) {
    ins *= dim.in;
    outs *= dim.out;
  }
  std::vector<T> in(ins), out(outs, value_of<T>(99));
  const int top = op == Opcode::mul ? 1 : 5;
  for (T& value : in) value = value_of<T>(pick(rng, std::is_unsigned_v<T> ? 0 : -top, top));
  const T init = value_of<T>(init_value);
  kernel(in.data(), &init, out.data());
  for (int64_t i = 0; i < outs; ++i) {
    double want = init_value;
    walk(dims, i,
         [&](int64_t at) { want = combine(op, want, at < 0 ? init_value : number(in[at])); });
    ASSERT_EQ(number(out[i]), want) << "at " << i << " of " << outs;
  }
}

constexpr Opcode kOps[] = {Opcode::add, Opcode::mul, Opcode::max, Opcode::min};

template <typename T>
void check_type(DType type) {
  std::mt19937 rng(4);
  for (int i = 0; i < 120; ++i) {
    const Opcode op = kOps[i % 4];
    const WindowDims dims = random_dims(rng, true);
    const bool is_order = op == Opcode::max || op == Opcode::min;
    if (is_order && ir::is_complex(type)) {
      EXPECT_EQ(make_reduce_window(op, type, dims), nullptr);
      continue;
    }
    check_reduce<T>(type, op, dims, is_order ? pick(rng, 0, 1) : op == Opcode::mul ? 1 : 0, rng);
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
  const WindowDims dims = {{4, 3, 2}};
  const bool in[] = {true, true, false, false};
  bool out[3];
  const bool no = false, yes = true;
  for (Opcode op : {Opcode::add, Opcode::max, Opcode::bit_or}) {
    make_reduce_window(op, DType::pred, dims)(in, &no, out);
    EXPECT_EQ(std::vector<bool>(out, out + 3), (std::vector<bool>{true, true, false}));
  }
  for (Opcode op : {Opcode::mul, Opcode::min, Opcode::bit_and}) {
    make_reduce_window(op, DType::pred, dims)(in, &yes, out);
    EXPECT_EQ(std::vector<bool>(out, out + 3), (std::vector<bool>{true, false, false}));
  }
}

TEST_F(PoolTest, NaNWins) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float in[] = {1, nan, 3, 4};
  for (Opcode op : {Opcode::max, Opcode::min}) {
    const float init = op == Opcode::max ? -INFINITY : INFINITY;
    float out[2];
    make_reduce_window(op, DType::f32, {{4, 2, 2, 2}})(in, &init, out);
    EXPECT_TRUE(std::isnan(out[0]));
    EXPECT_EQ(out[1], op == Opcode::max ? 4 : 3);
  }
}

template <typename T>
void check_scatter(DType type) {
  using Direction = CompareDirection;
  constexpr Direction kDirections[] = {Direction::ge, Direction::gt, Direction::le, Direction::lt};
  std::mt19937 rng(6);
  for (int i = 0; i < 120; ++i) {
    const Direction select = kDirections[i % 4];
    const WindowDims dims = random_dims(rng, false);
    int64_t ins = 1, count = 1;
    for (const WindowDim& dim : dims) {
      count *= dim.out;
      ins *= dim.in;
    }
    std::vector<T> operand(ins), source(count), out(ins, value_of<T>(55));
    // Few values, so that ties are common.
    for (T& value : operand) value = value_of<T>(pick(rng, 0, 3));
    for (T& value : source) value = value_of<T>(pick(rng, 0, 3));
    const T init = value_of<T>(1);
    make_select_and_scatter(select, type, dims)(operand.data(), source.data(), &init, out.data());
    std::vector<double> want(ins, 1);
    for (int64_t o = 0; o < count; ++o) {
      int64_t place = -1;
      double best = 0;
      walk(dims, o, [&](int64_t at) {
        if (at < 0) return;
        const double next = number(operand[at]);
        const bool keeps = select == Direction::ge   ? best >= next
                           : select == Direction::gt ? best > next
                           : select == Direction::le ? best <= next
                                                     : best < next;
        if (place >= 0 && keeps) return;
        best = next;
        place = at;
      });
      if (place >= 0) want[place] += number(source[o]);
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
    WindowDims dims = {{64, 64}, {700, 700}, {3, 3}};
    dims[axis].window = 3;
    dims[axis].pad_low = 2;
    const ReduceWindow kernel = make_reduce_window(Opcode::add, DType::f32, dims);
    std::vector<std::vector<float>> results;
    const float init = 0;
    for (int threads : {1, 2, 5}) {
      set_thread_count(threads);
      kernel(in.data(), &init, results.emplace_back(in.size()).data());
    }
    EXPECT_EQ(results[0], results[1]);
    EXPECT_EQ(results[0], results[2]);
  }
}

}  // namespace
}  // namespace jaxmps::cpu
