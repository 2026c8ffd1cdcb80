// What each op is to the fusion pass: which ops may be inside of a fusion, and what they cost.
// Pure functions of an op.
#pragma once

#include <string_view>

#include "passes/pass.h"

namespace jaxmps::passes {

enum class FuseClass : uint8_t {
  none,      // runs on its own
  constant,  // a splat: copied wherever it is used
  movement,  // an index map: free inside of a fusion, copied into each that reads it
  elementwise,
  reduce,
  gather,  // an index map that reads memory: inside of one fusion, and never alone in it, but for
           // dynamic slices
  update,  // in place: the last op of a fusion
};

// For `none`, `why` says what is in the way.
FuseClass classify(const ir::Op& op, std::string_view* why);
// Transcendental: worth materialising rather than computing twice.
bool is_expensive(const ir::Op& op);
// Regions that hold programs, as opposed to combiners and comparators.
bool has_program_regions(const ir::Op& op);

}  // namespace jaxmps::passes
