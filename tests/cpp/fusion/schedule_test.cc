// What printers read of a fusion: which values there are once, per group and per element, when they
// are computed, and what is kept for later.
#include "fusion/schedule.h"

#include <gtest/gtest.h>

#include "support/graph.h"

namespace jaxmps::test {
namespace {

using fusion::Fusion;
using fusion::FusionSchedule;
using fusion::Opcode;
using Level = fusion::ScheduledValue::Level;

Fusion describe(const Graph& g) {
  auto f = fusion::build_fusion(g.region);
  EXPECT_TRUE(f.ok());
  return f.ok() ? std::move(f).value() : Fusion();
}

int32_t find(const Fusion& f, Opcode op) {
  for (size_t v = 0; v < f.program.instrs.size(); ++v) {
    if (f.program.instrs[v].op == op) return static_cast<int32_t>(v);
  }
  ADD_FAILURE() << print(f);
  return 0;
}

TEST(Schedule, ASoftmaxHasThreeStages) {
  Graph g;
  V x = g.arg(DType::f32, {64, 1000}), zero = g.splat(DType::f32, {}, 0.0f);
  V top = g.reduce(OpId::maximum, x, g.splat(DType::f32, {}, -1e30f), {1});
  V e = g.same(OpId::exponential, {g.same(OpId::subtract, {x, g.broadcast(top, {64, 1000}, {0})})});
  V sum = g.broadcast(g.reduce(OpId::add, e, zero, {1}), {64, 1000}, {0});
  g.ret({g.same(OpId::divide, {e, sum})});
  const Fusion f = describe(g);
  const FusionSchedule s(f);
  EXPECT_EQ(3, s.stages());
  EXPECT_EQ(1000, s.length());
  EXPECT_EQ(64, s.groups());
  EXPECT_TRUE(s.rereads_elements());
  const auto load = s[find(f, Opcode::load)], top_of = s[find(f, Opcode::reduce_max)],
             exp = s[find(f, Opcode::exp)], quotient = s[find(f, Opcode::div)];
  EXPECT_EQ(Level::element, load.level);
  EXPECT_TRUE(load.is_kept);
  EXPECT_EQ(0, load.stage);
  EXPECT_EQ(Level::group, top_of.level);
  EXPECT_EQ(1, top_of.stage);
  EXPECT_FALSE(top_of.is_kept);
  EXPECT_EQ(1, exp.stage);
  EXPECT_TRUE(exp.is_kept);
  EXPECT_EQ(2, quotient.stage);
  EXPECT_FALSE(quotient.is_kept);
  EXPECT_EQ(Level::uniform, s[find(f, Opcode::constant)].level);
  ASSERT_EQ(1u, s.parts().size());
  EXPECT_TRUE(s.parts()[0].is_spread);
}

TEST(Schedule, TheResultOfAReductionIsOnePerGroup) {
  Graph g;
  V x = g.arg(DType::f32, {64, 1000});
  V sum = g.reduce(OpId::add, g.same(OpId::multiply, {x, x}), g.splat(DType::f32, {}, 0.0f), {1});
  g.ret({g.same(OpId::sqrt, {sum})});
  const Fusion f = describe(g);
  const FusionSchedule s(f);
  EXPECT_EQ(2, s.stages());
  EXPECT_FALSE(s.rereads_elements());
  EXPECT_EQ(Level::group, s[find(f, Opcode::sqrt)].level);
  EXPECT_FALSE(s.parts()[0].is_spread);
}

TEST(Schedule, ComplexOutputsHaveTwoPartsThatAreSpreadAlike) {
  Graph g;
  V x = g.arg(DType::f32, {64, 1000}), zero = g.splat(DType::f32, {}, 0.0f);
  V sum = g.broadcast(g.reduce(OpId::add, x, zero, {1}), {64, 1000}, {0});
  g.ret({g.op(OpId::complex, {x, sum}, Type(DType::c64, {64, 1000}))});
  const Fusion f = describe(g);
  const FusionSchedule s(f);
  ASSERT_EQ(2u, s.parts().size());
  for (const fusion::OutputPart& part : s.parts()) EXPECT_TRUE(part.is_spread);
  EXPECT_EQ(s.parts()[0].offset + 1, s.parts()[1].offset);
  EXPECT_EQ(0, s[s.parts()[0].value].stage);
  EXPECT_EQ(1, s[s.parts()[1].value].stage);
  EXPECT_TRUE(s.rereads_elements());
}

// Of as many rows as columns: what a value is decides where it goes.
TEST(Schedule, TotalsAreAddedToWhereTheirOperandIsComputed) {
  Graph g;
  const Dims s = {64, 64};
  V x = g.arg(DType::f32, s), p = g.arg(DType::f32, {64}), zero = g.splat(DType::f32, {}, 0.0f);
  V sum = g.reduce(OpId::add, x, zero, {1});
  V left = g.same(OpId::subtract, {x, g.broadcast(sum, s, {0})});
  V total = g.reduce(OpId::add, left, zero, {0});
  g.ret({left, sum, g.same(OpId::subtract, {p, total})});
  const Fusion f = describe(g);
  const FusionSchedule schedule(f);
  EXPECT_EQ(Fusion::Kind::row, f.kind);
  EXPECT_TRUE(schedule.has_totals());
  EXPECT_EQ(2, schedule.stages());
  const int32_t at = find(f, Opcode::total);
  EXPECT_EQ(Level::total, schedule[at].level);
  EXPECT_EQ(1, schedule[at].stage);
  const auto parts = schedule.parts();
  ASSERT_EQ(3u, parts.size());
  EXPECT_TRUE(parts[0].is_spread && !parts[0].is_total);
  EXPECT_FALSE(parts[1].is_spread || parts[1].is_total);
  EXPECT_EQ((std::vector<int64_t>{1, 0}), parts[1].strides);
  EXPECT_TRUE(parts[2].is_total && !parts[2].is_spread);
  EXPECT_EQ((std::vector<int64_t>{0, 1}), parts[2].strides);
  EXPECT_EQ(Level::total, schedule[parts[2].value].level);
  const auto behind = schedule.behind_walks(f);
  EXPECT_EQ(3u, behind.size());  // the parameter, the total and what is left
  for (const int32_t v : behind) EXPECT_FALSE(schedule[v].is_kept);
}

TEST(Schedule, ALoopIsWalkedAsItsPrinterLikes) {
  Graph g;
  V x = g.arg(DType::f32, {64, 1000}), b = g.arg(DType::f32, {64});
  g.ret({g.same(OpId::add, {x, g.broadcast(b, {64, 1000}, {0})})});
  const Fusion f = describe(g);
  const FusionSchedule inner(f, 1, 2), whole(f, 0, 2);
  EXPECT_EQ(1000, inner.length());
  EXPECT_EQ(64000, whole.length());
  int groups = 0;
  for (int32_t v = 0; v < inner.size(); ++v) {
    groups += inner[v].level == Level::group;
    EXPECT_TRUE(whole[v].is_element());
  }
  EXPECT_EQ(1, groups);
}

TEST(Schedule, WhatNoOutputNeedsIsNotLive) {
  Graph g;
  V x = g.arg(DType::c64, {100});
  g.ret({g.op(OpId::real, {g.same(OpId::multiply, {x, x})}, Type(DType::f32, {100}))});
  const Fusion f = describe(g);
  const FusionSchedule s(f);
  int dead = 0;
  for (int32_t v = 0; v < s.size(); ++v) dead += !s[v].live;
  EXPECT_GT(dead, 0) << print(f);
}

TEST(Fusion, HasNoMoreAxesThanMasksHold) {
  Graph g;
  const Dims dims(62, 2);
  ir::Ints turned;
  for (int64_t d = 61; d >= 0; --d) turned.push_back(d);
  g.ret({g.same(OpId::add, {g.arg(DType::s8, dims), g.transpose(g.arg(DType::s8, dims), turned)})});
  const auto f = fusion::build_fusion(g.region);
  ASSERT_FALSE(f.ok());
  EXPECT_EQ("a fusion of 62 axes", f.error().text);
}

}  // namespace
}  // namespace jaxmps::test
