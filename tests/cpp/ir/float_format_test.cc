// Constants of small floats are read as numbers.
#include "ir/float_format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "ir/attr.h"

namespace jaxmps::ir {
namespace {

double element(DType dtype, uint8_t code) {
  return Dense::copy(Type(dtype, {}), {&code, 1}, true).float_at(0);
}

TEST(FloatFormat, ElementsOfConstants) {
  EXPECT_EQ(element(DType::f8e4m3fn, 0x38), 1.0);
  EXPECT_EQ(element(DType::f8e4m3fn, 0x7e), 448.0);
  EXPECT_TRUE(std::isnan(element(DType::f8e4m3fn, 0x7f)));
  EXPECT_EQ(element(DType::f8e5m2, 0xbc), -1.0);
  EXPECT_TRUE(std::isinf(element(DType::f8e5m2, 0x7c)));
  EXPECT_EQ(element(DType::f8e5m2fnuz, 0x40), 1.0);
  EXPECT_TRUE(std::isnan(element(DType::f8e5m2fnuz, 0x80)));
  EXPECT_EQ(element(DType::f8e8m0fnu, 127), 1.0);
  EXPECT_EQ(element(DType::f4e2m1fn, 7), 6.0);
  EXPECT_EQ(element(DType::f6e2m3fn, 1), 0.125);
  EXPECT_TRUE(std::signbit(element(DType::f8e4m3fn, 0x80)));
}

TEST(FloatFormat, EveryCodeIsTheCodeOfItsNumber) {
  for (DType dtype : {DType::f16, DType::bf16, DType::f8e5m2, DType::f8e4m3, DType::f8e3m4,
                      DType::f8e4m3fn, DType::f8e4m3b11fnuz, DType::f8e5m2fnuz, DType::f8e4m3fnuz,
                      DType::f8e8m0fnu, DType::f4e2m1fn, DType::f6e2m3fn, DType::f6e3m2fn}) {
    const FloatFormat format = float_format(dtype);
    for (uint32_t code = 0; code <= (format.sign_bit() | format.ones()); ++code) {
      const float value = decode_float(code, format);
      const uint32_t again = encode_float(value, format);
      if (std::isnan(value)) {
        EXPECT_TRUE(std::isnan(decode_float(again, format))) << name(dtype) << " " << code;
      } else {
        EXPECT_EQ(again, code) << name(dtype);
      }
    }
  }
}

// The numbers of a format in order, with one more exponent, as its definition has them.
std::vector<double> magnitudes(const FloatFormat& f) {
  std::vector<double> all;
  const uint32_t one = 1u << f.mantissa;
  for (uint32_t code = 0; code <= f.largest() + one; ++code) {
    const auto field = static_cast<int>(code >> f.mantissa);
    const uint32_t fraction = code & (one - 1);
    all.push_back(
        std::ldexp(field ? one + fraction : fraction, (field ? field : 1) - f.bias - f.mantissa));
  }
  return all;
}

TEST(FloatFormat, TheNearestNumberIsFound) {
  for (DType dtype : {DType::f8e5m2, DType::f8e4m3, DType::f8e3m4, DType::f8e4m3fn,
                      DType::f8e4m3b11fnuz, DType::f8e5m2fnuz, DType::f8e4m3fnuz, DType::f4e2m1fn,
                      DType::f6e2m3fn, DType::f6e3m2fn, DType::f16, DType::bf16}) {
    const FloatFormat f = float_format(dtype);
    const std::vector<double> all = magnitudes(f);
    auto expect = [&](double x, uint32_t code) {
      if (static_cast<double>(static_cast<float>(x)) != x) return;
      const uint32_t found = encode_float(static_cast<float>(x), f);
      const uint32_t minus = encode_float(static_cast<float>(-x), f);
      const bool has_sign = f.top != FloatFormat::uz || (code != 0 && code <= f.largest());
      if (code > f.largest()) code = f.overflow();
      EXPECT_EQ(found, code) << name(dtype) << " of " << x;
      EXPECT_EQ(minus, has_sign ? code | f.sign_bit() : code) << name(dtype) << " of " << -x;
      if (code <= f.largest()) {
        EXPECT_EQ(decode_float(code, f), all[code]) << name(dtype);
      }
    };
    for (uint32_t code = 0; code + 1 < all.size(); ++code) {
      const double tie = (all[code] + all[code + 1]) / 2;
      expect(all[code], code);
      expect(tie, code + code % 2);
      expect(std::nextafter(static_cast<float>(tie), 0.0f), code);
      expect(std::nextafter(static_cast<float>(tie), INFINITY), code + 1);
    }
    expect(INFINITY, f.largest() + 1);
    EXPECT_EQ(encode_float(NAN, f), f.nan()) << name(dtype);
  }
}

TEST(FloatFormat, TiesGoToEvenCodesAndOfPowersUp) {
  const FloatFormat e4m3 = float_format(DType::f8e4m3fn), power = float_format(DType::f8e8m0fnu);
  EXPECT_EQ(encode_float(1.0625f, e4m3), 0x38u);
  EXPECT_EQ(encode_float(1.1875f, e4m3), 0x3au);
  EXPECT_EQ(encode_float(1e6f, e4m3), 0x7fu);
  EXPECT_EQ(encode_float(-1e6f, float_format(DType::f4e2m1fn)), 0xfu);
  EXPECT_EQ(decode_float(encode_float(1.5f, power), power), 2.0f);
  EXPECT_EQ(decode_float(encode_float(3.0f, power), power), 4.0f);
  EXPECT_EQ(decode_float(encode_float(2.99f, power), power), 2.0f);
  EXPECT_EQ(encode_float(-1.0f, power), 0xffu);
}

TEST(FloatFormat, AsIntegers) {
  const uint8_t code = 0x40;
  EXPECT_EQ(Dense::copy(Type(DType::f8e4m3fn, {}), {&code, 1}, true).int_at(0), 2);
}

}  // namespace
}  // namespace jaxmps::ir
