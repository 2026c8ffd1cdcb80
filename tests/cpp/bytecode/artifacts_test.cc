// Real artifacts, whole and damaged.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "bytecode/artifact_builder.h"

namespace jaxmps::bytecode {
namespace {

using testing::Bytes;
using testing::operator+;
using testing::operator+=;

struct File {
  std::string name;
  Bytes bytes;
};

std::vector<File> load(const std::filesystem::path& folder) {
  std::vector<File> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".bc") continue;
    std::ifstream in(entry.path(), std::ios::binary);
    files.push_back(
        {entry.path().filename().string(), Bytes(std::istreambuf_iterator<char>(in), {})});
  }
  std::sort(files.begin(), files.end(),
            [](const File& a, const File& b) { return a.name < b.name; });
  return files;
}

// The kept ones, and those in $JAXMPS_SAMPLES.
const std::vector<File>& artifacts() {
  static const auto* files = [] {
    auto* all = new std::vector<File>(load(JAXMPS_SOURCE_DIR "/tests/bytecode/artifacts"));
    if (const char* more = std::getenv("JAXMPS_SAMPLES")) {
      for (File& file : load(more)) all->push_back(std::move(file));
    }
    return all;
  }();
  return *files;
}

TEST(Artifacts, AreRead) {
  std::set<uint8_t> versions;
  for (const File& file : artifacts()) {
    auto module = testing::read(file.bytes);
    EXPECT_TRUE(module.ok()) << file.name << ": " << module.error().text;
    versions.insert(file.bytes[4] >> 1);
  }
  const std::set<uint8_t> written = {0, 1, 3, 4, 6};
  EXPECT_TRUE(std::includes(versions.begin(), versions.end(), written.begin(), written.end()));
}

TEST(Artifacts, NoTruncationIsRead) {
  for (const File& file : artifacts()) {
    for (size_t size = 0; size < file.bytes.size(); ++size) {
      const Bytes part(file.bytes.begin(), file.bytes.begin() + static_cast<long>(size));
      const std::string message = testing::refusal(part);
      ASSERT_EQ(message.rfind("0x", 0), 0u) << file.name << " cut at " << size << ": " << message;
    }
  }
}

// Flipped bits give an error or another program. All bits of a few small files, one in every fourth
// byte of the rest; $JAXMPS_SAMPLES asks for all. Under ASan, where the fuzzer changes the same
// files for longer, a quarter of them.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define JAXMPS_FEW_FLIPS 1
#endif
#endif
#ifdef JAXMPS_FEW_FLIPS
constexpr size_t kFilesApart = 32, kBytesApart = 19;
#else
constexpr size_t kFilesApart = 8, kBytesApart = 4;
#endif

TEST(Artifacts, FlippedBitsAreSurvived) {
  const bool all_bits = std::getenv("JAXMPS_SAMPLES") != nullptr;
  size_t refused = 0, read = 0, number = 0;
  for (const File& file : artifacts()) {
    const bool thorough = all_bits || (file.bytes.size() < 2000 && number++ % kFilesApart == 0);
    for (size_t at = 0; at < file.bytes.size(); ++at) {
      for (size_t bit = 0; bit < 8; ++bit) {
        if (!thorough && at % (8 * kBytesApart) != kBytesApart * bit) continue;
        Bytes flipped = file.bytes;
        flipped[at] ^= static_cast<uint8_t>(1 << bit);
        const std::string message = testing::refusal(flipped);
        if (message.empty()) {
          ++read;
        } else {
          ++refused;
          ASSERT_EQ(message.rfind("0x", 0), 0u) << message;
        }
      }
    }
  }
  EXPECT_GT(refused, read / 4);
}

TEST(Artifacts, HugeSplatsStaySmall) {
  for (const File& file : artifacts()) {
    if (file.name != "constants.1.16.0.bc") continue;
    auto module = testing::read(file.bytes);
    ASSERT_TRUE(module.ok());
    int found = 0;
    for (const ir::Op* op : (*module)->main()->body) {
      if (op->id != ir::OpId::constant || op->result()->type.size() != 1'000'000'000) continue;
      ++found;
      EXPECT_TRUE(op->dense("value").splat);
      EXPECT_EQ(op->dense("value").bytes().size(), 4u);
      // In the artifact itself, which the module keeps.
      const auto* text = static_cast<const std::string*>((*module)->artifact.get());
      const auto* begin = reinterpret_cast<const uint8_t*>(text->data());
      EXPECT_TRUE(op->dense("value").data > begin &&
                  op->dense("value").data < begin + text->size());
    }
    EXPECT_EQ(found, 1);
  }
}

}  // namespace
}  // namespace jaxmps::bytecode
