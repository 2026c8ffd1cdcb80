// A fusion that no kernel can do: an error with JAX_MPS_STRICT=1, else its ops one by one and a
// warning. The environment is read once, so each test sets it in a process of its own.
#include <gtest/gtest.h>

#include <cstdlib>

#include "exec/plan.h"
#include "ir/builder.h"

namespace jaxmps::exec {
namespace {

using ir::OpId;
using testing::Body;
using testing::f32;
using testing::Program;
using testing::Value;

// x ↦ pad(x, 7, interior = 1) + 1 as one fusion. Kernels know no padding between elements, so the
// fuse pass would not have made it.
void build(Program& program) {
  Value* x = program.arg(f32(3));
  ir::Op* fusion = program.ops(OpId::fusion, {x}, {f32(5)});
  Body body(&program.module, fusion->add_region());
  Value* inner = body.arg(f32(3));
  Value* padded = body.op(OpId::pad, {inner, body.splat(f32(), 7)}, f32(5),
                          {{"edge_padding_low", ir::Attr(ir::Ints{0})},
                           {"edge_padding_high", ir::Attr(ir::Ints{0})},
                           {"interior_padding", ir::Attr(ir::Ints{1})}});
  body.ret({body.binary(OpId::add, padded, body.splat(f32(5), 1))});
  program.ret({fusion->result()});
}

[[noreturn]] void refused() {
  setenv("JAX_MPS_STRICT", "1", 1);
  Program program;
  build(program);
  std::vector<Error> errors;
  build_plan(program.module.main()->body, {}, ir::kCpu, &errors);
  for (const Error& error : errors) std::fprintf(stderr, "%s\n", error.text.c_str());
  std::exit(errors.size() == 1 ? 0 : 1);
}

[[noreturn]] void falls_back() {
  setenv("JAX_MPS_STRICT", "0", 1);
  setenv("JAX_MPS_LOG", "warning", 1);
  Program program;
  build(program);
  std::vector<Error> errors;
  auto plan = build_plan(program.module.main()->body, {}, ir::kCpu, &errors);
  if (!errors.empty()) std::exit(1);
  std::vector<mx::array> arguments{mx::array({1.0f, 2.0f, 3.0f})};
  const auto encoder = make_cpu_encoder(mx::default_stream(mx::Device::cpu));
  RunContext run(*encoder);
  const mx::array out = run_plan(*plan, std::move(arguments), run, true)[0];
  const float want[] = {2, 8, 3, 8, 4};
  if (out.size() != 5) std::exit(2);
  std::exit(std::equal(want, want + 5, out.data<float>()) ? 0 : 3);
}

class StrictDeathTest : public ::testing::Test {
 protected:
  // The process starts again from main, before anything has read the environment.
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(StrictDeathTest, AFusionWithoutKernelIsAnError) {
  EXPECT_EXIT(refused(), ::testing::ExitedWithCode(0), "pad.*model.py:.*interior padding");
}

TEST_F(StrictDeathTest, ElseItRunsOpByOpWithAWarningThatNamesIt) {
  EXPECT_EXIT(falls_back(), ::testing::ExitedWithCode(0),
              "jax-mps warning: runs op by op: .*fusion.*model.py:.*interior padding");
}

}  // namespace
}  // namespace jaxmps::exec
