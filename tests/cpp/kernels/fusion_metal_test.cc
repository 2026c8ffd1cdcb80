// The Metal text of fusions, compiled and run on the CPU, against the tile machine: bit for bit,
// but for reductions, which are ordered differently, and functions, which have their ulps.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "kernels/metal_fusions.h"
#include "support/opcodes.h"
#include "support/random_fusion.h"

namespace jaxmps::test {
namespace {

TEST(FusionMetal, LoopsAreTheTileMachinesBitForBit) {
  MetalProgram program;
  for (uint32_t seed = 0; seed < 120; ++seed) {
    Graph g;
    random_loop(&g, seed, false);
    program.add(g, 0, "seed " + std::to_string(seed));
  }
  EXPECT_GT(program.fusions.size(), 90u);
  check(program, true);
}

TEST(FusionMetal, ReductionsAreTheTileMachines) {
  MetalProgram program;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    Graph g;
    random_reduction(&g, seed);
    program.add(g, 1e-3, "seed " + std::to_string(seed));
  }
  EXPECT_GT(program.fusions.size(), 30u);
  check(program, true);
}

// Rows and columns with two sums, the second of what is left of the first, and everything returned:
// kept in registers and walked again, more and fewer columns than are read at once.
TEST(FusionMetal, RowsAndColumnsThatAreReadAgainAreTheTileMachines) {
  const std::pair<Dims, std::vector<int64_t>> kShapes[] = {
      {{100, 64}, {0}},    {{5000, 3}, {0}},      {{4, 40, 50, 24}, {0, 1, 2}},
      {{3, 2100, 5}, {1}}, {{6, 40, 33}, {0, 2}}, {{5, 8000}, {1}},
      {{300, 7}, {1}},     {{1100}, {0}},         {{2, 600, 1, 40}, {1}},
      {{8192, 9}, {0}},
  };
  MetalProgram program;
  for (const auto& [dims, reduced] : kShapes) {
    Graph g;
    V x = g.arg(DType::f32, dims), zero = g.splat(DType::f32, {}, 0.0f);
    std::vector<int64_t> kept;
    for (int64_t d = 0; d < static_cast<int64_t>(dims.size()); ++d) {
      if (std::find(reduced.begin(), reduced.end(), d) == reduced.end()) kept.push_back(d);
    }
    V most = g.reduce(OpId::maximum, x, zero, reduced);
    V left = g.same(OpId::subtract, {x, g.broadcast(most, dims, kept)});
    V sum = g.reduce(OpId::add, g.same(OpId::abs, {left}), zero, reduced);
    V part = g.same(OpId::divide, {left, g.broadcast(sum, dims, kept)});
    g.ret({part, sum, most, left});
    EXPECT_TRUE(program.add(g, 1e-4, str(dims)));
    EXPECT_EQ(1u, program.fusions.back().kernels.kernels.size());
  }
  check(program, true);
}

// Products by vectors whose rows or columns normalise the vector each for itself.
TEST(FusionMetal, VectorsThatAreReducedOnTheWayAreTheTileMachines) {
  struct Product {
    Dims matrix;
    std::vector<int64_t> vector, reduced;  // its dimensions in the matrix, and those contracted
  };
  const Product kProducts[] = {{{300, 70}, {0}, {0}},       {{70, 300}, {1}, {1}},
                               {{4, 300, 24}, {0, 1}, {1}}, {{3, 20, 15, 33}, {0, 1, 2}, {1, 2}},
                               {{8000, 9}, {0}, {0}},       {{3, 5, 1030}, {0, 2}, {2}}};
  MetalProgram program;
  for (const Product& p : kProducts) {
    Graph g;
    Dims dims;
    std::vector<int64_t> reduced, kept;
    for (size_t d = 0; d < p.vector.size(); ++d) {
      dims.push_back(p.matrix[static_cast<size_t>(p.vector[d])]);
      const auto at = static_cast<int64_t>(d);
      const bool is_reduced =
          std::find(p.reduced.begin(), p.reduced.end(), p.vector[d]) != p.reduced.end();
      (is_reduced ? reduced : kept).push_back(at);
    }
    V x = g.arg(DType::f32, dims), matrix = g.arg(DType::f32, p.matrix);
    V zero = g.splat(DType::f32, {}, 0.0f);
    V most = g.broadcast(g.reduce(OpId::maximum, x, zero, reduced), dims, kept);
    V e = g.same(OpId::exponential, {g.same(OpId::subtract, {x, most})});
    V sum = g.broadcast(g.reduce(OpId::add, e, zero, reduced), dims, kept);
    V weights = g.broadcast(g.same(OpId::divide, {e, sum}), p.matrix, p.vector);
    g.ret({g.reduce(OpId::add, g.same(OpId::multiply, {weights, matrix}), zero, p.reduced)});
    EXPECT_TRUE(program.add(g, 1e-4, str(p.matrix)));
  }
  check(program, true);
}

// Single numbers beside loops, rows, columns and pieces.
TEST(FusionMetal, SingleNumbersAreStoredOnce) {
  const std::pair<Dims, std::vector<int64_t>> kShapes[] = {
      {{70, 64}, {}}, {{100, 64}, {0}}, {{5000, 3}, {0}}, {{5, 800}, {1}}, {{9000, 20}, {0}}};
  MetalProgram program;
  for (const auto& [dims, reduced] : kShapes) {
    Graph g;
    V x = g.arg(DType::f32, dims), number = g.arg(DType::f32, {}), one = g.splat(DType::f32, {}, 1);
    V y = reduced.empty() ? g.same(OpId::negate, {x})
                          : g.reduce(OpId::maximum, x, g.splat(DType::f32, {}, 0), reduced);
    g.ret({y, g.same(OpId::add, {number, one})});
    EXPECT_TRUE(program.add(g, 1e-6, str(dims)));
  }
  check(program, true);
}

// --- every function of every type ---------------------------------------------------------------

constexpr int64_t kCount = 4096;

// All bit patterns alike.
Buffer any_bits(const Type& type, std::mt19937& rng) {
  Buffer b(static_cast<size_t>(type.byte_count()));
  for (uint8_t& byte : b) byte = static_cast<uint8_t>(rng());
  const bool is_int = type.dtype == DType::pred || ir::is_int(type.dtype);
  const int drop = 8 - (is_int ? std::min(8, ir::bit_width(type.dtype)) : 8);
  for (uint8_t& byte : b) {
    byte = ir::is_signed_int(type.dtype)
               ? static_cast<uint8_t>(static_cast<int8_t>(byte << drop) >> drop)
               : static_cast<uint8_t>(byte & (0xff >> drop));
  }
  return b;
}

// Of 32-bit words also numbers around 1, and each with small ones beside it.
Buffer mixed(const Type& type, std::mt19937& rng) {
  Buffer b = any_bits(type, rng);
  const size_t size = static_cast<size_t>(ir::byte_size(type.dtype));
  std::normal_distribution<float> normal(0, 3);
  for (size_t n = 0; n < b.size(); n += 2 * size) {
    if (type.dtype == DType::f32) {
      const float v = normal(rng);
      std::memcpy(&b[n], &v, size);
    } else if (ir::is_int(type.dtype)) {
      std::fill(&b[n], &b[n] + size, uint8_t{0});
      b[n] = static_cast<uint8_t>(rng() % (ir::bit_width(type.dtype) < 8 ? 2 : 70));
    }
  }
  return b;
}

// Fusions of at most eight results, one for each op of `ops` that the type has.
void add_ops(MetalProgram* program, DType t, const std::vector<std::pair<OpId, int>>& ops,
             double tolerance = 0) {
  for (size_t first = 0; first < ops.size(); first += 8) {
    Graph g;
    V x = g.arg(t, {kCount}), y = g.arg(t, {kCount});
    std::vector<V> results;
    for (size_t k = first; k < std::min(first + 8, ops.size()); ++k) {
      const auto [id, operands] = ops[k];
      results.push_back(g.same(id, operands == 1 ? std::vector<V>{x} : std::vector<V>{x, y}));
    }
    g.ret(results);
    EXPECT_TRUE(program->add(g, tolerance, std::string(ir::name(t))));
  }
}

std::vector<std::pair<OpId, int>> ops_of(DType t, bool exact) {
  std::vector<std::pair<OpId, int>> ops;
  auto add = [&](OpId id, kernels::Opcode op) {
    Graph g;
    V x = g.arg(t, {});
    using kernels::OpClass;
    const OpClass c = kernels::class_of(op);
    const int operands = testing::operand_count(op);
    const ir::Op& one = *g.same(id, std::vector<V>(static_cast<size_t>(operands), x))->op();
    // Rounding once gives the same bits everywhere.
    const bool of_bits =
        c == OpClass::bits_unary || c == OpClass::bits_binary || c == OpClass::int_binary;
    const bool of_reals =
        c == OpClass::real_unary || c == OpClass::trig_unary || c == OpClass::real_binary;
    if (t == DType::f32 ? of_bits : of_reals) return;
    const bool is_exact = t != DType::f32 || kernels::info(op).ulps <= 0.5;
    if (scalar::has_scalar_program(one) && is_exact == exact && id != OpId::is_finite)
      ops.emplace_back(id, operands);
  };
#define SCALAR_OP(opcode, class, id, ...) add(OpId::id, kernels::Opcode::opcode);
#include "ir/scalar_ops.def"
  return ops;
}

TEST(FusionMetal, ExactOpsOfEveryTypeAreTheTileMachinesBitForBit) {
  MetalProgram program;
  for (DType t :
       {DType::pred, DType::s2, DType::s4, DType::s8, DType::s16, DType::s32, DType::s64, DType::u2,
        DType::u4, DType::u8, DType::u16, DType::u32, DType::u64, DType::f32}) {
    add_ops(&program, t, ops_of(t, true));
  }
  check(program, false, mixed);
}

TEST(FusionMetal, ConversionsAreTheTileMachinesBitForBit) {
  constexpr DType kTypes[] = {
      DType::pred,       DType::s4,         DType::s8,      DType::s32,      DType::s64,
      DType::u2,         DType::u16,        DType::u32,     DType::u64,      DType::f16,
      DType::bf16,       DType::f32,        DType::f8e5m2,  DType::f8e4m3fn, DType::f8e4m3b11fnuz,
      DType::f8e5m2fnuz, DType::f8e4m3fnuz, DType::f8e4m3,  DType::f8e3m4,   DType::f8e8m0fnu,
      DType::f4e2m1fn,   DType::f6e2m3fn,   DType::f6e3m2fn};
  MetalProgram program;
  for (DType from : kTypes) {
    for (size_t first = 0; first < std::size(kTypes); first += 8) {
      Graph g;
      V x = g.arg(from, {kCount});
      std::vector<V> results;
      for (size_t k = first; k < std::min(first + 8, std::size(kTypes)); ++k)
        results.push_back(g.convert(x, kTypes[k] == from ? DType::f32 : kTypes[k]));
      g.ret(results);
      EXPECT_TRUE(program.add(g, 0, std::string(ir::name(from))));
    }
  }
  check(program, false, mixed);
}

// Parts of the given sizes, of either sign.
std::function<Buffer(const Type&, std::mt19937&)> parts_of(std::vector<float> sizes) {
  return [sizes](const Type& type, std::mt19937& rng) {
    Buffer b(static_cast<size_t>(type.byte_count()));
    for (size_t n = 0; n < b.size(); n += sizeof(float)) {
      const float size = sizes[rng() % sizes.size()], part = rng() % 2 ? size : -size;
      std::memcpy(&b[n], &part, sizeof part);
    }
    return b;
  };
}

TEST(FusionMetal, ComplexFunctionsAreTheTileMachines) {
  MetalProgram program, powers;
  add_ops(&program, DType::c64,
          {{OpId::add, 2},
           {OpId::subtract, 2},
           {OpId::multiply, 2},
           {OpId::divide, 2},
           {OpId::exponential, 1},
           {OpId::log, 1},
           {OpId::log_plus_one, 1},
           {OpId::sqrt, 1},
           {OpId::rsqrt, 1},
           {OpId::tanh, 1},
           {OpId::tan, 1},
           {OpId::sine, 1},
           {OpId::cosine, 1},
           {OpId::logistic, 1},
           {OpId::sign, 1},
           {OpId::exponential_minus_one, 1}},
          1e-4);
  add_ops(&powers, DType::c64, {{OpId::power, 2}, {OpId::atan2, 2}}, 1e-4);
  check(program, false);
  check(program, false, parts_of({0, 1e-30F, 1e-5F, 0.3F, 1, 30, 89, 1e20F, INFINITY, NAN}));
  check(powers, false);
  // Where angles have digits.
  check(powers, false, parts_of({0, 0.3F, 1, 2, INFINITY, NAN}));
}

double ulps_between(float have, double want) {
  if (std::isnan(want)) return std::isnan(have) ? 0 : 1e9;
  const float rounded = static_cast<float>(want);
  if (have == rounded) return 0;
  if (!std::isfinite(have) || !std::isfinite(rounded))
    return std::fabs(want) > 3.4028e38 && std::fabs(have) > 3.4028e38f ? 1 : 1e9;
  int exponent = 0;
  std::frexp(want, &exponent);
  return std::fabs(have - want) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

// Numbers that Apple's GPUs do not tell from zero.
bool is_denormal(double v) { return v != 0 && std::fabs(v) < 0x1p-126; }

// Float64 is the measure.
void expect_ulps(const PrintedFusion& p, const std::vector<Buffer>& inputs,
                 const std::vector<Buffer>& have, const std::pair<OpId, int>* ops, bool flushes) {
  for (const Buffer& result : have) {
    const auto [id, operands] = *ops++;
    const kernels::Opcode op = *kernels::opcode_of(id);
    for (size_t n = 0; n < kCount; ++n) {
      const double x = as_double(DType::f32, &inputs[0][4 * n]);
      const double y = operands == 2 ? as_double(DType::f32, &inputs[1][4 * n]) : 0;
      const double want = std::bit_cast<double>(
          kernels::evaluate({op, DType::f64}, DType::f64, std::bit_cast<uint64_t>(x),
                            std::bit_cast<uint64_t>(y), 0, 0));
      if (flushes && (is_denormal(x) || is_denormal(y) || is_denormal(want))) continue;
      const float r = static_cast<float>(as_double(DType::f32, &result[4 * n]));
      // What a sum loses that is no number of its own.
      if (flushes && std::fabs(r - want) < 0x1p-126) continue;
      ASSERT_LE(ulps_between(r, want), kernels::info(op).ulps + 0.01)
          << p.what << " " << kernels::name(op) << " of " << x << " and " << y << " gives " << r
          << ", exact " << want << (flushes ? ", without denormals" : "");
    }
  }
}

TEST(FusionMetal, FunctionsAreWithinTheirUlps) {
  if (std::string why = metal::why_unavailable(); !why.empty()) GTEST_SKIP() << why;
  MetalProgram program;
  const auto ops = ops_of(DType::f32, false);
  ASSERT_GT(ops.size(), 20u);
  add_ops(&program, DType::f32, ops);
  for (bool flushes : {false, true}) {
    auto library = metal::Library::compile(program.text(), {false, flushes});
    ASSERT_TRUE(library.ok()) << library.error().text;
    std::mt19937 rng(7);
    for (int round = 0; round < 30; ++round) {
      const std::pair<OpId, int>* next = ops.data();
      for (const PrintedFusion& p : program.fusions) {
        std::vector<Buffer> inputs;
        for (const Type& type : p.fusion.inputs) inputs.push_back(mixed(type, rng));
        const auto have = run_metal(**library, p, inputs);
        expect_ulps(p, inputs, have, next, flushes);
        if (HasFatalFailure()) return;
        next += have.size();
      }
    }
  }
}

// --- what Metal has not -------------------------------------------------------------------------

TEST(FusionMetal, LimitsHoldByConstruction) {
  auto refusal = [](const Graph& g) {
    auto fusion = fusion::build_fusion(g.region, false);
    EXPECT_TRUE(fusion.ok());
    auto printed = kernels::print_gpu(*fusion, kernels::metal_dialect());
    return printed.ok() ? "printed" : printed.error().text;
  };
  Graph wide;
  V x = wide.arg(DType::f64, {100});
  wide.ret({wide.same(OpId::add, {x, x})});
  EXPECT_EQ("a GPU kernel of float64", refusal(wide));
  Graph many;
  V sum = many.arg(DType::f32, {100});
  for (int k = 0; k < 31; ++k) sum = many.same(OpId::add, {sum, many.arg(DType::f32, {100})});
  many.ret({sum});
  EXPECT_EQ("a metal kernel of 33 buffers", refusal(many));
  Graph shared;
  V y = shared.arg(DType::s64, {100000, 3}), zero = shared.splat(DType::s64, {}, int64_t{0});
  std::vector<V> sums;
  for (int k = 0; k < 20; ++k) {
    V term = shared.same(OpId::multiply, {y, shared.splat(DType::s64, {100000, 3}, int64_t{k})});
    sums.push_back(shared.reduce(OpId::add, term, zero, {0}));
  }
  shared.ret(sums);
  EXPECT_EQ("a metal kernel with 40960 bytes of shared memory", refusal(shared));
}

TEST(FusionMetal, RowsAndLongReductions) {
  MetalProgram program;
  for (int64_t length : {7, 32, 100, 1000, 8192}) {
    Graph g;
    V x = g.arg(DType::f32, {50, length});
    V top = g.reduce(OpId::maximum, x, g.splat(DType::f32, {}, -1e30f), {1});
    V e = g.same(OpId::exponential,
                 {g.same(OpId::subtract, {x, g.broadcast(top, {50, length}, {0})})});
    V sum = g.reduce(OpId::add, e, g.splat(DType::f32, {}, 0.0f), {1});
    g.ret({g.same(OpId::divide, {e, g.broadcast(sum, {50, length}, {0})})});
    EXPECT_TRUE(program.add(g, 1e-5, "softmax"));
  }
  for (const auto& [dims, reduced] :
       std::vector<std::pair<Dims, ir::Ints>>{{{64, 8, 8, 100}, {0, 1, 2}},
                                              {{20, 100}, {0}},
                                              {{100000}, {0}},
                                              {{3, 5000, 3}, {1}},
                                              {{7, 20000}, {1}}}) {
    Graph g;
    V x = g.arg(DType::f32, dims);
    V doubled = g.same(OpId::add, {x, x});
    g.ret({g.reduce(OpId::add, doubled, g.splat(DType::f32, {}, 0.0f), reduced),
           g.reduce(OpId::maximum, doubled, g.splat(DType::f32, {}, -1e30f), reduced), doubled});
    EXPECT_TRUE(program.add(g, 1e-5, "sums"));
  }
  check(program, true);
}

TEST(FusionMetal, ThreefryIsTheTileMachines) {
  MetalProgram program;
  Graph g;
  V k = g.arg(DType::u32, {}), c = g.arg(DType::u32, {kCount});
  V key = g.broadcast(k, {kCount}, {});
  ir::Op* op = g.region.append(
      ir::Op::create(OpId::threefry2x32, std::vector{key, key, c, c},
                     std::vector{Type(DType::u32, {kCount}), Type(DType::u32, {kCount})}, {}));
  g.ret({op->result(0), op->result(1)});
  EXPECT_TRUE(program.add(g, 0, "threefry"));
  check(program, true, any_bits);
}

}  // namespace
}  // namespace jaxmps::test
