// Logging to stderr, down to warnings unless JAX_MPS_LOG says otherwise: log(Level::info, "a ", b).
// A message is one line, prefixed with "jax-mps" and the level. Thread-safe.
#pragma once

#include "base/result.h"

namespace jaxmps {

enum class Level { off, error, warning, info, debug };

bool log_enabled(Level level);
void log_line(Level level, std::string_view line);

template <typename... Parts>
void log(Level level, const Parts&... parts) {
  if (log_enabled(level)) log_line(level, str(parts...));
}

}  // namespace jaxmps
