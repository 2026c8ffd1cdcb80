// Reductions and windows written out for GPUs give what the CPU gives, in loops and by its kernels.
// Combiners of integers, so that nothing depends on rounding; most depend on the order.
#include <gtest/gtest.h>

#include "exec/fused.h"
#include "exec/plan.h"
#include "ir/builder.h"
#include "kernels/gpu_dialect.h"
#include "passes/pass.h"

namespace jaxmps::exec {
namespace {

using ir::Attr;
using ir::Ints;
using ir::OpId;
using testing::Body;
using testing::Program;
using testing::s32;
using testing::Value;

// x ↦ a x + b, one after the other.
void compose(Body& body) {
  Value *a = body.arg(s32()), *b = body.arg(s32()), *c = body.arg(s32()), *d = body.arg(s32());
  body.ret({body.binary(OpId::multiply, a, c),
            body.binary(OpId::add, body.binary(OpId::multiply, b, c), d)});
}

// The later of the largest by their last digit.
void larger_digit(Body& body) {
  Value *a = body.arg(s32()), *b = body.arg(s32()), *ten = body.splat(s32(), 10);
  const auto digit = [&](Value* x) { return body.binary(OpId::remainder, x, ten); };
  Value* later = body.compare(ir::CompareDirection::ge, digit(b), digit(a));
  body.ret({body.op(OpId::select, {later, b, a}, s32())});
}

mx::array numbers(const ir::Type& type, int step) {
  mx::array values = mx::reshape(
      mx::remainder(mx::multiply(mx::arange(0, static_cast<int>(type.size())), mx::array(step)),
                    mx::array(101)),
      ops::to_shape(type.dims));
  values.eval();
  values.set_status(mx::array::Status::available);
  return values;
}

std::vector<mx::array> run(ir::Module& module) {
  std::vector<Error> refused;
  EXPECT_TRUE(fuse_module(module, ir::kCpu).ok());
  const auto plan = build_plan(module.main()->body, {}, ir::kCpu, &refused);
  for (const Error& error : refused) ADD_FAILURE() << error.text;
  std::vector<mx::array> arguments;
  for (const ir::Type& type : module.main()->type.elements)
    arguments.push_back(numbers(type, 37 + 6 * static_cast<int>(arguments.size())));
  const auto encoder = make_cpu_encoder(mx::default_stream(mx::Device::cpu));
  RunContext context(*encoder);
  return run_plan(*plan, std::move(arguments), context, true);
}

template <typename Build>
void expect_same(const Build& build) {
  Program as_it_is, written_out;
  build(as_it_is);
  build(written_out);
  passes::expand_combiners(written_out.module, ir::kMetal,
                           [](const ir::Op&, const ir::Target&) { return false; });
  for (const ir::Op* op : written_out.module.main()->body) {
    EXPECT_NE(op->id, OpId::reduce);
    EXPECT_NE(op->id, OpId::reduce_window);
    EXPECT_NE(op->id, OpId::select_and_scatter);
  }
  const Status verified = ir::verify(written_out.module);
  EXPECT_TRUE(verified.ok()) << verified.error().text;
  const auto wanted = run(as_it_is.module), got = run(written_out.module);
  ASSERT_EQ(wanted.size(), got.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(mx::array_equal(wanted[i], got[i]).item<bool>())
        << "result " << i << " of " << ir::print(as_it_is.module);
  }
}

TEST(Combiners, Reductions) {
  for (const int length : {1, 2, 5, 64, 65, 4099}) {
    for (const bool along_first : {false, true}) {
      expect_same([&](Program& p) {
        const ir::Type type = along_first ? s32(length, 3) : s32(3, length);
        Value *a = p.arg(type), *b = p.arg(type);
        ir::Op* op =
            p.ops(OpId::reduce, {a, b, p.splat(s32(), 3), p.splat(s32(), 4)}, {s32(3), s32(3)},
                  {{"dimensions", Attr(Ints{along_first ? 0 : 1})}});
        p.region(op, compose);
        p.ret({op->result(0), op->result(1)});
      });
    }
  }
  expect_same([&](Program& p) {
    Value* x = p.arg(s32(7, 3, 19));
    ir::Op* op = p.ops(OpId::reduce, {x, p.splat(s32(), 0)}, {s32(3)},
                       {{"dimensions", Attr(Ints{0, 2})}});
    p.region(op, larger_digit);
    p.ret({op->result()});
  });
}

struct Windows {
  Ints size, stride, padding, base, dilation;
  ir::Dims input, output;
};

TEST(Combiners, Windows) {
  const Windows cases[] = {
      {{2, 3}, {1, 2}, {1, 0, 0, 1}, {1, 1}, {1, 1}, {5, 8}, {5, 4}},
      {{3, 2}, {2, 1}, {-1, 2, 3, 0}, {2, 1}, {1, 3}, {5, 8}, {4, 8}},
      {{1, 41}, {1, 3}, {0, 0, 20, 20}, {1, 1}, {1, 2}, {3, 100}, {3, 20}},
      {{5, 5}, {1, 1}, {2, 2, 2, 2}, {1, 1}, {1, 1}, {9, 9}, {9, 9}},
  };
  for (const Windows& w : cases) {
    for (const bool is_simple : {true, false}) {
      expect_same([&](Program& p) {
        Value* x = p.arg(ir::Type(ir::DType::s32, w.input));
        ir::Op* op = p.ops(OpId::reduce_window, {x, p.splat(s32(), 5)},
                           {ir::Type(ir::DType::s32, w.output)},
                           {{"window_dimensions", Attr(w.size)},
                            {"window_strides", Attr(w.stride)},
                            {"padding", Attr(w.padding)},
                            {"base_dilations", Attr(w.base)},
                            {"window_dilations", Attr(w.dilation)}});
        if (is_simple)
          p.combiner(op, OpId::add, s32());
        else
          p.region(op, larger_digit);
        p.ret({op->result()});
      });
    }
  }
}

TEST(Combiners, SelectAndScatter) {
  expect_same([&](Program& p) {
    Value *x = p.arg(s32(6, 9)), *source = p.arg(s32(3, 4));
    ir::Op* op = p.ops(OpId::select_and_scatter, {x, source, p.splat(s32(), 7)}, {s32(6, 9)},
                       {{"window_dimensions", Attr(Ints{3, 3})},
                        {"window_strides", Attr(Ints{2, 2})},
                        {"padding", Attr(Ints{1, 0, 0, 0})}});
    p.region(op, [](Body& body) {
      Value *a = body.arg(s32()), *b = body.arg(s32());
      body.ret({body.compare(ir::CompareDirection::ge, a, b)});
    });
    p.combiner(op, OpId::add, s32());
    p.ret({op->result()});
  });
}

}  // namespace
}  // namespace jaxmps::exec
