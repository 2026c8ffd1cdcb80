#include "base/log.h"

#include <cstdio>

#include "base/env.h"

namespace jaxmps {
namespace {

constexpr const char* kNames[] = {"off", "error", "warning", "info", "debug"};

Level level_from_env() {
  const std::string& name = env::text(env::Var::JAX_MPS_LOG);
  for (int i = 0; i < 5; ++i) {
    if (name == kNames[i]) return static_cast<Level>(i);
  }
  return Level::off;
}

}  // namespace

bool log_enabled(Level level) {
  static const Level limit = level_from_env();
  return level <= limit;
}

void log_line(Level level, std::string_view line) {
  std::fprintf(stderr, "jax-mps %s: %.*s\n", kNames[static_cast<int>(level)],
               static_cast<int>(line.size()), line.data());
}

}  // namespace jaxmps
