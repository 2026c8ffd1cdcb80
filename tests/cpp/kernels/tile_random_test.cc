// Random fusions through the tile machine, against the same ops run one by one.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/threads.h"
#include "kernels/cpu/vec.h"
#include "kernels/support.h"
#include "passes/fuse.h"
#include "support/graph.h"
#include "support/random_fusion.h"

namespace jaxmps::test {
namespace {

using cpu::TileKernel;

// What a small kernel consists of gives the same bits as the kernel.
void expect_calls(const TileKernel& kernel, const std::vector<Buffer>& inputs,
                  const std::vector<Buffer>& want, const std::string& what) {
  auto calls = kernel.calls();
  if (!calls) return;
  std::vector<Buffer> have;
  for (const Buffer& b : want) have.emplace_back(b.size(), 0xee);
  // As words, so that it is aligned for every type.
  std::vector<uint64_t> memory(static_cast<size_t>(calls->memory_bytes) / 8 + 1, ~0ull);
  using In = cpu::TilePlace::In;
  auto address = [&](cpu::TilePlace& place) -> char* {
    const auto index = static_cast<size_t>(place.index);
    switch (place.in) {
      case In::nothing:
        return nullptr;
      case In::input:
        return reinterpret_cast<char*>(const_cast<uint8_t*>(inputs[index].data())) + place.offset;
      case In::output:
        return reinterpret_cast<char*>(have[index].data()) + place.offset;
      case In::memory:
        return reinterpret_cast<char*>(memory.data()) + place.offset;
      case In::constant:
        break;
    }
    return reinterpret_cast<char*>(&place.bits);
  };
  for (cpu::TileCall& call : calls->calls) {
    call.fn(address(call.dst), address(call.a), address(call.b), address(call.c), call.n, call.imm);
  }
  EXPECT_EQ(want, have) << what;
}

std::vector<Buffer> run_checked(const kernels::Fusion& f, const std::vector<Buffer>& inputs,
                                const cpu::VecTable* table = nullptr) {
  auto kernel = cpu::compile_tile(f, table);
  if (!kernel.ok()) {
    ADD_FAILURE() << kernel.error().text << print(f);
    return {};
  }
  std::vector<Buffer> results = run(*kernel, f, inputs);
  expect_calls(*kernel, inputs, results, print(f));
  return results;
}

void check(Graph& g, uint32_t seed, double tolerance = 1e-5) {
  std::mt19937 rng(seed);
  std::vector<Buffer> inputs;
  for (int i = 0; i < g.region.arg_count(); ++i)
    inputs.push_back(random_buffer(g.region.arg(i)->type, rng));
  auto fusion = kernels::build_fusion(g.region);
  ASSERT_TRUE(fusion.ok()) << fusion.error().text;
  const auto want = run_reference(g.region, inputs);
  for (const char* isa : {"base", "avx2", "avx512"}) {
    const cpu::VecTable* table = cpu::vec_table(isa);
    if (!table) continue;
    const auto have = run_checked(*fusion, inputs, table);
    ASSERT_EQ(want.size(), have.size());
    for (size_t o = 0; o < want.size(); ++o) {
      expect_equal(fusion->outputs[o].type, want[o], have[o], tolerance,
                   std::string(isa) + " seed " + std::to_string(seed) + "\n" + print(*fusion));
    }
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(TileRandom, LoopsMatchTheOpsOneByOne) {
  int built = 0;
  for (uint32_t seed = 0; seed < 400; ++seed) {
    Graph g;
    const DType t = random_loop(&g, seed);
    // Bounds across a merged axis are the one thing that a fusion may decline.
    if (!kernels::build_fusion(g.region).ok()) continue;
    ++built;
    check(g, seed, t == DType::bf16 ? 2e-2 : 1e-4);
    if (HasFailure()) return;
  }
  EXPECT_GT(built, 350);
}

TEST(TileRandom, ReductionsMatchTheOpsOneByOne) {
  for (uint32_t seed = 0; seed < 150; ++seed) {
    Graph g;
    random_reduction(&g, seed);
    if (auto f = kernels::build_fusion(g.region); !f.ok()) continue;
    check(g, seed, 1e-3);
    if (HasFailure()) return;
  }
}

TEST(Tile, ResultsDoNotDependOnTheNumberOfThreads) {
  Graph g;
  V x = g.arg(DType::f32, {3, 400000});
  V zero = g.splat(DType::f32, {}, 0.0f);
  V s = g.reduce(OpId::add, x, zero, {1});
  g.ret({s,
         g.same(OpId::divide, {g.same(OpId::exponential, {x}), g.broadcast(s, {3, 400000}, {0})}),
         g.reduce(OpId::add, g.same(OpId::tanh, {x}), zero, {1})});
  auto f = kernels::build_fusion(g.region);
  ASSERT_TRUE(f.ok());
  std::mt19937 rng(1);
  const std::vector<Buffer> inputs = {random_buffer(x->type, rng)};
  cpu::set_thread_count(1);
  const auto one = run_checked(*f, inputs);
  for (int threads : {2, 3, 7}) {
    cpu::set_thread_count(threads);
    EXPECT_EQ(one, run_checked(*f, inputs)) << threads;
  }
  cpu::set_thread_count(0);
}

TEST(Tile, AnOperandOfAnotherShapeIsRefused) {
  for (const bool narrower : {false, true}) {
    const Type wide(DType::f32, {4}), narrow(DType::u8, {4, 4});
    Graph g;
    V x = narrower ? g.arg(DType::f32, {4}) : g.arg(DType::u8, {4, 4});
    g.ret({g.op(OpId::bitcast_convert, {x}, narrower ? narrow : wide)});
    const auto fusion = kernels::build_fusion(g.region);
    ASSERT_FALSE(fusion.ok());
    EXPECT_NE(fusion.error().text.find("another shape"), std::string::npos) << fusion.error().text;
  }
}

TEST(Tile, AnOutputMayOverwriteAnInputReadAtTheSameElement) {
  // m' = a m + g, p' = p - m' / (1 + |m|): m is still read when m' exists.
  const int64_t n = 10000;
  Graph g;
  V m = g.arg(DType::f32, {n}), grad = g.arg(DType::f32, {n}), p = g.arg(DType::f32, {n});
  V m2 = g.same(OpId::add, {g.same(OpId::multiply, {m, g.splat(DType::f32, {n}, 0.9f)}), grad});
  V d = g.same(OpId::add, {g.same(OpId::abs, {m}), g.splat(DType::f32, {n}, 1.0f)});
  V p2 = g.same(OpId::subtract, {p, g.same(OpId::divide, {m2, d})});
  g.ret({m2, p2});
  auto f = kernels::build_fusion(g.region);
  ASSERT_TRUE(f.ok());
  auto kernel = cpu::compile_tile(*f);
  ASSERT_TRUE(kernel.ok());
  std::mt19937 rng(2);
  std::vector<Buffer> in;
  for (V v : {m, grad, p}) in.push_back(random_buffer(v->type, rng));
  const auto want = run_checked(*f, in);
  ASSERT_TRUE(kernel->may_alias(0, 0));
  ASSERT_TRUE(kernel->may_alias(2, 1));
  const void* inputs[] = {in[0].data(), in[1].data(), in[2].data()};
  void* outputs[] = {in[0].data(), in[2].data()};
  kernel->run(inputs, outputs);
  EXPECT_EQ(want[0], in[0]);
  EXPECT_EQ(want[1], in[2]);
}

// Long rows by one index each, with indices before and behind the array, on one thread and several.
TEST(Tile, RowsAreReadWhereTheyLie) {
  Graph g;
  V x = g.arg(DType::f32, {70, 600}), i = g.arg(DType::s32, {1000});
  V rows = g.take(x, g.same(OpId::subtract, {i, g.splat(DType::s32, {1000}, 60)}), 0);
  g.ret({g.same(OpId::add, {rows, g.arg(DType::f32, {1000, 600})})});
  check(g, 3);
  Graph h;  // what is computed for many rows at once, under a reduction
  V y = h.arg(DType::f32, {70, 100}), k = h.arg(DType::s64, {200});
  V scaled = h.same(OpId::multiply,
                    {h.take(y, k, 0), h.broadcast(h.arg(DType::f32, {200}), {200, 100}, {0})});
  V sum = h.reduce(OpId::add, scaled, h.splat(DType::f32, {}, 0.0f), {1});
  h.ret({sum, h.same(OpId::divide, {scaled, h.broadcast(sum, {200, 100}, {0})})});
  check(h, 4, 1e-3);
}

TEST(Tile, GatheredInputsAreNotOverwritten) {
  Graph g;
  V x = g.arg(DType::f32, {3000}), i = g.arg(DType::s32, {3000}), y = g.arg(DType::f32, {3000});
  g.ret({g.same(OpId::add, {g.take(x, i, 0), y})});
  auto f = kernels::build_fusion(g.region);
  ASSERT_TRUE(f.ok());
  auto kernel = cpu::compile_tile(*f);
  ASSERT_TRUE(kernel.ok());
  EXPECT_FALSE(kernel->may_alias(0, 0));
  EXPECT_TRUE(kernel->may_alias(1, 0));  // the indices are read at the same element
  EXPECT_TRUE(kernel->may_alias(2, 0));
  std::mt19937 rng(5);
  std::vector<Buffer> in;
  for (V v : {x, i, y}) in.push_back(random_buffer(v->type, rng));
  const auto want = run_checked(*f, in);
  const void* inputs[] = {in[0].data(), in[1].data(), in[2].data()};
  void* outputs[] = {in[1].data()};
  kernel->run(inputs, outputs);
  EXPECT_EQ(want[0], in[1]);
}

TEST(Tile, ReversedInputsAreNotOverwritten) {
  Graph g;
  V x = g.arg(DType::f32, {3000});
  g.ret({g.op(OpId::reverse, {x}, x->type, {{"dimensions", ir::Attr(ir::Ints{0})}})});
  auto f = kernels::build_fusion(g.region);
  ASSERT_TRUE(f.ok());
  EXPECT_FALSE(cpu::compile_tile(*f)->may_alias(0, 0));
}

TEST(Tile, EmptyArrays) {
  Graph g;
  V x = g.arg(DType::f32, {0, 5});
  g.ret({g.reduce(OpId::add, g.same(OpId::tanh, {x}), g.arg(DType::f32, {}), {0})});
  auto f = kernels::build_fusion(g.region);
  ASSERT_TRUE(f.ok());
  const float init = 2;
  Buffer b(4);
  std::memcpy(b.data(), &init, 4);
  const auto out = run_checked(*f, {{}, b});
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(0, std::memcmp(&out[0][static_cast<size_t>(i) * 4], &init, 4));
}

}  // namespace
}  // namespace jaxmps::test
