// Plans as data: what a program asks of a device, counted and run without one.
#include "exec/plan.h"

#include <gtest/gtest.h>

#include "exec/fused.h"
#include "ir/builder.h"
#include "mlx/primitives.h"
#include "support/null_gpu.h"

namespace jaxmps::exec {
namespace {

using ir::OpId;
using testing::f32;
using testing::NullEncoder;
using testing::Program;
using testing::Value;

std::unique_ptr<Plan> plan_of(Program& program, const ir::Target& target) {
  std::vector<Error> refused;
  auto plan = build_plan(program.module.main()->body, {}, target, &refused);
  for (const Error& error : refused) ADD_FAILURE() << error.text;
  return plan;
}

mx::Stream cpu_stream() { return mx::default_stream(mx::Device::cpu); }

// Products of what precedes, along the last axis: MLX's.
Value* products_so_far(Program& program, Value* x) {
  return program.op(OpId::cumulative, {x}, x->type,
                    {{"kind", ir::Attr(std::string("multiply"))},
                     {"dimension", ir::Attr(int64_t{1})},
                     {"reverse", ir::Attr(ir::Attr::Value(false))}});
}

TEST(Plan, AGraphIsTakenApartOnce) {
  Program program;
  Value* x = program.arg(f32(2, 3));
  program.ret({products_so_far(program, products_so_far(program, x))});
  const auto plan = plan_of(program, ir::kCuda);
  EXPECT_EQ(count(*plan).calls, 2) << print(*plan);
  EXPECT_EQ(count(*plan).launches, 0);
  NullEncoder null(cpu_stream());
  RunContext run(null);
  std::vector<mx::array> arguments{mx::zeros({2, 3})};
  arguments[0].eval();
  for (int i = 0; i < 2; ++i) run_plan(*plan, arguments, run, true);
  EXPECT_EQ(null.primitives, 4);
  null.release();
  EXPECT_EQ(null.held, 4);
}

// MLX's own, which use the reference BLAS of its wheel.
TEST(Plan, NoProductOnTheCpuIsOneOfMlx) {
  using enum ir::DType;
  const ir::DType types[] = {pred, s4, u4, s8, u8, s16, u16, s32, u32, s64, u64};
  for (const ir::DType lhs : types) {
    for (const ir::DType rhs : types) {
      for (const ir::DType out : types) {
        if (out == pred && (lhs != pred || rhs != pred)) continue;
        Program p;
        Value *a = p.arg(ir::Type(lhs, {2, 3})), *b = p.arg(ir::Type(rhs, {3, 4}));
        p.ret({p.product(a, b, ir::Type(out, {2, 4}), 1, 0)});
        ASSERT_TRUE(fuse_module(p.module, ir::kCpu).ok());
        const auto plan = plan_of(p, ir::kCpu);
        EXPECT_EQ(count(*plan).calls, 0) << print(*plan);
      }
    }
  }
}

TEST(Plan, PrimitivesGiveTheValuesOfTheirGraph) {
  Program program;
  Value* x = program.arg(f32(2, 3));
  program.ret({products_so_far(program, products_so_far(program, x)), x});
  const auto plan = plan_of(program, ir::kCuda);
  const mx::array argument = mx::reshape(mx::arange(6.0f), {2, 3});
  std::vector<mx::array> arguments{argument};
  arguments[0].eval();
  const auto encoder = make_cpu_encoder(cpu_stream());
  RunContext run(*encoder);
  const ops::Arrays results = run_plan(*plan, std::move(arguments), run, true);
  EXPECT_EQ(results[0].status(), mx::array::Status::available);
  EXPECT_TRUE(mx::array_equal(results[0], mx::cumprod(mx::cumprod(argument, 1), 1)).item<bool>());
  EXPECT_TRUE(mx::array_equal(results[1], argument).item<bool>());
}

// A kernel of one array, from slot to slot.
Step launch(const ir::Op* op, int from, int to) {
  Step step;
  step.kind = Step::Kind::launch;
  step.op = op;
  step.launch.name = "part";
  step.inputs = {from};
  step.outputs = {to};
  step.last_read = {false};
  step.shapes = {{4}};
  step.dtypes = {mx::float32};
  return step;
}

void set_results(Plan& plan, const std::vector<Ref>& results) {
  plan.results = results;
  plan.moved_results.assign(results.size(), true);
  plan.passed_on = plan.small_parts = std::vector<bool>(results.size());
}

TEST(Plan, LaunchesFollowEachOtherThroughScratchMemory) {
  Plan plan;
  plan.slots = 3;
  plan.parameters = {0};
  plan.parameter_bytes = {16};
  const auto op = ir::Op::create(OpId::return_, std::vector<Value*>(), {});
  for (int i = 0; i < 2; ++i) {
    plan.steps.push_back(launch(op.get(), i, i + 1));
    plan.steps.back().frees = {i};
    plan.steps.back().last_read = {true};
  }
  set_results(plan, {2});
  EXPECT_EQ(count(plan).launches, 2);
  NullEncoder null(cpu_stream());
  RunContext run(null);
  std::vector<mx::array> arguments{mx::zeros({4})};
  arguments[0].eval();
  EXPECT_EQ(run_plan(plan, std::move(arguments), run, true)[0].shape(), mx::Shape{4});
  EXPECT_EQ(null.launches, 2);
}

// Of two values that a loop carries, its body never reads the second, and nobody the first's last.
TEST(Plan, WhatIsNotReadKeepsItsMemoryUntilItIsWritten) {
  const auto op = ir::Op::create(OpId::return_, std::vector<Value*>(), {});
  auto body = std::make_unique<Plan>();
  body->slots = 4;
  body->parameters = {0, 1};
  body->dead_parameters = {1};
  body->steps.push_back(launch(op.get(), 0, 2));
  body->steps.push_back(launch(op.get(), 0, 3));
  body->steps.back().frees = {0};
  body->steps.back().last_read = {true};
  set_results(*body, {2, 3});
  Plan plan;
  plan.slots = 4;
  plan.parameters = {0, 1};
  plan.parameter_bytes = {16, 16};
  Step step;
  step.kind = Step::Kind::loop;
  step.op = op.get();
  step.inputs = {0, 1};
  step.outputs = {2, 3};
  step.frees = {2, 0, 1};
  step.last_read = {true, true};
  step.shapes = {{4}, {4}};
  step.dtypes = {mx::float32, mx::float32};
  step.loop = std::make_unique<WhileStep>();
  step.loop->carried = 2;
  step.loop->trip_count = 3;
  step.loop->body = std::move(body);
  plan.steps.push_back(std::move(step));
  set_results(plan, {3});
  NullEncoder null(cpu_stream());
  RunContext run(null);
  std::vector<mx::array> arguments{mx::zeros({4}), mx::ones({4})};
  for (mx::array& argument : arguments) argument.eval();
  {
    const ops::Arrays results = run_plan(plan, std::move(arguments), run, true);
    null.release();
  }
  EXPECT_EQ(null.launches, 6);
  EXPECT_EQ(null.given_back_early, 0);
}

// What a loop captures and never reads, also where it makes no trip.
TEST(Plan, WhatIsCapturedInVainKeepsItsMemoryToo) {
  const auto op = ir::Op::create(OpId::return_, std::vector<Value*>(), {});
  for (int64_t trips : {0, 2}) {
    auto body = std::make_unique<Plan>();
    body->slots = 3;
    body->parameters = {0, 1};
    body->dead_parameters = {1};
    body->steps.push_back(launch(op.get(), 0, 2));
    body->steps.back().frees = {0};
    body->steps.back().last_read = {true};
    set_results(*body, {2});
    Step step;
    step.kind = Step::Kind::loop;
    step.inputs = {0, 1};
    step.outputs = {2};
    step.last_read = {true, true};
    step.loop = std::make_unique<WhileStep>();
    step.loop->carried = 1;
    step.loop->trip_count = trips;
    step.loop->body = std::move(body);
    Plan plan;
    plan.slots = 4;
    plan.parameters = {3};
    plan.parameter_bytes = {16};
    for (int i : {0, 1}) plan.steps.push_back(launch(op.get(), 3, i));
    plan.steps.push_back(std::move(step));
    set_results(plan, {2});
    NullEncoder null(cpu_stream());
    RunContext run(null);
    std::vector<mx::array> arguments{mx::zeros({4})};
    arguments[0].eval();
    {
      const ops::Arrays results = run_plan(plan, std::move(arguments), run, true);
      null.release();
    }
    EXPECT_EQ(null.given_back_early, 0) << trips;
  }
}

// The CPU's encoder takes no launches; what throws is at the op of its step.
TEST(Plan, WhatThrowsIsAtAnOp) {
  Program program;
  Value* x = program.arg(f32(4));
  program.ret({program.unary(OpId::negate, x)});
  Plan plan;
  plan.slots = 2;
  plan.parameters = {0};
  plan.parameter_bytes = {16};
  Step step;
  step.kind = Step::Kind::launch;
  step.op = *program.module.main()->body.begin();
  step.inputs = {0};
  step.outputs = {1};
  step.last_read = {true};
  step.shapes = {{4}};
  step.dtypes = {mx::float32};
  plan.steps.push_back(std::move(step));
  plan.results = {1};
  plan.moved_results = {true};
  const auto encoder = make_cpu_encoder(cpu_stream());
  RunContext run(*encoder);
  std::vector<mx::array> arguments{mx::zeros({4})};
  arguments[0].eval();
  EXPECT_THROW(run_plan(plan, std::move(arguments), run, true), Failure);
  EXPECT_EQ(RunContext::current(), &run);
  const std::string text = run.locate(internal("broken"), "step").text;
  EXPECT_NE(text.find("step: stablehlo.negate (f32[4]) -> f32[4] at model.py:1:1: broken"),
            std::string::npos)
      << text;
  EXPECT_EQ(run.locate(Error(Code::cancelled, "stopped"), "step").text, "step: stopped");
  run.op = nullptr;
  EXPECT_EQ(run.locate(internal("broken"), "step").text, "step: broken");
}

// What was run, in order: steps of loops are indented, ends are not written.
class Recorder final : public Profiler {
 public:
  std::string text;

 private:
  void begin(const Step& step) override {
    text += std::string(static_cast<size_t>(2 * depth_++), ' ') + describe(step) + '\n';
  }
  void end(const Step&) override { --depth_; }
  int depth_ = 0;
};

TEST(Profiler, IsToldOfEveryStep) {
  Program program;
  Value* x = program.arg(f32(2, 3));
  Value* y = products_so_far(program, x);
  program.ret({products_so_far(program, y)});
  const auto plan = plan_of(program, ir::kCuda);
  NullEncoder null(cpu_stream());
  RunContext run(null);
  Recorder recorder;
  run.profiler = &recorder;
  std::vector<mx::array> arguments{mx::zeros({2, 3})};
  arguments[0].eval();
  run_plan(*plan, std::move(arguments), run, true);
  const std::string line =
      "call CumProd(3, 1, false, true) of mps.cumulative (f32[2,3]) -> f32[2,3] at model.py:";
  EXPECT_EQ(recorder.text, line + "1:1\n" + line + "2:1\n");
}

// What a product reads of its operands, and what is read of it, is no step.
TEST(Call, SeesThroughViews) {
  Program program;
  Value* x = program.arg(f32(2, 3, 4));
  Value* w = program.arg(f32(5, 4));
  Value* turned =
      program.op(OpId::transpose, {w}, f32(4, 5), {{"permutation", ir::Attr(ir::Ints{1, 0})}});
  Value* y = program.product(x, turned, f32(2, 3, 5), 2, 0);
  Value* rows = program.op(OpId::reshape, {y}, f32(6, 5));
  program.ret({products_so_far(program, rows)});
  const auto plan = plan_of(program, ir::kCuda);
  ASSERT_EQ(plan->steps.size(), 2u) << print(*plan);
  EXPECT_NE(print(*plan).find("%1 as [4, 5] strides [1, 4]"), std::string::npos) << print(*plan);
  const mx::array first = mx::reshape(mx::arange(24.0f), {2, 3, 4});
  const mx::array second = mx::reshape(mx::arange(20.0f), {5, 4});
  std::vector<mx::array> arguments{first, second};
  for (mx::array& argument : arguments) argument.eval();
  const auto encoder = make_cpu_encoder(cpu_stream());
  RunContext run(*encoder);
  const ops::Arrays results = run_plan(*plan, std::move(arguments), run, true);
  const mx::array product = mx::matmul(first, mx::transpose(second));
  EXPECT_TRUE(mx::allclose(results[0], mx::cumprod(mx::reshape(product, {6, 5}), 1)).item<bool>());
}

// A product by a vector is a kernel with its sum on CUDA, where MLX's takes none.
TEST(Call, TakesTheSumBehindIt) {
  for (const int rows : {8, 1}) {
    const testing::NullGpuScope cuda(ir::kCuda, kernels::cuda_dialect());
    Program program;
    Value* x = program.arg(f32(rows, 16));
    Value* y = program.product(x, program.arg(f32(16, 4)), f32(rows, 4), 1, 0);
    Value* z = program.product(x, program.arg(f32(16, 4)), f32(rows, 4), 1, 0);
    program.ret({program.binary(OpId::subtract, y, z)});
    ASSERT_TRUE(fuse_module(program.module, ir::kCuda).ok());
    const auto plan = plan_of(program, ir::kCuda);
    EXPECT_EQ(count(*plan).calls, rows == 1 ? 0 : 2) << print(*plan);
    EXPECT_EQ(count(*plan).launches, rows == 1) << print(*plan);
    EXPECT_EQ(cuda.kernels_built(), rows == 1);
  }
}

TEST(Call, ComesBehindWhatItReads) {
  const mx::array leaf(mx::Shape{4}, mx::float32, nullptr, {});
  const mx::array sum = mx::add(leaf, mx::sin(leaf));
  const auto parts = mx::split(sum, 2);
  const auto calls = trace({parts[1], parts[0], sum}, {});
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_EQ(calls[0].call.name(), "Sin");
  EXPECT_EQ(calls[1].call.name(), "Add");
  EXPECT_EQ(calls[2].outputs.size(), 2u);
  EXPECT_EQ(calls[2].call.operation, Operation::view);
}

// The kernels of another target are refused where they would run.
TEST(Encoder, TheCpuLaunchesNothing) {
  const auto encoder = make_cpu_encoder(cpu_stream());
  const mx::Shape shape{1};
  const mx::Dtype dtype = mx::float32;
  EXPECT_THROW(encoder->send(ops::Launch{}, {}, {&shape, 1}, {&dtype, 1}), Failure);
}

}  // namespace
}  // namespace jaxmps::exec
