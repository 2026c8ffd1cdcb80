// The vector loops and the interpreter against the C library in float64, and special values.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>

#include "kernels/cpu/vec.h"
#include "scalar/scalar.h"

namespace jaxmps::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

uint32_t float_bits(float x) {
  uint32_t u;
  std::memcpy(&u, &x, 4);
  return u;
}
float bits_float(uint32_t u) {
  float x;
  std::memcpy(&x, &u, 4);
  return x;
}

// The distance in units in the last place of the float32 nearest to `want`.
double ulps(float have, double want) {
  const float w = static_cast<float>(want);
  if (std::isnan(w)) return std::isnan(have) ? 0 : 1e9;
  if (have == w) return std::signbit(have) == std::signbit(w) || w != 0 ? 0 : 1e9;
  if (!std::isfinite(have) || std::isinf(w)) {
    // Overflow may come one step early or late.
    const float top = std::numeric_limits<float>::max();
    return std::fabs(have) >= top * 0.9999997f && std::fabs(want) >= top * 0.9999997 ? 1 : 1e9;
  }
  int e;
  std::frexp(want, &e);
  const double unit = std::ldexp(1.0, std::max(e - 24, -149));
  return std::fabs(have - want) / unit;
}

// All signs and magnitudes: a sweep over bit patterns, and dense values near 0 and 1.
std::vector<float> sweep() {
  std::vector<float> x = {0.0f, -0.0f,  1.0f,    -1.0f,         kInf,           -kInf,
                          kNan, 1e-45f, -1e-45f, 3.4028235e38f, -3.4028235e38f, 1.17549435e-38f};
  for (uint64_t u = 0; u < (1ull << 32); u += 9973)
    x.push_back(bits_float(static_cast<uint32_t>(u)));
  for (int i = -60000; i <= 60000; ++i) x.push_back(static_cast<float>(i) / 4000.0f);
  for (int i = -20000; i <= 20000; ++i) x.push_back(static_cast<float>(i) / 20011.0f);
  for (int i = 0; i < 4000; ++i)
    x.push_back(1.0f - bits_float(0x33000000u + static_cast<uint32_t>(i) * 8000));
  for (int i = 0; i < 20000; ++i) x.push_back(static_cast<float>(i - 10000) * 0.0107f);
  return x;
}

struct Function {
  Opcode op;
  std::function<double(double)> exact;
};

double exact_erf_inv(double x) {
  if (std::fabs(x) > 1 || std::isnan(x)) return std::nan("");
  if (std::fabs(x) == 1) return x * std::numeric_limits<double>::infinity();
  if (std::fabs(x) < 1e-5) return x * 0.88622692545275801365;
  const double a = std::fabs(x);
  double low = 0, high = 6;  // bisection on erfc, exact near 1
  for (int i = 0; i < 90; ++i) {
    const double mid = (low + high) / 2;
    const bool above = a < 0.5 ? std::erf(mid) > a : std::erfc(mid) < 1 - a;
    (above ? high : low) = mid;
  }
  return std::copysign((low + high) / 2, x);
}

std::vector<Function> functions() {
  return {
      {Opcode::exp, [](double x) { return std::exp(x); }},
      {Opcode::expm1, [](double x) { return std::expm1(x); }},
      {Opcode::log, [](double x) { return std::log(x); }},
      {Opcode::log1p, [](double x) { return std::log1p(x); }},
      {Opcode::tanh, [](double x) { return std::tanh(x); }},
      {Opcode::logistic,
       [](double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }},
      {Opcode::sin, [](double x) { return std::sin(x); }},
      {Opcode::cos, [](double x) { return std::cos(x); }},
      {Opcode::tan, [](double x) { return std::tan(x); }},
      {Opcode::sinh, [](double x) { return std::sinh(x); }},
      {Opcode::cosh, [](double x) { return std::cosh(x); }},
      {Opcode::asin, [](double x) { return std::asin(x); }},
      {Opcode::acos, [](double x) { return std::acos(x); }},
      {Opcode::atan, [](double x) { return std::atan(x); }},
      {Opcode::asinh, [](double x) { return std::asinh(x); }},
      {Opcode::acosh, [](double x) { return std::acosh(x); }},
      {Opcode::atanh, [](double x) { return std::atanh(x); }},
      {Opcode::erf, [](double x) { return std::erf(x); }},
      {Opcode::erfc, [](double x) { return std::erfc(x); }},
      {Opcode::erf_inv, exact_erf_inv},
      {Opcode::sqrt, [](double x) { return std::sqrt(x); }},
      {Opcode::rsqrt, [](double x) { return 1 / std::sqrt(x); }},
      {Opcode::cbrt, [](double x) { return std::cbrt(x); }},
  };
}

class Isa : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    table_ = cpu::vec_table(GetParam());
    if (!table_) GTEST_SKIP() << "no " << GetParam();
  }
  const cpu::VecTable* table_ = nullptr;
};

TEST_P(Isa, Float32FunctionsAreWithinTheirUlps) {
  const std::vector<float> x = sweep();
  std::vector<float> y(x.size());
  for (const Function& f : functions()) {
    auto loop = table_->find(f.op, DType::f32, DType::f32, 0);
    ASSERT_NE(nullptr, loop) << name(f.op);
    loop(y.data(), x.data(), nullptr, nullptr, static_cast<int64_t>(x.size()), 0);
    double worst = 0;
    float at = 0, have = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double e = ulps(y[i], f.exact(x[i]));
      if (e > worst) worst = e, at = x[i], have = y[i];
    }
    EXPECT_LE(worst, info(f.op).ulps + 0.01) << GetParam() << " " << name(f.op) << " at " << at
                                             << " gives " << have << ", exact " << f.exact(at);
  }
}

TEST_P(Isa, Float32BinaryFunctions) {
  std::mt19937 rng(7);
  std::vector<float> a, b;
  const float special[] = {0.0f, -0.0f, 1.0f, -1.0f, 2.0f, -2.0f,  3.0f,  -3.0f,
                           0.5f, -0.5f, kInf, -kInf, kNan, 1e-40f, 1e30f, -1e30f};
  for (float x : special) {
    for (float y : special) a.push_back(x), b.push_back(y);
  }
  for (int i = 0; i < 200000; ++i) {
    a.push_back(bits_float(static_cast<uint32_t>(rng())));
    b.push_back(i % 2 ? bits_float(static_cast<uint32_t>(rng()))
                      : static_cast<float>(static_cast<int>(rng() % 4000) - 2000) / 100.0f);
  }
  std::vector<float> y(a.size());
  struct Binary {
    Opcode op;
    double limit;
    double (*exact)(double, double);
  };
  const Binary binaries[] = {
      {Opcode::pow, 2, [](double x, double e) { return std::pow(x, e); }},
      {Opcode::atan2, 2, [](double p, double q) { return std::atan2(p, q); }},
      {Opcode::hypot, 2, [](double p, double q) { return std::hypot(p, q); }},
      {Opcode::rem, 0.51, [](double p, double q) { return std::fmod(p, q); }},
  };
  for (const Binary& f : binaries) {
    auto loop = table_->find(f.op, DType::f32, DType::f32, 0);
    ASSERT_NE(nullptr, loop);
    loop(y.data(), a.data(), b.data(), nullptr, static_cast<int64_t>(a.size()), 0);
    for (size_t i = 0; i < a.size(); ++i) {
      ASSERT_LE(ulps(y[i], f.exact(a[i], b[i])), f.limit)
          << GetParam() << " " << name(f.op) << "(" << a[i] << ", " << b[i] << ") gives " << y[i]
          << ", exact " << f.exact(a[i], b[i]);
    }
  }
}

// Every loop and the interpreter agree on random and special bits, for every opcode and type.
TEST_P(Isa, LoopsAgreeWithTheInterpreter) {
  const DType types[] = {DType::pred, DType::s8,  DType::s16, DType::s32, DType::s64, DType::u8,
                         DType::u16,  DType::u32, DType::u64, DType::f32, DType::f64};
  std::mt19937_64 rng(3);
  int tried = 0;
  auto compare = [&](Opcode op, DType type, DType from, int form) {
    auto loop = table_->find(
        op, type,
        op == Opcode::encode || op == Opcode::decode || op == Opcode::round_to ? DType::f16 : from,
        form);
    if (!loop) return;
    ++tried;
    constexpr int n = 67;
    alignas(64) unsigned char a[n * 8], b[n * 8], c[n * 8], d[n * 8];
    const size_t in = static_cast<size_t>(ir::byte_size(from)),
                 out = static_cast<size_t>(ir::byte_size(type));
    const size_t as = op == Opcode::select ? 1 : in;
    auto fill = [&](unsigned char* p, DType t, bool scalar) {
      const size_t size = static_cast<size_t>(ir::byte_size(t));
      for (int i = 0; i < n; ++i) {
        uint64_t v = rng();
        if (t == DType::pred)
          v &= 1;
        else if (i % 5 == 0)
          v = std::vector<uint64_t>{0, 1, ~0ull, 1ull << (8 * size - 1), 31, 8}[rng() % 6];
        else if (i % 5 == 1)
          v >>= 58;
        else if (t == DType::f32) {
          float f = static_cast<float>(static_cast<int64_t>(v)) * 1e-18f;
          v = float_bits(f);
        } else if (t == DType::f64) {
          double f = static_cast<double>(static_cast<int64_t>(v)) * 1e-18;
          std::memcpy(&v, &f, 8);
        }
        std::memcpy(p + (scalar ? 0 : i) * static_cast<int>(size), &v, size);
      }
    };
    if (op == Opcode::select)
      fill(a, DType::pred, false), fill(b, type, form & 2), fill(c, type, form & 4);
    else
      fill(a, from, form & 1), fill(b, from, form & 2), fill(c, from, false);
    const uint64_t imm = op == Opcode::reduce_precision ? (5 << 8 | 7)
                         : op == Opcode::wrap           ? 4
                                                        : static_cast<uint64_t>(DType::f16);
    loop(d, a, b, c, n, imm);
    for (int i = 0; i < n; ++i) {
      uint64_t x = 0, y = 0, z = 0, have = 0;
      std::memcpy(&x, a + (form & 1 ? 0 : static_cast<size_t>(i) * as), as);
      std::memcpy(&y, b + (form & 2 ? 0 : static_cast<size_t>(i) * in), in);
      std::memcpy(&z, c + (form & 4 ? 0 : static_cast<size_t>(i) * in), in);
      std::memcpy(&have, d + static_cast<size_t>(i) * out, out);
      ScalarInstr instr{op, type};
      instr.imm = imm;
      const uint64_t want = evaluate(instr, from, x, y, z, 0);
      if (want == have) continue;
      double w = 0, h = 0;
      if (type == DType::f32) {
        float wf = bits_float(static_cast<uint32_t>(want)),
              hf = bits_float(static_cast<uint32_t>(have));
        w = wf, h = hf;
        // Fused multiply-adds round differently from one instruction set to another.
        if (std::isnan(w) && std::isnan(h)) continue;
        if (std::fabs(w - h) <= std::fabs(w) * 5e-7 + 1e-44) continue;
      } else if (type == DType::f64) {
        std::memcpy(&w, &want, 8);
        std::memcpy(&h, &have, 8);
        if (std::isnan(w) && std::isnan(h)) continue;
        if (std::fabs(w - h) <= std::fabs(w) * 1e-14) continue;
      }
      ADD_FAILURE() << GetParam() << " " << name(op) << " " << ir::name(type) << " from "
                    << ir::name(from) << " form " << form << " of " << std::hex << x << " " << y
                    << ": " << want << " " << have << " " << w << " " << h;
      return;
    }
  };
  for (int o = 0; o < kOpcodeCount; ++o) {
    const Opcode op = static_cast<Opcode>(o);
    // Neither the program's own nor a loop over rows.
    if (op == Opcode::input || op == Opcode::load || op == Opcode::constant) continue;
    if (op == Opcode::threefry || op == Opcode::threefry_second || is_reduction(op)) continue;
    const OpClass op_class = class_of(op);
    const bool gives_pred = op_class == OpClass::real_test || op_class == OpClass::equality ||
                            op_class == OpClass::order;
    for (DType from : types) {
      for (int form = 0; form < 8; ++form) {
        if (op == Opcode::convert) {
          for (DType to : types) compare(op, to, from, form);
        } else if (op == Opcode::encode) {
          if (from == DType::f32) compare(op, DType::u16, from, form);
        } else if (op == Opcode::decode) {
          if (from == DType::u16) compare(op, DType::f32, from, form);
        } else if (op == Opcode::wrap) {
          if (from == DType::s8 || from == DType::u8) compare(op, from, from, form);
        } else if (op == Opcode::round_to) {
          if (from == DType::f32) compare(op, from, from, form);
        } else if (gives_pred) {
          compare(op, DType::pred, from, form);
        } else if (from != DType::pred || op == Opcode::select) {
          compare(op, from, from, form);
        }
      }
    }
  }
  EXPECT_GT(tried, 700);
}

INSTANTIATE_TEST_SUITE_P(All, Isa, ::testing::Values("base", "avx2", "avx512"),
                         [](const auto& info) { return std::string(info.param); });

uint64_t run(Opcode op, DType type, uint64_t a, uint64_t b = 0) {
  return evaluate(ScalarInstr{op, type}, type, a, b, 0, 0);
}
uint64_t as_bits(float x) { return float_bits(x); }
float run_float(Opcode op, float a, float b = 0) {
  return bits_float(static_cast<uint32_t>(run(op, DType::f32, as_bits(a), as_bits(b))));
}
uint64_t convert(DType from, DType to, uint64_t a) {
  return evaluate(ScalarInstr{Opcode::convert, to}, from, a, 0, 0, 0);
}

TEST(Scalar, IntegerEdges) {
  EXPECT_EQ(0xffu, run(Opcode::div, DType::s8, 5, 0));
  EXPECT_EQ(0xffu, run(Opcode::div, DType::u8, 5, 0));
  EXPECT_EQ(5u, run(Opcode::rem, DType::s8, 5, 0));
  EXPECT_EQ(0x80u, run(Opcode::div, DType::s8, 0x80, 0xff));
  EXPECT_EQ(0u, run(Opcode::rem, DType::s8, 0x80, 0xff));
  EXPECT_EQ(0x80000000u, run(Opcode::neg, DType::s32, 0x80000000u));
  EXPECT_EQ(0x80000000u, run(Opcode::abs, DType::s32, 0x80000000u));
  EXPECT_EQ(0x80000000u, run(Opcode::add, DType::s32, 0x7fffffffu, 1));
  EXPECT_EQ(0u, run(Opcode::shl, DType::u32, 1, 32));
  EXPECT_EQ(0u, run(Opcode::shl, DType::s32, 1, 0xffffffffu));
  EXPECT_EQ(0u, run(Opcode::shr_l, DType::u32, 0x80000000u, 40));
  EXPECT_EQ(0xffffffffu, run(Opcode::shr_a, DType::s32, 0x80000000u, 40));
  EXPECT_EQ(0xfeu, run(Opcode::rem, DType::s8, 0xf8, 3));  // -8 rem 3 = -2
  EXPECT_EQ(8u, run(Opcode::clz, DType::u8, 0));
  EXPECT_EQ(3u, run(Opcode::popcnt, DType::s8, 0x83));
  EXPECT_EQ(0u, run(Opcode::pow, DType::s32, 2, 0xffffffffu));
  EXPECT_EQ(1u, run(Opcode::pow, DType::s32, 1, 0xffffffffu));
  EXPECT_EQ(0xffffffffu, run(Opcode::pow, DType::s32, 0xffffffffu, 0xffffffffu));
  EXPECT_EQ(0x100000001ull * 0x100000001ull,
            run(Opcode::mul, DType::u64, 0x100000001ull, 0x100000001ull));
  EXPECT_EQ(1u, run(Opcode::mul, DType::u16, 0xffff, 0xffff));
}

TEST(Scalar, FloatEdges) {
  EXPECT_TRUE(std::isnan(run_float(Opcode::max, kNan, 1)) &&
              std::isnan(run_float(Opcode::max, 1, kNan)));
  EXPECT_TRUE(std::isnan(run_float(Opcode::min, kNan, 1)) &&
              std::isnan(run_float(Opcode::min, 1, kNan)));
  EXPECT_FALSE(std::signbit(run_float(Opcode::max, -0.0f, 0.0f)) ||
               std::signbit(run_float(Opcode::max, 0.0f, -0.0f)));
  EXPECT_TRUE(std::signbit(run_float(Opcode::min, -0.0f, 0.0f)) &&
              std::signbit(run_float(Opcode::min, 0.0f, -0.0f)));
  EXPECT_TRUE(std::signbit(run_float(Opcode::sign, -0.0f)) &&
              std::isnan(run_float(Opcode::sign, kNan)));
  EXPECT_EQ(2.0f, run_float(Opcode::round_even, 2.5f));
  EXPECT_EQ(3.0f, run_float(Opcode::round_afz, 2.5f));
  EXPECT_EQ(-3.0f, run_float(Opcode::round_afz, -2.5f));
  EXPECT_EQ(0.0f, run_float(Opcode::round_afz, 0.49999997f));
  EXPECT_TRUE(std::signbit(run_float(Opcode::round_afz, -0.2f)));
  EXPECT_EQ(8388609.0f, run_float(Opcode::round_afz, 8388609.0f));
}

TEST(Scalar, ConversionsSaturate) {
  const uint64_t nan = as_bits(kNan);
  EXPECT_EQ(0u, convert(DType::f32, DType::s32, nan));
  EXPECT_EQ(0x7fffffffu, convert(DType::f32, DType::s32, as_bits(1e10f)));
  EXPECT_EQ(0x80000000u, convert(DType::f32, DType::s32, as_bits(-1e10f)));
  EXPECT_EQ(0x7fffff80u, convert(DType::f32, DType::s32, as_bits(2147483520.0f)));
  EXPECT_EQ(0x7fffffffu, convert(DType::f32, DType::s32, as_bits(2147483648.0f)));
  EXPECT_EQ(0xffffffffu, convert(DType::f32, DType::u32, as_bits(4294967296.0f)));
  EXPECT_EQ(0u, convert(DType::f32, DType::u32, as_bits(-1.0f)));
  EXPECT_EQ(127u, convert(DType::f32, DType::s8, as_bits(300.0f)));
  EXPECT_EQ(~0ull, convert(DType::f32, DType::u64, as_bits(kInf)));
  EXPECT_EQ(0x7fffffffffffffffull, convert(DType::f32, DType::s64, as_bits(kInf)));
  double half = 0.5;
  uint64_t half_bits;
  std::memcpy(&half_bits, &half, 8);
  EXPECT_EQ(1u, convert(DType::f64, DType::pred, half_bits));
  EXPECT_EQ(0xfffffffful, convert(DType::s8, DType::s32, 0xff));
}

float round_trip(DType narrow, float x) {
  ScalarInstr encode{Opcode::encode, storage_machine_type(narrow)},
      decode{Opcode::decode, DType::f32};
  encode.imm = decode.imm = static_cast<uint64_t>(narrow);
  const uint64_t bits = evaluate(encode, DType::f32, as_bits(x), 0, 0, 0);
  return bits_float(static_cast<uint32_t>(evaluate(decode, encode.type, bits, 0, 0, 0)));
}

// The nearest of all decodable values, ties to the even encoding: by search.
TEST(Scalar, NarrowFloatsRoundToTheNearest) {
  struct Format {
    DType dtype;
    int bits;
  };
  const Format formats[] = {
      {DType::f8e5m2, 8},     {DType::f8e4m3fn, 8},   {DType::f8e4m3b11fnuz, 8},
      {DType::f8e5m2fnuz, 8}, {DType::f8e4m3fnuz, 8}, {DType::f8e4m3, 8},
      {DType::f8e3m4, 8},     {DType::f4e2m1fn, 4},   {DType::f6e2m3fn, 6},
      {DType::f6e3m2fn, 6},   {DType::f16, 16},       {DType::bf16, 16}};
  std::mt19937 rng(5);
  for (const Format& f : formats) {
    ScalarInstr decode{Opcode::decode, DType::f32};
    decode.imm = static_cast<uint64_t>(f.dtype);
    std::vector<float> values;
    float largest = 0;
    for (uint32_t u = 0; u < (1u << f.bits); ++u) {
      const float v = bits_float(
          static_cast<uint32_t>(evaluate(decode, storage_machine_type(f.dtype), u, 0, 0, 0)));
      if (!std::isfinite(v)) continue;
      largest = std::max(largest, v);
      EXPECT_EQ(v, round_trip(f.dtype, v)) << ir::name(f.dtype) << " " << u;
      if (v >= 0) values.push_back(v);
    }
    std::sort(values.begin(), values.end());
    for (int i = 0; i < 20000; ++i) {
      // Uniform in the exponent, half of them halfway between two neighbours.
      const size_t k = rng() % (values.size() - 1);
      const double low = values[k], high = values[k + 1];
      const double t = i % 2 ? 0.5 : static_cast<double>(rng()) / 4294967296.0;
      const float x = static_cast<float>(low + (high - low) * t);
      const float have = round_trip(f.dtype, x);
      const double to_low = x - low, to_high = high - x;
      ASSERT_TRUE(have == values[k] || have == values[k + 1])
          << ir::name(f.dtype) << " " << x << " " << have;
      if (to_low != to_high) {
        ASSERT_EQ(to_low < to_high ? values[k] : values[k + 1], have)
            << ir::name(f.dtype) << " " << x;
      }
    }
    ScalarInstr round{Opcode::round_to, DType::f32};
    round.imm = static_cast<uint64_t>(f.dtype);
    for (int i = 0; i < 20000; ++i) {
      const float x = bits_float(static_cast<uint32_t>(rng()));
      const float a = round_trip(f.dtype, x), b = bits_float(static_cast<uint32_t>(evaluate(
                                                  round, DType::f32, as_bits(x), 0, 0, 0)));
      if (std::isnan(a) && std::isnan(b)) continue;
      ASSERT_EQ(as_bits(a), as_bits(b)) << ir::name(f.dtype) << " " << x << " " << a << " " << b;
    }
  }
}

// The known answers of Threefry-2x32 with 20 rounds, from its authors' test vectors.
TEST(Scalar, ThreefryKnownAnswers) {
  const uint32_t in[][4] = {
      {0, 0, 0, 0}, {~0u, ~0u, ~0u, ~0u}, {0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3}};
  const uint32_t out[][2] = {
      {0x6b200159, 0x99ba4efe}, {0x1cb996fc, 0xbb002be7}, {0xc4923a9c, 0x483df7a0}};
  for (int i = 0; i < 3; ++i) {
    uint32_t d0 = 0, d1 = 0;
    const uint32_t* words[] = {&in[i][0], &in[i][1], &in[i][2], &in[i][3]};
    const bool single[] = {true, true, false, false};
    cpu::vec_table().threefry(&d0, &d1, words, single, 1);
    EXPECT_EQ(out[i][0], d0);
    EXPECT_EQ(out[i][1], d1);
    EXPECT_EQ(out[i][0], evaluate(ScalarInstr{Opcode::threefry, DType::u32}, DType::u32, in[i][0],
                                  in[i][1], in[i][2], in[i][3]));
  }
}

}  // namespace
}  // namespace jaxmps::kernels
