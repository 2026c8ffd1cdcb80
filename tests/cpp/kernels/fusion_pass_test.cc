// The fuse pass: what it groups, and that fused programs compute what they did before.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/cpu/tile.h"
#include "kernels/gpu.h"
#include "passes/fuse.h"
#include "support/graph.h"

namespace jaxmps::test {
namespace {

struct Counts {
  int fusions = 0, others = 0;
};

Counts count(const ir::Region& region) {
  Counts c;
  for (const ir::Op* op : region) {
    if (op->id == OpId::fusion)
      ++c.fusions;
    else if (op != region.terminator() && op->id != OpId::constant)
      ++c.others;
  }
  return c;
}

ir::Target walks_short_slices() {
  ir::Target target = ir::kCpu;
  target.shortest_slice = 1;
  return target;
}

// A module whose main has this body.
struct Program {
  ir::Module module;
  Graph graph;

  std::string dump;
  ir::Target target = walks_short_slices();
  passes::FuseOptions options;
  std::function<Status(ir::Op&, fusion::Fusion, const ir::Target&)> accept =
      [](const ir::Op&, const kernels::Fusion& f, const ir::Target&) -> Status {
    TRY(cpu::TileKernel kernel, cpu::compile_tile(f));
    return {};
  };
  Status fuse() {
    ir::Function* main = module.add_function("main");
    ir::ValueMap map;
    main->body.copy_from(graph.region, map);
    main->type.kind = Type::Kind::function;
    for (int i = 0; i < main->body.arg_count(); ++i)
      main->type.elements.push_back(main->body.arg(i)->type);
    for (V v : main->body.terminator()->operands()) main->type.results.push_back(v->type);
    options.dump = &dump;
    options.accept = accept;
    return passes::fuse(module, target, options);
  }
  ir::Region& body() { return module.main()->body; }
};

V barrier(Graph& g, V x) { return g.same(OpId::optimization_barrier, {x}); }

TEST(Fuse, SoftmaxIsOneFusion) {
  Program p;
  Graph& g = p.graph;
  V x = g.arg(DType::f32, {64, 1000});
  V low = g.splat(DType::f32, {}, -1e30f), zero = g.splat(DType::f32, {}, 0.0f);
  V top = g.broadcast(g.reduce(OpId::maximum, x, low, {1}), {64, 1}, {0});
  V e = g.same(OpId::exponential,
               {g.same(OpId::subtract, {x, g.broadcast(top, {64, 1000}, {0, 1})})});
  V sum = g.reshape(g.reduce(OpId::add, e, zero, {1}), {64, 1});
  g.ret({g.same(OpId::divide, {e, g.broadcast(sum, {64, 1000}, {0, 1})})});
  ASSERT_TRUE(p.fuse().ok());
  EXPECT_EQ(1, count(p.body()).fusions) << print(p.module) << p.dump;
  EXPECT_EQ(0, count(p.body()).others) << print(p.module) << p.dump;
}

TEST(Fuse, LayerNormIsOneFusion) {
  Program p;
  Graph& g = p.graph;
  const Dims s = {32, 768}, k = {32};
  V x = g.arg(DType::f32, s), scale = g.arg(DType::f32, {768});
  V zero = g.splat(DType::f32, {}, 0.0f), n = g.splat(DType::f32, k, 768.0f);
  V mean = g.same(OpId::divide, {g.reduce(OpId::add, x, zero, {1}), n});
  V d = g.same(OpId::subtract, {x, g.broadcast(mean, s, {0})});
  V var = g.same(OpId::divide, {g.reduce(OpId::add, g.same(OpId::multiply, {d, d}), zero, {1}), n});
  V r = g.same(OpId::rsqrt, {g.same(OpId::add, {var, g.splat(DType::f32, k, 1e-5f)})});
  V y = g.same(OpId::multiply,
               {g.same(OpId::multiply, {d, g.broadcast(r, s, {0})}), g.broadcast(scale, s, {1})});
  g.ret({y});
  ASSERT_TRUE(p.fuse().ok());
  EXPECT_EQ(1, count(p.body()).fusions) << print(p.module) << p.dump;
  EXPECT_EQ(0, count(p.body()).others) << print(p.module) << p.dump;
}

TEST(Fuse, AnExpensiveValueReadTwiceIsComputedOnce) {
  Program p;
  Graph& g = p.graph;
  V x = g.arg(DType::f32, {100});
  V e = g.same(OpId::exponential, {x});
  V a = barrier(g, g.same(OpId::add, {e, x}));
  V b = barrier(g, g.same(OpId::multiply, {e, a}));
  g.ret({a, b});
  ASSERT_TRUE(p.fuse().ok());
  int exponentials = 0;
  for (const ir::Op* op : p.body()) {
    if (op->id == OpId::exponential) ++exponentials;
    if (op->id != OpId::fusion) continue;
    for (const ir::Op* inner : op->region()) exponentials += inner->id == OpId::exponential;
  }
  EXPECT_EQ(1, exponentials) << print(p.module) << p.dump;
  EXPECT_EQ(2, count(p.body()).fusions) << print(p.module) << p.dump;
}

// As in a train step: what the forward pass normalised is computed anew from the layer's result, so
// that the backward pass finds one large value in memory, not two.
TEST(Fuse, CheapValuesAreRecomputedWhereTheyAreRead) {
  Program p;
  p.options.min_recomputed_bytes = 0;
  Graph& g = p.graph;
  const Dims s = {32, 16};
  V x = barrier(g, g.arg(DType::f32, s)), dy = g.arg(DType::f32, s);
  V mean = barrier(g, g.arg(DType::f32, {16}));
  V centred = g.same(OpId::subtract, {x, g.broadcast(mean, s, {1})});
  V scaled = g.same(OpId::multiply, {centred, g.splat(DType::f32, s, 2.0f)});
  V y = barrier(g, g.same(OpId::maximum, {scaled, g.splat(DType::f32, s, 0.0f)}));
  V positive = g.compare(scaled, g.splat(DType::f32, s, 0.0f), ir::CompareDirection::gt);
  V masked = g.op(OpId::select, {positive, dy, g.splat(DType::f32, s, 0.0f)}, dy->type);
  V zero = g.splat(DType::f32, {}, 0.0f);
  g.ret({y, g.reduce(OpId::add, g.same(OpId::multiply, {masked, y}), zero, {0})});
  ASSERT_TRUE(p.fuse().ok());
  EXPECT_EQ(2, count(p.body()).fusions) << print(p.module) << p.dump;
  for (const ir::Op* op : p.body()) {
    if (op->id != OpId::fusion) continue;
    EXPECT_EQ(1, op->result_count()) << print(p.module);
  }
}

// What is expensive is stored, and then what is cheap is computed from that.
TEST(Fuse, ExpensiveValuesAreNotRecomputed) {
  Program p;
  p.options.min_recomputed_bytes = 0;
  Graph& g = p.graph;
  V e = g.same(OpId::exponential, {barrier(g, g.arg(DType::f32, {100}))});
  V n = g.same(OpId::negate, {e});
  V a = barrier(g, g.same(OpId::sqrt, {n}));
  g.ret({a, g.same(OpId::add, {n, a})});
  ASSERT_TRUE(p.fuse().ok());
  int exponentials = 0, negations = 0;
  for (const ir::Op* op : p.body()) {
    if (op->id != OpId::fusion) continue;
    for (const ir::Op* inner : op->region()) {
      exponentials += inner->id == OpId::exponential;
      negations += inner->id == OpId::negate;
    }
  }
  EXPECT_EQ(1, exponentials) << print(p.module) << p.dump;
  EXPECT_EQ(2, negations) << print(p.module) << p.dump;
  EXPECT_EQ(2, count(p.body()).fusions) << print(p.module) << p.dump;
  EXPECT_EQ(2, count(p.body()).others) << print(p.module) << p.dump;
}

// Two large values of which neither would be in memory else: storing the one is less.
TEST(Fuse, NothingIsRecomputedFromMore) {
  Program p;
  p.options.min_recomputed_bytes = 0;
  Graph& g = p.graph;
  V x = barrier(g, g.arg(DType::f32, {100})), y = barrier(g, g.arg(DType::f32, {100}));
  V sum = g.same(OpId::add, {x, y});
  V a = barrier(g, g.same(OpId::sqrt, {sum}));
  g.ret({a, g.same(OpId::add, {sum, a})});
  ASSERT_TRUE(p.fuse().ok());
  int results = 0;
  for (const ir::Op* op : p.body()) results += op->id == OpId::fusion ? op->result_count() : 0;
  EXPECT_EQ(3, results) << print(p.module) << p.dump;
}

std::string ops_of_fusions(const ir::Region& region) {
  std::string names;
  for (const ir::Op* op : region) {
    if (op->id != OpId::fusion) continue;
    for (const ir::Op* inner : op->region()) names += std::string(inner->name()) + ' ';
  }
  return names;
}

TEST(Fuse, AGatherJoinsWhatReadsIt) {
  Program p;
  Graph& g = p.graph;
  V i = g.arg(DType::s32, {20}), zero = g.splat(DType::s32, {20}, 0);
  V wrapped = g.op(OpId::select,
                   {g.compare(i, zero, ir::CompareDirection::lt),
                    g.same(OpId::add, {i, g.splat(DType::s32, {20}, 500)}), i},
                   i->type);
  V rows = g.take(g.arg(DType::f32, {500, 768}), wrapped, 0);
  g.ret({g.same(OpId::add, {rows, g.arg(DType::f32, {20, 768})})});
  ASSERT_TRUE(p.fuse().ok());
  EXPECT_EQ(1, count(p.body()).fusions) << print(p.module) << p.dump;
  EXPECT_EQ(0, count(p.body()).others) << print(p.module) << p.dump;
  EXPECT_NE(std::string::npos, p.dump.find("gather (f32[500,768], s32[20]) -> f32[20,768]: fusion"))
      << p.dump;
}

TEST(Fuse, AGatherThatNoGroupReadsStaysAlone) {
  Program p;
  Graph& g = p.graph;
  V rows = g.take(g.arg(DType::f32, {500, 768}), g.arg(DType::s32, {20}), 0);
  g.ret({barrier(g, rows)});
  ASSERT_TRUE(p.fuse().ok());
  EXPECT_EQ(0, count(p.body()).fusions) << print(p.module);
  EXPECT_NE(std::string::npos, p.dump.find("alone: a gather that no group reads")) << p.dump;
}

TEST(Fuse, AGatherIsDoneOnce) {
  Program p;
  Graph& g = p.graph;
  V rows = g.take(g.arg(DType::f32, {500, 768}), g.arg(DType::s32, {20}), 0);
  V a = barrier(g, g.same(OpId::tanh, {rows}));
  V b = barrier(g, g.same(OpId::multiply, {rows, a}));
  // Each element would be read once for each row.
  V few = g.take(g.arg(DType::f32, {500}), g.arg(DType::s32, {768}), 0);
  g.ret({b, g.same(OpId::add, {g.broadcast(few, {20, 768}, {1}), a})});
  ASSERT_TRUE(p.fuse().ok());
  int outside = 0, inside = 0;
  for (const ir::Op* op : p.body()) outside += op->id == OpId::gather;
  const std::string fused = ops_of_fusions(p.body());
  for (size_t at = fused.find("gather"); at != std::string::npos; at = fused.find("gather", at + 1))
    ++inside;
  EXPECT_EQ(1, inside) << print(p.module) << p.dump;
  EXPECT_EQ(1, outside) << print(p.module) << p.dump;
  EXPECT_NE(std::string::npos, p.dump.find("alone: expensive and read many times")) << p.dump;
}

TEST(Fuse, OnlyConversionsAreReadThroughAGather) {
  Program p;
  Graph& g = p.graph;
  V i = g.arg(DType::s32, {2000}), x = g.arg(DType::f32, {3000}), y = g.arg(DType::f32, {3000});
  V half = g.convert(x, DType::bf16), sum = g.same(OpId::add, {x, y});
  V turned = g.op(OpId::reverse, {x}, x->type, {{"dimensions", ir::Attr(ir::Ints{0})}});
  V a = g.same(OpId::negate, {g.take(half, i, 0)});
  V b = g.same(OpId::add, {g.take(sum, i, 0), g.take(turned, i, 0)});
  g.ret({a, b});
  ASSERT_TRUE(p.fuse().ok());
  for (const ir::Op* op : p.body()) {
    EXPECT_NE(OpId::gather, op->id) << print(p.module) << p.dump;
    EXPECT_NE(OpId::convert, op->id) << print(p.module) << p.dump;
  }
  EXPECT_NE(std::string::npos, p.dump.find("add (f32[3000], f32[3000]) -> f32[3000]: fusion"))
      << p.dump;
  EXPECT_EQ(3, count(p.body()).fusions) << print(p.module) << p.dump;
  EXPECT_EQ(1, count(p.body()).others) << print(p.module) << p.dump;  // the reversal
}

TEST(Fuse, ShortSlicesStayWhereTheTargetSaysSo) {
  for (int64_t shortest : {1, 64, 65}) {
    Program p;
    Graph& g = p.graph;
    V rows = g.take(g.arg(DType::f32, {500, 64}), g.arg(DType::s32, {20}), 0);
    V column = g.take(g.arg(DType::f32, {20, 500}), g.arg(DType::s32, {64}), 1);
    V table = g.convert(g.arg(DType::bf16, {500, 64}), DType::f32);
    V converted = g.take(table, g.arg(DType::s32, {20}), 0);
    g.ret({g.same(OpId::add, {converted, g.same(OpId::add, {rows, column})})});
    p.target.shortest_slice = shortest;
    ASSERT_TRUE(p.fuse().ok());
    EXPECT_EQ(shortest > 64 ? 1 : 0, count(p.body()).others) << print(p.module) << p.dump;
  }
}

TEST(Fuse, AnUpdateWithTwoResultsIsOneFusion) {
  Program p;
  Graph& g = p.graph;
  V m = g.arg(DType::f32, {100}), grad = g.arg(DType::f32, {100}), w = g.arg(DType::f32, {100});
  V m2 = g.same(OpId::add, {g.same(OpId::multiply, {m, g.splat(DType::f32, {100}, 0.9f)}), grad});
  g.ret({m2, g.same(OpId::subtract, {w, m2})});
  ASSERT_TRUE(p.fuse().ok());
  EXPECT_EQ(1, count(p.body()).fusions) << print(p.module) << p.dump;
  EXPECT_EQ(0, count(p.body()).others) << print(p.module) << p.dump;
}

TEST(Fuse, ARefusedGroupIsTakenApart) {
  Program p;
  Graph& g = p.graph;
  V x = g.arg(DType::f32, {10});
  g.ret({g.same(OpId::tanh, {g.same(OpId::add, {x, x})})});
  ir::Function* main = p.module.add_function("main");
  ir::ValueMap map;
  main->body.copy_from(g.region, map);
  passes::FuseOptions options;
  options.accept = [](const ir::Op&, const kernels::Fusion&, const ir::Target&) -> Status {
    return unimplemented("no");
  };
  ASSERT_TRUE(passes::fuse(p.module, ir::kCpu, options).ok());
  EXPECT_EQ(0, count(p.body()).fusions);
  EXPECT_EQ(2, count(p.body()).others) << print(p.module);
}

TEST(Fuse, NoKernelHasMoreBuffersThanTheTargetAllows) {
  Program p;
  Graph& g = p.graph;
  V sum = g.arg(DType::f32, {10});
  for (int i = 0; i < 40; ++i) sum = g.same(OpId::add, {sum, g.arg(DType::f32, {10})});
  g.ret({sum});
  p.target.max_buffers = 15;
  ASSERT_TRUE(p.fuse().ok());
  EXPECT_GE(count(p.body()).fusions, 3);
  for (const ir::Op* op : p.body()) {
    if (op->id == OpId::fusion) {
      EXPECT_LT(op->operand_count() + op->result_count(), 15);
    }
  }
}

// A polynomial has as many constants as it likes.
TEST(Fuse, ConstantsAreNoBuffers) {
  Program p;
  Graph& g = p.graph;
  V x = g.arg(DType::f32, {10}), sum = x;
  for (int i = 0; i < 2 * ir::kMetal.max_buffers; ++i) {
    const V factor = g.splat(DType::f32, {10}, 0.5f + static_cast<float>(i));
    sum = g.same(OpId::add, {g.same(OpId::multiply, {sum, factor}), x});
  }
  g.ret({sum});
  ASSERT_TRUE(p.fuse().ok());
  EXPECT_EQ(1, count(p.body()).fusions) << print(p.module);
}

TEST(Fuse, WithoutItsGatherARefusedGroupIsTriedAgain) {
  Program p;
  Graph& g = p.graph;
  V rows = g.take(g.arg(DType::f32, {500, 768}), g.arg(DType::s32, {20}), 0);
  g.ret({g.same(OpId::tanh, {g.same(OpId::add, {rows, rows})})});
  ir::Function* main = p.module.add_function("main");
  ir::ValueMap map;
  main->body.copy_from(g.region, map);
  p.options.accept = [](const ir::Op& fusion, const kernels::Fusion&, const ir::Target&) -> Status {
    for (const ir::Op* op : fusion.region()) {
      if (op->id == OpId::gather) return unimplemented("no");
    }
    return {};
  };
  ASSERT_TRUE(passes::fuse(p.module, ir::kCpu, p.options).ok());
  EXPECT_EQ(1, count(p.body()).fusions) << print(p.module);
  EXPECT_EQ(1, count(p.body()).others) << print(p.module);
}

// The statistics of a batch, the running ones, and what is normalised with them.
TEST(Fuse, ReductionsMergeWithWhatReadsThemWhereLaunchesCost) {
  for (const ir::Target& target : {ir::kCpu, ir::kCuda, ir::kMetal}) {
    Program p;
    p.target = target;
    Graph& g = p.graph;
    const Dims s = {600, 40}, k = {40};
    V x = g.arg(DType::f32, s), running = g.arg(DType::f32, k), zero = g.splat(DType::f32, {}, 0);
    V n = g.splat(DType::f32, k, 600.0f);
    V mean = g.same(OpId::divide, {g.reduce(OpId::add, x, zero, {0}), n});
    V kept = g.same(OpId::add, {mean, running});
    V d = g.same(OpId::subtract, {x, g.broadcast(mean, s, {1})});
    V var =
        g.same(OpId::divide, {g.reduce(OpId::add, g.same(OpId::multiply, {d, d}), zero, {0}), n});
    V scale = g.same(OpId::rsqrt, {g.reshape(var, {1, 40})});
    V y = g.same(OpId::multiply, {d, g.broadcast(g.reshape(scale, k), s, {1})});
    g.ret({barrier(g, y), kept, mean, scale});
    ASSERT_TRUE(p.fuse().ok());
    const int fusions = count(p.body()).fusions;
    if (target.runs_native)
      EXPECT_GT(fusions, 1);
    else
      EXPECT_EQ(fusions, 1) << print(p.module) << p.dump;
  }
}

TEST(Fuse, SumsOverTheSameRowsMerge) {
  Program p;
  p.target = ir::kCuda;
  Graph& g = p.graph;
  const Dims s = {20000, 40};
  V x = g.arg(DType::f32, s), y = g.arg(DType::f32, s), zero = g.splat(DType::f32, {}, 0.0f);
  V product = g.reduce(OpId::add, g.same(OpId::multiply, {x, y}), zero, {0});
  V sum = g.reduce(OpId::add, g.same(OpId::tanh, {x}), zero, {0});
  g.ret({barrier(g, sum), barrier(g, product)});
  ASSERT_TRUE(p.fuse().ok());
  EXPECT_EQ(1, count(p.body()).fusions) << print(p.module) << p.dump;
}

Status accept_printed(const ir::Op&, const kernels::Fusion& f, const ir::Target& target) {
  if (target.runs_native) {
    TRY(cpu::TileKernel kernel, cpu::compile_tile(f));
    return {};
  }
  TRY(auto kernels, kernels::print_gpu(f, target.ordered_blocks ? kernels::cuda_dialect()
                                                                : kernels::metal_dialect()));
  return {};
}

// Where a block sees what others have written; not on the CPU, nor on Metal. Sums that need nothing
// of the rows move to them from behind what reads their results.
TEST(Fuse, SumsOfRowsMergeWithSumsOverAllRows) {
  for (const ir::Target& target : {ir::kCpu, ir::kCuda, ir::kMetal}) {
    for (const bool needs_rows : {true, false}) {
      Program p;
      p.target = target;
      p.accept = accept_printed;
      Graph& g = p.graph;
      const Dims s = {300, 300};
      V x = g.arg(DType::f32, s), zero = g.splat(DType::f32, {}, 0.0f);
      V sum = g.reduce(OpId::add, x, zero, {1});
      V left = g.same(OpId::subtract, {x, g.broadcast(sum, s, {0})});
      V behind = barrier(g, left);
      V total = g.reduce(OpId::add, g.same(OpId::multiply, {needs_rows ? left : x, x}), zero, {0});
      g.ret({behind, total});
      ASSERT_TRUE(p.fuse().ok());
      EXPECT_EQ(target.ordered_blocks ? 1 : 2, count(p.body()).fusions)
          << print(p.module) << p.dump;
    }
  }
}

// To merge the product into the second fusion would keep one of its arrays until then.
TEST(Fuse, MergingKeepsNoLargeArray) {
  for (const int64_t rows : {100, 5000}) {
    Program p;
    p.target = ir::kCuda;
    Graph& g = p.graph;
    const Dims s = {rows, 40};
    V x = g.arg(DType::f32, s), y = g.arg(DType::f32, s), zero = g.splat(DType::f32, {}, 0.0f);
    V product = g.reduce(OpId::add, g.same(OpId::multiply, {x, y}), zero, {0});
    V between = barrier(g, g.arg(DType::f32, s));
    V sum = g.reduce(OpId::add, g.same(OpId::tanh, {x}), zero, {0});
    g.ret({barrier(g, sum), barrier(g, product), between});
    ASSERT_TRUE(p.fuse().ok());
    EXPECT_EQ(rows == 100 ? 1 : 2, count(p.body()).fusions) << print(p.module) << p.dump;
  }
}

// A random program with values read several times and ops that do not fuse among them.
void grow(Graph& g, std::mt19937& rng) {
  const Dims s = {6, 5};
  std::vector<V> full = {g.arg(DType::f32, s), g.arg(DType::f32, s)},
                 rows = {g.arg(DType::f32, {6})};
  auto pick = [&](std::vector<V>& from) { return from[rng() % from.size()]; };
  V zero = g.splat(DType::f32, {}, 0.0f);
  const int ops = 5 + static_cast<int>(rng() % 25);
  for (int i = 0; i < ops; ++i) {
    switch (rng() % 13) {
      case 0:
        full.push_back(barrier(g, pick(full)));
        break;
      case 1:
        rows.push_back(barrier(g, pick(rows)));
        break;
      case 2:
        rows.push_back(g.reduce(OpId::add, pick(full), zero, {1}));
        break;
      case 3:
        rows.push_back(g.reduce(OpId::maximum, pick(full), zero, {1}));
        break;
      case 4:
        full.push_back(g.broadcast(pick(rows), s, {0}));
        break;
      case 5:
        rows.push_back(g.same(OpId::add, {pick(rows), pick(rows)}));
        break;
      case 6:
        full.push_back(g.same(OpId::tanh, {pick(full)}));
        break;
      case 7:
        full.push_back(g.reshape(g.transpose(pick(full), {1, 0}), s));
        break;
      case 8:
        full.push_back(g.op(OpId::reverse, {pick(full)}, Type(DType::f32, s),
                            {{"dimensions", ir::Attr(ir::Ints{1})}}));
        break;
      case 10: {
        V i = g.convert(pick(rows), rng() % 2 ? DType::s32 : DType::s8);
        full.push_back(g.take(pick(full), i, 0));
        break;
      }
      case 9:
        rows.push_back(g.same(OpId::logistic, {pick(rows)}));
        break;
      default:
        full.push_back(
            g.same(rng() % 2 ? OpId::subtract : OpId::maximum, {pick(full), pick(full)}));
        break;
    }
  }
  g.ret({full.back(), rows.back(), pick(full), pick(full), pick(rows)});
}

// The tile machine against the ops one by one, on the region of a fusion.
void check_kernel(const ir::Op& fusion, std::mt19937& rng) {
  auto description = kernels::build_fusion(fusion);
  ASSERT_TRUE(description.ok()) << description.error().text;
  auto kernel = cpu::compile_tile(*description);
  ASSERT_TRUE(kernel.ok()) << kernel.error().text;
  std::vector<Buffer> inputs, results;
  std::vector<const void*> in;
  std::vector<void*> out;
  for (const Type& type : description->inputs) {
    Buffer b(static_cast<size_t>(type.byte_count()));
    for (size_t n = 0; n < b.size(); n += 4) {
      const float v = static_cast<float>(rng() % 1000) / 250 - 2;
      std::memcpy(&b[n], &v, 4);
    }
    inputs.push_back(b);
  }
  for (const auto& o : description->outputs)
    results.emplace_back(static_cast<size_t>(o.type.byte_count()));
  for (const Buffer& b : inputs) in.push_back(b.data());
  for (Buffer& b : results) out.push_back(b.data());
  kernel->run(in.data(), out.data());
  const auto want = run_reference(fusion.region(), inputs);
  for (size_t o = 0; o < want.size(); ++o) {
    if (description->outputs[o].type.dtype != DType::f32) {
      ASSERT_EQ(want[o], results[o]) << print(*description);
      continue;
    }
    const float* w = reinterpret_cast<const float*>(want[o].data());
    const float* h = reinterpret_cast<const float*>(results[o].data());
    double scale = 1;
    for (size_t n = 0; n < want[o].size() / 4; ++n)
      scale = std::max(scale, std::fabs(double(w[n])));
    for (size_t n = 0; n < want[o].size() / 4; ++n) {
      ASSERT_NEAR(w[n], h[n], scale * 1e-5)
          << "output " << o << " element " << n << print(*description);
    }
  }
}

// A vector that only one product of a small matrix reads is normalised by the product's kernel,
// where products by vectors are fusions; what else is made of a product and stored is so by its own
// kernel.
TEST(Fuse, AProductNormalisesItsVector) {
  struct Case {
    int64_t length, columns;
    bool is_read_twice;
    ir::Target target;
    int fusions;
  };
  const Case kCases[] = {{300, 70, false, ir::kCuda, 2},
                         {300, 70, true, ir::kCuda, 3},
                         {1024, 1025, false, ir::kCuda, 3},
                         {1025, 70, false, ir::kCuda, 3},
                         {300, 70, false, ir::kMetal, 3}};
  for (const Case& c : kCases) {
    Program p;
    p.target = c.target;
    p.accept = accept_printed;
    Graph& g = p.graph;
    const Dims s = {20, c.length}, m = {c.length, c.columns};
    V x = g.arg(DType::f32, {20}), before = g.arg(DType::f32, s),
      left = g.arg(DType::f32, {c.length});
    V zero = g.splat(DType::f32, {}, 0.0f);
    V first =
        g.reduce(OpId::add, g.same(OpId::multiply, {g.broadcast(x, s, {0}), before}), zero, {0});
    V sum = g.same(OpId::add, {first, left});
    V total = g.broadcast(g.reduce(OpId::add, sum, zero, {0}), {c.length}, {});
    V vector = barrier(g, g.same(OpId::divide, {sum, total}));
    V second = g.reduce(OpId::add,
                        g.same(OpId::multiply, {g.broadcast(vector, m, {0}), g.arg(DType::f32, m)}),
                        zero, {0});
    std::vector<V> results = {sum, second};
    if (c.is_read_twice) results.push_back(vector);
    g.ret(results);
    ASSERT_TRUE(p.fuse().ok());
    EXPECT_EQ(c.fusions, count(p.body()).fusions) << print(p.module) << p.dump;
    std::mt19937 rng(1);
    for (const ir::Op* op : p.body()) {
      if (op->id == OpId::fusion && c.columns < 100) check_kernel(*op, rng);
    }
  }
}

// It would have to copy the array, which is read in between.
TEST(Fuse, NoUpdateMovesInFrontOfAReader) {
  Program p;
  p.target = ir::kCuda;
  p.accept = accept_printed;
  Graph& g = p.graph;
  const Dims s = {64};
  V x = g.arg(DType::f32, s), part = g.arg(DType::f32, {1}), at = g.arg(DType::s32, {});
  V other = barrier(g, g.same(OpId::exponential, {g.arg(DType::f32, {48})}));
  V read = barrier(g, x);
  V updated = g.op(OpId::dynamic_update_slice, {x, g.same(OpId::negate, {part}), at}, x->type);
  g.ret({other, read, updated});
  ASSERT_TRUE(p.fuse().ok());
  EXPECT_EQ(2, count(p.body()).fusions) << print(p.module) << p.dump;
}

TEST(Fuse, FusedProgramsComputeTheSame) {
  int fused = 0;
  for (uint32_t seed = 0; seed < 600; ++seed) {
    Program p;
    if (seed % 2) p.options.min_recomputed_bytes = 0;
    if (seed % 4 < 2) p.target = ir::kCuda;  // where fusions are merged
    std::mt19937 rng(seed);
    grow(p.graph, rng);
    std::vector<Buffer> inputs;
    for (int i = 0; i < p.graph.region.arg_count(); ++i) {
      Buffer b(static_cast<size_t>(p.graph.region.arg(i)->type.byte_count()));
      for (size_t n = 0; n < b.size(); n += 4) {
        const float v = static_cast<float>(rng() % 1000) / 250 - 2;
        std::memcpy(&b[n], &v, 4);
      }
      inputs.push_back(b);
    }
    const auto want = run_reference(p.graph.region, inputs);
    ASSERT_TRUE(p.fuse().ok());
    const Status verified = verify(p.module);
    ASSERT_TRUE(verified.ok()) << const_cast<Status&>(verified).error().text;
    fused += count(p.body()).fusions;
    for (const ir::Op* op : p.body()) {
      if (op->id == OpId::fusion) check_kernel(*op, rng);
    }
    if (HasFatalFailure()) FAIL() << "seed " << seed;
    std::vector<Buffer> have;
    ASSERT_NO_THROW(have = run_reference(p.body(), inputs)) << seed << print(p.module);
    ASSERT_EQ(want, have) << "seed " << seed << print(p.module);
  }
  EXPECT_GT(fused, 600);
}

}  // namespace
}  // namespace jaxmps::test
