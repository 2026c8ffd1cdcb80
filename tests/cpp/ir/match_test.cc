#include "ir/match.h"

#include <gtest/gtest.h>

#include "ir/builder.h"

namespace jaxmps::testing {
namespace {

using ir::CompareDirection;
using namespace ir::match;

TEST(Match, OperandsOfOpsThatCommuteInEitherOrder) {
  Program p;
  Value *x = p.arg(s32()), *y = p.arg(s32());
  int64_t step = 0;
  const Value* bound = nullptr;
  Value* five = p.splat(s32(), 5);
  EXPECT_TRUE(matches(p.binary(OpId::add, five, x), op(OpId::add, any(&bound), integer(&step))));
  EXPECT_EQ(step, 5);
  EXPECT_EQ(bound, x);
  EXPECT_TRUE(matches(p.binary(OpId::subtract, x, five), op(OpId::subtract, same(x), number(5))));
  EXPECT_FALSE(matches(p.binary(OpId::subtract, five, x), op(OpId::subtract, same(x), number(5))));
  EXPECT_FALSE(matches(p.binary(OpId::add, x, y), op(OpId::add, same(x), number(5))));
  EXPECT_FALSE(matches(x, op(OpId::negate, any(&bound))));
}

TEST(Match, ComparisonsBothWaysAround) {
  Program p;
  Value *x = p.arg(s32()), *y = p.arg(s32());
  Value* less = p.compare(CompareDirection::lt, y, x);
  EXPECT_TRUE(matches(less, compare(CompareDirection::lt, same(y), same(x))));
  EXPECT_TRUE(matches(less, compare(CompareDirection::gt, same(x), same(y))));
  EXPECT_FALSE(matches(less, compare(CompareDirection::lt, same(x), same(y))));
  CompareDirection direction;
  ASSERT_TRUE(matches(less, compare(&direction, same(x), same(y))));
  EXPECT_EQ(direction, CompareDirection::gt);
  Value* total = p.op(OpId::compare, {x, y}, pred(),
                      {{"comparison_direction", choice(CompareDirection::lt)},
                       {"compare_type", choice(ir::CompareType::total_order)}});
  EXPECT_FALSE(matches(total, compare(&direction, same(x), same(y))));
}

TEST(Match, WhatWasBoundBeforeIsTheSameLater) {
  Program p;
  Value *x = p.arg(f32(3)), *m = p.arg(f32(3));
  const auto logistic_of = [&](Value* inner) {
    return p.binary(OpId::divide, x,
                    p.binary(OpId::add, p.unary(OpId::exponential, inner), p.splat(f32(3), 1)));
  };
  const Value* found = nullptr;
  const auto swish =
      op(OpId::divide, any(&found),
         op(OpId::add, number(1), op(OpId::exponential, op(OpId::negate, same(&found)))));
  EXPECT_TRUE(matches(logistic_of(p.unary(OpId::negate, x)), swish));
  EXPECT_FALSE(matches(logistic_of(p.unary(OpId::negate, m)), swish));
}

}  // namespace
}  // namespace jaxmps::testing
