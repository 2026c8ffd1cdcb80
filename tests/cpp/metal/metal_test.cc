// The simulated Metal: what it refuses to compile, and what it finds while it runs.
#include "simulated/metal.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <numeric>

namespace jaxmps::test {
namespace {

using metal::Buffer;
using metal::Library;

class Metal : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::string why = metal::why_unavailable(); !why.empty()) GTEST_SKIP() << why;
  }
};

constexpr std::string_view kHead = "#include <metal_stdlib>\nusing namespace metal;\n";

std::string refusal(std::string_view text) {
  auto library = Library::compile(str(kHead, text), {});
  return library.ok() ? "compiled" : library.error().text;
}

void expect_refused(std::string_view text, const char* why) {
  const std::string message = refusal(text);
  EXPECT_NE(std::string::npos, message.find(why)) << text << "\n" << message;
}

TEST_F(Metal, RefusesWhatApplesCompilerRefuses) {
  expect_refused(
      "kernel void k(device float* x [[buffer(0)]]) { threadgroup float t[4]; device float* p = t; "
      "x[0] = p[0]; }",
      "cannot initialize a variable");
  expect_refused(
      "kernel void k(const device float* x [[buffer(0)]], device float* y [[buffer(1)]]) "
      "{ float* p = y; p[0] = x[0]; }",
      "cannot initialize a variable");
  expect_refused("kernel void k(device float* x [[buffer(0)]]) { double d = 1; x[0] = d; }",
                 "double_does_not_exist_in_Metal");
  expect_refused("kernel void k(device float* x [[buffer(0)]]) { x[0] = x[0] * 0.1; }", "double");
  expect_refused("kernel void k(device ulong* x [[buffer(0)]]) { x[0] = 1ull; }", "long long");
  expect_refused("kernel void k(device float* x, uint t) { x[t] = 1; }", "without an attribute");
  expect_refused("kernel void k(float* x [[buffer(0)]]) { x[0] = 1; }", "without an address space");
  expect_refused("kernel void k(device float* x [[buffer(31)]]) { x[0] = 1; }",
                 "there is no buffer 31");
  expect_refused(
      "int f(int n); int g(int n) { return n ? f(n - 1) : 0; } int f(int n) { return g(n) + 1; }\n"
      "kernel void k(device int* x [[buffer(0)]]) { x[0] = f(x[0]); }",
      "recursion");
  expect_refused(
      "kernel void k(device float* x [[buffer(0)]]) { threadgroup float t[8193]; "
      "t[0] = x[0]; x[1] = t[0]; }",
      "bytes of threadgroup memory");
  expect_refused("kernel void k(device long* x [[buffer(0)]]) { x[0] = simd_sum(x[0]); }",
                 "at most 32 bits");
}

constexpr std::string_view kSum = R"(
kernel void total(const device float* x [[buffer(0)]], device float* y [[buffer(1)]],
                  uint group [[threadgroup_position_in_grid]],
                  uint t [[thread_position_in_threadgroup]],
                  uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float parts[8];
  const float sum = simd_sum(x[group * 256 + t]);
  if (lane == 0) parts[t / 32] = sum;
  BARRIER
  if (t == 0) {
    float all = 0;
    for (uint k = 0; k < 8; ++k) all += parts[k];
    y[group] = all;
  }
})";

std::string with_barrier(std::string_view barrier) {
  std::string text(kSum);
  return str(kHead, text.replace(text.find("BARRIER"), 7, barrier));
}
constexpr std::string_view kBarrier = "threadgroup_barrier(mem_flags::mem_threadgroup);";

struct Arrays {
  std::vector<float> x = std::vector<float>(1024), y = std::vector<float>(4);
  Arrays() { std::iota(x.begin(), x.end(), 0.0f); }
  std::vector<Buffer> buffers() { return {{x.data(), 4 * x.size()}, {y.data(), 4 * y.size()}}; }
};

TEST_F(Metal, GroupsReduceThroughThreadgroupMemory) {
  for (bool checks : {false, true}) {
    auto library = Library::compile(with_barrier(kBarrier), {checks, false});
    ASSERT_TRUE(library.ok()) << library.error().text;
    Arrays a;
    const Status done = (*library)->launch("total", {4}, {256}, a.buffers());
    ASSERT_TRUE(done.ok()) << done.error().text;
    EXPECT_EQ((std::vector<float>{32640, 98176, 163712, 229248}), a.y);
  }
}

TEST_F(Metal, AMissingBarrierIsARace) {
  auto library = Library::compile(with_barrier(""), {true, false});
  ASSERT_TRUE(library.ok()) << library.error().text;
  Arrays a;
  const Status done = (*library)->launch("total", {4}, {256}, a.buffers());
  ASSERT_FALSE(done.ok());
  EXPECT_NE(std::string::npos, done.error().text.find("race")) << done.error().text;
}

TEST_F(Metal, ThreadgroupMemoryBeginsWithNaN) {
  auto library = Library::compile(
      str(kHead,
          "kernel void k(device float* y [[buffer(0)]]) { threadgroup float t[2]; y[0] = "
          "t[1]; }"),
      {});
  ASSERT_TRUE(library.ok()) << library.error().text;
  Arrays a;
  ASSERT_TRUE((*library)->launch("k", {1}, {1}, a.buffers()).ok());
  EXPECT_TRUE(std::isnan(a.x[0]));
}

TEST_F(Metal, AccessesBeyondABufferEndTheLaunch) {
  auto library = Library::compile(with_barrier(kBarrier), {true, false});
  ASSERT_TRUE(library.ok()) << library.error().text;
  Arrays a;
  auto buffers = a.buffers();
  buffers[0].bytes -= 4;
  const Status done = (*library)->launch("total", {4}, {256}, buffers);
  ASSERT_FALSE(done.ok());
  EXPECT_NE(std::string::npos, done.error().text.find("outside of all memory"))
      << done.error().text;
}

TEST_F(Metal, GroupsThatShareAnElementRace) {
  auto library = Library::compile(
      str(kHead,
          "kernel void k(device int* y [[buffer(0)]], uint t [[thread_position_in_grid]]) "
          "{ y[t / 2] = t; }"),
      {true, false});
  ASSERT_TRUE(library.ok()) << library.error().text;
  Arrays a;
  EXPECT_FALSE((*library)->launch("k", {8}, {1}, a.buffers()).ok());
}

TEST_F(Metal, ThreadsThatDoNotMeetAreFound) {
  auto library = Library::compile(
      with_barrier("if (t < 100) threadgroup_barrier(mem_flags::mem_threadgroup);"), {});
  ASSERT_TRUE(library.ok()) << library.error().text;
  Arrays a;
  const Status done = (*library)->launch("total", {1}, {256}, a.buffers());
  ASSERT_FALSE(done.ok());
  EXPECT_NE(std::string::npos, done.error().text.find("do not meet")) << done.error().text;
}

TEST_F(Metal, TemplatesAreKernelsUnderOtherNames) {
  auto library = Library::compile(
      str(kHead,
          "template <typename T, int N> [[kernel]] void scaled(const device T* x, device T* "
          "y, constant T& by, uint i [[thread_position_in_grid]]) {\n"
          "  threadgroup T part[N]; part[0] = x[i]; y[i] = part[0] * by; }\n"
          "template [[host_name(\"scaled_int\")]] [[kernel]] decltype(scaled<int, 4>) "
          "scaled<int, 4>;\n"
          "template [[host_name(\"scaled_float\")]] [[kernel]] decltype(scaled<float, 4>) "
          "scaled<float, 4>;\n"),
      {true, false});
  ASSERT_TRUE(library.ok()) << library.error().text;
  EXPECT_EQ((std::vector<std::string>{"scaled_int", "scaled_float"}), (*library)->kernels());
  Arrays a;
  float by = 0.5f;
  auto buffers = a.buffers();
  buffers.push_back({&by, 4});
  const Status done = (*library)->launch("scaled_float", {4}, {1}, buffers);
  ASSERT_TRUE(done.ok()) << done.error().text;
  EXPECT_EQ((std::vector<float>{0, 0.5, 1, 1.5}), a.y);
}

// Kernels of others: those of MLX, from the folder `mlx` of the mlx-metal wheel.
TEST_F(Metal, TakesKernelsOfMlx) {
  const char* folder = std::getenv("JAXMPS_MLX_METAL");
  if (!folder) GTEST_SKIP() << "JAXMPS_MLX_METAL is not set";
  std::ifstream file(std::string(folder) + "/include/mlx/backend/metal/kernels/softmax.h");
  const std::string header((std::istreambuf_iterator<char>(file)), {});
  ASSERT_FALSE(header.empty());
  std::string text = str(kHead,
                         "#define SOFTMAX_N_READS 4\n#define SOFTMAX_LOOPED_LIMIT 4096\n"
                         "template <typename T, typename U> constexpr T ceildiv(T n, U by) { "
                         "return (n + by - 1) / by; }\n"
                         "template <typename T> struct Limits;\n"
                         "template <> struct Limits<float> { static constexpr constant float min = "
                         "-__builtin_inff(), finite_min = -3e38f; };\n",
                         header);
  for (std::string_view form : {"single_row", "looped"}) {
    text += str("template [[host_name(\"", form, "\")]] [[kernel]] decltype(softmax_", form,
                "<float>) softmax_", form, "<float>;\n");
  }
  auto library = Library::compile(text, {true, false});
  ASSERT_TRUE(library.ok()) << library.error().text;
  for (const char* form : {"single_row", "looped"}) {
    std::vector<float> x(4 * 1000), y(4 * 1000);
    for (size_t n = 0; n < x.size(); ++n) x[n] = static_cast<float>(n * 7919 % 1013) * 0.01f;
    int length = 1000;
    const std::vector<Buffer> buffers = {
        {x.data(), 4 * x.size()}, {y.data(), 4 * y.size()}, {&length, 4}};
    // All 32 simdgroups take part in it, as MLX launches it.
    const Status done = (*library)->launch(form, {4}, {1024}, buffers);
    ASSERT_TRUE(done.ok()) << form << ": " << done.error().text;
    for (size_t row = 0; row < 4; ++row) {
      double sum = 0;
      for (size_t n = 0; n < 1000; ++n) sum += std::exp(x[1000 * row + n]);
      for (size_t n = 0; n < 1000; ++n) {
        const double want = std::exp(x[1000 * row + n]) / sum;
        ASSERT_NEAR(want, y[1000 * row + n], 1e-5 * want) << form << " " << n;
      }
    }
  }
}

TEST_F(Metal, LaunchesThatCannotBeAreRefused) {
  auto library = Library::compile(with_barrier(kBarrier), {});
  ASSERT_TRUE(library.ok()) << library.error().text;
  Arrays a;
  EXPECT_FALSE((*library)->launch("none", {1}, {256}, a.buffers()).ok());
  EXPECT_FALSE((*library)->launch("total", {1}, {2048}, a.buffers()).ok());
  EXPECT_FALSE((*library)->launch("total", {1}, {256}, std::vector<Buffer>(1)).ok());
  EXPECT_EQ((std::vector<std::string>{"total"}), (*library)->kernels());
}

}  // namespace
}  // namespace jaxmps::test
