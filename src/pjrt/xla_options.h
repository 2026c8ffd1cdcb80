// The settings of XLA's compiler that a client may send with a program (`compiler_options` of
// jax.jit): told apart from words nobody knows, as JAX's CPU backend does. Nothing here depends on
// them but what is refused. No state; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace jaxmps::pjrt {

// A value as it comes: of a text itself, of a number its digits, of a boolean 0 or 1.
struct OptionValue {
  enum class Form { text, boolean, integer, real } form = Form::text;
  std::string text;
};

// Whether the option asks that every run gives the same bits. INVALID_ARGUMENT for a name that XLA
// does not know or a value not of its type; UNIMPLEMENTED for one that changes what a program does
// in a way that is not to be had here.
Result<bool> check_xla_option(std::string_view name, const OptionValue& value);

}  // namespace jaxmps::pjrt
