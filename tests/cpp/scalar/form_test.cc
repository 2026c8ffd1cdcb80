// Whether an op has a scalar program is known without building it.
#include <gtest/gtest.h>

#include "scalar/scalar.h"
#include "support/graph.h"
#include "support/opcodes.h"

namespace jaxmps::test {
namespace {

constexpr DType kTypes[] = {DType::pred, DType::s2,      DType::s4,  DType::s8,  DType::s32,
                            DType::s64,  DType::u4,      DType::u8,  DType::u32, DType::u64,
                            DType::f16,  DType::bf16,    DType::f32, DType::f64, DType::c64,
                            DType::c128, DType::f8e4m3fn};

void expect_agree(const ir::Op& op, int* with, int* without) {
  const bool has = scalar::scalar_program(op).ok();
  EXPECT_EQ(has, scalar::has_scalar_program(op))
      << ir::name(op.id) << " " << ir::brief(op.result()->type);
  ++*(has ? with : without);
}

TEST(Scalar, WhatHasAProgramIsKnownWithoutBuildingIt) {
  int with = 0, without = 0;
  for (const DType t : kTypes) {
    Graph g;
    V x = g.arg(t, {});
#define SCALAR_OP(opcode, class, id, ...)                                                         \
  expect_agree(                                                                                   \
      *g.same(OpId::id, std::vector<V>(testing::operand_count(scalar::Opcode::opcode), x))->op(), \
      &with, &without);
#include "ir/scalar_ops.def"
    for (const DType to : kTypes) {
      expect_agree(*g.convert(x, to)->op(), &with, &without);
      expect_agree(*g.op(OpId::bitcast_convert, {x}, x->type.with(to))->op(), &with, &without);
    }
    expect_agree(*g.compare(x, x, ir::CompareDirection::lt, ir::CompareType::total_order)->op(),
                 &with, &without);
    expect_agree(*g.same(OpId::clamp, {x, x, x})->op(), &with, &without);
  }
  EXPECT_GT(with, 500);
  EXPECT_GT(without, 100);
}

}  // namespace
}  // namespace jaxmps::test
