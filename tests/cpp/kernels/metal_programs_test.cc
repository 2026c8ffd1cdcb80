// Whole programs: what the fuse pass makes of them has a Metal kernel, no more kernels than on
// CUDA, and gives what the tile machine gives.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "bytecode/reader.h"
#include "fusion/schedule.h"
#include "kernels/metal_fusions.h"
#include "passes/fuse.h"
#include "passes/pass.h"

namespace jaxmps::test {
namespace {

std::unique_ptr<ir::Module> read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  auto module = bytecode::read_artifact(std::make_shared<const std::string>(
      std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()));
  EXPECT_TRUE(module.ok()) << path << ": " << module.error().text;
  if (!module.ok()) return nullptr;
  EXPECT_TRUE(passes::run_passes(**module).ok()) << path;
  return std::move(*module);
}

// The kernels of the program on the target; `add` sees every description.
size_t count_kernels(const std::filesystem::path& path, const ir::Target& target,
                     const kernels::Dialect& dialect,
                     const std::function<void(const Fusion&)>& add) {
  auto module = read(path);
  if (!module) return 0;
  size_t count = 0;
  passes::FuseOptions options;
  options.accept = [&](const ir::Op& op, const Fusion& fusion, const ir::Target&) -> Status {
    auto printed = kernels::print_gpu(fusion, dialect);
    // Of rows and the sums over all of them, which Metal has no kernel for, two stay.
    if (!target.ordered_blocks && fusion::FusionSchedule(fusion).has_totals())
      return std::move(printed).error();
    EXPECT_TRUE(printed.ok()) << path << ": " << ir::brief(op) << ": " << printed.error().text;
    if (!printed.ok()) return std::move(printed).error();
    count += printed->kernels.size();
    add(fusion);
    return {};
  };
  EXPECT_TRUE(passes::fuse(*module, target, options).ok());
  return count;
}

TEST(MetalPrograms, HaveAKernelForEveryFusion) {
  MetalProgram program;
  for (const auto& entry :
       std::filesystem::directory_iterator(JAXMPS_SOURCE_DIR "/tests/cpp/metal/programs")) {
    if (entry.path().extension() != ".bc") continue;
    const std::string name = entry.path().stem().string();
    const size_t on_metal =
        count_kernels(entry.path(), ir::kMetal, kernels::metal_dialect(), [&](const Fusion& f) {
          EXPECT_TRUE(program.add(f, name.ends_with("bf16") ? 2e-2 : 1e-3, name));
        });
    const size_t on_cuda =
        count_kernels(entry.path(), ir::kCuda, kernels::cuda_dialect(), [](const Fusion&) {});
    EXPECT_GT(on_metal, 0u) << name;
    EXPECT_LE(on_metal, on_cuda) << name;
  }
  EXPECT_GT(program.fusions.size(), 40u);
  check(program, false);
}

}  // namespace
}  // namespace jaxmps::test
