// What is read off the form of combiners, and what is not.
#include "ir/combiner.h"

#include <gtest/gtest.h>

#include <functional>

#include "ir/builder.h"

namespace jaxmps::testing {
namespace {

using Build = std::function<Values(Body& body, const Values& arguments)>;

// The combiner of a reduction of `count` arrays.
const Region& combiner(Program& p, int count, const Build& build) {
  Values operands;
  for (int i = 0; i < count; ++i) operands.push_back(p.arg(f32(3)));
  for (int i = 0; i < count; ++i) operands.push_back(p.arg(f32()));
  Op* op =
      p.ops(OpId::reduce, operands, std::vector<Type>(count, f32()), {{"dimensions", Ints{0}}});
  Body body(&p.module, op->add_region());
  Values arguments;
  for (int i = 0; i < 2 * count; ++i) arguments.push_back(body.arg(f32()));
  body.ret(build(body, arguments));
  return op->region();
}

std::optional<OpId> simple(const Build& build) {
  Program p;
  return ir::simple_combiner(combiner(p, 1, build));
}

TEST(Combiner, OneCommutativeOpInEitherOrder) {
  for (const OpId id : {OpId::add, OpId::multiply, OpId::maximum, OpId::minimum}) {
    EXPECT_EQ(simple([&](Body& b, const Values& a) { return Values{b.binary(id, a[0], a[1])}; }),
              id);
    EXPECT_EQ(simple([&](Body& b, const Values& a) { return Values{b.binary(id, a[1], a[0])}; }),
              id);
  }
}

TEST(Combiner, NothingElseIsSimple) {
  auto differs = [](const Build& build) { EXPECT_FALSE(simple(build)); };
  differs([](Body& b, const Values& a) { return Values{b.binary(OpId::subtract, a[0], a[1])}; });
  differs([](Body& b, const Values& a) { return Values{b.binary(OpId::power, a[0], a[1])}; });
  differs([](Body& b, const Values& a) { return Values{b.binary(OpId::add, a[0], a[0])}; });
  differs([](Body&, const Values& a) { return Values{a[1]}; });
  differs([](Body& b, const Values&) { return Values{b.splat(f32(), 0)}; });
  differs([](Body& b, const Values& a) {
    return Values{b.binary(OpId::minimum, b.binary(OpId::add, a[0], a[1]), b.splat(f32(), 9))};
  });
}

TEST(Combiner, EachResultOfItsOwnPair) {
  Program p;
  const Region& region = combiner(p, 2, [](Body& b, const Values& a) {
    return Values{b.binary(OpId::add, a[0], a[2]), b.binary(OpId::maximum, a[3], a[1])};
  });
  EXPECT_EQ(ir::simple_combiners(region), (std::vector<OpId>{OpId::add, OpId::maximum}));
  Program q;
  const Region& crossed = combiner(q, 2, [](Body& b, const Values& a) {
    return Values{b.binary(OpId::add, a[0], a[3]), b.binary(OpId::add, a[1], a[2])};
  });
  EXPECT_FALSE(ir::simple_combiners(crossed));
}

TEST(Combiner, WhatScattersDo) {
  using Kind = ir::Combination::Kind;
  Program p;
  const Region& region = combiner(p, 3, [](Body& b, const Values& a) {
    return Values{a[0], a[4], b.binary(OpId::subtract, a[2], a[5])};
  });
  EXPECT_EQ(ir::combination(region, 0)->kind, Kind::accumulator);
  EXPECT_EQ(ir::combination(region, 1)->kind, Kind::element);
  EXPECT_EQ(ir::combination(region, 2)->op, OpId::subtract);
  Program q;
  const Region& swapped = combiner(
      q, 1, [](Body& b, const Values& a) { return Values{b.binary(OpId::subtract, a[1], a[0])}; });
  EXPECT_FALSE(ir::combination(swapped, 0));
}

}  // namespace
}  // namespace jaxmps::testing
