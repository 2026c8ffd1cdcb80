// The environment variables of the plugin, all listed in env.def with default and meaning.
// Values are read once, at the first use of any of them; later changes have no effect.
// Thread-safe.
#pragma once

#include <cstdint>
#include <string>

namespace jaxmps::env {

enum class Var {
#define ENV(name, fallback, doc) name,
#include "base/env.def"
#undef ENV
};

const std::string& text(Var var);
// The value as an integer; the default of env.def where the text is no integer.
int64_t number(Var var);
inline bool flag(Var var) { return number(var) != 0; }

}  // namespace jaxmps::env
