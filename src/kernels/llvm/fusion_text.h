// Fusions as LLVM text: nests of loops whose innermost one LLVM makes vector code of. Short axes
// and reduced ones are written out, axes on which accesses have bounds are cut where a bound begins
// or ends, and what does not change in a loop is computed before it.
#pragma once

#include "fusion/fusion.h"
#include "kernels/llvm/text.h"

namespace jaxmps::kernels {

// Why the fusion has no text, if so: too long written out, or a function without text. Reductions
// are combined as a tile kernel does that holds them in one tile (cpu/tile.h).
Status can_print(const Fusion& fusion);

// Appends the fusion to a block that goes on behind it. `inputs`, `outputs`: names of the buffers'
// addresses. An output may be the memory of an input whose elements it overwrites one by one.
void print_fusion(LlvmText* text, std::string* to, const Fusion& fusion,
                  const std::vector<std::string>& inputs, const std::vector<std::string>& outputs);

}  // namespace jaxmps::kernels
