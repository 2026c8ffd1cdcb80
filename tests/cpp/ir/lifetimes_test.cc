#include "ir/lifetimes.h"

#include <gtest/gtest.h>

#include "ir/builder.h"

namespace jaxmps::testing {
namespace {

bool is_reshape(const Op& op) { return op.id == OpId::reshape; }

TEST(Lifetimes, WhatNestedOpsReadIsReadByTheirHolder) {
  Program p;
  Value *x = p.arg(f32(4)), *unused = p.arg(f32(4));
  Value* y = p.unary(OpId::negate, x);  // at 0
  Op* loop = p.ops(OpId::while_, {y}, {f32(4)});
  Op* inner = nullptr;
  p.region(loop, [](Body& body) {
    body.arg(f32(4));
    body.ret({body.splat(pred(), 1)});
  });
  p.region(loop, [&](Body& body) {
    Value* sum = body.binary(OpId::add, body.arg(f32(4)), x);
    inner = sum->op();
    body.ret({sum});
  });
  p.ret({loop->result()});
  const ir::Lifetimes lifetimes(p.module.main()->body);
  EXPECT_EQ(lifetimes.place(y->op()), 0);
  EXPECT_EQ(lifetimes.place(inner), 1);
  EXPECT_EQ(lifetimes.last_use(x), 1);
  EXPECT_EQ(lifetimes.last_use(y), 1);
  EXPECT_EQ(lifetimes.last_use(loop->result()), 2);
  EXPECT_EQ(lifetimes.last_use(unused), ir::Lifetimes::kNever);
  EXPECT_EQ(ir::Lifetimes(loop->region(1)).place(loop), ir::Lifetimes::kNever);
}

TEST(Lifetimes, ReadingAViewIsReadingTheWhole) {
  Program p;
  Value* x = p.arg(f32(4));
  Value* shape = p.op(OpId::reshape, {x}, f32(2, 2));
  Value* again = p.op(OpId::reshape, {shape}, f32(4, 1));
  Value* read = p.unary(OpId::negate, again);
  p.ret({p.unary(OpId::abs, read)});
  const ir::Region& body = p.module.main()->body;
  EXPECT_EQ(ir::Lifetimes(body).last_use(x), 0);
  const ir::Lifetimes lifetimes(body, is_reshape);
  EXPECT_EQ(lifetimes.last_use(x), 2);
  EXPECT_EQ(lifetimes.last_use(shape), 2);
  EXPECT_EQ(lifetimes.last_use(read), 3);
}

}  // namespace
}  // namespace jaxmps::testing
