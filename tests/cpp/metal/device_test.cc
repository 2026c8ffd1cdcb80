// The simulated Metal as a device: what goes wrong in a launch is an error of the execution, and
// programs ask of it what they ask of CUDA.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "bytecode/reader.h"
#include "exec/fused.h"
#include "exec/gpu.h"
#include "exec/place.h"
#include "exec/plan.h"
#include "ir/builder.h"
#include "mlx/primitives.h"
#include "passes/pass.h"
#include "simulated/gpu.h"
#include "simulated/metal.h"
#include "support/null_gpu.h"

namespace jaxmps::exec {
namespace {

using testing::f32;
using testing::Program;
using testing::Value;

// One launch of 64 threads on an array of 64 numbers, as the step of an op.
struct LaunchProgram {
  Program program;
  Plan plan;

  explicit LaunchProgram(const std::string& body) {
    Value* x = program.arg(f32(64));
    program.ret({program.unary(ir::OpId::negate, x)});
    Gpu* const gpu = gpu_of(ir::kMetal);
    kernels::GpuKernel kernel{
        .name = "tried",
        .source =
            str(gpu->dialect().prelude,
                "KERNEL(tried, 64)(IN(f32, in0, 0), OUT(f32, out0, 1) POSITION) {\n  ENTER\n  ",
                body, "\n}\n"),
        .threads = 64,
        .inputs = {0},
        .outputs = {0},
        .updates = {},
        .reads = {256}};
    auto lowering = gpu->lower({{kernel}});
    EXPECT_TRUE(lowering.ok()) << lowering.error().text;
    Step step;
    step.kind = Step::Kind::launch;
    step.op = *program.module.main()->body.begin();
    if (lowering.ok()) step.launch = lowering->launches[0];
    step.inputs = {0};
    step.outputs = {1};
    step.last_read = {true};
    step.shapes = {{64}};
    step.dtypes = {mx::float32};
    plan.slots = 2;
    plan.parameters = {0};
    plan.parameter_bytes = {256};
    plan.steps.push_back(std::move(step));
    plan.results = {1};
    plan.moved_results = {true};
    plan.passed_on = plan.small_parts = {false};
  }

  mx::array run(Encoder& encoder) const {
    RunContext context(encoder);
    std::vector<mx::array> arguments{mx::ones({64})};
    arguments[0].eval();
    return run_plan(plan, std::move(arguments), context, true)[0];
  }
};

std::unique_ptr<Encoder> encoder() {
  return gpu_of(ir::kMetal)->make_encoder(mx::default_stream(mx::Device::cpu));
}

TEST(SimulatedDevice, FailuresNameKernelOpAndLine) {
  if (std::string why = metal::why_unavailable(); !why.empty()) GTEST_SKIP() << why;
  const auto simulated = encoder();
  for (const auto& [body, what] : {std::pair("out0[0] = in0[thread_id];", "threads race"),
                                   std::pair("out0[thread_id] = in0[thread_id + 1];", "outside")}) {
    const LaunchProgram broken(body);
    (void)broken.run(*simulated);
    simulated->release();
    const auto outcome = simulated->outcome();
    simulated->wait();
    ASSERT_FALSE(outcome->ok());
    const std::string& text = outcome->error().text;
    for (const std::string& part : {std::string("stablehlo.negate (f32[64]) -> f32[64] at "),
                                    std::string("model.py:1:1: kernel tried: "), std::string(what)})
      EXPECT_NE(text.find(part), std::string::npos) << text;
    // Whoever waits before the end hears of it there.
    (void)broken.run(*simulated);
    EXPECT_THROW(simulated->wait(), Failure);
  }
  const LaunchProgram good("out0[thread_id] = -in0[thread_id];");
  const mx::array result = good.run(*simulated);
  const auto outcome = simulated->outcome();
  simulated->wait();
  EXPECT_TRUE(outcome->ok());
  EXPECT_EQ(result.data<float>()[63], -1.0f);
}

// A chain, rows, a long reduction, products of one matrix and of several, a convolution.
Program long_program() {
  Program p;
  Value* x = p.arg(f32(64, 96));
  Value* y = p.arg(f32(96, 80));
  const auto sum = [&](Value* of, const ir::Ints& axes, ir::Type type) {
    ir::Op* op = p.ops(ir::OpId::reduce, {of, p.splat(f32(), 1)}, {std::move(type)},
                       {{"dimensions", ir::Attr(axes)}});
    p.combiner(op, ir::OpId::add, f32());
    return op->result();
  };
  Value* z = p.binary(ir::OpId::multiply, x, x);
  Value* rows = sum(z, {1}, f32(64));
  Value* centred = p.binary(ir::OpId::subtract, z, p.broadcast(rows, {64, 96}, {0}));
  Value* xy = p.product(x, y, f32(64, 80), 1, 0);
  const auto reshape = [&](Value* v, ir::Type type) { return p.op(ir::OpId::reshape, {v}, type); };
  Value* several =
      p.product(reshape(x, f32(128, 6, 8)), reshape(x, f32(128, 8, 6)), f32(128, 6, 6), 2, 1, {0});
  p.ret({z, rows, centred, xy, several, sum(xy, {0, 1}, f32()), sum(x, {0}, f32(96))});
  return p;
}

// Numbers of which every sum is exact.
mx::array some(int rows, int columns) {
  const auto all = mx::arange(0, rows * columns);
  mx::array values =
      mx::astype(mx::reshape(mx::remainder(all, mx::array(7)), {rows, columns}), mx::float32);
  values.eval();
  values.set_status(mx::array::Status::available);
  return values;
}

// The results on a device of another target, whose plan is shown.
ops::Arrays run_as(Program program, const ir::Target& target, Gpu& gpu,
                   std::vector<mx::array> arguments, const std::function<void(const Plan&)>& look) {
  Gpu* const before = use_gpu(ir::kMetal, &gpu);
  EXPECT_TRUE(fuse_module(program.module, target).ok());
  std::vector<Error> refused;
  const auto plan = build_plan(program.module.main()->body, {}, target, &refused);
  use_gpu(ir::kMetal, before);
  for (const Error& error : refused) ADD_FAILURE() << error.text;
  look(*plan);
  const auto made = gpu.make_encoder(mx::default_stream(mx::Device::cpu));
  RunContext context(*made);
  auto results = run_plan(*plan, std::move(arguments), context, true);
  made->release();
  const auto outcome = made->outcome();
  made->wait();
  EXPECT_TRUE(outcome->ok()) << outcome->error().text;
  return results;
}

ops::Arrays run_long(const ir::Target& target, Gpu& gpu, Count* calls, int64_t* pieces) {
  return run_as(long_program(), target, gpu, {some(64, 96), some(96, 80)}, [&](const Plan& plan) {
    *calls = count(plan);
    for (const Step& step : plan.steps) {
      if (step.kind == Step::Kind::launch) *pieces += step.launch.pieces;
    }
  });
}

TEST(SimulatedDevice, WorkThatMayTakeLongIsCut) {
  if (std::string why = metal::why_unavailable(); !why.empty()) GTEST_SKIP() << why;
  ir::Target slow = ir::kMetal;
  slow.pace = {.longest_call = 3000, .bytes = 1, .flops = 8};
  const kernels::Dialect dialect{slow, kernels::metal_dialect().prelude};
  const auto cut = simulated_gpu(dialect);
  Count whole_calls, calls;
  int64_t whole_pieces = 0, pieces = 0;
  const auto whole = run_long(ir::kMetal, *gpu_of(ir::kMetal), &whole_calls, &whole_pieces);
  const int64_t before = simulated_counts().commits;
  const auto results = run_long(slow, *cut, &calls, &pieces);
  EXPECT_EQ(whole_pieces, whole_calls.launches);
  EXPECT_GT(pieces, 3 * calls.launches);
  EXPECT_GT(calls.calls, 3 * whole_calls.calls);
  // Each piece, of a launch or of a product, goes with a commit of its own.
  EXPECT_GT(simulated_counts().commits - before, (pieces + calls.calls) / 2);
  ASSERT_EQ(whole.size(), results.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_TRUE(mx::array_equal(whole[i], results[i]).item<bool>()) << "result " << i;
  }
}

// A product, and a small loop over some numbers: of the product, or given.
Program looping_program(bool reads_product) {
  Program p;
  Value* x = p.arg(f32(64, 64));
  Value* given = p.arg(f32(1, 3));
  Value* product = p.op(ir::OpId::dot_general, {x, x}, f32(64, 64),
                        {{"lhs_batching_dimensions", ir::Attr(ir::Ints{})},
                         {"rhs_batching_dimensions", ir::Attr(ir::Ints{})},
                         {"lhs_contracting_dimensions", ir::Attr(ir::Ints{1})},
                         {"rhs_contracting_dimensions", ir::Attr(ir::Ints{0})}});
  Value* from = reads_product ? p.slice(product, {0, 0}, {1, 3}, {1, 1}) : given;
  ir::Op* loop =
      p.ops(ir::OpId::while_, {p.splat(testing::s32(), 0), from}, {testing::s32(), f32(1, 3)});
  p.region(loop, [](auto& body) {
    Value* trip = body.arg(testing::s32());
    (void)body.arg(f32(1, 3));
    body.ret({body.compare(ir::CompareDirection::lt, trip, body.splat(testing::s32(), 20))});
  });
  p.region(loop, [](auto& body) {
    Value* trip = body.arg(testing::s32());
    Value* v = body.arg(f32(1, 3));
    Value* halved = body.binary(ir::OpId::multiply, v, body.splat(f32(1, 3), 0.5));
    body.ret({body.binary(ir::OpId::add, trip, body.splat(testing::s32(), 1)),
              body.binary(ir::OpId::add, halved, body.splat(f32(1, 3), 1))});
  });
  p.ret({product, loop->result(1)});
  return p;
}

TEST(SimulatedDevice, SmallLoopsRunOnTheCpuAndWaitForWhatTheyRead) {
  if (std::string why = metal::why_unavailable(); !why.empty()) GTEST_SKIP() << why;
  for (const bool reads_product : {false, true}) {
    Program program = looping_program(reads_product);
    std::string notes;
    ASSERT_TRUE(place_regions(program.module, ir::kMetal, &notes).ok());
    EXPECT_NE(notes.find("stablehlo.while (s32[], f32[1,3]) -> (s32[], f32[1,3]) at model.py"),
              std::string::npos)
        << notes;
    EXPECT_NE(notes.find(": on the CPU: "), std::string::npos) << notes;
    ASSERT_TRUE(fuse_module(program.module, ir::kMetal).ok());
    std::vector<Error> refused;
    const auto plan = build_plan(program.module.main()->body, {}, ir::kMetal, &refused);
    ASSERT_TRUE(refused.empty()) << refused[0].text;
    EXPECT_FALSE(plan->is_native);
    EXPECT_EQ(count(*plan).natives, 1);
    const auto simulated = encoder();
    RunContext context(*simulated);
    const int64_t before = simulated_counts().waits;
    const auto results = run_plan(*plan, {some(64, 64), some(1, 3)}, context, true);
    EXPECT_EQ(simulated_counts().waits - before, reads_product ? 1 : 0);
    simulated->wait();
    EXPECT_NEAR(results[1].data<float>()[1], 2, 1e-2);
    EXPECT_TRUE(mx::array_equal(results[0], mx::matmul(some(64, 64), some(64, 64))).item<bool>());
  }
}

TEST(SimulatedDevice, PiecesAreTheirEstimate) {
  const ir::Pace pace{.longest_call = 100, .bytes = 2, .flops = 10};
  EXPECT_EQ(pace.nanoseconds(1000, 400), 300);
  EXPECT_EQ(pace.pieces(99), 1);
  EXPECT_EQ(pace.pieces(300), 4);
  EXPECT_EQ(ir::kCuda.pace.pieces(1e30), 1);
  // A second at most, on the slowest: what waits for a commit and the piece behind it.
  EXPECT_LE(2 * ir::kMetal.pace.longest_call, 1e9);
}

TEST(Gpu, WrongProductsAreNoticed) {
  EXPECT_TRUE(check_products([](const auto& a, const auto& b) { return mx::matmul(a, b); }).ok());
  // Garbage behind the eighth row, and infinities in bfloat16.
  const auto few_rows = [](const mx::array& a, const mx::array& b) {
    const auto row = mx::expand_dims(mx::arange(0, a.shape(0)), 1);
    const auto right = mx::matmul(a, b);
    return mx::where(mx::less(row, mx::array(8)), right, mx::zeros_like(right));
  };
  const auto no_halves = [](const mx::array& a, const mx::array& b) {
    const auto right = mx::matmul(a, b);
    return a.dtype() == mx::bfloat16 && a.shape(1) > 64
               ? mx::full_like(right, mx::array(INFINITY, mx::bfloat16))
               : right;
  };
  for (const Product& wrong : {Product(few_rows), Product(no_halves)}) {
    const Status found = check_products(wrong);
    ASSERT_FALSE(found.ok());
    const std::string& text = found.error().text;
    EXPECT_NE(text.find("pip install --force-reinstall mlx-metal=="), std::string::npos) << text;
    EXPECT_EQ(text.find(". "), std::string::npos) << text;
  }
}

// x @ w + bias, y - x @ w, and a sum whose product is read twice; seen as another shape.
TEST(SimulatedDevice, SumsJoinTheProductsBeforeThem) {
  if (std::string why = metal::why_unavailable(); !why.empty()) GTEST_SKIP() << why;
  Program p;
  Value* x = p.arg(f32(2, 3, 8));
  Value* w = p.arg(f32(4, 8));
  Value* bias = p.arg(f32(4));
  Value* y = p.arg(f32(2, 3, 4));
  const auto product = [&] { return p.product(x, w, f32(2, 3, 4), 2, 1); };
  Value* with_bias = p.binary(ir::OpId::add, p.broadcast(bias, {2, 3, 4}, {2}), product());
  Value* difference = p.binary(ir::OpId::subtract, y, product());
  Value* shared = product();
  Value* sum = p.binary(ir::OpId::add, shared, y);
  p.ret({with_bias, difference, p.op(ir::OpId::reshape, {shared}, f32(6, 4)), sum});
  ASSERT_TRUE(fuse_module(p.module, ir::kMetal).ok());
  std::vector<Error> refused;
  const auto plan = build_plan(p.module.main()->body, {}, ir::kMetal, &refused);
  ASSERT_TRUE(refused.empty());
  EXPECT_EQ(count(*plan).calls, 3) << print(*plan);
  EXPECT_EQ(count(*plan).launches, 1) << print(*plan);
  const auto filled = [](mx::Shape shape, float step) {
    mx::array all = mx::zeros(shape);
    all = mx::reshape(mx::sin(mx::arange(static_cast<double>(all.size())) * step), shape);
    return mx::astype(all, mx::float32);
  };
  std::vector<mx::array> arguments{filled({2, 3, 8}, 1.0f), filled({4, 8}, 0.3f), filled({4}, 2.0f),
                                   filled({2, 3, 4}, 0.7f)};
  for (mx::array& argument : arguments) argument.eval();
  const mx::array xw = mx::matmul(arguments[0], mx::transpose(arguments[1]));
  const mx::array right[] = {mx::add(xw, arguments[2]), mx::subtract(arguments[3], xw),
                             mx::reshape(xw, {6, 4}), mx::add(xw, arguments[3])};
  const auto simulated = encoder();
  RunContext context(*simulated);
  const ops::Arrays results = run_plan(*plan, arguments, context, true);
  simulated->wait();
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_TRUE(mx::allclose(results[i], right[i]).item<bool>()) << i;
  }
}

// As decoding does: each layer writes a row of its page of a cache, and then reads the page, by a
// product of MLX and by a kernel of ours.
Program caching_program(int layers) {
  Program p;
  Value* cache = p.arg(f32(layers, 4, 8));
  Value* x = p.arg(f32(2, 8));
  Value* position = p.arg(testing::s32());
  Value* zero = p.splat(testing::s32(), 0);
  for (int layer = 0; layer < layers; ++layer) {
    Value* row = p.op(ir::OpId::reshape, {p.slice(x, {0, 0}, {1, 8}, {1, 1})}, f32(1, 1, 8));
    cache = p.op(ir::OpId::dynamic_update_slice,
                 {cache, row, p.splat(testing::s32(), layer), position, zero}, cache->type);
    Value* page = p.op(ir::OpId::reshape,
                       {p.slice(cache, {layer, 0, 0}, {layer + 1, 4, 8}, {1, 1, 1})}, f32(4, 8));
    Value* scores = p.product(x, page, f32(2, 4), 1, 1);
    Value* first = p.slice(page, {0, 0}, {2, 8}, {1, 1});
    x = p.unary(ir::OpId::sine, p.binary(ir::OpId::add, p.product(scores, page, f32(2, 8), 1, 0),
                                         p.unary(ir::OpId::cosine, first)));
  }
  p.ret({cache, x});
  return p;
}

// What reads the pages before the last update names them to MLX, and does not keep them.
TEST(SimulatedDevice, CachesAreUpdatedInPlaceBehindTheirReaders) {
  if (std::string why = metal::why_unavailable(); !why.empty()) GTEST_SKIP() << why;
  constexpr int kLayers = 3;
  Program p = caching_program(kLayers);
  ASSERT_TRUE(fuse_module(p.module, ir::kMetal).ok());
  std::vector<Error> refused;
  const auto plan = build_plan(p.module.main()->body, {}, ir::kMetal, &refused);
  ASSERT_TRUE(refused.empty()) << refused[0].text;
  const auto arguments = [] {
    return std::vector<mx::array>{mx::zeros({kLayers, 4, 8}), mx::sin(some(2, 8)),
                                  mx::array(2, mx::int32)};
  };
  const auto ready = [&] {
    auto all = arguments();
    for (mx::array& argument : all) argument.eval();
    return all;
  };
  mx::array cache = mx::zeros({kLayers, 4, 8}), x = arguments()[1];
  for (int layer = 0; layer < kLayers; ++layer) {
    const mx::array row = mx::reshape(mx::slice(x, {0, 0}, {1, 8}), {1, 1, 8});
    cache = mx::slice_update(cache, row, mx::Shape{layer, 2, 0}, mx::Shape{layer + 1, 3, 8});
    const mx::array page = mx::reshape(mx::slice(cache, {layer, 0, 0}, {layer + 1, 4, 8}), {4, 8});
    const mx::array mixed = mx::matmul(mx::matmul(x, mx::transpose(page)), page);
    x = mx::sin(mx::add(mixed, mx::cos(mx::slice(page, {0, 0}, {2, 8}))));
  }
  const auto simulated = encoder();
  RunContext context(*simulated);
  for (const bool is_donated : {true, false}) {
    std::vector<mx::array> given = ready();
    const float* memory = given[0].data<float>();
    const auto kept = is_donated ? std::vector<mx::array>{} : given;
    const ops::Arrays results = run_plan(*plan, std::move(given), context, true);
    simulated->wait();
    EXPECT_EQ(results[0].data<float>() == memory, is_donated) << print(*plan);
    EXPECT_TRUE(mx::allclose(results[0], cache).item<bool>());
    EXPECT_TRUE(mx::allclose(results[1], x).item<bool>());
    for (const mx::array& argument : kept)
      EXPECT_FALSE(mx::array_equal(argument, cache).item<bool>());
  }
  testing::NullEncoder null(mx::default_stream(mx::Device::cpu));
  RunContext counting(null);
  {
    const ops::Arrays results = run_plan(*plan, ready(), counting, true);
    null.release();
  }
  // Two products and a kernel of each layer but the last.
  EXPECT_EQ(null.preceded, 3 * (kLayers - 1)) << print(*plan);
}

class Throwing : public mx::Primitive {
 public:
  using mx::Primitive::Primitive;
  void eval_cpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::bad_alloc();
  }
  void eval_gpu(const std::vector<mx::array>& in, std::vector<mx::array>& out) override {
    eval_cpu(in, out);
  }
  const char* name() const override { return "Throwing"; }
};

// What the update was to overwrite is read until then, and kept by nobody behind the failure.
TEST(SimulatedDevice, AnUpdateThatFailsWaitsForWhatReadsItsOperand) {
  if (std::string why = metal::why_unavailable(); !why.empty()) GTEST_SKIP() << why;
  LaunchProgram program("out0[thread_id] = -in0[thread_id];");
  Step& reader = program.plan.steps[0];
  reader.overwritten = {true};
  reader.last_read = {false};
  Step update;
  update.kind = Step::Kind::call;
  update.op = reader.op;
  update.call = Call(std::make_shared<Throwing>(mx::default_stream(mx::Device::cpu)));
  update.inputs = {0};
  update.outputs = {2};
  update.last_read = {true};
  update.shapes = {{64}};
  update.dtypes = {mx::float32};
  program.plan.slots = 3;
  program.plan.steps.push_back(std::move(update));
  const auto simulated = encoder();
  const int64_t before = simulated_counts().waits;
  EXPECT_THROW((void)program.run(*simulated), std::bad_alloc);
  EXPECT_EQ(simulated_counts().waits - before, 1);
}

struct ByVector {
  std::vector<int64_t> lhs, rhs, out;
  ir::Ints lhs_contracted, rhs_contracted, lhs_batch, rhs_batch;
  ir::DType in = ir::DType::f32, type = ir::DType::f32;
};

// Products by vectors, with something done to the vector before and to the result behind.
Program vector_products(const std::vector<ByVector>& all, std::vector<mx::array>* arguments) {
  Program p;
  std::vector<Value*> results;
  for (const ByVector& each : all) {
    Value* operands[2];
    for (const int i : {0, 1}) {
      const ir::Type type(each.in, i ? each.rhs : each.lhs);
      operands[i] = p.unary(ir::OpId::negate, p.arg(type));
      const mx::array values = some(static_cast<int>(type.size()), 1);
      arguments->push_back(
          mx::astype(mx::reshape(values, mx::Shape(type.dims.begin(), type.dims.end())),
                     ops::storage_dtype(each.in)));
      arguments->back().eval();
    }
    Value* product =
        p.op(ir::OpId::dot_general, {operands[0], operands[1]}, ir::Type(each.type, each.out),
             {{"lhs_batching_dimensions", ir::Attr(each.lhs_batch)},
              {"rhs_batching_dimensions", ir::Attr(each.rhs_batch)},
              {"lhs_contracting_dimensions", ir::Attr(each.lhs_contracted)},
              {"rhs_contracting_dimensions", ir::Attr(each.rhs_contracted)}});
    results.push_back(p.binary(ir::OpId::subtract, product, p.splat(product->type, 1)));
  }
  p.ret(results);
  return p;
}

// A matrix is walked as it lies: by rows, or by columns side by side.
TEST(SimulatedDevice, ProductsByVectorsAreOneKernelWithWhatIsDoneBeforeAndBehind) {
  if (std::string why = metal::why_unavailable(); !why.empty()) GTEST_SKIP() << why;
  constexpr ir::DType kHalf = ir::DType::bf16;
  const std::vector<ByVector> all{
      {{1, 96}, {96, 160}, {1, 160}, {1}, {0}, {}, {}},
      {{200, 96}, {96, 1}, {200, 1}, {1}, {0}, {}, {}},
      {{96}, {160, 96}, {160}, {0}, {1}, {}, {}},
      {{96, 70}, {96}, {70}, {0}, {0}, {}, {}},
      {{1, 96}, {96, 1}, {1, 1}, {1}, {0}, {}, {}},
      {{4, 64}, {4, 50, 64}, {4, 50}, {1}, {2}, {0}, {0}},
      {{4, 50}, {4, 50, 64}, {4, 64}, {1}, {1}, {0}, {0}},
      {{4, 64}, {50, 4, 64}, {4, 50}, {1}, {2}, {0}, {1}},
      {{4, 1, 50}, {50, 4, 64}, {4, 1, 64}, {2}, {0}, {0}, {1}},
      {{1, 12, 40}, {12, 40, 30}, {1, 30}, {1, 2}, {0, 1}, {}, {}},
      {{1, 96}, {96, 160}, {1, 160}, {1}, {0}, {}, {}, kHalf, kHalf},
      {{1, 96}, {160, 96}, {1, 160}, {1}, {1}, {}, {}, kHalf},
      {{1, 20000}, {20000, 3}, {1, 3}, {1}, {0}, {}, {}},
  };
  ir::Target fusing = ir::kMetal;
  fusing.vector_epilogues = false;
  const kernels::Dialect dialect{fusing, kernels::metal_dialect().prelude};
  const auto gpu = simulated_gpu(dialect);
  std::vector<mx::array> arguments, same;
  Program calling = vector_products(all, &arguments), fused = vector_products(all, &same);
  const auto count_all = static_cast<int64_t>(all.size());
  const auto theirs =
      run_as(std::move(calling), ir::kMetal, *gpu_of(ir::kMetal), arguments,
             [&](const Plan& plan) { EXPECT_GE(count(plan).calls, count_all) << print(plan); });
  const auto ours = run_as(std::move(fused), fusing, *gpu, same, [&](const Plan& plan) {
    EXPECT_EQ(count(plan).calls, 0) << print(plan);
    // What is done to the vector is part of it, but for the long one, whose sum is a second one,
    // too.
    EXPECT_EQ(count(plan).launches, count_all + 2) << print(plan);
  });
  for (size_t i = 0; i < all.size(); ++i) {
    const auto wide = [](const mx::array& a) { return mx::astype(a, mx::float32); };
    const double tolerance = all[i].type == kHalf ? 1e-2 : 0;
    EXPECT_TRUE(mx::allclose(wide(ours[i]), wide(theirs[i]), tolerance, 0).item<bool>())
        << "product " << i;
  }
}

// An update goes to the memory of the array if nobody else holds that, with what is made for it in
// the same kernel; to a copy otherwise. Places are moved into range, and what reads a slice there
// is part of what reads it.
TEST(SimulatedDevice, UpdatesAndSlicesAtComputedPlacesAreKernels) {
  if (std::string why = metal::why_unavailable(); !why.empty()) GTEST_SKIP() << why;
  for (const int at : {-3, 2, 100}) {
    Program p;
    const ir::Type whole(ir::DType::f32, {40, 6}), part(ir::DType::f32, {3, 6}),
        index(ir::DType::s32, {});
    Value *x = p.arg(whole), *rows = p.arg(part), *start = p.arg(index), *zero = p.splat(index, 0);
    Value* made = p.unary(ir::OpId::negate, rows);
    Value* alone = p.op(ir::OpId::dynamic_update_slice,
                        {p.unary(ir::OpId::negate, x), made, start, zero}, whole);
    Value* again = p.op(ir::OpId::dynamic_update_slice, {alone, rows, zero, zero}, whole);
    Value* shared = p.op(ir::OpId::dynamic_update_slice, {x, rows, start, zero}, whole);
    Value* read = p.op(ir::OpId::dynamic_slice, {x, start, zero}, part,
                       {{"slice_sizes", ir::Attr(ir::Ints{3, 6})}});
    p.ret({again, shared, p.binary(ir::OpId::multiply, read, rows), x});
    const mx::array first = some(40, 6), second = some(3, 6);
    mx::array place(at);
    place.set_status(mx::array::Status::available);
    const auto results = run_as(std::move(p), ir::kMetal, *gpu_of(ir::kMetal),
                                {first, second, place}, [](const Plan& plan) {
                                  EXPECT_EQ(count(plan).calls, 0) << print(plan);
                                  EXPECT_EQ(count(plan).launches, 5) << print(plan);
                                  int in_place = 0;
                                  for (const Step& step : plan.steps) {
                                    for (size_t i = 0; i < step.outputs.size(); ++i)
                                      in_place += updates_in_place(step, i);
                                  }
                                  EXPECT_EQ(in_place, 2) << print(plan);
                                });
    const int from = std::clamp(at, 0, 37);
    const auto updated = [](const mx::array& a, const mx::array& b, int row) {
      return mx::slice_update(a, b, mx::Shape{row, 0}, mx::Shape{row + 3, 6});
    };
    const mx::array wanted[] = {
        updated(updated(mx::negative(first), mx::negative(second), from), second, 0),
        updated(first, second, from),
        mx::multiply(mx::slice(first, mx::Shape{from, 0}, mx::Shape{from + 3, 6}), second), first};
    for (size_t i = 0; i < 4; ++i)
      EXPECT_TRUE(mx::array_equal(results[i], wanted[i]).item<bool>()) << "result " << i;
  }
}

Count count_calls(const std::filesystem::path& path, const ir::Target& target,
                  const kernels::Dialect& dialect) {
  std::ifstream file(path, std::ios::binary);
  auto module = bytecode::read_artifact(std::make_shared<const std::string>(
      std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()));
  EXPECT_TRUE(module.ok() && passes::run_passes(**module).ok()) << path;
  const testing::NullGpuScope null(target, dialect);
  EXPECT_TRUE(fuse_module(**module, target).ok());
  std::vector<Error> refused;
  const auto plan = build_plan((*module)->main()->body, {}, target, &refused);
  for (const Error& error : refused) ADD_FAILURE() << path << ": " << error.text;
  return count(*plan);
}

// Every fusion has a kernel on both, those of all programs that benchmarks/ measures among them.
TEST(SimulatedDevice, ProgramsAskOfMetalWhatTheyAskOfCuda) {
  // Gradients of convolutions are one call of cuDNN only, nothing is cut for CUDA, and sums over
  // all rows go with those of rows there alone.
  ir::Target target = ir::kMetal;
  target.gradient_convolutions = ir::kCuda.gradient_convolutions;
  target.strided_batches = ir::kCuda.strided_batches;
  target.vector_epilogues = ir::kCuda.vector_epilogues;
  target.pace = ir::kCuda.pace;
  ir::Target apart = ir::kCuda;
  apart.ordered_blocks = false;
  const kernels::Dialect dialect{apart, kernels::cuda_dialect().prelude};
  int64_t launches = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(
           JAXMPS_SOURCE_DIR "/tests/cpp/metal/programs")) {
    if (entry.path().extension() != ".bc") continue;
    const Count metal = count_calls(entry.path(), target, kernels::metal_dialect());
    const Count cuda = count_calls(entry.path(), apart, dialect);
    // A kernel of fewer buffers may draw the borders elsewhere.
    EXPECT_LE(metal.launches, cuda.launches) << entry.path();
    EXPECT_GE(metal.launches, cuda.launches - 1) << entry.path();
    EXPECT_EQ(metal.calls, cuda.calls) << entry.path();
    EXPECT_EQ(metal.natives, cuda.natives) << entry.path();
    launches += metal.launches;
  }
  EXPECT_GT(launches, 600);
}

// MLX multiplies the matrices of attention's heads on Metal as they lie.
TEST(SimulatedDevice, MetalCopiesNoHeads) {
  const Count calls =
      count_calls(JAXMPS_SOURCE_DIR "/tests/cpp/metal/programs/transformer_gradient.bc", ir::kMetal,
                  kernels::metal_dialect());
  EXPECT_LE(calls.launches + calls.calls, 33);
}

// What a step asks of a GPU: kernels of ours and MLX's primitives that compute or copy, products
// and convolutions among them, and the bytes that all of them move for each that the step must.
// docs/performance.md has the table, and what is aimed at.
TEST(SimulatedDevice, StepsAskForFewLaunches) {
  const std::filesystem::path programs = JAXMPS_SOURCE_DIR "/tests/cpp/metal/programs";
  struct Most {
    const char* name;
    int64_t calls;
    double bytes;  // for each that must be moved
  };
  const Most kMost[] = {{"chain.bc", 1, 1},
                        {"counted/softmax.bc", 1, 1},
                        {"counted/softmax_gradient.bc", 1, 1},
                        {"counted/layer_norm.bc", 1, 1},
                        {"counted/layer_norm_gradient.bc", 1, 1.1},
                        {"counted/decode.bc", 7, 1.19},
                        {"transformer_gradient.bc", 40, 7.79},
                        {"counted/resnet18_step.bc", 145, 5.91}};
  for (const Most& most : kMost) {
    const Count calls = count_calls(programs / most.name, ir::kCuda, kernels::cuda_dialect());
    EXPECT_LE(calls.launches + calls.calls, most.calls)
        << most.name << ": " << calls.launches << " launches, " << calls.calls << " of MLX";
    EXPECT_EQ(calls.natives, 0) << most.name;
    EXPECT_GE(calls.bytes, calls.least_bytes) << most.name;
    EXPECT_LE(static_cast<double>(calls.bytes), most.bytes * static_cast<double>(calls.least_bytes))
        << most.name << ": " << calls.bytes << " bytes of " << calls.least_bytes;
  }
}

}  // namespace
}  // namespace jaxmps::exec
