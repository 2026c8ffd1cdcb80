#include "ir/target.h"

#include <gtest/gtest.h>

#include "builder.h"

namespace jaxmps::testing {
namespace {

// f32 at the border; a loop whose body goes through `inner`.
void loop_through(Program& p, DType inner) {
  Value* x = p.arg(f32(3));
  Op* loop = p.ops(OpId::while_, {x}, {f32(3)});
  p.region(loop, [](Body& body) {
    body.arg(f32(3));
    body.ret({body.splat(pred(), 1)});
  });
  p.region(loop, [&](Body& body) {
    Value* wide = body.op(OpId::convert, {body.arg(f32(3))}, Type(inner, {3}));
    body.ret({body.op(OpId::convert, {wide}, f32(3))});
  });
  p.ret({loop->result()});
}

std::vector<Error> refused(DType inner, const ir::Target& target) {
  Program p;
  loop_through(p, inner);
  std::vector<Error> errors;
  ir::refuse_missing_types(p.module.main()->body, target, &errors);
  return errors;
}

TEST(Target, MissingTypesAreRefusedWithOpAndLine) {
  EXPECT_TRUE(refused(DType::f64, ir::kCpu).empty());
  EXPECT_TRUE(refused(DType::bf16, ir::kCuda).empty());
  const auto errors = refused(DType::f64, ir::kMetal);
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_NE(errors[0].text.find("convert"), std::string::npos) << errors[0].text;
  EXPECT_NE(errors[0].text.find("model.py:1"), std::string::npos) << errors[0].text;
  EXPECT_NE(errors[0].text.find("float64 does not exist on the GPU"), std::string::npos);
  EXPECT_NE(ir::missing_type(Type(DType::c128, {}), ir::kCuda).find("complex128"),
            std::string::npos);
}

}  // namespace
}  // namespace jaxmps::testing
