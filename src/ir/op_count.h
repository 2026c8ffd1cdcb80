// How many kinds of ops there are, for tables by OpId.
#pragma once

#include <cstddef>

namespace jaxmps::ir {

#pragma push_macro("OP")  // others have one of that name
#undef OP
inline constexpr size_t kOpCount = 0
#define OP(id, name, traits) +1
#include "ir/ops.def"
#undef OP
    ;
#pragma pop_macro("OP")

}  // namespace jaxmps::ir
