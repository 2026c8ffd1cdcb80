// Constant folding: rounding of every float type, wrapping integers, and moved elements.
#include <cmath>

#include "passes/support.h"

namespace jaxmps::testing {
namespace {

using Numbers = std::vector<double>;

Numbers folded(const std::function<Value*(Program&)>& make) {
  Program p;
  p.ret({make(p)});
  run(p, passes::canonicalize);
  EXPECT_EQ(p.op_count(), 2) << ir::print(p.module);
  return numbers(p.returned());
}

double folded_binary(OpId id, DType dtype, double a, double b) {
  return folded([&](Program& p) {
    const Type type(dtype, {});
    return p.binary(id, p.splat(type, a), p.splat(type, b));
  })[0];
}

double folded_unary(OpId id, DType dtype, double a) {
  return folded([&](Program& p) { return p.unary(id, p.splat(Type(dtype, {}), a)); })[0];
}

double converted(DType from, DType to, double a) {
  return folded([&](Program& p) {
    return p.op(OpId::convert, {p.splat(Type(from, {}), a)}, Type(to, {}));
  })[0];
}

TEST(Fold, SplatsOfNarrowFloatsAreNumbers) {
  for (const DType dtype : {DType::f8e4m3fn, DType::f8e5m2, DType::f8e4m3fnuz, DType::f16}) {
    for (const double number : {0.0, 1.0, -1.5, 2.0}) {
      EXPECT_EQ(passes::make_splat(Type(dtype, {}), number).float_at(0), number);
    }
  }
}

TEST(Fold, FloatsRoundToTheirType) {
  EXPECT_EQ(folded_binary(OpId::add, DType::f32, 16777216, 1), 16777216);
  EXPECT_EQ(folded_binary(OpId::add, DType::f64, 16777216, 1), 16777217);
  EXPECT_EQ(folded_binary(OpId::add, DType::bf16, 256, 1), 256);
  EXPECT_EQ(folded_binary(OpId::add, DType::bf16, 256, 3), 260);
  EXPECT_EQ(folded_binary(OpId::add, DType::f16, 2048, 1), 2048);
  EXPECT_EQ(folded_binary(OpId::multiply, DType::f16, 300, 300), INFINITY);
  EXPECT_EQ(folded_binary(OpId::multiply, DType::f16, std::ldexp(1, -14), 0.5), std::ldexp(1, -15));
  EXPECT_EQ(folded_binary(OpId::divide, DType::f32, 1, 3), double(1.0f / 3.0f));
  EXPECT_EQ(folded_unary(OpId::sqrt, DType::f32, 2), double(std::sqrt(2.0f)));
  EXPECT_EQ(converted(DType::f32, DType::bf16, 1.00390625), 1);       // a tie goes to even
  EXPECT_EQ(converted(DType::f32, DType::bf16, 1.01171875), 1.015625);
}

TEST(Fold, FloatExtremes) {
  EXPECT_TRUE(std::isnan(folded_binary(OpId::maximum, DType::f32, NAN, 1)));
  EXPECT_FALSE(std::signbit(folded_binary(OpId::maximum, DType::f32, -0.0, 0.0)));
  EXPECT_TRUE(std::signbit(folded_binary(OpId::minimum, DType::f32, -0.0, 0.0)));
  EXPECT_TRUE(std::signbit(folded_unary(OpId::sign, DType::f32, -0.0)));
  EXPECT_EQ(folded_unary(OpId::round_nearest_even, DType::f32, 2.5), 2);
  EXPECT_EQ(folded_unary(OpId::round_nearest_afz, DType::f32, 2.5), 3);
  EXPECT_EQ(folded_binary(OpId::remainder, DType::f32, -5, 3), -2);
}

TEST(Fold, IntegersWrap) {
  EXPECT_EQ(folded_binary(OpId::add, DType::s32, 2147483647, 1), -2147483648.0);
  EXPECT_EQ(folded_binary(OpId::multiply, DType::u8, 20, 20), 144);
  EXPECT_EQ(folded_binary(OpId::subtract, DType::u32, 0, 1), 4294967295.0);
  EXPECT_EQ(folded_unary(OpId::negate, DType::s8, -128), -128);
  EXPECT_EQ(folded_unary(OpId::abs, DType::s8, -128), -128);
  EXPECT_EQ(folded_binary(OpId::add, DType::s4, 7, 1), -8);
  EXPECT_EQ(folded_unary(OpId::negate, DType::s4, -8), -8);
  EXPECT_EQ(folded_unary(OpId::negate, DType::u4, 1), 15);
  EXPECT_EQ(folded_unary(OpId::abs, DType::s4, -8), -8);
  EXPECT_EQ(folded_unary(OpId::not_, DType::u4, 5), 10);
}

TEST(Fold, IntegerDivision) {
  EXPECT_EQ(folded_binary(OpId::divide, DType::s32, -7, 2), -3);
  EXPECT_EQ(folded_binary(OpId::divide, DType::s32, 7, 0), -1);
  EXPECT_EQ(folded_binary(OpId::divide, DType::u32, 7, 0), 4294967295.0);
  EXPECT_EQ(folded_binary(OpId::divide, DType::s32, -2147483648.0, -1), -2147483648.0);
  EXPECT_EQ(folded_binary(OpId::remainder, DType::s32, -7, 2), -1);
  EXPECT_EQ(folded_binary(OpId::remainder, DType::s32, 7, 0), 7);
}

TEST(Fold, Shifts) {
  EXPECT_EQ(folded_binary(OpId::shift_left, DType::u32, 1, 31), 2147483648.0);
  EXPECT_EQ(folded_binary(OpId::shift_left, DType::u32, 1, 32), 0);
  EXPECT_EQ(folded_binary(OpId::shift_right_arithmetic, DType::s32, -8, 40), -1);
  EXPECT_EQ(folded_binary(OpId::shift_right_logical, DType::s8, -1, 4), 15);
  EXPECT_EQ(folded_unary(OpId::count_leading_zeros, DType::u16, 1), 15);
  EXPECT_EQ(folded_unary(OpId::popcnt, DType::s8, -1), 8);
}

TEST(Fold, Conversions) {
  EXPECT_EQ(converted(DType::f32, DType::s8, 1000), 127);
  EXPECT_EQ(converted(DType::f32, DType::u8, -3), 0);
  EXPECT_EQ(converted(DType::f32, DType::s32, NAN), 0);
  EXPECT_EQ(converted(DType::s32, DType::s8, 300), 44);
  EXPECT_EQ(converted(DType::f32, DType::pred, 0.5), 1);
  EXPECT_EQ(converted(DType::pred, DType::f32, 1), 1);
  EXPECT_EQ(converted(DType::u32, DType::f32, 4294967295.0), 4294967296.0);
}

TEST(Fold, ComparesAndSelects) {
  using D = ir::CompareDirection;
  EXPECT_EQ(folded([](Program& p) {
              return p.compare(D::lt, p.ints(s32(3), {1, 2, 3}), p.ints(s32(3), {2, 2, 2}));
            }),
            (Numbers{1, 0, 0}));
  EXPECT_EQ(folded([](Program& p) {
              return p.compare(D::gt, p.ints(u32(1), {-1}), p.ints(u32(1), {1}));
            }),
            (Numbers{1}));
  EXPECT_EQ(folded([](Program& p) {
              return p.op(OpId::select,
                          {p.ints(pred(2), {1, 0}), p.ints(s32(2), {1, 2}), p.ints(s32(2), {3, 4})},
                          s32(2));
            }),
            (Numbers{1, 4}));
}

TEST(Fold, MovedElements) {
  EXPECT_EQ(folded([](Program& p) {
              return p.op(OpId::transpose, {p.ints(s32(2, 3), {1, 2, 3, 4, 5, 6})}, s32(3, 2),
                          {{"permutation", Attr(Ints{1, 0})}});
            }),
            (Numbers{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(folded([](Program& p) {
              return p.slice(p.ints(s32(6), {0, 1, 2, 3, 4, 5}), {1}, {6}, {2});
            }),
            (Numbers{1, 3, 5}));
  EXPECT_EQ(folded([](Program& p) { return p.broadcast(p.ints(s32(2), {1, 2}), {2, 2}, {0}); }),
            (Numbers{1, 1, 2, 2}));
  EXPECT_EQ(folded([](Program& p) {
              return p.op(OpId::reverse, {p.ints(s32(3), {1, 2, 3})}, s32(3),
                          {{"dimensions", Attr(Ints{0})}});
            }),
            (Numbers{3, 2, 1}));
  EXPECT_EQ(folded([](Program& p) {
              return p.op(OpId::concatenate,
                          {p.ints(s32(2, 1), {1, 2}), p.ints(s32(2, 2), {3, 4, 5, 6})}, s32(2, 3),
                          {{"dimension", Attr(int64_t(1))}});
            }),
            (Numbers{1, 3, 4, 2, 5, 6}));
}

TEST(Fold, SplatsStaySmall) {
  Program p;
  const Type big = f32(1 << 20);
  p.ret({p.binary(OpId::multiply, p.broadcast(p.splat(f32(), 3), {1 << 20}, {}), p.splat(big, 2))});
  run(p, passes::canonicalize);
  const ir::Dense* dense = ir::constant_of(p.returned());
  ASSERT_TRUE(dense);
  EXPECT_TRUE(dense->splat);
  EXPECT_EQ(dense->float_at(5), 6);
}

TEST(Fold, LargeResultsAreLeft) {
  Program p;
  Value* x = p.ints(s32(2048), Ints(2048, 3));
  p.ret({p.binary(OpId::add, x, x)});
  run(p, passes::canonicalize);
  EXPECT_EQ(p.returned_op()->id, OpId::add);
}

}  // namespace
}  // namespace jaxmps::testing
