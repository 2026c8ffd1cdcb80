// Arrays without elements on a GPU, whose kernels cannot be launched for none: after the passes no
// step makes or reads one. The plans are a GPU's, run by MLX's CPU primitives.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <unordered_set>

#include "exec/plan.h"
#include "ir/builder.h"
#include "mlx/primitives.h"
#include "passes/pass.h"
#include "support/null_gpu.h"

namespace jaxmps::exec {
namespace {

using ir::Attr;
using ir::DType;
using ir::Ints;
using ir::Op;
using ir::OpId;
using ir::Type;
using testing::Attrs;
using testing::Body;
using testing::f32;
using testing::flag;
using testing::Program;
using testing::s32;
using testing::Value;

std::vector<mx::array> arguments_of(const Program& program) {
  std::vector<mx::array> arguments;
  for (const Type& type : program.module.main()->type.elements) {
    const auto size = static_cast<int>(type.size());
    const auto numbers = mx::astype(mx::arange(1, 1 + size, 1), ops::storage_dtype(type.dtype));
    arguments.push_back(mx::reshape(numbers, ops::storage_shape(type)));
    arguments.back().eval();
    arguments.back().detach();
  }
  return arguments;
}

bool is_empty(const mx::Shape& shape) {
  return std::find(shape.begin(), shape.end(), 0) != shape.end();
}

// What runs on the device makes and reads no array without elements.
void expect_no_empty_step(const Plan& plan) {
  std::vector<bool> empty(plan.slots);
  for (const Step& step : plan.steps) {
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      empty[step.outputs[i]] = is_empty(step.shapes[i]);
    }
    if (step.kind == Step::Kind::loop || step.kind == Step::Kind::branch) continue;
    const bool is_native = step.kind == Step::Kind::native;
    bool some = step.outputs.empty(), reads = false;
    for (const int output : step.outputs) some = some || !empty[output];
    for (const Ref input : step.inputs) {
      reads = reads || (input < 0 ? plan.constants[~input].size() == 0 : empty[input]);
    }
    EXPECT_TRUE(some && (is_native || !reads)) << ir::brief(*step.op) << "\n" << print(plan);
  }
}

void check(const std::function<void(Program&)>& build) {
  Program program;
  build(program);
  ASSERT_TRUE(ir::verify(program.module).ok()) << ir::verify(program.module).error().text;
  const Status status = passes::run_passes(program.module);
  ASSERT_TRUE(status.ok()) << status.error().text;
  passes::expand_combiners(program.module, ir::kCuda,
                           [](const ir::Op&, const ir::Target&) { return false; });
  std::vector<std::vector<mx::array>> results;
  const testing::NullGpuScope cuda(ir::kCuda, kernels::cuda_dialect());
  const testing::NullGpuScope metal(ir::kMetal, kernels::metal_dialect());
  for (const ir::Target* target : {&ir::kCuda, &ir::kMetal, &ir::kCpu}) {
    std::vector<Error> refused;
    const auto plan = build_plan(program.module.main()->body, {}, *target, &refused);
    for (const Error& error : refused) ADD_FAILURE() << error.text;
    if (!refused.empty()) return;
    expect_no_empty_step(*plan);
    if (count(*plan).launches > 0) continue;  // kernels that nobody has compiled
    const auto encoder = make_cpu_encoder(mx::default_stream(mx::Device::cpu));
    RunContext run(*encoder);
    results.push_back(run_plan(*plan, arguments_of(program), run, true));
  }
  for (size_t t = 1; t < results.size(); ++t) {
    for (size_t i = 0; i < results[0].size(); ++i) {
      EXPECT_EQ(results[0][i].shape(), results[t][i].shape());
      EXPECT_TRUE(mx::array_equal(results[0][i], results[t][i]).item<bool>())
          << "result " << i << "\n"
          << ir::print(program.module);
    }
  }
}

Attrs dot_attrs() {
  return {{"lhs_batching_dimensions", Attr(Ints{})},
          {"lhs_contracting_dimensions", Attr(Ints{1})},
          {"precision_config", Attr(Attr::Value(ir::AttrList{}))},
          {"rhs_batching_dimensions", Attr(Ints{})},
          {"rhs_contracting_dimensions", Attr(Ints{0})}};
}

Attrs scatter_attrs() {
  return {{"update_window_dims", Attr(Ints{1})},
          {"inserted_window_dims", Attr(Ints{0})},
          {"input_batching_dims", Attr(Ints{})},
          {"scatter_indices_batching_dims", Attr(Ints{})},
          {"scatter_dims_to_operand_dims", Attr(Ints{0})},
          {"index_vector_dim", Attr(int64_t(1))},
          {"indices_are_sorted", flag(false)},
          {"unique_indices", flag(false)}};
}

Attrs gather_attrs() {
  return {{"offset_dims", Attr(Ints{1})},          {"collapsed_slice_dims", Attr(Ints{0})},
          {"operand_batching_dims", Attr(Ints{})}, {"start_indices_batching_dims", Attr(Ints{})},
          {"start_index_map", Attr(Ints{0})},      {"index_vector_dim", Attr(int64_t(1))},
          {"slice_sizes", Attr(Ints{1, 4})},       {"indices_are_sorted", flag(false)}};
}

Attrs conv_attrs() {
  return {{"window_strides", Attr(Ints{1})},
          {"padding", Attr(Ints{1, 1})},
          {"lhs_dilation", Attr(Ints{1})},
          {"rhs_dilation", Attr(Ints{1})},
          {"window_reversal", Attr(Ints{0})},
          {"input_batch_dimension", Attr(int64_t(0))},
          {"input_spatial_dimensions", Attr(Ints{1})},
          {"input_feature_dimension", Attr(int64_t(2))},
          {"kernel_spatial_dimensions", Attr(Ints{0})},
          {"kernel_input_feature_dimension", Attr(int64_t(1))},
          {"kernel_output_feature_dimension", Attr(int64_t(2))},
          {"output_batch_dimension", Attr(int64_t(0))},
          {"output_spatial_dimensions", Attr(Ints{1})},
          {"output_feature_dimension", Attr(int64_t(2))},
          {"feature_group_count", Attr(int64_t(1))},
          {"batch_group_count", Attr(int64_t(1))},
          {"precision_config", Attr(Attr::Value(ir::AttrList{}))}};
}

TEST(Empty, ResultsWithoutElements) {
  check([](Program& p) {
    Value* x = p.arg(f32(3, 0));
    Op* sort = p.ops(OpId::sort, {x}, {x->type},
                     {{"dimension", Attr(int64_t(0))}, {"is_stable", flag(true)}});
    p.region(sort, [](Body& b) {
      Value *l = b.arg(f32()), *r = b.arg(f32());
      b.ret({b.compare(ir::CompareDirection::lt, l, r)});
    });
    Value* product = p.op(OpId::dot_general, {p.unary(OpId::exponential, x), p.arg(f32(0, 5))},
                          f32(3, 5), dot_attrs());
    Value* rows =
        p.op(OpId::gather, {p.arg(f32(6, 4)), p.arg(s32(0, 1))}, f32(0, 4), gather_attrs());
    Value* count = p.op(OpId::iota, {}, s32(0), {{"iota_dimension", Attr(int64_t(0))}});
    p.ret({x, sort->result(), product, rows, count, p.splat(f32(0, 4000), 1)});
  });
}

TEST(Empty, ReductionsOfNothing) {
  for (const OpId id : {OpId::add, OpId::maximum, OpId::subtract}) {
    check([&](Program& p) {
      Value *x = p.arg(f32(3, 0)), *init = p.arg(f32());
      Op* reduce = p.ops(OpId::reduce, {x, init}, {f32(3)}, {{"dimensions", Attr(Ints{1})}});
      p.combiner(reduce, id, f32());
      Op* window = p.ops(OpId::reduce_window, {x, init}, {f32(3, 4)},
                         {{"window_dimensions", Attr(Ints{1, 2})},
                          {"window_strides", Attr(Ints{1, 1})},
                          {"base_dilations", Attr(Ints{1, 1})},
                          {"window_dilations", Attr(Ints{1, 1})},
                          {"padding", Attr(Ints{0, 0, 2, 3})}});
      p.combiner(window, id, f32());
      p.ret({reduce->result(), window->result()});
    });
  }
}

TEST(Empty, ProductsOfNothing) {
  for (const DType type : {DType::f32, DType::bf16, DType::s32, DType::c64}) {
    check([&](Program& p) {
      Value* x = p.arg(Type(type, {3, 0}));
      Value* product =
          p.op(OpId::dot_general, {x, p.arg(Type(type, {0, 2}))}, Type(type, {3, 2}), dot_attrs());
      Value* conv =
          p.op(OpId::convolution, {p.arg(Type(type, {2, 5, 0})), p.arg(Type(type, {3, 0, 4}))},
               Type(type, {2, 5, 4}), conv_attrs());
      p.ret({product, conv});
    });
  }
}

TEST(Empty, PartsWithoutElements) {
  check([](Program& p) {
    Value *none = p.arg(f32(0, 4)), *some = p.arg(f32(6, 4)), *zero = p.arg(s32());
    Value* joined =
        p.op(OpId::concatenate, {none, some, none}, f32(6, 4), {{"dimension", Attr(int64_t(0))}});
    Value* padded = p.op(OpId::pad, {none, p.arg(f32())}, f32(3, 4),
                         {{"edge_padding_low", Attr(Ints{1, 0})},
                          {"edge_padding_high", Attr(Ints{2, 0})},
                          {"interior_padding", Attr(Ints{0, 0})}});
    Value* updated = p.op(OpId::dynamic_update_slice, {some, none, zero, zero}, f32(6, 4));
    Op* scatter =
        p.ops(OpId::scatter, {some, p.arg(s32(0, 1)), none}, {f32(6, 4)}, scatter_attrs());
    p.combiner(scatter, OpId::add, f32());
    p.ret({joined, padded, updated, scatter->result()});
  });
}

TEST(Empty, SomeResultsWithoutElements) {
  check([](Program& p) {
    const Type state(DType::u64, {2});
    Op* bits = p.ops(OpId::rng_bit_generator, {p.arg(state)}, {state, testing::u32(0, 2)},
                     {{"rng_algorithm", testing::choice(ir::RngAlgorithm::three_fry)}});
    Value *none = p.arg(f32(0, 4)), *some = p.arg(f32(4)), *count = p.arg(s32());
    Op* loop = p.ops(OpId::while_, {none, some, count}, {none->type, some->type, s32()});
    p.region(loop, [](Body& b) {
      b.arg(f32(0, 4));
      b.arg(f32(4));
      b.ret({b.compare(ir::CompareDirection::lt, b.arg(s32()), b.splat(s32(), 3))});
    });
    p.region(loop, [](Body& b) {
      Value *x = b.arg(f32(0, 4)), *y = b.arg(f32(4)), *i = b.arg(s32());
      b.ret({b.unary(OpId::exponential, x), b.unary(OpId::negate, y),
             b.binary(OpId::add, i, b.splat(s32(), 1))});
    });
    Op* branch = p.ops(OpId::case_, {loop->result(2)}, {none->type, some->type});
    p.region(branch, [&](Body& b) { b.ret({none, some}); });
    p.region(branch, [&](Body& b) {
      b.ret({b.unary(OpId::exponential, loop->result(0)), b.unary(OpId::negate, loop->result(1))});
    });
    p.ret({bits->result(0), bits->result(1), loop->result(0), loop->result(1), branch->result(0),
           branch->result(1)});
  });
}

}  // namespace
}  // namespace jaxmps::exec
