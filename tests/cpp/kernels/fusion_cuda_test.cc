// The CUDA text of fusions: what it says, and that nvcc (where there is one) compiles it.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "kernels/gpu.h"
#include "support/graph.h"

namespace jaxmps::test {
namespace {

using kernels::GpuFusion;
using kernels::GpuKernel;

void softmax(Graph& g, int64_t rows, int64_t length) {
  V x = g.arg(DType::f32, {rows, length});
  V low = g.splat(DType::f32, {}, -1e30f), zero = g.splat(DType::f32, {}, 0.0f);
  V top = g.broadcast(g.reduce(OpId::maximum, x, low, {1}), {rows, length}, {0});
  V e = g.same(OpId::exponential, {g.same(OpId::subtract, {x, top})});
  g.ret({g.same(OpId::divide,
                {e, g.broadcast(g.reduce(OpId::add, e, zero, {1}), {rows, length}, {0})})});
}

// The mean of every column, and the elements doubled.
void columns(Graph& g, Dims dims, ir::Ints reduced, bool with_elements) {
  V x = g.arg(DType::f32, dims), zero = g.splat(DType::f32, {}, 0.0f);
  V doubled = g.same(OpId::add, {x, x});
  V sum = g.reduce(OpId::add, doubled, zero, reduced);
  V top = g.reduce(OpId::maximum, doubled, g.splat(DType::f32, {}, -1e30f), reduced);
  std::vector<V> results = {g.same(OpId::divide, {sum, g.splat(DType::f32, sum->type.dims, 3.0f)}),
                            top};
  if (with_elements) results.push_back(doubled);
  g.ret(results);
}

// Rows less their mean; the sums of these over all rows, and a parameter that takes a step.
void centred(Graph& g, const Dims& s, DType t) {
  V x = g.convert(g.arg(t, s), DType::f32), p = g.arg(t, {s[1]});
  V zero = g.splat(DType::f32, {}, 0.0f);
  V mean = g.same(OpId::divide, {g.reduce(OpId::add, x, zero, {1}),
                                 g.splat(DType::f32, {s[0]}, static_cast<float>(s[1]))});
  V left = g.same(OpId::subtract, {x, g.broadcast(mean, s, {0})});
  V total = g.reduce(OpId::add, left, zero, {0});
  V step = g.same(OpId::subtract, {g.convert(p, DType::f32), total});
  g.ret({g.convert(left, t), total, g.convert(step, t)});
}

GpuFusion print(Graph& g) {
  auto fusion = kernels::build_fusion(g.region, false);
  EXPECT_TRUE(fusion.ok());
  auto kernel = kernels::print_gpu(*fusion, kernels::cuda_dialect());
  EXPECT_TRUE(kernel.ok()) << kernel.error().text;
  return kernel.ok() ? *kernel : GpuFusion{};
}

GpuKernel text_of(Graph& g) {
  GpuFusion fusion = print(g);
  EXPECT_EQ(1u, fusion.kernels.size());
  return fusion.kernels.empty() ? GpuKernel{} : fusion.kernels[0];
}

// A loop over a value of this type through every op that the type has.
GpuKernel all_ops(DType t) {
  Graph g;
  const Dims s = {100, 30};
  V x = g.arg(t, s), y = g.arg(t, s);
  std::vector<OpId> unary,
      binary = {OpId::add, OpId::subtract, OpId::multiply, OpId::divide, OpId::power};
  if (ir::is_int(t)) {
    unary = {OpId::negate, OpId::abs,    OpId::sign,
             OpId::not_,   OpId::popcnt, OpId::count_leading_zeros};
    binary.insert(binary.end(), {OpId::and_, OpId::or_, OpId::xor_, OpId::shift_left,
                                 OpId::shift_right_arithmetic, OpId::shift_right_logical,
                                 OpId::remainder, OpId::maximum, OpId::minimum});
  } else {
    unary = {OpId::negate, OpId::exponential,  OpId::exponential_minus_one,
             OpId::log,    OpId::log_plus_one, OpId::logistic,
             OpId::tanh,   OpId::sine,         OpId::cosine,
             OpId::tan,    OpId::sqrt,         OpId::rsqrt,
             OpId::sign};
    if (!ir::is_complex(t)) {
      unary.insert(unary.end(), {OpId::abs, OpId::cbrt, OpId::ceil, OpId::floor,
                                 OpId::round_nearest_afz, OpId::round_nearest_even, OpId::erf,
                                 OpId::erfc, OpId::erf_inv, OpId::acos, OpId::acosh, OpId::asin,
                                 OpId::asinh, OpId::atan, OpId::atanh, OpId::cosh, OpId::sinh});
      binary.insert(binary.end(), {OpId::maximum, OpId::minimum, OpId::remainder, OpId::atan2});
    }
  }
  V r = x;
  for (OpId op : unary) r = g.same(OpId::add, {g.same(op, {x}), r});
  for (OpId op : binary) r = g.same(OpId::add, {g.same(op, {x, y}), r});
  std::vector<V> results = {r};
  if (!ir::is_complex(t)) {
    for (DType to : {DType::s8, DType::u64, DType::f32, DType::bf16, DType::pred})
      results.push_back(g.convert(r, to));
    results.push_back(g.compare(x, y, ir::CompareDirection::lt, ir::CompareType::total_order));
  }
  g.ret(results);
  return text_of(g);
}

std::vector<GpuKernel> kernels_to_compile() {
  std::vector<GpuKernel> all;
  for (DType t : {DType::s4, DType::s8, DType::s16, DType::s32, DType::s64, DType::u8, DType::u16,
                  DType::u32, DType::u64, DType::f16, DType::bf16, DType::f32, DType::c64}) {
    all.push_back(all_ops(t));
  }
  Graph narrow;
  V wide = narrow.arg(DType::f32, {100});
  std::vector<V> results;
  for (DType t : {DType::f8e5m2, DType::f8e4m3fn, DType::f8e8m0fnu, DType::f8e4m3b11fnuz,
                  DType::f6e2m3fn, DType::f4e2m1fn}) {
    results.push_back(narrow.convert(wide, t));
    results.push_back(narrow.convert(narrow.arg(t, {100}), DType::f32));
  }
  narrow.ret(results);
  all.push_back(text_of(narrow));
  for (int64_t length : {7, 32, 100, 1000, 8192}) {
    Graph g;
    softmax(g, 50, length);
    all.push_back(text_of(g));
  }
  Graph g;  // index maps and bounds
  V x = g.arg(DType::f32, {64, 33}), zero = g.splat(DType::f32, {}, 0.5f);
  V p = g.op(OpId::pad, {g.transpose(x, {1, 0}), zero}, Type(DType::f32, {36, 64}),
             {{"edge_padding_high", ir::Attr(ir::Ints{1, 0})},
              {"edge_padding_low", ir::Attr(ir::Ints{2, 0})},
              {"interior_padding", ir::Attr(ir::Ints{0, 0})}});
  V i =
      g.op(OpId::iota, {}, Type(DType::s32, {36, 64}), {{"iota_dimension", ir::Attr(int64_t{1})}});
  g.ret({g.same(OpId::multiply, {p, g.convert(i, DType::f32)})});
  all.push_back(text_of(g));
  Graph e;  // an embedding, and one element of each row
  V table = e.arg(DType::c64, {300, 70}), tokens = e.arg(DType::s64, {50});
  V sum = e.same(OpId::add, {e.take(table, tokens, 0), e.arg(DType::c64, {50, 70})});
  e.ret({sum, e.take(e.arg(DType::f32, {50, 900}), e.arg(DType::u8, {70}), 1)});
  all.push_back(text_of(e));
  struct Long {
    Dims dims;
    ir::Ints reduced;
  };
  for (const Long& l : {Long{{64, 32, 32, 100}, {0, 1, 2}}, Long{{20, 100}, {0}},
                        Long{{1000000}, {0}}, Long{{3, 50000, 3}, {1}}, Long{{7, 20000}, {1}}}) {
    Graph h;
    columns(h, l.dims, l.reduced, l.dims.size() > 2);
    for (GpuKernel& k : print(h).kernels) all.push_back(std::move(k));
  }
  for (const Dims& dims : {Dims{8192, 768}, Dims{64, 64}, Dims{1, 768}}) {
    Graph h;
    centred(h, dims, DType::bf16);
    all.push_back(text_of(h));
  }
  return all;
}

TEST(Cuda, TheTextOfAnElementwiseFusion) {
  Graph g;
  V x = g.arg(DType::f32, {1000});
  g.ret({g.same(OpId::multiply, {g.same(OpId::tanh, {x}), x})});
  const GpuKernel k = text_of(g);
  EXPECT_EQ(std::string::npos, k.source.find("#include"));
  EXPECT_NE(std::string::npos, k.source.find("tanh_of(v0)")) << k.source;
  EXPECT_NE(std::string::npos, k.source.find("if (place < 1000) out0[")) << k.source;
  EXPECT_EQ(4, k.blocks);
  EXPECT_EQ(k.source, text_of(g).source);
}

// Nothing keeps the loads of several elements from being in flight together.
TEST(Cuda, AThreadOfAWholeBlockHasNoBranches) {
  Graph g;
  V x = g.arg(DType::f32, {1 << 21});
  g.ret({g.same(OpId::multiply, {x, x})});
  const GpuKernel k = text_of(g);
  EXPECT_EQ(std::string::npos, k.source.find("place", k.source.find("KERNEL(mps"))) << k.source;
  EXPECT_EQ((1 << 21) / 1024, k.blocks);
}

TEST(Cuda, AGatherIsAnIndex) {
  Graph g;
  V indices = g.arg(DType::s32, {50});
  g.ret({g.same(OpId::sine, {g.take(g.arg(DType::f32, {300, 70}), indices, 0)})});
  const GpuKernel k = text_of(g);
  for (const char* text :
       {"const s32 v0 = in0[0 + i0];", "max_of<s32>(v0, v1)", "in1[0 + i1 + v6]"}) {
    EXPECT_NE(std::string::npos, k.source.find(text)) << text << "\n" << k.source;
  }
}

TEST(Cuda, ARowOfGatheredElementsIsReadOnce) {
  Graph g;
  V x = g.take(g.arg(DType::f32, {64, 5000}), g.arg(DType::s32, {1000}), 1);
  V sum = g.reduce(OpId::add, x, g.splat(DType::f32, {}, 0.0f), {1});
  g.ret({g.same(OpId::divide, {x, g.broadcast(sum, {64, 1000}, {0})})});
  const std::string source = text_of(g).source;
  const size_t first = source.find(" = in1[");
  ASSERT_NE(std::string::npos, first) << source;
  EXPECT_EQ(std::string::npos, source.find(" = in1[", first + 1)) << source;
}

TEST(Cuda, ARowIsReadOnce) {
  Graph g;
  softmax(g, 64, 1000);
  const GpuKernel k = text_of(g);
  size_t reads = 0;
  for (size_t at = k.source.find(" = in0["); at != std::string::npos;
       at = k.source.find(" = in0[", at + 1))
    ++reads;
  EXPECT_EQ(1u, reads) << k.source;
}

// More elements than a thread keeps are walked again, but not by a stage of results alone.
TEST(Cuda, ReadsAreCountedOncePerWalk) {
  const Dims dims = {4000, 64};
  const int64_t bytes = 4000 * 64 * sizeof(float);
  Graph sums, parts;
  V x = sums.arg(DType::f32, dims);
  sums.ret({sums.reduce(OpId::add, x, sums.splat(DType::f32, {}, 0.0f), {0})});
  EXPECT_EQ((std::vector<int64_t>{bytes}), text_of(sums).reads);
  V y = parts.arg(DType::f32, dims);
  V sum = parts.reduce(OpId::add, y, parts.splat(DType::f32, {}, 0.0f), {0});
  parts.ret({parts.same(OpId::divide, {y, parts.broadcast(sum, dims, {1})})});
  EXPECT_EQ((std::vector<int64_t>{2 * bytes}), text_of(parts).reads);
}

TEST(Cuda, LongColumnsAreTwoKernels) {
  Graph g;
  columns(g, {64, 32, 32, 100}, {0, 1, 2}, true);
  const GpuFusion f = print(g);
  ASSERT_EQ(2u, f.kernels.size());
  EXPECT_EQ((std::vector<int>{2}), f.kernels[0].outputs);
  EXPECT_EQ((std::vector<int>{0, 1}), f.kernels[1].outputs);
  EXPECT_TRUE(f.kernels[1].reads_scratch);
  EXPECT_GT(f.kernels[0].blocks, 100);
  // Two sums of each of 100 columns per piece.
  EXPECT_GE(f.kernels[0].scratch_bytes, 2 * 4 * 100 * (f.kernels[0].blocks / 4));
}

TEST(Cuda, ShortColumnsAreOneKernel) {
  Graph g;
  columns(g, {20, 100}, {0}, false);
  EXPECT_EQ(1u, print(g).kernels.size());
}

TEST(Cuda, LongColumnsThatAreReadAgainAreRefused) {
  for (const int64_t length : {8192, 8193}) {
    Graph g;
    V x = g.arg(DType::f32, {length, 64});
    V sum = g.reduce(OpId::add, x, g.splat(DType::f32, {}, 0.0f), {0});
    g.ret({g.same(OpId::subtract, {x, g.broadcast(sum, {length, 64}, {1})})});
    auto fusion = kernels::build_fusion(g.region, false);
    ASSERT_TRUE(fusion.ok());
    auto kernel = kernels::print_gpu(*fusion, kernels::cuda_dialect());
    ASSERT_EQ(length == 8192, kernel.ok());
    if (kernel.ok()) {
      EXPECT_EQ(1u, kernel->kernels.size());
    } else {
      EXPECT_EQ("a GPU reduction of 8193 elements that are read again with its result",
                kernel.error().text);
    }
  }
}

size_t occurrences(const std::string& text, std::string_view of) {
  size_t count = 0;
  for (size_t at = text.find(of); at != std::string::npos; at = text.find(of, at + 1)) ++count;
  return count;
}

TEST(Cuda, SumsOverAllRowsAreFoundByTheBlocksThatEndLast) {
  struct Shape {
    Dims dims;
    int64_t blocks;
    size_t last;  // how often it is asked who comes last
  };
  // Blocks of 512 threads; no more than 256 of them, and several teams of 16 are full.
  for (const auto& [dims, blocks, last] :
       {Shape{{8192, 768}, 256, 2}, Shape{{513, 769}, 144, 2}, Shape{{64, 64}, 2, 1},
        Shape{{8, 512}, 1, 0}, Shape{{1, 768}, 1, 0}, Shape{{2100, 8192}, 240, 2}}) {
    for (const DType t : {DType::f32, DType::bf16}) {
      Graph g;
      centred(g, dims, t);
      const GpuKernel k = text_of(g);
      const std::string text = k.source.substr(k.source.find("KERNEL(mps"));
      EXPECT_EQ(blocks, k.blocks) << text;
      EXPECT_EQ(512, k.threads);
      EXPECT_EQ(last, occurrences(text, "is_last(")) << text;
      EXPECT_EQ(last > 0, k.has_counters);
      EXPECT_EQ(blocks * ((dims[1] + 3) / 4 * 4) * 4, k.scratch_bytes);
      EXPECT_EQ(1u, occurrences(text, " = in0[")) << text;
      EXPECT_EQ((std::vector<int>{0, 1, 2}), k.outputs);
    }
  }
}

TEST(Cuda, OtherSumsOverAllRowsAreRefused) {
  const auto refusal = [](const Graph& g, const kernels::Dialect& dialect) {
    auto fusion = kernels::build_fusion(g.region, false);
    EXPECT_TRUE(fusion.ok()) << fusion.error().text;
    auto kernel = kernels::print_gpu(*fusion, dialect);
    return kernel.ok() ? "printed" : kernel.error().text;
  };
  for (const int64_t rows : {3000, 1000}) {  // too long for registers, and for so few rows
    const int64_t length = rows == 3000 ? 8193 : 4001;
    Graph g;
    centred(g, {rows, length}, DType::f32);
    EXPECT_EQ(str("a GPU kernel of sums over ", rows, " rows of ", length, " elements"),
              refusal(g, kernels::cuda_dialect()));
  }
  Graph metal;
  centred(metal, {50, 100}, DType::f32);
  EXPECT_EQ("sums over all rows beside those of rows in a metal kernel",
            refusal(metal, kernels::metal_dialect()));
  // One sum over all rows needs another.
  Graph twice;
  const Dims s = {50, 100};
  V x = twice.arg(DType::f32, s), zero = twice.splat(DType::f32, {}, 0.0f);
  V mean = twice.broadcast(twice.reduce(OpId::add, x, zero, {0}), s, {1});
  V left = twice.same(OpId::abs, {twice.same(OpId::subtract, {x, mean})});
  twice.ret({twice.reduce(OpId::add, x, zero, {1}), twice.reduce(OpId::add, left, zero, {0})});
  EXPECT_EQ("a GPU kernel of rows and their sums of which one needs the other",
            refusal(twice, kernels::cuda_dialect()));
  // One that goes into an array.
  Graph updated;
  V rows = updated.arg(DType::f32, s), into = updated.arg(DType::f32, {900});
  V at = updated.arg(DType::s32, {}), none = updated.splat(DType::f32, {}, 0.0f);
  V total = updated.reduce(OpId::add, rows, none, {0});
  updated.ret({updated.reduce(OpId::add, rows, none, {1}),
               updated.op(OpId::dynamic_update_slice, {into, total, at}, into->type)});
  EXPECT_EQ("a GPU kernel of sums over all rows that updates an array",
            refusal(updated, kernels::cuda_dialect()));
}

TEST(Cuda, NvccCompilesEveryOpOfEveryType) {
  std::string nvcc = "nvcc";
  if (std::system("nvcc --version > /dev/null 2>&1") != 0) {
    nvcc = "/usr/local/cuda/bin/nvcc";
    if (!std::filesystem::exists(nvcc)) GTEST_SKIP() << "no nvcc";
  }
  const auto folder =
      std::filesystem::temp_directory_path() / ("jaxmps_cuda_" + std::to_string(std::rand()));
  std::filesystem::create_directories(folder);
  std::ofstream file(folder / "all.cu");
  file << kernels::cuda_dialect().prelude;
  for (const GpuKernel& k : kernels_to_compile()) {
    ASSERT_EQ(0u, k.source.find(kernels::cuda_dialect().prelude));
    file << k.source.substr(kernels::cuda_dialect().prelude.size());
  }
  file.close();
  const std::string command = nvcc + " -arch=sm_90 -O1 -cubin -o " +
                              (folder / "all.cubin").string() + " " + (folder / "all.cu").string() +
                              " > " + (folder / "log").string() + " 2>&1";
  const int status = std::system(command.c_str());
  std::ifstream log(folder / "log");
  const std::string text((std::istreambuf_iterator<char>(log)), {});
  EXPECT_EQ(0, status) << text.substr(0, 5000);
  EXPECT_TRUE(std::filesystem::exists(folder / "all.cubin"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace jaxmps::test
