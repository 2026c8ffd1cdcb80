#include <gtest/gtest.h>

#include "ir/builder.h"

namespace jaxmps::testing {
namespace {

TEST(Print, Module) {
  Program p;
  Value* x = p.arg(f32(2, 3));
  Value* y = p.binary(OpId::add, x, p.splat(f32(2, 3), 1.5));
  p.ret({p.op(OpId::transpose, {y}, f32(3, 2), {{"permutation", Attr(Ints{1, 0})}})});
  EXPECT_EQ(ir::print(p.module),
            "module @test\n"
            "\n"
            "func public @main(%arg0: f32[2,3]) -> (f32[3,2]) {\n"
            "  %0 = stablehlo.constant 1.5 : f32[2,3]  // model.py:1:1\n"
            "  %1 = stablehlo.add %arg0, %0 : f32[2,3]  // model.py:2:1\n"
            "  %2 = stablehlo.transpose %1 {permutation = [1, 0]} : (f32[2,3]) -> f32[3,2]  "
            "// model.py:3:1\n"
            "  stablehlo.return %2 : (f32[3,2])  // model.py:4:1\n"
            "}\n");
}

TEST(Print, Regions) {
  Program p;
  Value* x = p.arg(f32(4));
  Op* op = p.ops(OpId::reduce, {x, p.splat(f32(), 0)}, {f32()}, {{"dimensions", Attr(Ints{0})}});
  p.combiner(op, OpId::maximum, f32());
  op->location = nullptr;
  p.ret({op->result()});
  EXPECT_NE(ir::print(p.module).find("  %1 = stablehlo.reduce %arg0, %0 {dimensions = [0]} : "
                                     "(f32[4], f32[]) -> f32[] {\n"
                                     "   (%arg1: f32[], %arg2: f32[]):\n"
                                     "    %2 = stablehlo.maximum %arg1, %arg2 : f32[]"),
            std::string::npos)
      << ir::print(p.module);
}

TEST(Print, Attributes) {
  EXPECT_EQ(ir::print(Attr(passes::make_ints(s32(3), {1, -2, 3}))), "[1, -2, 3]");
  EXPECT_EQ(ir::print(Attr(passes::make_ints(s32(20), Ints(20, 7)))),
            "[7, 7, 7, 7, 7, 7, 7, 7, ... 20 elements]");
  EXPECT_EQ(ir::print(choice(ir::CompareDirection::lt)), "LT");
  EXPECT_EQ(ir::print(Attr(std::string("a\"b\n"))), "\"a\\\"b\\0A\"");
  EXPECT_EQ(ir::print(Attr(ir::Symbol{"f"})), "@f");
  EXPECT_EQ(ir::print(Attr(0.1)), "0.1");
}

TEST(Print, OpAlone) {
  Program p;
  Value* x = p.arg(f32(2));
  Value* y = p.binary(OpId::add, x, x);
  EXPECT_EQ(ir::print(*y->op()), "%0 = stablehlo.add %arg0, %arg0 : f32[2]  // model.py:1:1");
}

}  // namespace
}  // namespace jaxmps::testing
