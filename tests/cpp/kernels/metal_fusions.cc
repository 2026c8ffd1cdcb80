#include "kernels/metal_fusions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "kernels/support.h"

namespace jaxmps::test {

using kernels::metal_dialect;

namespace {

bool is_narrow(const Fusion& f) {
  return std::any_of(f.program.instrs.begin(), f.program.instrs.end(), [](const auto& i) {
    return i.op == kernels::Opcode::encode || i.op == kernels::Opcode::round_to;
  });
}

}  // namespace

bool MetalProgram::add(const Graph& g, double tolerance, const std::string& what) {
  auto fusion = fusion::build_fusion(g.region, false);
  return fusion.ok() && add(std::move(*fusion), tolerance, what);
}

bool MetalProgram::add(Fusion fusion, double tolerance, const std::string& what) {
  auto printed = kernels::print_gpu(fusion, metal_dialect());
  if (!printed.ok()) return false;
  for (const auto& i : fusion.program.instrs) {
    const bool is_exact = kernels::info(i.op).ulps <= 0.5;
    if (tolerance == 0 && !is_exact) tolerance = is_narrow(fusion) ? 2e-2 : 1e-5;
  }
  fusions.push_back({std::move(fusion), std::move(*printed), tolerance, what});
  return true;
}

std::string MetalProgram::text() const {
  std::string source(metal_dialect().prelude);
  std::set<std::string> seen;
  for (const PrintedFusion& p : fusions) {
    for (const GpuKernel& k : p.kernels.kernels) {
      if (seen.insert(k.name).second) source += k.source.substr(metal_dialect().prelude.size());
    }
  }
  return source;
}

std::vector<Buffer> run_metal(metal::Library& library, const PrintedFusion& p,
                              std::vector<Buffer>& inputs) {
  std::vector<Buffer> outputs;
  Buffer scratch;
  for (const auto& o : p.fusion.outputs)
    outputs.emplace_back(static_cast<size_t>(o.type.byte_count()), 0xee);
  for (const GpuKernel& k : p.kernels.kernels) {
    std::vector<metal::Buffer> buffers;
    auto bind = [&](Buffer& b) { buffers.push_back({b.data(), b.size()}); };
    for (int i : k.inputs) bind(inputs[static_cast<size_t>(i)]);
    if (k.reads_scratch) bind(scratch);
    for (int o : k.outputs) bind(outputs[static_cast<size_t>(o)]);
    if (k.scratch_bytes) {
      scratch.assign(static_cast<size_t>(k.scratch_bytes), 0xff);
      bind(scratch);
    }
    const Status done = library.launch(k.name, {static_cast<uint32_t>(k.blocks)},
                                       {static_cast<uint32_t>(k.threads)}, buffers);
    EXPECT_TRUE(done.ok()) << done.error().text << "\n"
                           << k.source.substr(metal_dialect().prelude.size());
  }
  return outputs;
}

namespace {

// NaNs of floats are alike.
void expect_same_bits(const Type& type, const Buffer& want, const Buffer& have,
                      const std::string& what) {
  if (want == have) return;
  ASSERT_EQ(want.size(), have.size());
  const DType real = ir::real_type(type.dtype);
  const size_t size = static_cast<size_t>(ir::byte_size(real));
  for (size_t n = 0; n < want.size(); n += size) {
    if (std::memcmp(&want[n], &have[n], size) == 0) continue;
    uint32_t w = 0, h = 0;
    std::memcpy(&w, &want[n], std::min<size_t>(size, 4));
    std::memcpy(&h, &have[n], std::min<size_t>(size, 4));
    const uint32_t magnitude = real == DType::f32 ? 0x7fffffff : 0x7fff;
    const uint32_t infinity = real == DType::f32    ? 0x7f800000
                              : real == DType::bf16 ? 0x7f80
                              : real == DType::f16  ? 0x7c00
                                                    : ~0u;
    if ((w & magnitude) > infinity && (h & magnitude) > infinity) continue;
    FAIL() << what << " element " << n / size << ": " << std::hex << w << " " << h;
  }
}

}  // namespace

void check(const MetalProgram& program, bool checks_accesses,
           const std::function<Buffer(const Type&, std::mt19937&)>& input) {
  if (std::string why = metal::why_unavailable(); !why.empty()) GTEST_SKIP() << why;
  auto library = metal::Library::compile(program.text(), {checks_accesses, false});
  ASSERT_TRUE(library.ok()) << library.error().text;
  uint32_t seed = 0;
  for (const PrintedFusion& p : program.fusions) {
    std::mt19937 rng(++seed);
    std::vector<Buffer> inputs;
    for (const Type& type : p.fusion.inputs) inputs.push_back(input(type, rng));
    const auto kernel = cpu::compile_tile(p.fusion);
    ASSERT_TRUE(kernel.ok()) << kernel.error().text;
    const auto want = run(*kernel, p.fusion, inputs);
    const auto have = run_metal(**library, p, inputs);
    for (size_t o = 0; o < want.size(); ++o) {
      const std::string what = p.what + "\n" + print(p.fusion) +
                               p.kernels.kernels[0].source.substr(metal_dialect().prelude.size());
      if (p.tolerance == 0)
        expect_same_bits(p.fusion.outputs[o].type, want[o], have[o], what);
      else
        expect_equal(p.fusion.outputs[o].type, want[o], have[o], p.tolerance, what);
    }
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace jaxmps::test
