// The verifier: the structure of a module and its functions (the rules of ops: rules_test.cc).
#include <gtest/gtest.h>

#include "ir/builder.h"

namespace jaxmps::testing {
namespace {

std::string failure(Program& program) {
  const Status status = ir::verify(program.module);
  return status.ok() ? "" : status.error().text;
}

void expect_failure(Program& program, std::string_view part) {
  const std::string text = failure(program);
  EXPECT_NE(text.find(part), std::string::npos) << "expected: " << part << "\ngot: " << text;
}

TEST(Verify, AcceptsArithmetic) {
  Program p;
  Value* x = p.arg(f32(2, 3));
  p.ret({p.binary(OpId::add, x, p.unary(OpId::exponential, x))});
  EXPECT_EQ(failure(p), "");
}

TEST(Verify, NamesOpTypesAndLocation) {
  Program p;
  Value* x = p.arg(f32(2, 3));
  Value* y = p.arg(f32(3, 2));
  p.ret({p.op(OpId::add, {x, y}, f32(2, 3))});
  expect_failure(p,
                 "stablehlo.add (f32[2,3], f32[3,2]) -> f32[2,3] at model.py:1:1: operand 1 must");
}

TEST(Verify, ReportsAllFailuresAndCapsThem) {
  Program p;
  Value* x = p.arg(f32(2));
  Value* y = p.arg(s32(2));
  for (int i = 0; i < 25; ++i) p.op(OpId::add, {x, y}, f32(2));
  p.ret({x});
  expect_failure(p, "invalid in 25 places");
  expect_failure(p, "and 5 more");
}

TEST(Verify, ValuesAreDefinedBeforeTheyAreUsed) {
  Program p;
  Value* x = p.arg(f32(2));
  Op* first = p.ops(OpId::negate, {x}, {f32(2)});
  Op* second = p.ops(OpId::negate, {x}, {f32(2)});
  first->set_operand(0, second->result());
  p.ret({first->result()});
  expect_failure(p, "operand 0 is not defined before the op");
}

TEST(Verify, InnerValuesDoNotEscape) {
  Program p;
  Value* index = p.arg(s32());
  Value* inner = nullptr;
  Op* op = p.ops(OpId::case_, {index}, {f32()});
  p.region(op, [&](Body& b) { b.ret({inner = b.splat(f32(), 1)}); });
  p.ret({p.unary(OpId::negate, inner)});
  expect_failure(p, "operand 0 is not defined before the op");
}

TEST(Verify, Recursion) {
  Program p;
  Value* x = p.arg(f32());
  ir::Function* f = p.function("f");
  ir::Function* g = p.function("g");
  for (auto [caller, callee] : {std::pair{f, g}, std::pair{g, f}}) {
    Body body = p.body(caller);
    Value* y = body.arg(f32());
    p.finish(caller,
             {body.op(OpId::call, {y}, f32(), {{"callee", Attr(ir::Symbol{callee->name})}})});
  }
  p.ret({p.call(f, {x}, f32())});
  expect_failure(p, "calls itself");
}

TEST(Verify, MissingMainAndTerminator) {
  Program p;
  p.module.main()->type.results = {};
  expect_failure(p, "without a terminator");
  p.module.main()->name = "other";
  expect_failure(p, "module: has no function @main with a body");
}

TEST(Verify, Functions) {
  Program p;
  Value* x = p.arg(f32(2));
  p.ret({x});
  ASSERT_EQ(failure(p), "");
  ir::Function* main = p.module.main();
  const Type right = main->type;
  const auto says = [&](Type type, std::string_view text) {
    main->type = std::move(type);
    expect_failure(p, text);
    main->type = right;
  };
  const auto changed = [&](std::vector<Type> inputs, std::vector<Type> results) {
    Type type = right;
    type.elements = std::move(inputs);
    type.results = std::move(results);
    return type;
  };
  says(f32(2), "function @main: has no function type");
  says(changed({}, {f32(2)}), "function @main: takes 0 arguments, its body 1");
  says(changed({f32(2)}, {}), "function @main: has 0 results, returns 1");
  says(changed({f32(ir::kDynamic)}, {f32(2)}), "argument 0 must be f32[?], is f32[2]");
  says(changed({f32(2)}, {f32(ir::kDynamic)}), "result 0 must be f32[?], is f32[2]");
  main->arg_attrs.resize(2);
  main->result_attrs.resize(3);
  expect_failure(p, "function @main: has attributes for another number of arguments");
  expect_failure(p, "function @main: has attributes for another number of results");
  main->result_attrs.clear();
  main->arg_attrs = {{{"tf.aliasing_output", Attr(int64_t{1})}}};
  expect_failure(p, "tf.aliasing_output must be the number of a result, is 1");
  main->arg_attrs.clear();
  p.module.meshes.resize(2);
  for (ir::Mesh& mesh : p.module.meshes) mesh.name = "m";
  p.function("f")->is_declaration = p.function("f")->is_declaration = true;
  expect_failure(p, "function @f: is defined twice");
  expect_failure(p, "mesh @m: is defined twice");
}

TEST(Verify, TerminatorsEndRegions) {
  Program p;
  p.ret({});
  p.ret({});
  expect_failure(p, "ops follow the terminator");
}

}  // namespace
}  // namespace jaxmps::testing
