// Constants of small floats are read as numbers.
#include "ir/small_float.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ir/attr.h"

namespace jaxmps::ir {
namespace {

double element(DType dtype, uint8_t code) {
  return Dense::copy(Type(dtype, {}), {&code, 1}, true).float_at(0);
}

TEST(SmallFloat, ElementsOfConstants) {
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

TEST(SmallFloat, AsIntegers) {
  const uint8_t code = 0x40;
  EXPECT_EQ(Dense::copy(Type(DType::f8e4m3fn, {}), {&code, 1}, true).int_at(0), 2);
}

}  // namespace
}  // namespace jaxmps::ir
