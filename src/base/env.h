// The environment variables of the plugin, all listed in env.def with default, limits and meaning.
// Values are read once, at the first use of any of them; later changes have no effect.
// Thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace jaxmps::env {

enum class Var {
#define ENV(name, fallback, allowed, doc) name,
#include "base/env.def"
#undef ENV
};

// The value; the default of env.def where check() refuses it.
const std::string& text(Var var);
int64_t number(Var var);
// An error that names the first variable whose value is not allowed. No device is given before.
Status check();
inline bool flag(Var var) { return number(var) != 0; }

}  // namespace jaxmps::env
