// What no plan, loop, fusion, kernel or scalar program is made of, one row per reason.
#include <gtest/gtest.h>

#include "exec/loop_program.h"
#include "exec/plan.h"
#include "fusion/fusion.h"
#include "ir/op_text.h"
#include "kernels/cpu/tile.h"
#include "kernels/gpu_expression.h"
#include "ops/op.h"
#include "scalar/scalar.h"
#include "support/graph.h"
#include "support/null_gpu.h"

namespace jaxmps::testing {
namespace {

struct Row {
  std::string text, says;
};

template <typename F>
void expect(const std::vector<Row>& rows, F said) {
  for (const auto& [text, says] : rows) {
    Program p;
    OpText(text).build(p);
    const std::string what = said(p.module.main()->body);
    EXPECT_TRUE(what == says || what.ends_with(": " + says))
        << text << "\nexpected: " << says << "\ngot: " << what;
  }
}

TEST(Refusals, Lowering) {
  const std::string product =
      " lhs_batching_dimensions=[] rhs_batching_dimensions=[] lhs_contracting_dimensions=[1] "
      "rhs_contracting_dimensions=[0] accumulation_type=type:f64[] lhs_precision_type=type:f64[] "
      "rhs_precision_type=type:f64[]";
  expect(
      {
          {"bitcast_convert pred[8] -> u8[]", "i1 has no bit pattern to cast"},
          {"bitcast_convert f6e2m3fn[4] -> s2[4,3]", "6-bit floats only cast to 6-bit floats"},
          {"custom_call f32[?,3] -> f32[?,3] f32[?] call_target_name=\"Qr\"",
           "the shape of f32[?,3] is not known"},
          {"custom_call f16[3,3] -> f16[3,3] f16[3] call_target_name=\"Qr\"",
           "there is no LAPACK for f16"},
          {"custom_call f32[3] -> f32[3] call_target_name=\"nobody.knows\"",
           "there is no custom call target 'nobody.knows'"},
          {"custom_call f32[3] -> f32[3] call_target_name=\"mps.python_callback\" "
           "backend_config=\"id=1\"",
           "this process runs no Python that could be called"},
          {"mps.top_k c64[4] -> c64[2] s32[2] k=2", "complex numbers have no order"},
          {"dot_general f32[2,3] f32[3,4] -> f32[2,4]" + product,
           "its algorithm is more precise than what the device computes"},
          {"dot_general f32[2,3] f16[3,4] -> f32[2,4]" + product,
           "products of these types are not supported"},
          {"rng pred[] pred[] s32[1] -> pred[2] rng_distribution=$UNIFORM", "no such distribution"},
          {"rng_bit_generator u64[2] -> u64[2] f32[4] rng_algorithm=$THREE_FRY",
           "only integers are generated"},
          {"rng_bit_generator u64[1] -> u64[1] u32[4] rng_algorithm=$DEFAULT",
           "the state has another size than the algorithm's"},
          {"mps.cumulative c64[4] -> c64[4] kind=\"maximum\" dimension=0 reverse=false",
           "there is no 'maximum' scan of this type"},
          {"reduce f32[2] f32[] -> f32[] dimensions=[0] {f32[] f32[] -> f32[]}",
           "what it combines with is no function of scalars"},
          {"collective_reduce f32[2] -> f32[2] channel_id=1 {f32[] f32[] -> f32[]}",
           "this op is not supported"},
      },
      [](const ir::Region& body) {
        const auto lowering = ops::lower(*body.first(), ir::kCpu);
        return lowering.ok() ? "" : lowering.error().text;
      });
}

TEST(Refusals, LoweringForGpus) {
  const ops::Registration on_cpu_only(OpId::uniform_quantize, ops::Accepts::any,
                                      [](const ops::OpContext&) -> Result<ops::Lowering> {
                                        return ops::native([](auto...) {}, 1);
                                      });
  expect({{"uniform_quantize f32[2] -> f32[2]", "there is no form of this op for the GPU"}},
         [](const ir::Region& body) {
           const auto lowering = ops::lower(*body.first(), ir::kCuda);
           return lowering.ok() ? "" : lowering.error().text;
         });
}

TEST(Refusals, MachineCode) {
  const auto code = kernels::MachineCode::of({"", "nobody", {}});
  EXPECT_EQ(code->compile().error().text, "there is no code generator");
}

TEST(Refusals, Plans) {
  expect({{"negate f32[3000000000] -> f32[3000000000]",
           "the result f32[3000000000] has a dimension larger than 2147483647"}},
         [](const ir::Region& body) {
           std::vector<Error> refused;
           exec::build_plan(body, {}, ir::kCpu, &refused);
           return refused.empty() ? "" : refused[0].text;
         });
}

TEST(Refusals, Fusions) {
  const auto said = [](const ir::Region& body) {
    const auto fusion = fusion::build_fusion(body);
    return fusion.ok() ? "" : fusion.error().text;
  };
  expect(
      {
          {"negate f32[?] -> f32[?]", "a fusion of a dynamic shape"},
          {"sdy.sharding_group f32[2] -> group_id=1", "a fusion without results"},
          {"constant -> s32[2] value=ints:s32[2]:[1,2]", "not a splat"},
          {"pad f32[4] f32[] -> f32[7] edge_padding_low=[0] edge_padding_high=[0] "
           "interior_padding=[1]",
           "interior padding"},
          {"concatenate f32[0] f32[0] -> f32[0] dimension=0", "nothing to concatenate"},
          {"reduce f32[2,3] f32[] -> f32[2] dimensions=[1] {f32[] f32[] -> f32[]}",
           "a reduction whose combiner is not one op"},
          {"add f32[3] f32[2] -> f32[3]", "an operand of another shape"},
          {"sort f32[3] -> f32[3] dimension=0", "not elementwise"},
          {"uniform_quantize f32[2] -> f32[2]", "no scalar form"},
          {"subtract pred[2] pred[2] -> pred[2]", "on booleans"},
          {"floor c64[2] -> c64[2]", "no complex form"},
          {"clamp c64[2] c64[2] c64[2] -> c64[2]", "complex order"},
          {"bitcast_convert f32[2] -> f64[2]", "a bitcast that changes the width"},
      },
      said);
}

TEST(Refusals, FusionsOfReductions) {
  using test::Graph;
  const auto said = [](Graph& g) {
    const auto fusion = fusion::build_fusion(g.region);
    return fusion.ok() ? "" : fusion.error().text;
  };
  const auto expect_said = [&](Graph& g, std::string_view says) {
    EXPECT_NE(said(g).find(says), std::string::npos) << said(g);
  };
  const auto sum = [](Graph& g, ir::Value* x, ir::Ints dims) {
    return g.reduce(OpId::add, x, g.splat(DType::f32, {}, 0.0f), std::move(dims));
  };
  {
    Graph g;
    auto* x = g.arg(DType::f32, {4, 6, 5});
    g.ret({sum(g, x, {0}), sum(g, x, {2})});
    expect_said(g, "reductions of different shapes in one fusion");
  }
  {
    Graph g;
    auto *x = g.arg(DType::f32, {8, 6}), *y = g.arg(DType::f32, {6, 6});
    auto* spread = g.broadcast(sum(g, y, {1}), {8, 6}, {1});
    g.ret({sum(g, g.same(OpId::multiply, {x, spread}), {1})});
    expect_said(g, "a reduction that differs along what is walked");
  }
  {
    Graph g;
    auto* x = g.arg(DType::f32, {4, 4});
    g.ret({g.transpose(g.broadcast(sum(g, x, {1}), {4, 4}, {0}), {1, 0})});
    expect_said(g, "a reduction read at moved positions");
  }
  for (const float init : {0.0f, 1.0f}) {
    Graph g;
    auto* x = g.arg(DType::f32, {4, 4});
    g.ret({sum(g, x, {1}),
           g.reduce(init == 0 ? OpId::maximum : OpId::add, x, g.splat(DType::f32, {}, init), {0})});
    expect_said(g, "a reduction across rows that is no sum of floats from 0");
  }
  {
    Graph g;  // equal shapes, but one counts rows and the other what is in them
    auto* x = g.arg(DType::f32, {4, 4});
    g.ret({g.same(OpId::add, {sum(g, x, {1}), sum(g, x, {0})})});
    expect_said(g, "a reduction read at moved positions");
  }
  {
    Graph g;
    auto* x = g.arg(DType::f32, {4, 6});
    auto* wide = g.broadcast(sum(g, x, {1}), {4, 6}, {0});
    auto* half = g.op(OpId::slice, {wide}, f32(2, 6),
                      {{"limit_indices", Attr(Ints{4, 6})},
                       {"start_indices", Attr(Ints{2, 0})},
                       {"strides", Attr(Ints{1, 1})}});
    g.ret({g.op(OpId::pad, {half, g.splat(DType::f32, {}, 0.0f)}, f32(4, 6),
                {{"edge_padding_high", Attr(Ints{0, 0})},
                 {"edge_padding_low", Attr(Ints{2, 0})},
                 {"interior_padding", Attr(Ints{0, 0})}})});
    expect_said(g, "a reduction read at some positions only");
  }
  {
    Graph g;
    auto* x = g.arg(DType::f32, {4, 6});
    auto* y = g.arg(DType::f32, {5});
    sum(g, x, {1});
    g.ret({y});
    expect_said(g, "a fusion over [4, 6] with a result f32[5]");
  }
}

// Updates in place are results, of arrays that nothing of the fusion reads or updates a second
// time.
TEST(Refusals, FusionsThatUpdate) {
  using test::V;
  const auto said = [](const std::function<void(test::Graph&, V x, V part, V at)>& make) {
    test::Graph g;
    V x = g.arg(DType::f32, {8}), part = g.arg(DType::f32, {2}), at = g.arg(DType::s32, {});
    make(g, x, part, at);
    auto fusion = fusion::build_fusion(g.region);
    if (!fusion.ok()) return fusion.error().text;
    const auto kernel = cpu::compile_tile(*fusion);
    return kernel.ok() ? "" : kernel.error().text;
  };
  const auto updated = [](test::Graph& g, V x, V part, V at) {
    return g.op(OpId::dynamic_update_slice, {x, part, at}, x->type);
  };
  const auto has = [](const std::string& text, std::string_view says) {
    EXPECT_NE(text.find(says), std::string::npos) << text;
  };
  has(said([&](auto& g, V x, V part, V at) { g.ret({updated(g, x, part, at)}); }),
      "an update in place");
  has(said([&](auto& g, V x, V part, V at) {
        g.ret({updated(g, g.same(OpId::negate, {x}), part, at)});
      }),
      "an update of what it makes");
  has(said([&](auto& g, V x, V part, V at) {
        g.ret({g.same(OpId::negate, {updated(g, x, part, at)})});
      }),
      "an update that the fusion reads");
  has(said([&](auto& g, V x, V part, V at) {
        V read = g.op(OpId::dynamic_slice, {x, at}, part->type, {{"slice_sizes", Attr(Ints{2})}});
        g.ret({updated(g, x, g.same(OpId::add, {read, part}), at)});
      }),
      "a fusion that reads what it updates");
  has(said([&](auto& g, V x, V part, V at) {
        g.ret({updated(g, x, part, at), updated(g, x, g.same(OpId::negate, {part}), at)});
      }),
      "a fusion of several updates of one array");
  Program p;
  Value *x = p.arg(f32(8)), *at = p.arg(s32());
  p.ret({p.op(OpId::dynamic_slice, {x, at}, f32(2), {{"slice_sizes", Attr(Ints{2})}})});
  has(ops::lower(*p.returned()->op(), ir::kMetal).error().text,
      "on metal it is a fusion, or it does not run");
}

TEST(Refusals, FusionsOfMoves) {
  using test::Graph;
  const auto expect_said = [](Graph& g, ir::Value* result, std::string_view says) {
    g.ret({result});
    const auto fusion = fusion::build_fusion(g.region);
    EXPECT_NE((fusion.ok() ? "" : fusion.error().text).find(says), std::string::npos) << says;
  };
  const auto padded = [](Graph& g, int64_t from, int64_t to) {
    return g.op(OpId::pad, {g.arg(DType::f32, {from}), g.splat(DType::f32, {}, 0.0f)}, f32(to),
                {{"edge_padding_high", Attr(Ints{0})},
                 {"edge_padding_low", Attr(Ints{to - from})},
                 {"interior_padding", Attr(Ints{0})}});
  };
  {
    Graph g;
    expect_said(g, g.reshape(padded(g, 5, 8), {2, 4}), "a bound across several axes");
  }
  {
    Graph g;
    expect_said(g, g.reshape(padded(g, 0, 1), {}), "a bound on a scalar");
  }
  {
    Graph g;
    auto* x = g.transpose(g.arg(DType::f32, {6, 4}), {1, 0});
    expect_said(g, g.reshape(x, {3, 8}), "a reshape that is not affine in the fusion's axes");
  }
  {
    Graph g;
    auto* x = g.transpose(g.arg(DType::f32, {6, 4}), {1, 0});
    expect_said(g, g.take(x, g.arg(DType::s32, {5}), 0), "an index map of what is gathered");
  }
}

// A fusion over 4 elements, as no region gives one.
fusion::Fusion made_by_hand(fusion::Fusion::Kind kind, std::vector<scalar::ScalarInstr> instrs) {
  fusion::Fusion f;
  f.kind = kind;
  f.dims = {4};
  const bool is_row = kind == fusion::Fusion::Kind::row;
  f.reduced_begin = is_row ? 0 : 1;
  f.reduced_end = 1;
  f.inputs = {f32(4)};
  f.accesses = {{{0, {1}}, fusion::Access::Kind::memory, DType::f32, 0, {}}};
  const auto last = static_cast<int32_t>(instrs.size()) - 1;
  f.program.instrs = std::move(instrs);
  f.outputs = {{{0, {is_row ? 0 : 1}}, is_row ? f32() : f32(4), {DType::f32, last, -1}}};
  return f;
}

TEST(Refusals, TileKernels) {
  using Kind = fusion::Fusion::Kind;
  using enum scalar::Opcode;
  const auto said = [](Kind kind, std::vector<scalar::ScalarInstr> instrs) {
    const auto kernel = cpu::compile_tile(made_by_hand(kind, std::move(instrs)));
    return kernel.ok() ? "" : kernel.error().text;
  };
  const scalar::ScalarInstr load_x{load, DType::f32, -1, -1, -1, -1, 0}, zero{constant, DType::f32};
  EXPECT_EQ(said(Kind::loop, {load_x, {bit_not, DType::f32, 0}}),
            "no vector loop for bit_not of f32 from f32");
  EXPECT_EQ(said(Kind::row, {load_x, zero, {reduce_xor, DType::f32, 0, 1}}),
            "no vector loop for reduce_xor of f32");
  EXPECT_EQ(said(Kind::row, {load_x, {reduce_add, DType::f32, 0, 0}}),
            "a reduction whose initial value is not one value");
  EXPECT_EQ(said(Kind::row, {load_x, {total, DType::f32, 0}}),
            "sums over all rows beside those of rows");
}

TEST(Refusals, GpuKernels) {
  using enum scalar::Opcode;
  EXPECT_EQ(kernels::gpu_expression({}, {reduce_add, DType::f32}, "a", "b", "").error().text,
            "no GPU form for reduce_add");
  const auto said = [](ir::Dims dims) {
    auto f = made_by_hand(fusion::Fusion::Kind::loop, {{load, DType::f32, -1, -1, -1, -1, 0}});
    f.dims = std::move(dims);
    const auto printed = NullGpu(kernels::cuda_dialect()).print(f);
    return printed.ok() ? "" : printed.error().text;
  };
  EXPECT_EQ(said({0}), "a GPU kernel of nothing");
  EXPECT_EQ(said({int64_t{1} << 60}), "a GPU kernel of more blocks than a launch takes");
}

// x ↦ while (...) f(x) of one array, on the CPU.
TEST(Refusals, Loops) {
  const auto said = [](Type type, const std::function<Value*(Body&, Value*)>& step) {
    Program p;
    Op* loop = p.ops(OpId::while_, {p.arg(type)}, {type});
    p.region(loop, [&](Body& b) {
      b.arg(type);
      b.ret({b.splat(pred(), 1)});
    });
    p.region(loop, [&](Body& b) { b.ret({step(b, b.arg(type))}); });
    p.ret({loop->result()});
    const auto lowering = exec::lower_loop(*loop, {});
    return lowering.ok() ? "" : lowering.error().text;
  };
  const auto expect_said = [&](Type type, const std::function<Value*(Body&, Value*)>& step,
                               std::string_view says) {
    EXPECT_NE(said(std::move(type), step).find(says), std::string::npos) << says;
  };
  const auto negated = [](Body& b, Value* x) { return b.unary(OpId::negate, x); };
  expect_said(
      Type::token(), [](Body&, Value* x) { return x; },
      "a loop of this form has plain arrays only");
  expect_said(
      f32(200'000),
      [](Body& b, Value* x) {
        return b.op(OpId::reverse, {x}, x->type, {{"dimensions", Attr(Ints{0})}});
      },
      "the arrays are too large");
  expect_said(
      s32(100'000),
      [](Body& b, Value* x) { return b.binary(OpId::add, x, b.ints(x->type, Ints(100'000, 7))); },
      "the constant is too large");
  expect_said(
      f32(),
      [&](Body& b, Value* x) {
        for (int k = 0; k < 5000; ++k) x = negated(b, x);
        return x;
      },
      "the loop is too long");
  expect_said(
      f32(2),
      [](Body& b, Value* x) {
        return b.slice(
            b.op(OpId::concatenate, Values(30, x), f32(60), {{"dimension", Attr(int64_t{0})}}), {0},
            {2}, {1});
      },
      "too many operands or results");
  expect_said(
      f32(2),
      [](Body& b, Value* x) {
        return b.op(OpId::custom_call, {x}, x->type,
                    {{"call_target_name", Attr(std::string("nobody.knows"))}});
      },
      "it has no native kernel");
}

TEST(Refusals, ScalarRegions) {
  expect(
      {
          {"negate f32[2] -> f32[2]", "region argument 0 is not a scalar"},
          {"iota -> s32[2] iota_dimension=0", "not on scalars"},
      },
      [](const ir::Region& body) {
        const auto program = scalar::scalar_program(body);
        return program.ok() ? "" : program.error().text;
      });
  Program p;
  Value* outside = p.arg(f32());
  Op* op = p.ops(OpId::reduce, {outside, outside}, {f32()}, {{"dimensions", Attr(Ints{})}});
  p.region(op, [&](Body& b) { b.ret({b.unary(OpId::negate, outside)}); });
  EXPECT_NE(
      scalar::scalar_program(op->region()).error().text.find("a value from outside of the region"),
      std::string::npos);
}

}  // namespace
}  // namespace jaxmps::testing
