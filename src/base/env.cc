#include "base/env.h"

#include <array>
#include <cstdlib>
#include <string_view>

#include "base/parse.h"

namespace jaxmps::env {
namespace {

struct Entry {
  const char* name;
  const char* fallback;
  std::string_view allowed;
};

constexpr Entry kEntries[] = {
#define ENV(name, fallback, allowed, doc) {#name, fallback, allowed},
#include "base/env.def"
#undef ENV
};
constexpr size_t kCount = sizeof kEntries / sizeof kEntries[0];

// Why the value is not allowed; empty if it is.
std::string problem(const Entry& entry, std::string_view value) {
  std::string_view rest = entry.allowed;
  if (rest.empty()) return {};
  if (const size_t dots = rest.find(".."); dots != rest.npos) {
    int64_t low = 0, high = 0, number = 0;
    parse_number(rest.substr(0, dots), &low);
    parse_number(rest.substr(dots + 2), &high);
    if (parse_number(value, &number) && low <= number && number <= high) return {};
    return str(entry.name, " is '", value, "'; it must be a whole number between ", low, " and ",
               high);
  }
  std::string choice;
  for (;;) {
    const std::string_view word = rest.substr(0, rest.find('|'));
    if (word == value) return {};
    if (!word.empty()) choice += str(choice.empty() ? "`" : ", `", word, "`");
    if (word.size() == rest.size()) break;
    rest.remove_prefix(word.size() + 1);
  }
  return str(entry.name, " is '", value, "'; it must be one of ", choice);
}

struct Values {
  std::array<std::string, kCount> texts;
  std::string problem;  // the first
};

const Values& values() {
  static const auto* all = [] {
    auto* read = new Values;
    for (size_t i = 0; i < kCount; ++i) {
      const char* set = std::getenv(kEntries[i].name);
      // An empty variable is as good as none.
      const std::string wrong = set && *set ? problem(kEntries[i], set) : std::string();
      read->texts[i] = set && *set && wrong.empty() ? set : kEntries[i].fallback;
      if (read->problem.empty()) read->problem = wrong;
    }
    return read;
  }();
  return *all;
}

}  // namespace

const std::string& text(Var var) { return values().texts[static_cast<size_t>(var)]; }

int64_t number(Var var) {
  int64_t number = 0;
  parse_number(text(var), &number);
  return number;
}

Status check() {
  if (!values().problem.empty()) return invalid(values().problem);
  return {};
}

}  // namespace jaxmps::env
