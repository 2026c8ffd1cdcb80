#include "base/env.h"

#include <array>
#include <cstdlib>

namespace jaxmps::env {
namespace {

struct Entry {
  const char* name;
  const char* fallback;
};

constexpr Entry kEntries[] = {
#define ENV(name, fallback, doc) {#name, fallback},
#include "base/env.def"
#undef ENV
};
constexpr size_t kCount = sizeof kEntries / sizeof kEntries[0];

const std::array<std::string, kCount>& values() {
  static const auto* all = [] {
    auto* read = new std::array<std::string, kCount>;
    for (size_t i = 0; i < kCount; ++i) {
      const char* set = std::getenv(kEntries[i].name);
      (*read)[i] = set ? set : kEntries[i].fallback;
    }
    return read;
  }();
  return *all;
}

}  // namespace

const std::string& text(Var var) { return values()[static_cast<size_t>(var)]; }

int64_t number(Var var) {
  const std::string& value = text(var);
  char* end = nullptr;
  const long long parsed = std::strtoll(value.c_str(), &end, 10);
  if (!value.empty() && *end == 0) return parsed;
  return std::strtoll(kEntries[static_cast<size_t>(var)].fallback, nullptr, 10);
}

}  // namespace jaxmps::env
